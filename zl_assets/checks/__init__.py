"""The rules that stored data must keep, one module a stage."""
