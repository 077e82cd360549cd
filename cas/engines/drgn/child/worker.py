"""The process that drgn runs in: requests on stdin, answers on stdout, a JSON object a line.

A damaged dump can kill drgn, hang it or fill the memory, so it never runs in our own process.
Files come open, over a socket beside stdin. Requests, in this order:

- ``{"open": {"names": [NAME, …], "kmods": [KMOD, …], "arch": …, "vmcoreinfo": …, …}}``
  with as many files: dump (or a socket to what serves it), vmlinux, and the kmods' debug files; no
  answer; if it fails,
  ``{"failed": SENTENCE, "misfit": …}`` to every later request
- ``{"fit": {}}``: ``{"done": "fit", "remarks": [SENTENCE, …]}``, once it is open
- ``{"answer": {"fact_timeout_s": N, "known": [FACT, …]}}``: for each fact that is not known
  ``{"reading": NAME, "what": …}`` and ``{"fact": NAME, "value": …, "problem": …}``; then
  ``{"done": "answer", "refused": [KMOD, …]}``
- ``{"supply": {"names": [NAME, …], "kmods": [KMOD, …]}}`` with as many files: more debug files of
  kernel modules; no answer
- ``{"run": {"command": …, "max_bytes": N, "timeout_s": N}}`` with one file, to append to:
  ``{"running": COMMAND}`` when all is prepared, then ``{"done": "run", "status": …, "error": …,
  "lacks_memory": …}``
- ``{"unmet": {"needs": [[KIND, [NAME, …]], …], "timeout_s": N}}``: ``{"done": "unmet", "numbers":
  [N, …]}``, those that the kernel does not meet
- ``{"detect": {"facts": {"arch": …, "kind": …, "uptime_s": …, "kmods": […]}, "done": [NAME, …]}}``:
  for each detector that is not done ``{"detecting": NAME, "title": …}`` when it begins, and
  ``{"detection": {…}}`` as in :class:`cas.model.evidence.Detection`;
  ``{"problem": SENTENCE}`` if they cannot run at all; then ``{"done": "detect"}``
- ``{"fault": {"place": …, "nowhere": …, "address": …, "registers": {…}, "timeout_s": N}}``:
  ``{"done": "fault", "reading": …, "problem": …}``, a :class:`cas.fault_reading.Reading` or null
- ``{"glide": {"tasks": …, "panic_depth": N, "depth": N, "timeout_s": N, "sources": [[NAME, PATH,
  TEXT, [KMOD, …]], …], "asked":
  [NAME, …]}}``: ``{"tracing": true}`` when the dump is open, ``{"record": {"kind": …, …}}``, one
  after the other, see ``schemas/glide.schema.json``; then ``{"done": "glide"}``
- ``{"decode": {"arch": …, "code": HEX, "mark": N, "place": …, "address": …, "registers": {…},
  "at": [FUNCTION, OFFSET, SIZE, KMOD], "timeout_s": N}}``, at any time, without a dump: the same,
  of the code that the log shows, and by the debug information of what ``locate`` was given, if any
- ``{"kernel": {"name": NAME}}`` with a vmlinux, at any time: for ``locate`` to be quicker, if it is
  asked for with this file; no answer
- ``{"locate": {"names": [NAME, …], "kmods": [KMOD, …], "places": [[FUNCTION, OFFSET, SIZE, KMOD],
  …], "timeout_s": N}}`` with as many files, vmlinux and kmods' debug files, at any time, without a
  dump: ``{"done": "locate", "found": …, "problem": …}``, see :func:`.locate.locate_all`
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import socket
import sys
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from cas.choices import SectionStatus
from cas.engines.drgn.child.answer import FACTS, Fact
from cas.engines.drgn.child.fit import Known
from cas.engines.drgn.child.helpers import import_all
from cas.engines.drgn.child.limits import Late, raise_late_on_alarm, time_limit
from cas.engines.drgn.child.target import CannotOpen, File, Misfit, Partial, Request, Target
from cas.text import plain_fault
from cas.units import human_size

if TYPE_CHECKING:
    from cas.engines.drgn.child.locate import Locator

STRING_LIMIT = 300
"""Characters of one string of a fault; a symbol of the kernel has up to 512."""


def main(channel: int) -> None:
    """Serve requests until stdin ends.

    :param channel: descriptor of the socket that brings files
    """
    # keep the conversation to ourselves: what drgn prints goes to stderr, and it reads nothing
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    # A first answer is over before there is garbage worth a collection.
    gc.disable()
    raise_late_on_alarm()
    session = Session(replies, socket.socket(fileno=channel))
    for line in requests:
        session.serve(json.loads(line))


class Session:
    """One dump and the conversation about it."""

    def __init__(self, replies: IO[str], channel: socket.socket) -> None:
        self._replies = replies
        self._channel = channel
        self._target: Target | None = None
        self._failure = CannotOpen("no dump was opened")
        self._locator: Locator | None = None
        """The kernel of a log, once places of it were asked for."""

    def serve(self, request: dict[str, Any]) -> None:
        """Do what one request asks."""
        if "open" in request:
            self._open_target(request["open"])
            return
        if "supply" in request:
            self._supply_kmods(**request["supply"])
            return
        if "decode" in request:
            self._decode_opcodes(**request["decode"])
            return
        if "kernel" in request:
            self._read_ahead(**request["kernel"])
            return
        if "locate" in request:
            self._locate(**request["locate"])
            return
        with contextlib.ExitStack() as stack:
            if "run" in request:
                output = stack.enter_context(os.fdopen(self._take_descriptors(1)[0], "ab"))
            if self._target is None:
                is_misfit = isinstance(self._failure, Misfit)
                self._reply(failed=str(self._failure), misfit=is_misfit)
            elif "fit" in request:
                self._reply(done="fit", remarks=self._target.remarks)
            elif "answer" in request:
                self._tell_facts(self._target, **request["answer"])
            elif "unmet" in request:
                self._tell_unmet(self._target, **request["unmet"])
            elif "detect" in request:
                self._run_detectors(self._target, **request["detect"])
            elif "fault" in request:
                self._read_fault(self._target, **request["fault"])
            elif "glide" in request:
                self._glide(self._target, **request["glide"])
            elif "run" in request:
                self._run_into_file(self._target, output, request["run"])

    def _supply_kmods(self, names: list[str], kmods: list[str]) -> None:
        files = dict(zip(kmods, self._received_files(names), strict=True))
        if self._target is not None:
            self._target.supply(files)

    def _received_files(self, names: list[str]) -> list[File]:
        return [File(*each) for each in zip(names, self._take_descriptors(len(names)), strict=True)]

    def _take_descriptors(self, number: int) -> list[int]:
        """Descriptors that the parent sent."""
        taken: list[int] = []
        while len(taken) < number:
            _, descriptors, _, _ = socket.recv_fds(self._channel, 1, number)
            if not descriptors:
                raise EOFError("the parent sent no file")
            taken += descriptors
        return taken

    def _open_target(self, asked: dict[str, Any]) -> None:
        dump, vmlinux, *kmods = self._received_files(asked["names"])
        request = Request(
            dump,
            vmlinux,
            asked["arch"],
            dict(zip(asked["kmods"], kmods, strict=True)),
            asked["vmcoreinfo"],
            Known(**asked["known"]),
            asked["forced"],
            asked["death"],
            asked["ahead"],
        )
        if self._target is not None and self._target.serves(request):
            return
        self._target = None
        try:
            self._target = Target(request)
        except CannotOpen as error:
            self._failure = error

    def _tell_facts(self, target: Target, fact_timeout_s: float, known: list[str]) -> None:
        for name, fact in FACTS.items():
            if name in known:
                continue
            self._reply(reading=name, what=fact.what)
            value, problem = read_fact(target, fact, fact_timeout_s)
            said = problem and f"{fact.what}: {plain_fault(problem)}"
            self._reply(fact=name, value=value, problem=said)
            if name == "dmesg" and value:
                from cas.panic import panic_message  # most logs were read before

                self._reply(fact="panic_message", value=panic_message(value), problem=None)
        self._reply(done="answer", refused=target.refused)

    def _tell_unmet(self, target: Target, needs: list[Any], timeout_s: float) -> None:
        from cas.engines.drgn.child.needs import unmet

        numbers: list[int] = []
        with contextlib.suppress(Late), time_limit(timeout_s):
            numbers += unmet(target.prog, needs)
        self._reply(done="unmet", numbers=numbers)

    def _run_detectors(self, target: Target, facts: dict[str, Any], done: list[str]) -> None:
        # The first answer does not wait until these are imported.
        from cas.engines.drgn.child.detect import detections

        try:
            for message in detections(target, facts, done):
                self._reply(**message)
        except Exception as error:
            self._reply(problem=error_sentence(error))
        self._reply(done="detect")

    def _read_fault(self, target: Target, timeout_s: float, **wanted: Any) -> None:
        # What disassembles takes a tenth of a second to import.
        from cas.engines.drgn.child.fault import Wanted, read_fault

        self._tell_fault(
            "fault", timeout_s, lambda into: read_fault(target, Wanted(**wanted), into)
        )

    def _glide(self, target: Target, sources: list[list[Any]], **wanted: Any) -> None:
        # Few ask for it, and it imports many of drgn's helpers.
        from cas.engines.drgn.child.glide.modules import Source
        from cas.engines.drgn.child.glide.trace import Glide, Wanted

        self._reply(tracing=True)
        gc.enable()
        files = tuple(Source(*each) for each in sources)
        asked = tuple(wanted.pop("asked"))
        for record in Glide(target, Wanted(sources=files, asked=asked, **wanted)).records():
            self._reply(record=record)
        self._reply(done="glide")

    def _decode_opcodes(self, timeout_s: float, at: list[Any] | None, **code: Any) -> None:
        from cas.engines.drgn.child.locate import Place
        from cas.engines.drgn.child.opcodes import Logged, read_opcodes, read_pointer

        def read(into: dict[str, Any]) -> None:
            read_opcodes(Logged(**code), into)
            if at is not None and self._locator is not None:
                read_pointer(self._locator, Place(*at), Logged(**code), into)

        self._tell_fault("decode", timeout_s, read)

    def _read_ahead(self, name: str) -> None:
        from cas.engines.drgn.child.locate import Locator

        (vmlinux,) = self._received_files([name])
        with contextlib.suppress(Exception):  # what is wrong with it is said when it is asked for
            self._locator = Locator(vmlinux)
            self._locator.read_ahead()

    def _locate(
        self, names: list[str], kmods: list[str], places: list[list[Any]], timeout_s: float
    ) -> None:
        from cas.engines.drgn.child.locate import Locator, Place, locate_all

        vmlinux, *files = self._received_files(names)
        found: dict[str, Any] = {}
        problem = None
        try:
            with time_limit(timeout_s):
                wanted = (Place(*each) for each in places)
                if self._locator is None or not self._locator.serves(vmlinux):
                    self._locator = Locator(vmlinux)
                for name, file in zip(kmods, files, strict=True):
                    self._locator.add_kmod(name, file)
                locate_all(self._locator, wanted, found)
        except Late:
            problem = f"given up after {timeout_s:g} s"
        except Exception as error:
            problem = error_sentence(error)
        self._reply(done="locate", found=found, problem=problem)

    def _tell_fault(
        self, request: str, timeout_s: float, read: Callable[[dict[str, Any]], None]
    ) -> None:
        """What could be read in the time, the most important first."""
        reading: dict[str, Any] = {}
        problem = None
        try:
            with time_limit(timeout_s):
                read(reading)
        except Late:
            problem = f"given up after {timeout_s:g} s"
        except Exception as error:
            problem = error_sentence(error)
        self._reply(done=request, reading=_with_short_strings(reading) or None, problem=problem)

    def _run_into_file(self, target: Target, file: IO[bytes], request: dict[str, Any]) -> None:
        # Importing drgn's commands costs more than the whole first answer's Python.
        import_all()
        from cas.engines.drgn.child.run import Full, Output, run_command

        gc.enable()
        error: str | None
        status, error = SectionStatus.TIMEOUT, f"timed out after {request['timeout_s']:g} s"
        lacks_memory = False
        try:
            target.describe_all()
            self._reply(running=request["command"])
            with (
                Output(file, request["max_bytes"], target.names) as output,
                time_limit(request["timeout_s"]),
            ):
                failure = run_command(target.prog, request["command"], output)
            status, error = (
                (SectionStatus.FAILED, failure.reason) if failure else (SectionStatus.OK, None)
            )
            lacks_memory = bool(failure and failure.lacks_memory)
        except Full:
            status, error = SectionStatus.CUT, f"cut after {human_size(request['max_bytes'])}"
        except Late:
            pass
        except MemoryError:
            status, error = SectionStatus.MEMORY, "out of memory"
        except Exception as failure:
            status, error = SectionStatus.FAILED, error_sentence(failure)
        self._reply(done="run", status=status, error=error, lacks_memory=lacks_memory)

    def _reply(self, **message: Any) -> None:
        self._replies.write(json.dumps(message) + "\n")
        self._replies.flush()


def read_fact(target: Target, fact: Fact, timeout_s: float) -> Partial:
    """A fact, as far as it can be read."""
    try:
        with time_limit(timeout_s):
            value = fact.read(target)
    except Late:
        return Partial(None, f"given up after {timeout_s:g} s")
    except Exception as error:
        return Partial(None, error_sentence(error))
    return value if isinstance(value, Partial) else Partial(value, None)


def _with_short_strings(told: Any) -> Any:
    """What was read, with strings of the dump cut: a name there may be of any length."""
    if isinstance(told, str):
        return told if len(told) <= STRING_LIMIT else f"{told[:STRING_LIMIT]}…"
    if isinstance(told, dict):
        return {name: _with_short_strings(value) for name, value in told.items()}
    return [_with_short_strings(value) for value in told] if isinstance(told, list) else told


def error_sentence(error: BaseException) -> str:
    """What an exception says, in one line."""
    return plain_fault(" ".join(str(error).split())) or type(error).__name__
