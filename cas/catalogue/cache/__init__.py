"""The directory of extracted files that all jobs share."""
