"""Snippets: files of debugger commands, and what they need of a kernel."""
