"""Where bars come from; every source ends in vendor files."""
