"""Running the graph: jobs, the in-process runner, status, export, the UI."""
