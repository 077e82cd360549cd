"""The deep trace of a crashed kernel: every stack, with the values of its variables.

Begin with `trace.py`: the tasks in their order (`tasks.py`), the frames of each (`frames.py`), and
their variables (`drawing.py`), in the kernel's own words (`names.py`, `structures.py`,
`containers.py`). Modules (`modules.py`) add what they know. All that is told is a record of
``schemas/glide.schema.json``.
"""
