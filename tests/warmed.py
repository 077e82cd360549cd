"""What a command makes when it first needs it, made when this is imported: once for all of them.

Patterns, templates and what is known of functions: a third of what a small job takes.
"""

from pathlib import Path

from cas import findings
from cas.dump.identify import identify
from cas.report import html

LOGS = Path(__file__).parent / "findings" / "logs"

for name in html._TEMPLATES.list_templates(["html"]):
    html._TEMPLATES.get_template(name)
html._style_and_policy()
for log in sorted(LOGS.glob("*.log"))[::10]:
    findings.with_advice(findings.find(identify(log), None, None), None)
