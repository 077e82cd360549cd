"""Dumps that nobody uploads: found on registered hosts, and fetched where they are missing here."""
