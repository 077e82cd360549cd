"""The installed commands with Python started and CAS imported: each run is a fork of one process.

That start takes longer than what most tests have a command do. From its first line on a run is
what users start: with arguments, environment, directory, streams and exit status of its own. With
the variable CAS_TESTS_START set, each is started as users start it.
"""

from __future__ import annotations

import gc
import io
import multiprocessing
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from importlib import import_module
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Self
from unittest import mock

PROGRAMS = {"cas": "cas.__main__", "cas-admin": "cas_admin.__main__"}
IN_OTHERS = ("cas.engines.drgn.child", "cas.database.migrations")
"""Beginnings of the names of modules that run in processes of their own."""
BESIDE = ("warmed", "sqlalchemy.dialects.sqlite")
"""What CAS imports when it is needed, and nearly always needs."""
AT_START = ("PYTHON", "LANG", "LC_", "LD_")
"""Beginnings of the names of variables that work before the first line of a program."""
MOST = 1 << 16
"""Bytes for stdin: they fit in a pipe that nobody reads yet."""


def can_run(environment: Mapping[str, str], given: str) -> bool:
    """Whether the command is to be run here, and cannot see a difference."""
    is_special = (
        any(name.startswith(AT_START) for name in environment) or len(given.encode()) > MOST
    )
    return not is_special and "CAS_TESTS_START" not in os.environ


def run(
    argv: Sequence[str],
    environment: Mapping[str, str],
    directory: Path,
    given: str,
    timeout: float,
    *,
    is_stderr_stdout: bool,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and to that of all who have its streams.

    :param argv: the path of a program, and its words
    :param given: what it reads from stdin
    :param is_stderr_stdout: as with ``2>&1``
    :raises subprocess.TimeoutExpired: it was killed
    """
    with ExitStack() as stack:
        out, stdout = multiprocessing.Pipe(duplex=False)
        err, stderr = multiprocessing.Pipe(duplex=False)
        streams = (_stdin(given), stdout, stdout if is_stderr_stdout else stderr)
        stack.enter_context(stderr)
        for stream in (out, err, *streams):
            stack.enter_context(stream)
        command = fork(_be, argv, dict(environment), directory, streams)
        for stream in (*streams, stderr):
            stream.close()
        said = _read(out, err, time.monotonic() + timeout)
        if said is None:
            command.kill()
        command.join()
    if said is None:
        raise subprocess.TimeoutExpired(argv, timeout)
    assert command.exitcode is not None
    return subprocess.CompletedProcess(argv, command.exitcode, *said)


class Started:
    """A command that runs, with the parts of :class:`subprocess.Popen` that tests use."""

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], directory: Path
    ) -> None:
        """Start it; it has nothing to read.

        :param argv: the path of a program, and its words
        """
        self._argv = argv
        out, stdout = multiprocessing.Pipe(duplex=False)
        err, stderr = multiprocessing.Pipe(duplex=False)
        self.stdout, self.stderr = (
            os.fdopen(os.dup(end.fileno()), errors="surrogateescape") for end in (out, err)
        )
        with ExitStack() as stack:
            streams = (_stdin(""), stdout, stderr)
            for stream in (out, err, *streams):
                stack.enter_context(stream)
            self._process = fork(_be, argv, dict(environment), directory, streams)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        if kind is not None:
            self.kill()  # instead of waiting for it
        self.stdout.close()
        self.stderr.close()
        self._process.join()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status.

        :raises subprocess.TimeoutExpired: it runs on
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._argv, timeout or 0)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has still to say, to its end."""
        with ThreadPoolExecutor(2) as pool:
            said = [pool.submit(stream.read) for stream in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        first, second = (each.result() for each in said)
        return first, second

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def fork(target: Callable[..., object], *arguments: object) -> ForkServerProcess:
    """Have a function run in a process that has CAS imported.

    :param target: of a module that can be imported
    """
    process = _server().Process(target=target, args=arguments)
    process.start()
    return process


def _stdin(given: str) -> Connection:
    if not given:
        return Connection(os.open(os.devnull, os.O_RDWR))
    stdin, giving = multiprocessing.Pipe(duplex=False)
    with giving:
        os.write(giving.fileno(), given.encode())
    return stdin


@cache
def _server() -> ForkServerContext:
    """Start the process that everything is forked from."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *_modules()])
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parent)}
    with mock.patch.dict(os.environ, environment, clear=True):
        forkserver.ensure_running()
    return context


def _modules() -> Iterator[str]:
    for package in map(import_module, ("cas", "cas_admin")):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.startswith(IN_OTHERS) and not module.name.endswith("_child"):
                yield module.name
    yield from BESIDE


def _be(
    argv: Sequence[str],
    environment: Mapping[str, str],
    directory: Path,
    streams: Sequence[Connection],
) -> None:
    """Become the command."""
    gc.freeze()  # what all commands share is no garbage of this one's
    for number, stream in enumerate(streams):
        os.dup2(stream.fileno(), number)
    os.closerange(len(streams), os.sysconf("SC_OPEN_MAX"))
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv[:] = argv
    installed = [path for path in sys.path if path.startswith((sys.prefix, sys.base_prefix))]
    sys.path[:] = [str(Path(argv[0]).parent), *installed]
    sys.stdin = open(0, errors="surrogateescape", closefd=False)  # noqa: SIM115
    import_module(PROGRAMS[Path(argv[0]).name]).run()


def _read(out: Connection, err: Connection, until: float) -> tuple[str, str] | None:
    """What comes to the end of both; ``None``: it is too late."""
    said = {out: bytearray(), err: bytearray()}
    ended = set[Connection]()
    while len(ended) < len(said):
        ready = wait(said.keys() - ended, until - time.monotonic())
        if not ready:
            return None
        for stream in ready:
            part = os.read(stream.fileno(), 1 << 16)
            said[stream] += part
            if not part:
                ended.add(stream)
    first, second = (
        io.TextIOWrapper(io.BytesIO(text), errors="surrogateescape").read()
        for text in said.values()
    )
    return first, second
