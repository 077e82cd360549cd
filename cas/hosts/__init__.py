"""Analysis hosts: what they have, which one is taken, what is copied there, and crash on it."""
