"""What a job found out, as text, HTML, JSON and mail in the job directory.

Jinja2 and the mail libraries are slow to import: callers on the way to the first answer import
:mod:`cas.text` only.
"""
