"""Building the catalogue: package files are found, read by children and published."""
