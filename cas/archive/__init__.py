"""Every crash ever seen: its files, what was found out of it, and what people say of it."""
