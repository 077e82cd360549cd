"""The verbs of ``cas``, one module each; without a verb, the classic form submits a dump."""

from cas.commands.command_line import parse, parser
from cas.commands.invocation import (
    Answer,
    Asked,
    Parser,
    World,
    common_options,
    named_config,
    verb_options,
)
from cas.commands.versions import asked_versions

__all__ = [
    "Answer",
    "Asked",
    "Parser",
    "World",
    "asked_versions",
    "common_options",
    "named_config",
    "parse",
    "parser",
    "verb_options",
]
