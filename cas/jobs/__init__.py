"""Jobs: their directory, its records, its log, its seal, and what a group may read of it."""
