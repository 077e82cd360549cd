"""Streams: compressions and archives, read from beginning to end within a budget."""
