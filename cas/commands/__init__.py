"""The verbs of ``cas``, one module each; without a verb, the classic form submits a dump."""

from cas.commands.asked import (
    Answer,
    Asked,
    Parser,
    World,
    asked_versions,
    common_options,
    verb_options,
)
from cas.commands.command_line import parse, parser

__all__ = [
    "Answer",
    "Asked",
    "Parser",
    "World",
    "asked_versions",
    "common_options",
    "parse",
    "parser",
    "verb_options",
]
