"""The process of an analyzer in Python: drgn on one dump, and functions that say things of it.

What it says goes through a pipe: a verb and its fields, each with NUL behind it. ``opened`` comes
first, or ``failed`` and why the dump cannot be opened.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import drgn
import drgn.cli

from cas.engines.drgn.child.fit import Known
from cas.engines.drgn.child.target import CannotOpen, File, Request, Target
from cas.model.evidence import Evidence

CANNOT_OPEN = 4
"""Exit status: the dump could not be opened."""
WRONG = 1
"""Exit status: the analyzer has failed."""
_NUL = "\0"


class Sayings:
    """The functions by which an analyzer says something of its crash."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def set_property(self, name: str, value: Any = True) -> None:
        """Set a property; the value is anything that JSON has, of ``None`` it is taken away.

        :raises TypeError: it is not
        """
        if value is None:
            self.unset_property(name)
        else:
            self.tell("set", name, json.dumps(value))

    def unset_property(self, name: str) -> None:
        """Take a property away."""
        self.tell("unset", name)

    def ticket(self, ticket: str) -> None:
        """Give the crash a ticket."""
        self.tell("ticket", ticket)

    def unticket(self, ticket: str = "") -> None:
        """Take a ticket away, or all that were given."""
        self.tell("unticket", ticket)

    def tell(self, *fields: str) -> None:
        """Write a message.

        :raises ValueError: a field has a NUL
        """
        if any(_NUL in field for field in fields):
            raise ValueError("a NUL cannot be said")
        data = "".join(field + _NUL for field in fields).encode("utf-8", "replace")
        while data:
            data = data[os.write(self._pipe, data) :]


class Looking:
    """Lets an analyzer use the detectors by which a job looks for evidence."""

    def __init__(self, target: Target, info: Mapping[str, Any]) -> None:
        self._target = target
        self._facts = {
            "arch": info.get("arch"),
            "kind": info.get("kind"),
            "uptime_s": info.get("uptime"),
            "kmods": info.get("modules"),
        }

    def evidence(self, *detectors: str) -> list[Evidence]:
        """What detectors find, each with ``sentence``, ``source``, ``command`` and ``details``.

        :raises LookupError: there is no such detector
        """
        from cas.engines.drgn.child.detect import evidence_by  # few analyzers need it

        return evidence_by(self._target, self._facts, detectors)


class Tracing:
    """Lets an analyzer have the deep trace."""

    def __init__(self, target: Target, modules: str) -> None:
        self._target, self._modules = target, modules

    def glide(self, tasks: str = "cpus", depth: int | None = None) -> Iterator[str]:
        """The lines of the trace.

        :param tasks: ``panic``, ``cpus``, ``blocked``, ``all``, or process ids between commas
        :param depth: pointers that are followed; ``None``: 2 in the task that panicked, else 0
        """
        from cas.engines.drgn.child.glide.command import GlideCommand  # few analyzers need it

        return GlideCommand(self._target, self._modules).lines(tasks, depth)


def main(vmcore: str, vmlinux: str, analyzer: str, about: str, modules: str, *kmods: str) -> None:
    """Open a dump and run an analyzer on it.

    :param analyzer: file of its text
    :param about: file of what else is known: ``info``, the ``pipe``'s descriptor, and the fields of
        a `Request` that are no files
    :param modules: file of the modules of the deep trace
    :param kmods: names of kernel modules, each followed by its debug file
    """
    os.dup2(1, 2)
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, TextIOWrapper)  # noqa: S101
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    call = json.loads(Path(about).read_text())
    sayings, facts = Sayings(call["pipe"]), call["request"]
    files = {name: _opened_file(path) for name, path in zip(kmods[::2], kmods[1::2], strict=True)}
    try:
        known = Known(**facts.pop("known"))
        served = call["served"]
        dump = _opened_file(vmcore) if served is None else File(vmcore, served)
        kernel = _opened_file(vmlinux)
        target = Target(Request(dump, kernel, kmods=files, known=known, **facts))
        target.describe_all()
    except CannotOpen as error:
        sayings.tell("failed", str(error))
        sys.exit(CANNOT_OPEN)
    sayings.tell("opened")
    drgn.set_default_prog(target.prog)
    variables = {
        **drgn.cli.default_globals(target.prog),
        "info": call["info"],
        "set_property": sayings.set_property,
        "unset_property": sayings.unset_property,
        "ticket": sayings.ticket,
        "unticket": sayings.unticket,
        "__name__": "__main__",
        "__file__": analyzer,
    }
    variables["evidence"] = Looking(target, call["info"]).evidence
    variables["glide"] = Tracing(target, modules).glide
    try:
        code = compile(Path(analyzer).read_bytes(), "analyzer", "exec", dont_inherit=True)
        exec(code, variables)  # noqa: S102  what it is for; this process is confined
    except SystemExit:
        raise
    except BaseException as error:
        told = error.__traceback__.tb_next if error.__traceback__ else None
        if isinstance(error, SyntaxError):
            told = None
        traceback.print_exception(type(error), error, told)
        sys.exit(WRONG)


def _opened_file(name: str) -> File:
    return File(name, os.open(name, os.O_RDONLY))
