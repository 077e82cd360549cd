"""What analysis hosts have: found out by asking them, all side by side."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from cas.errors import CasError
from cas.frozen import dataclass
from cas.hosts.link import HostUnfit, Link, open_link
from cas.hosts.questions import (
    BEGIN,
    END,
    INSPECT,
    LOAD,
    PROGRAM_S,
    TIMED_OUT,
    TOOLS,
    HostAnswer,
    ProgramAnswer,
    read_answer,
)
from cas.hosts.shared import sees_directory
from cas.model.host import CrashProgram, Host
from cas.progress import Progress
from cas.settings.config import Config
from cas.text import count, one_line, short_line
from cas.units import human_size

_WAIT_S = 0.5
AT_A_TIME = 16
"""Hosts that are asked side by side."""
INSPECT_S = 60.0
ANSWER_BYTES = 256 << 10
LOAD_BYTES = 16 << 10
LITTLE_BYTES = 1 << 30
"""Free room for copies with which a host is as good as full."""
SHOWN = 80
"""Characters of what a host says that stand in a sentence of ours."""
TARGETS = {
    "ARM64": "aarch64",
    "X86": "i686",
    "PPC64": "ppc64le",
    "LOONGARCH": "loongarch64",
}
"""crash's names of architectures (``build_target`` of --buildinfo, configure.c) where they are not
``uname -m``'s in upper case."""
PROCESSORS = {"powerpc64le": "ppc64le", "powerpc64": "ppc64", "powerpc": "ppc", "mipsel": "mips"}
"""The same for GDB's ``--target=``."""
VERSION = r"([0-9][0-9A-Za-z.+~_-]{0,31})"


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a host is at the moment."""

    sessions: int
    """How many sessions of CAS run there, from whichever machine."""
    load_per_cpu: float
    """Processes that ran or waited for a disk over the last minute, by the number of CPUs."""
    memory_bytes: int
    """Memory that is available."""
    free_bytes: int
    """Room that is free below the directory for copies."""


def inspect_host(link: Link, config: Config) -> Host:
    """The facts of a host; what it answers wrongly is a problem, and is not believed.

    :raises HostLost: the link broke, or it took too long
    :raises HostUnfit: it answers without end
    """
    connection = link.connection
    host = Host(
        connection.destination.name,
        connection.destination.port,
        checked=datetime.now(UTC),
        host_key=connection.host_key,
    )
    done = link.run_script(
        INSPECT, config.hosts.directory, BEGIN, END, timeout_s=INSPECT_S, max_bytes=ANSWER_BYTES
    )
    answer = read_answer(done.stdout)
    if answer is None:
        return replace(host, problem=_why_no_answer(done.stdout, done.stderr, done.status))
    if not _arch_of_host(answer):
        return replace(
            host, problem=f"uname -m there says {_in_backticks(answer.facts.get('arch', ''))}"
        )
    crashes, remarks = _crash_programs(answer)
    drgn_versions = (
        words.first_match(rf"drgn {VERSION}( .*)?")
        for (kind, _), words in answer.programs.items()
        if kind == "drgn" and words.status == 0
    )
    with suppress(OSError):  # without it nothing could be proved
        config.work_directory.mkdir(parents=True, exist_ok=True)
    host = replace(
        host,
        arch=_arch_of_host(answer),
        crashes=crashes,
        drgn=next(drgn_versions, None),
        cpus=answer.cpus,
        memory_bytes=answer.memory_bytes,
        free_bytes=answer.free_bytes,
        is_shared=sees_directory(link, config.work_directory),
    )
    problems = list(_host_problems(host, answer, config.hosts.directory, remarks))
    return replace(host, problem="; ".join(problems) or None, remarks=remarks)


def load_of(link: Link, config: Config) -> Load:
    """How busy a host is, in one round trip.

    :raises HostLost: the link broke, or it took too long
    :raises HostUnfit: what it answers is no answer
    """
    done = link.run_script(
        LOAD,
        *(config.hosts.directory, BEGIN, END),
        timeout_s=link.keepalive_s,
        max_bytes=LOAD_BYTES,
    )
    answer = read_answer(done.stdout)
    if answer is None:
        raise HostUnfit(f"{link.name}: {_why_no_answer(done.stdout, done.stderr, done.status)}")
    load, memory_bytes, free_bytes = answer.load_average, answer.memory_bytes, answer.free_bytes
    if load is None or memory_bytes is None or free_bytes is None:
        raise HostUnfit(f"{link.name}: it does not tell its load, memory and free room")
    return Load(answer.busy, load / (answer.cpus or 1), memory_bytes, free_bytes)


def ask_all_hosts(
    hosts: Sequence[Host],
    config: Config,
    progress: Progress,
    ask: Callable[[Host, Config], Host] | None = None,
) -> tuple[Host, ...]:
    """Hosts with the facts of this moment, in the order given; none stops or delays the others.

    One that cannot be asked keeps the facts that were known, and gets a problem.

    :param ask: how one is asked; ``None``: as an analysis host
    """
    ask = ask or ask_host
    todo: queue.SimpleQueue[tuple[int, Host]] = queue.SimpleQueue()
    answers: queue.SimpleQueue[tuple[int, Host]] = queue.SimpleQueue()
    for numbered in enumerate(hosts):
        todo.put(numbered)

    def work() -> None:
        with suppress(queue.Empty):
            while True:
                number, host = todo.get_nowait()
                try:
                    found = ask(host, config)
                except CasError as error:
                    advice = f"; {error.hint}" if error.hint else ""
                    found = replace(host, problem=one_line(f"{error}{advice}"))
                except Exception as error:  # whatever one host does, the others are asked
                    said = f"{type(error).__name__}: {short_line(str(error), SHOWN)}"
                    found = replace(host, problem=f"internal error: {said}")
                answers.put((number, found))

    for _ in hosts[:AT_A_TIME]:  # daemons, so that an interruption need not wait for any host
        threading.Thread(target=work, name="survey", daemon=True).start()
    renewed = dict(enumerate(hosts))
    with progress.bar(f"Asking {count(len(hosts), 'host')}", len(hosts), "hosts") as advance:
        waiting = len(hosts)
        while waiting:
            # a signal just before the wait begins is heard when it ends: so it is no long one
            with suppress(queue.Empty):
                number, renewed[number] = answers.get(timeout=_WAIT_S)
                advance(1)
                waiting -= 1
    return tuple(renewed.values())


def ask_host(host: Host, config: Config) -> Host:
    """A host with the facts of this moment.

    :raises CasError: there is no login, or it answers nothing of use
    """
    with open_link(host, config) as link:
        found = inspect_host(link, config)
    if found.arch is None:
        raise HostUnfit(f"{host}: {found.problem}")
    return replace(found, name=host.name, port=host.port, is_enabled=host.is_enabled)


def _why_no_answer(output: bytes, stderr: str, status: int) -> str:
    said = output.decode("utf-8", "replace").strip() or stderr.strip()
    what = f"says {_in_backticks(said)}" if said else "says nothing"
    return (
        f"a command there {what} and ends with status {status}; "
        "its user needs a login shell that runs commands, with coreutils"
    )


def _arch_of_host(answer: HostAnswer) -> str | None:
    arch = answer.facts.get("arch", "")
    return arch if re.fullmatch(r"\w{2,32}", arch, re.ASCII) else None


def _crash_programs(answer: HostAnswer) -> tuple[tuple[CrashProgram, ...], tuple[str, ...]]:
    """The crash programs, and what is wrong with others of that name."""
    crashes, remarks = [], []
    for (kind, path), words in answer.programs.items():
        if kind != "crash":
            continue
        version = words.first_match(rf"crash {VERSION}") if words.status == 0 else None
        if version is None:
            asked = "when it is asked for its version"
            said = _in_backticks(words.lines[0] if words.lines else "")
            if words.status in TIMED_OUT:
                why = f"does not say its version within {PROGRAM_S} s"
            elif words.status is None:
                why = f"writes without end {asked}"
            elif words.status or not words.lines:
                why = f"says {said} and ends with status {words.status} {asked}"
            else:
                why = f"is no crash: asked for its version it says {said}"
            remarks.append(f"{path} {why}")
            continue
        arch = _target_arch(
            answer.programs.get(("build", path), ProgramAnswer()),
            words,
            _arch_of_host(answer) or "",
        )
        crashes.append(CrashProgram(path, version, arch))
    return tuple(crashes), tuple(remarks)


def _target_arch(build: ProgramAnswer, version: ProgramAnswer, arch: str) -> str:
    """Of which architecture the dumps are that a crash program reads.

    Source: crash's ``--buildinfo``; older ones have GDB's line "This GDB was configured as", where
    only a ``--target=`` means something: without, it is the machine that crash was built for.
    """
    target = build.first_match(r"\s*build_target: ([A-Z0-9_]{2,20})") if build.status == 0 else None
    if target == "PPC64" and arch.startswith("ppc64"):
        return arch
    if target:
        return TARGETS.get(target, target.lower())
    processor = version.first_match(
        r'This GDB was configured as ".*--target=([A-Za-z0-9_]{2,20})-.*'
    )
    if processor:
        return PROCESSORS.get(processor, processor)
    return "arm" if arch.startswith("arm") else arch


def _host_problems(
    host: Host, answer: HostAnswer, directory: str, remarks: Sequence[str]
) -> Iterator[str]:
    """Why a host is of no use, each with what mends it."""
    for tool, package in TOOLS.items():
        if f"has-{tool}" not in answer.facts:
            yield f"it has no {tool}: install {package} there"
    if "foreign" in answer.facts:
        yield f"{directory} there is not our user's: remove it, or set `hostDirectory` in cas.conf"
    elif "writable" not in answer.facts:
        yield f"{directory} cannot be written there: mend that, or set `hostDirectory` in cas.conf"
    elif host.free_bytes is None:
        yield f"it does not say how much room {directory} has"
    elif host.free_bytes < LITTLE_BYTES and not host.is_shared:
        yield f"only {human_size(host.free_bytes)} are free below {directory}: make room there"
    if not host.crashes and "has-timeout" in answer.facts:
        others = f" ({'; '.join(remarks)})" if remarks else ""
        yield f"no crash that works is installed there{others}: install the package crash"


def _in_backticks(text: str) -> str:
    return f"`{short_line(text.replace(chr(10), ' '), SHOWN)}`" if text else "nothing"
