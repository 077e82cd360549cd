"""The kernel log, read as events: what the kernel reported, and which of it killed the kernel.

Pure functions over the text. ``lines`` splits it, ``wordings`` knows with which words a kernel
announces trouble, ``events`` splits the log by them, ``report`` reads what stands behind one
announcement (task, registers, call traces), ``choice`` says which event was the crash.
"""
