"""A command of the debugger in the place of an analyzer: what is one, and how it is run."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from cas.analyzers.prepared import PreparedCrash
from cas.choices import SectionStatus
from cas.dump.served_source import SourceServer
from cas.engines.crash.answer import judge_answer
from cas.engines.crash.conversation import Exchange, Opening, Preparation, Stop
from cas.engines.crash.kaslr import crash_options
from cas.engines.crash.place import LocalPlace
from cas.engines.crash.program import choose_crash
from cas.engines.drgn.terminal import Beginning, drgn_between_pipes
from cas.engines.piped import PipedDebugger
from cas.files import shipped
from cas.frozen import dataclass
from cas.model.case import Case
from cas.settings.config import Config
from cas.snippets import snippets
from cas.supervise import Child, Confinement, describe_status
from cas.units import human_size

CRASH_COMMANDS = frozenset(
    {
        *("alias", "ascii", "bpf", "bt", "btop", "dev", "dis", "eval", "extend", "files"),
        *("foreach", "fuser", "gdb", "help", "ipcs", "irq", "kmem", "list", "log", "mach", "mod"),
        *("mount", "net", "p", "ps", "pte", "ptob", "ptov", "rd", "runq", "sbitmapq", "search"),
        *("set", "sig", "struct", "swap", "sym", "sys", "task", "timer", "tree", "union", "vm"),
        *("vtop", "waitq", "whatis", "wr"),
    }
)
"""The commands of crash 8, as its ``help`` lists them."""
_ONE_LINE = re.compile(r"[^\n\x00]+")


def is_debuggers(word: str) -> bool:
    """Whether what is no analyzer's name is meant as a command of the debugger.

    >>> is_debuggers("bt"), is_debuggers("foreach UN bt"), is_debuggers("signatrue")
    (True, True, False)
    """
    is_said = " " in word.strip() or word in CRASH_COMMANDS
    return is_said and _ONE_LINE.fullmatch(word) is not None


@dataclass(frozen=True, slots=True)
class CommandRun:
    """A command of the debugger on one crash."""

    command: str
    case: Case
    crash: PreparedCrash
    config: Config
    confinement: Confinement
    read: Callable[[Child, float], bytes | None]
    """Reads what a child writes, see `Child.read`; raises when all shall end."""
    follow: Callable[[Child, BinaryIO], str | None]
    """Takes what a child writes up to its end, or that of our patience; why it failed, if so."""

    def run(self, output: BinaryIO, timeout_s: float, max_bytes: int) -> str | None:
        """Run it in crash, where there is one for the dump, else in drgn; why it failed, if so.

        :raises EngineError: the debugger does not open the dump
        """
        program = choose_crash(self.config, self.case.dump.arch, self.config.engine)
        if self.crash.source is not None:
            with SourceServer(self.crash.source) as server:
                return self._run_in_drgn(output, server.theirs.fileno())
        if program is None:
            return self._run_in_drgn(output)
        return self._run_in_crash(program, output, timeout_s, max_bytes)

    def _run_in_crash(
        self, program: Path, output: BinaryIO, timeout_s: float, max_bytes: int
    ) -> str | None:
        dump, vmlinux = self.case.dump, self.case.vmlinux
        place = LocalPlace(
            *(program, vmlinux, dump.path, self.confinement, self.config.extensions),
            kmods=self.crash.kmods,
            needed=crash_options(dump, vmlinux),
        )
        facts = snippets.Facts(dump.arch, dump.osrelease, [*self.crash.kmods], dump.size_bytes)
        directories = (shipped.shipped("snippets") / "crash", *self.config.snippets)
        prelude = snippets.load_prelude(directories, facts, self.confinement).prelude
        first = Preparation(self.crash.kmods, self.config.extensions, prelude)
        with place.start(()) as child:
            read = partial(self.read, child)
            opening = Opening(first.commands_at(place))
            child.send(opening.text)
            start_s = self.config.supervision.start_s
            opening.wait_until_open(read, lambda: (child.end(), child.stderr), start_s)
            before, exchange = child.stderr, Exchange(self.command)
            child.send(exchange.text)
            stop = exchange.wait(read, timeout_s, max_bytes)
            output.write(exchange.answer)
            if stop is Stop.MARKER:
                beside = child.stderr.removeprefix(before)
                status, why = judge_answer(self.command, exchange.answer, beside)
                return why if status is not SectionStatus.OK else None
            if stop is Stop.LIMIT:
                return f"it wrote more than {human_size(max_bytes)}"
            if stop is Stop.SILENCE:
                return child.fault or f"timed out after {timeout_s:g} s"
            return f"crash was {describe_status(child.end())}"

    def _run_in_drgn(self, output: BinaryIO, served: int | None = None) -> str | None:
        beginning = Beginning(served=served)
        with drgn_between_pipes(self.case, self.confinement, beginning) as child:
            PipedDebugger(child, "drgn").greeting(self.config.supervision.start_s)
            child.send(self.command.encode("utf-8", "surrogateescape") + b"\n")
            child.close_stdin()
            return self.follow(child, output)
