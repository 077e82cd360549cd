"""What runs inside drgn's own process."""
