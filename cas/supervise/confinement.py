"""Where a program runs: its directory, its limits, its sandbox and what it sees of our files."""

from __future__ import annotations

import math
import os
import re
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path

from cas.errors import EngineError
from cas.frozen import dataclass
from cas.settings.rules import Supervision
from cas.supervise import seccomp
from cas.supervise.programs import SAFE_PATH, find_program
from cas.supervise.sandbox import HOME, Sandbox, visible

MARK = "CAS_RUN"
"""Variable by which a program's descendants are known where there is no sandbox."""
OPEN_FILES = 1024
CPU_GRACE_S = 5
"""Seconds between SIGXCPU and SIGKILL."""
COUNTS_BY_NAMESPACE = (5, 14)
"""A user namespace counts its own processes since Linux 5.14 (21d1c5e386bc)."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """Where programs run and what they may use."""

    directory: Path
    """Working directory and HOME: empty, so that no ``.crashrc`` or ``.gdbinit`` is obeyed. In a
    sandbox an empty directory of its own takes its place."""
    supervision: Supervision = field(default_factory=Supervision)
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables beside PATH, HOME, LANG and TERM."""
    sandbox: Sandbox | None = None
    """``None``: programs see what we see."""


@dataclass(frozen=True, slots=True)
class VisibleFiles:
    """What one program gets of our files."""

    files: Mapping[Path, str] = field(default_factory=dict)
    """Files and directories to read, and where it finds them in a sandbox; words of its command
    line that are such a path are translated."""
    descriptors: tuple[int, ...] = ()
    """Open files that it inherits, under the same numbers."""
    has_proc: bool = True
    """A sandbox shows it its own processes; without, a descriptor that was opened for
    reading stays so."""


@dataclass(frozen=True, slots=True)
class PreparedStart:
    """How one program is started."""

    words: list[str]
    """The words that start it, with its limits, in its sandbox."""
    program: Path
    descriptors: tuple[int, ...] = ()
    """Open files that it inherits, under the same numbers."""


@contextmanager
def prepared_start(
    argv: Sequence[str | os.PathLike[str]], confinement: Confinement, view: VisibleFiles
) -> Iterator[PreparedStart]:
    """How to start a program, within a ``with`` block, once.

    :raises EngineError: there is no such program
    """
    name = os.fspath(argv[0])
    program = find_program(name)
    if program is None:
        raise EngineError(f"cannot start {name}: No such file or directory")
    words = [os.fspath(word) for word in argv[1:]]
    if confinement.sandbox is None:
        words = [*_limiting_words(confinement), str(program), *words]
        if setpriv := find_program("setpriv", SAFE_PATH):
            # the kernel kills it when `cas` itself is killed
            words = [str(setpriv), "--pdeathsig", "KILL", *words]
        yield PreparedStart(words, program, view.descriptors)
        return
    places = {os.fspath(path): place for path, place in view.files.items()}
    words = [places.get(word, word) for word in words]
    sees = {**dict(visible([program])), **view.files}
    with seccomp.opened_filter() as filter_:
        shown = filter_ if confinement.sandbox.has_filter else None
        outside = confinement.sandbox.argv(sees, shown, has_proc=view.has_proc)
        words = [*outside, *_limiting_words(confinement), str(program), *words]
        yield PreparedStart(words, program, (*view.descriptors, filter_))


def program_environment(confinement: Confinement, mark: str) -> dict[str, str]:
    """All variables that a program sees.

    :param mark: names its family where there is no sandbox
    """
    return {
        "PATH": SAFE_PATH,
        "HOME": HOME if confinement.sandbox else str(confinement.directory),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        **confinement.environment,
        **({} if confinement.sandbox else {MARK: mark}),
    }


def _limiting_words(confinement: Confinement) -> list[str]:
    prlimit, rules = find_program("prlimit", SAFE_PATH), confinement.supervision
    if prlimit is None:
        return []
    cpu_s = math.ceil(rules.cpu_s)
    hard_s = _within_hard_limit(resource.RLIMIT_CPU, cpu_s + CPU_GRACE_S)
    words = [
        str(prlimit),
        f"--as={_within_hard_limit(resource.RLIMIT_AS, rules.memory_bytes)}",
        f"--fsize={_within_hard_limit(resource.RLIMIT_FSIZE, rules.file_bytes)}",
        f"--nofile={_within_hard_limit(resource.RLIMIT_NOFILE, OPEN_FILES)}",
        "--core=0",
        f"--cpu={min(cpu_s, hard_s)}:{hard_s}",
    ]
    # before, the limit of processes meant all that the user has, in and out of the sandbox
    kernel = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if confinement.sandbox and kernel and (int(kernel[1]), int(kernel[2])) >= COUNTS_BY_NAMESPACE:
        words.append(f"--nproc={_within_hard_limit(resource.RLIMIT_NPROC, rules.processes)}")
    return words


def _within_hard_limit(limit: int, wanted: int) -> int:
    """A limit as wanted, or the smaller one that we are under ourselves."""
    hard = resource.getrlimit(limit)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
