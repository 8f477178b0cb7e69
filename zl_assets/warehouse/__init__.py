"""Where tables live: one interface, the contracts of the tables, and an engine for each store."""
