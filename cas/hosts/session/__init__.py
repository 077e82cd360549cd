"""A debugger session on an analysis host."""
