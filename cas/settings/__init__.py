"""What the administrator decided: cas.conf, its values and their defaults, and as whom we run."""
