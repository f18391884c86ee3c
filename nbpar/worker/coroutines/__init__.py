"""Items of async functions: tasks of one event loop per worker."""
