"""Feature families, one module each."""
