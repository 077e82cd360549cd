"""Packages, kernels, jobs, crashes and hosts in a database: tables, queries, migrations."""

HEAD = "0009"
"""The version of the tables that this program uses, which is its newest migration."""
