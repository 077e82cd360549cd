"""Analysis hosts: what they have, which one is taken, what is copied there, and crash on it."""

import cas.ssh  # noqa: F401  before any other module loads paramiko, see there
