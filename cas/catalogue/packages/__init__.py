"""Files that hold debug information: what they say of themselves, and their members."""
