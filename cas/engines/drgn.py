"""The drgn engine: a first answer from any dump of any architecture, and the snippets' commands.

drgn runs in a process of its own, see :mod:`cas.engines.drgn_worker`. Start it early: it loads
drgn's libraries while the dump's kernel is still being looked up.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import cas
from cas.engines.limits import Limits
from cas.errors import EngineError
from cas.model import Dump, FirstAnswer, Frame, Kmod, Section, Snippet, Task
from cas.supervise import Child, Room, describe

PACKAGES = Path(cas.__file__).absolute().parent.parent
PROGRAM = "import sys; sys.path += sys.argv[1:]; from cas.engines.drgn_worker import main; main()"
ENVIRONMENT = {
    # Other packages' plugins have no business with a hostile dump; drgn's own cost 0.2 s.
    "DRGN_DISABLE_PLUGINS": "*",
    "COLUMNS": "80",
}

MAX_MESSAGE_BYTES = 256 << 20
"""The greatest kernel log, 2^25 bytes, with every character escaped."""

PATIENCE_S = 5.0
"""The worker gives up by itself; if it hangs inside drgn, it is killed so much later."""

FACT_SHARE = 0.5
"""Of the time for the whole answer, what one fact may take."""

EXIT_S = 0.5
"""Between the end of its output and the end of a process that died."""

WEIGHT = {"ok": 0, "failed": 1, "not run": 2, "cut": 3, "timeout": 4, "crashed": 5}
MAX_RESTARTS = 3

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Opened:
    """What drgn is to look at."""

    dump: Dump
    vmlinux: Path
    kmods: Mapping[str, Path] = field(default_factory=dict)
    """Debug files of kernel modules, by the kernel's name for the module."""

    def request(self) -> Message:
        """The worker's request to open it."""
        known = self.dump.vmcoreinfo.items()
        return {
            "dump": str(self.dump.path.absolute()),
            "vmlinux": str(self.vmlinux.absolute()),
            "arch": self.dump.arch,
            "kmods": {name: str(path.absolute()) for name, path in self.kmods.items()},
            "vmcoreinfo": "".join(f"{key}={text}\n" for key, text in known) or None,
        }


class WorkerEnded(EngineError):
    """drgn's process is gone; ``status`` says how in the words of :class:`cas.model.Section`."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


class Worker:
    """A process with drgn in it; a context manager that leaves no process behind.

    It is started at once, and again after it died, as long as that happens seldom.
    """

    def __init__(self, room: Path, memory_bytes: int | None = 8 << 30) -> None:
        """Start the process.

        :param room: an empty directory for it to run in
        :param memory_bytes: limit of its address space, in which the vmlinux is mapped twice
        :raises EngineError: it cannot be started
        """
        self._room = Room(room, memory_bytes, ENVIRONMENT)
        self._opened: Opened | None = None
        self._restarts = 0
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.end()

    @property
    def pid(self) -> int:
        """Process id of the worker that runs now."""
        return self._child.pid

    def open(self, opened: Opened) -> None:
        """Let the worker begin to read the dump; whether it can be read shows later."""
        if self._is_alive and opened == self._opened:
            return
        self._opened = opened
        if self._is_alive:
            self._send({"open": opened.request()})
        else:
            self._revive()

    def answer(self, opened: Opened, timeout_s: float) -> FirstAnswer:
        """What crashed, where and why.

        What cannot be read is missing in the answer and named in its ``problems``.

        :raises EngineError: drgn cannot open the dump, or does not come back
        """
        deadline = time.monotonic() + timeout_s
        self.open(opened)
        known = _known(opened.dump)
        request = {"fact_timeout_s": timeout_s * FACT_SHARE, "known": list(known)}
        self._send({"answer": request})
        facts, problems = dict(known), list[str]()
        what = "the dump"
        try:
            while "done" not in (message := self._receive(deadline, timeout_s)):
                what = message.get("reading", what)
                _take(message, facts, problems)
            _refuse(message["refused"], facts, problems)
        except WorkerEnded as error:
            if facts == known:
                raise
            problems.append(f"{what}: {error}")
        if not any(value for name, value in facts.items() if name not in known):
            raise EngineError(
                f"drgn can read nothing in the dump: {problems[0].partition(': ')[2]}"
            )
        return _answer(facts, problems)

    def run(self, snippet: Snippet, output: Path, limits: Limits) -> Section:
        """Run a snippet's commands into a file; what fails does not stop the rest."""
        begun = time.monotonic()
        output.write_bytes(b"")
        outcomes: list[tuple[str, str | None]] = []
        for command in snippet.commands:
            if outcomes and outcomes[-1][0] == "cut":
                break
            outcomes.append(self._run_command(command, output, limits))
        worst = max((status for status, _ in outcomes), key=WEIGHT.__getitem__, default="ok")
        return Section(
            snippet.name,
            snippet.title,
            worst,
            "drgn",
            output,
            seconds=time.monotonic() - begun,
            size_bytes=output.stat().st_size,
            error="; ".join(error for _, error in outcomes if error) or None,
        )

    def _run_command(self, command: str, output: Path, limits: Limits) -> tuple[str, str | None]:
        request = {
            "command": command,
            "output": str(output.absolute()),
            "max_bytes": limits.section_bytes,
            "timeout_s": limits.command_s,
        }
        try:
            self._revive()
            self._send({"run": request})
            done = self._receive(time.monotonic() + limits.start_s, limits.start_s)
            if "running" in done:
                patience_s = limits.command_s + PATIENCE_S
                done = self._receive(time.monotonic() + patience_s, patience_s)
        except WorkerEnded as error:
            return error.status, f"{command}: {error}"
        except EngineError as error:
            return "not run", f"{command}: {error}"
        return done["status"], f"{command}: {done['error']}" if done["error"] else None

    def _start(self) -> None:
        # Without site, whose hooks for other packages cost up to a tenth of the whole answer.
        argv = [sys.executable, "-I", "-S", "-c", PROGRAM, str(PACKAGES), _home_of_drgn()]
        self._child = Child(argv, self._room)
        self._received = bytearray()
        self._is_alive = True

    def _revive(self) -> None:
        if self._is_alive:
            return
        if self._restarts == MAX_RESTARTS:
            raise EngineError(f"drgn died {MAX_RESTARTS + 1} times on this dump")
        self._restarts += 1
        self._start()
        if self._opened is not None:
            self._send({"open": self._opened.request()})

    def _send(self, request: Message) -> None:
        # A worker that is gone shows itself when its answer is waited for.
        self._child.send(json.dumps(request).encode() + b"\n")

    def _receive(self, deadline: float, limit_s: float) -> Message:
        """The worker's next message.

        :param limit_s: what to call the time that was allowed
        :raises EngineError: the worker cannot open the dump
        :raises WorkerEnded: it died, or had to be ended
        """
        while (end := self._received.find(b"\n")) < 0:
            data = self._child.read(max(0.0, deadline - time.monotonic()))
            if data is None:
                self._end()
                raise WorkerEnded("timeout", f"timed out after {limit_s:g} s")
            self._received += data
            if not data or len(self._received) > MAX_MESSAGE_BYTES:
                raise WorkerEnded("crashed", self._end())
        message: Message = json.loads(self._received[:end])
        del self._received[: end + 1]
        if "failed" in message:
            raise EngineError(f"drgn cannot open the dump: {message['failed']}")
        return message

    def _end(self) -> str:
        """How the process ended, by itself or by us."""
        self._is_alive = False
        status = self._child.wait(EXIT_S)
        killed = self._child.end()
        status = killed if status is None else status
        last = self._child.stderr.strip().rpartition("\n")[2]
        end = f"drgn {'was' if status < 0 else 'ended with'} {describe(status)}"
        return f"{end}: {last}" if last else end


def _home_of_drgn() -> str:
    found = importlib.util.find_spec("drgn")
    if found is None or found.origin is None:
        raise EngineError("the Python package drgn is not installed", hint="pip install drgn")
    return str(Path(found.origin).parent.parent)


def _known(dump: Dump) -> Message:
    """What the dump's reader has found out already: the slowest facts in a long log."""
    if dump.dmesg is None:
        return {}
    return {"dmesg": dump.dmesg, "panic_message": dump.panic_message}


def _take(message: Message, facts: Message, problems: list[str]) -> None:
    if "fact" in message:
        facts[message["fact"]] = message["value"]
        if message["problem"]:
            problems.append(message["problem"])


def _refuse(kmods: list[str], facts: Message, problems: list[str]) -> None:
    for kmod in facts["kmods"] or ():
        if kmod["name"] in kmods:
            kmod["has_debuginfo"] = False
            problems.append(f"{kmod['name']}: the given debug file is of another build")


def _answer(facts: Message, problems: list[str]) -> FirstAnswer:
    task, crash_time = facts.get("panic_task"), facts.get("crash_time")
    return FirstAnswer(
        panic_message=facts.get("panic_message"),
        panic_task=Task(**task) if task else None,
        backtrace=tuple(Frame(**frame) for frame in facts.get("backtrace") or ()),
        kmods=tuple(Kmod(**kmod) for kmod in facts.get("kmods") or ()),
        taint=facts.get("taint") or "",
        uptime_s=facts.get("uptime_s"),
        cpus_online=facts.get("cpus_online"),
        memory_bytes=facts.get("memory_bytes"),
        nodename=facts.get("nodename"),
        crash_time=datetime.fromtimestamp(crash_time, UTC) if crash_time is not None else None,
        dmesg=facts.get("dmesg"),
        problems=tuple(problems),
    )
