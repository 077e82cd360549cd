"""cas-admin: the catalogue of kernels, the waiting jobs, and the purging of old ones."""
