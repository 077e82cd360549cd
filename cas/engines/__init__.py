"""Engines: how crash and drgn are started, asked and ended."""
