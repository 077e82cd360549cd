"""CAS, the Core Analysis System: from a crashed kernel's dump to an answer."""

__version__ = "2.0.0"
