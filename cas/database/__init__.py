"""The tables, and every query on them."""
