"""Analyzers: small programs of the site's own that look at crashes of the archive."""
