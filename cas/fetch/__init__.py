"""Fetching: one file from a server, below one policy of what may be asked."""
