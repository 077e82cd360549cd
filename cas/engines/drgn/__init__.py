"""drgn: its process, and what is made of its answers."""
