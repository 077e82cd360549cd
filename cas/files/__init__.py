"""Files: whole or not there, their digests, records and rights, and calls that may never answer."""
