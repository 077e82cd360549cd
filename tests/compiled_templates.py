"""The templates of reports, compiled when this is imported: once for all commands of a test run.

Jinja takes a tenth of a second for them, which is a tenth of what a small job takes.
"""

from cas.report import html

for name in ("report.html", "mail.html"):
    html._TEMPLATES.get_template(name)
