"""Extraction: a kernel's vmlinux and kmods, from wherever they can be had."""
