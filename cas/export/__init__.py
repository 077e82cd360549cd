"""A crash for somebody else: its reports, kernel log and sections, without the names in them."""
