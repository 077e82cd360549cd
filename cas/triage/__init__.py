"""Triage: a ticket and a dump in, a verdict and its reports out."""
