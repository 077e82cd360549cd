"""A file's way to an analysis host, and the copies kept there."""
