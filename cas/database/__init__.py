"""What is kept in a database of packages, kernels, jobs and hosts: tables, queries, migrations."""

HEAD = "0006"
"""The version of the tables that this program uses, which is its newest migration."""
