"""The graph's nodes, one module a stage: read through a resource, call one function of core, write, tell."""
