"""The process of a drgn for a user: crash's commands and Python, on a terminal or through a pipe.

Other than drgn's own command line, it takes nothing but the given vmlinux, knows the names of the
kernel modules, and opens dumps whose headers do not say their architecture.

Through a pipe its first line is a JSON object: ``{"remarks": [SENTENCE, …]}`` once the dump is
open, else ``{"failed": SENTENCE, "misfit": …}``. What goes wrong later stands among the output, as
with crash, and makes the exit status 1.
"""

from __future__ import annotations

import builtins
import json
import os
import shutil
import site
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, ClassVar

import drgn.cli
from drgn import Program
from drgn.commands import (
    _builtin,  # noqa: F401  has the shell; no plugin brings it here
    run_command,
)
from drgn.commands._crash.common import _guess_type
from drgn.internal import repl
from drgn.internal.rlcompleter import Completer

from cas.engines.drgn.child import commands as drgn_commands
from cas.engines.drgn.child.fit import Known
from cas.engines.drgn.child.line import ENDING, Reader, Unit, command_meant, is_command
from cas.engines.drgn.child.locate import Place
from cas.engines.drgn.child.no_memory import WithoutMemory
from cas.engines.drgn.child.target import CannotOpen, File, Misfit, Request, Target
from cas.text import nearest

CANNOT_OPEN = 4
"""Exit status: the dump could not be opened."""
WRONG = 1
"""Exit status: something of the input could not be run."""
READ_BYTES = 64 << 10
INPUT = "<input>"
"""What a traceback calls the user's lines."""
GLIDE = "glide"
ADVICE = "crash's commands work as well: bt, ps, log, dis, …; `help` lists them."


def main(way: str, vmcore: str, vmlinux: str, about: str, *files: str) -> None:
    """Open a dump and do what a user says.

    :param way: ``terminal``, ``quiet``, which is one without an introduction, or ``pipe``
    :param vmcore: the kernel log, where there is but that
    :param about: the fields of a `Request` that are no files, as JSON
    :param files: a file of what is run before the first prompt, or nothing; one of the modules of
        the deep trace; then names of kernel modules, each followed by its debug file
    """
    first, modules, *kmods = files
    kernel = _opened_file(vmlinux)
    debug = {name: _opened_file(path) for name, path in zip(kmods[::2], kmods[1::2], strict=True)}
    site.setquit()  # what Python has at its own prompt
    site.sethelper()
    try:
        target = _opened_target(vmcore, kernel, debug, json.loads(about))
        target.describe_all()
        if isinstance(target, WithoutMemory):
            Console.own = target.own_commands(drgn_commands.names(target.prog) | {GLIDE})
        else:
            Console.own = {GLIDE: _deep_trace(target, modules)}
    except CannotOpen as error:
        if way == "pipe":
            _tell_parent(failed=str(error), misfit=isinstance(error, Misfit))
        else:
            sys.stderr.write(f"drgn cannot open {Path(vmcore).name}: {error}\n")
        sys.exit(CANNOT_OPEN)
    if way == "pipe":
        sys.exit(_serve_pipe(target))
    _serve_terminal(target, first, is_quiet=way == "quiet")


def _opened_target(
    vmcore: str, kernel: File, kmods: Mapping[str, File], facts: dict[str, Any]
) -> Target | WithoutMemory:
    places = [Place(*each) for each in facts.pop("places")]
    served: int | None = facts.pop("served")
    if facts.pop("is_log"):
        return WithoutMemory(kernel, kmods, Path(vmcore), () if facts["is_forced"] else places)
    facts["known"] = Known(**facts["known"])
    dump = _opened_file(vmcore) if served is None else File(vmcore, served)
    return Target(Request(dump, kernel, kmods=kmods, **facts))


def _deep_trace(target: Target, modules: str) -> drgn_commands.Command:
    """The command `glide`, which few use: it imports many of drgn's helpers."""

    def run(prog: Program, words: Sequence[str]) -> None:
        from cas.engines.drgn.child.glide.command import GlideCommand

        GlideCommand(target, modules)(prog, words)

    return run


class Console(repl._InteractiveConsoleWithCommand):
    """drgn's prompt, which takes crash's commands too."""

    own: ClassVar[Mapping[str, drgn_commands.Command]] = {}
    """Commands in the place of others of the name."""

    def __init__(self, variables: dict[str, Any]) -> None:
        """Begin with some variables, of which ``prog`` is the program."""
        # where it is a variable, Python 3.13 hands the line `help` on to us
        variables.setdefault("help", builtins.help)
        super().__init__(variables)
        self._prog: Program = variables["prog"]
        self._variables = variables
        self._commands = drgn_commands.names(self._prog) | self.own.keys()
        self.has_failed = False
        """Something could not be run, so far."""
        self._is_wrong = False

    def is_command(self, line: str) -> bool:
        """Whether a line is a command, of crash's or, behind ``%``, of drgn's own."""
        if line.lstrip().startswith("%"):
            return True
        # the names that Python knows here, without its own built-in ones
        is_helps_own = self._variables.get("help") is builtins.help
        names = self._variables.keys() - ({"help"} if is_helps_own else set())
        return is_command(line, self._commands, names, self._is_type_name)

    def runsource(self, source: str, filename: str = INPUT, symbol: str = "single") -> bool:
        """See the library; ``source`` may be a command."""
        line = source.strip("\n")
        if "\n" not in line and self.is_command(line):
            self.run_command(line.strip())
            return False
        self._is_wrong = False
        is_begun = super().runsource(source, filename, symbol)
        self._advise(source)
        return is_begun

    def run_unit(self, unit: Unit) -> None:
        """Run what stands in a file, or came through a pipe.

        :raises SystemExit: it ends the session
        """
        if unit.is_command:
            self.run_command(unit.text)
            return
        self._is_wrong = False
        try:
            # so that a traceback has the number of the line
            text = "\n" * (unit.line - 1) + unit.text
            code = compile(text, INPUT, "single", dont_inherit=True)
        except (SyntaxError, ValueError, OverflowError):
            self.showsyntaxerror(INPUT)
        else:
            self.runcode(code)
        self._advise(unit.text)

    def run_command(self, command: str) -> None:
        """Run a command; what it has to say against it is printed.

        :raises SystemExit: it ends the session
        """
        name = command.split(maxsplit=1)[0]
        if name in ENDING:
            raise SystemExit
        try:
            if command.startswith("%"):
                run_command(self._prog, command[1:], globals=self._variables)
            else:
                drgn_commands.run_with_shell(self._prog, command, self._variables, self.own)
        except KeyboardInterrupt:
            self.write("\nKeyboardInterrupt\n")
        except Exception as error:
            self.has_failed = True
            reason = " ".join(str(error).split()) or type(error).__name__
            self.write(f"{name}: {reason.removeprefix(f'{name}: ')}\n")

    def showtraceback(self, *arguments: Any, **named: Any) -> None:
        """See the library."""
        self.has_failed = self._is_wrong = True
        super().showtraceback(*arguments, **named)

    def showsyntaxerror(self, *arguments: Any, **named: Any) -> None:
        """See the library."""
        self.has_failed = self._is_wrong = True
        super().showsyntaxerror(*arguments, **named)

    def _advise(self, text: str) -> None:
        """Say which commands there are behind a failure that looks as if one was meant."""
        name = command_meant(text) if self._is_wrong else None
        if name and name not in self._variables and not hasattr(builtins, name):
            near = nearest(name, self._commands)
            self.write(f"there is no command {name} either; there is: {near}\n")

    def _is_type_name(self, name: str) -> bool:
        try:
            _guess_type(self._prog, name)
        except LookupError:
            return False
        return True


def _serve_pipe(target: Target | WithoutMemory) -> int:
    """Run what comes through stdin; the exit status."""
    commands = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # what is run reads no commands
    os.dup2(1, 2)
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, TextIOWrapper)  # noqa: S101
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    _tell_parent(remarks=target.remarks)
    target.prog.config["crash_scroll"] = False
    drgn.set_default_prog(target.prog)
    sys.displayhook = drgn.cli._displayhook
    console = Console(drgn.cli.default_globals(target.prog))
    try:
        _run_units(console, _lines_of_descriptor(commands))
    except SystemExit as end:
        if end.code:
            raise
    return WRONG if console.has_failed else 0


def _run_units(console: Console, lines: Iterable[str]) -> None:
    reader = Reader(console.is_command)
    for line in lines:
        for unit in reader.take_line(line):
            console.run_unit(unit)
            sys.stdout.flush()
    for unit in reader.rest():
        console.run_unit(unit)


def _serve_terminal(target: Target | WithoutMemory, first: str, *, is_quiet: bool) -> None:
    """Talk with whoever sits in front of the terminal."""

    def interact(variables: dict[str, Any], banner: str) -> None:
        if first:
            _run_units(Console(variables), Path(first).read_text("utf-8", "replace").split("\n"))
        repl.interact(variables, "" if is_quiet else f"{banner}\n{ADVICE}")

    # a pager would complain, and wait for keys; `more` of util-linux 2.38 waits at every end
    if os.environ.get("TERM") == "dumb" or shutil.which("less") is None:
        target.prog.config["crash_scroll"] = False
    for remark in target.remarks:
        print(f"! {remark}")
    if not is_quiet:
        print(drgn.cli.version_header())
    # drgn has no way to take another prompt than its own
    vars(repl)["_InteractiveConsoleWithCommand"] = Console
    vars(drgn.cli).update(interact=interact, Completer=_Completer)
    drgn.cli.run_interactive(target.prog)


class _Completer(Completer):
    """Completes the names of commands, too, at the beginning of a line."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        super().__init__(namespace)
        self._commands = drgn_commands.names(namespace["prog"]) | Console.own.keys()

    def _global_matches(self, text: str) -> list[str]:
        begins_line = not repl.readline.get_line_buffer()[: repl.readline.get_begidx()].strip()
        more = (f"{name} " for name in self._commands if begins_line and name.startswith(text))
        return sorted({*super()._global_matches(text), *more})


def _lines_of_descriptor(descriptor: int) -> Iterator[str]:
    """Lines as they come."""
    held = b""
    while data := os.read(descriptor, READ_BYTES):
        *whole, held = (held + data).split(b"\n")
        yield from (line.decode("utf-8", "replace").rstrip("\r") for line in whole)
    if held:
        yield held.decode("utf-8", "replace")


def _tell_parent(**message: Any) -> None:
    print(json.dumps(message), flush=True)


def _opened_file(name: str) -> File:
    return File(name, os.open(name, os.O_RDONLY))
