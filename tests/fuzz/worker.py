"""Trials in a process of their own, with limits that the kernel holds.

A worker that breaks a limit is killed; which trial it was is known, and the next worker goes on
behind it.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

CPU_LIMIT_S = 2.0
MEMORY_LIMIT = 256 << 20
_INTERPRETER_BYTES = 48 << 20
"""Of a process that has the readers loaded and nothing else; test runners have far more."""
WALL_LIMIT_S = 120.0
"""Of one trial on a busy machine; a process that waits for nothing ends by its CPU limit."""

Task = TypeVar("Task")


@dataclass(frozen=True)
class Result:
    """One trial's."""

    index: int
    complaints: tuple[str, ...]
    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_bytes: int = 0
    """Highest resident memory in this trial, of a worker that had nothing else loaded."""


def trials(tasks: Sequence[Task], trial: Callable[[Task], list[str]]) -> Iterator[Result]:
    """The result of each task, in order."""
    done = 0
    while done < len(tasks):
        for result in _worked(tasks, trial, done):
            done = result.index + 1
            yield result


def _worked(
    tasks: Sequence[Task], trial: Callable[[Task], list[str]], start: int
) -> Iterator[Result]:
    """Results of one worker, the last of which may be that it died."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _work(tasks, trial, start, writing)
    os.close(writing)
    done = start
    with os.fdopen(reading, "rb") as stream:
        for line in _lines(stream.fileno()):
            fields = json.loads(line)
            done = fields["index"] + 1
            yield Result(**{**fields, "complaints": tuple(fields["complaints"])})
    if done < len(tasks):
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if done < len(tasks):
        yield Result(done, (_death(status),))


def _lines(fd: int) -> Iterator[bytes]:
    """Until the worker is gone, or is silent for too long."""
    rest = b""
    while select.select([fd], [], [], WALL_LIMIT_S)[0]:
        data = os.read(fd, 1 << 16)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from lines


def _death(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGPROF:
            return f"took more than {CPU_LIMIT_S} s of CPU"
        return f"killed by {signal.Signals(number).name}, or silent for {WALL_LIMIT_S} s"
    return f"the worker ended with {os.WEXITSTATUS(status)}"


def _work(
    tasks: Sequence[Task], trial: Callable[[Task], list[str]], start: int, writing: int
) -> None:
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        room = _status_bytes("VmSize") + MEMORY_LIMIT
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        ballast = _status_bytes("VmRSS") - _INTERPRETER_BYTES
        for index in range(start, len(tasks)):
            result = _judged(_measured(index, tasks[index], trial), ballast)
            os.write(writing, json.dumps(asdict(result)).encode() + b"\n")
    finally:
        os._exit(0)


def _measured(index: int, task: Task, trial: Callable[[Task], list[str]]) -> Result:
    Path("/proc/self/clear_refs").write_text("5")
    wall, cpu = time.monotonic(), time.process_time()
    signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)
    try:
        complaints = trial(task)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno} in {where.name}"
        complaints = [f"{type(error).__name__}: {error} at {place}"]
    signal.setitimer(signal.ITIMER_PROF, 0)
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    return Result(index, tuple(complaints), cpu, wall, _status_bytes("VmHWM"))


def _judged(result: Result, ballast: int) -> Result:
    peak = result.peak_bytes - ballast
    more = (f"took {peak >> 20} MiB of memory",) if peak > MEMORY_LIMIT else ()
    return replace(result, complaints=result.complaints + more, peak_bytes=peak)


def _status_bytes(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) << 10
    raise LookupError(key)
