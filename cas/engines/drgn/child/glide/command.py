"""The deep trace where drgn serves a user: the command of its prompt, a function of analyzers."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from drgn import Program
from drgn.commands import CommandError

from cas.engines.drgn.child.glide.modules import Source
from cas.engines.drgn.child.glide.trace import Glide, Wanted
from cas.engines.drgn.child.limits import raise_late_on_alarm
from cas.engines.drgn.child.target import Target
from cas.engines.drgn.glide_text import lines_of_record

DEEPEST = 6
_TASKS = re.compile(r"panic|cpus|blocked|all|\d{1,9}(,\d{1,9})*")


class GlideCommand:
    """The command ``glide [--tasks WHICH] [--depth N]``, as `cas glide` has it."""

    def __init__(self, target: Target, modules: str) -> None:
        """Nothing is read yet.

        :param modules: a file of their sources, as JSON
        """
        self._target, self._modules = target, modules

    def __call__(self, _: Program, words: Sequence[str]) -> None:
        """Print the trace.

        :raises CommandError: the words mean nothing
        """
        parser = argparse.ArgumentParser("glide", exit_on_error=False)
        parser.add_argument("--tasks", metavar="WHICH", default="all")
        parser.add_argument("--depth", metavar="N", type=int, choices=range(DEEPEST + 1))
        try:
            options, rest = parser.parse_known_args(words[1:])
        except argparse.ArgumentError as error:
            raise CommandError(str(error)) from error
        if rest:
            raise CommandError(f"{rest[0]!r} is none of its words: --tasks WHICH, --depth N")
        for line in self.lines(options.tasks, options.depth):
            print(line)

    def lines(self, tasks: str = "cpus", depth: int | None = None) -> Iterator[str]:
        """The lines of a trace.

        :param tasks: ``panic``, ``cpus``, ``blocked``, ``all``, or process ids between commas
        :param depth: pointers that are followed; ``None``: 2 in the task that panicked, else 0
        :raises CommandError: `tasks` means nothing
        """
        if not _TASKS.fullmatch(tasks):
            raise CommandError(
                f"{tasks!r} names no tasks: panic, cpus, blocked, all, or process ids as 1,47"
            )
        raise_late_on_alarm()
        sources = tuple(Source(*each) for each in json.loads(Path(self._modules).read_text()))
        usual = Wanted()
        wanted = Wanted(
            tasks,
            usual.panic_depth if depth is None else depth,
            usual.depth if depth is None else depth,
            sources=sources,
        )
        for record in Glide(self._target, wanted).records():
            yield from lines_of_record(record)
