"""From argv to an exit status; the verbs are files of the package ``verbs``.

Without a verb, the classic form submits a dump.
"""

from cas.commands.command_line import parse, parser
from cas.commands.invocation import (
    Asked,
    Done,
    Output,
    Parser,
    World,
    common_options,
    named_config,
    verb_options,
)
from cas.commands.versions import asked_versions

__all__ = [
    "Asked",
    "Done",
    "Output",
    "Parser",
    "World",
    "asked_versions",
    "common_options",
    "named_config",
    "parse",
    "parser",
    "verb_options",
]
