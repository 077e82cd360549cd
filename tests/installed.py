"""The installed commands on a site of their own, and the programs that tests drive."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import ready_commands

import cas.commands
import cas_admin.command_line
from cas.commands import World
from cas.errors import SandboxMissing
from cas.files.shipped import shipped
from cas.progress import Silent
from cas.settings.config import Config, read_config
from cas.supervise import Sandbox, find_sandbox

FIXTURES = Path(__file__).parent / "kernels" / "fixtures"
COMMANDS = Path(sys.executable).parent
ABSENT = " is not installed (see tests/system-packages)"
"""Of a program that a test would have driven."""


class Running(subprocess.Popen[str]):
    """A started command; leaving its block by a failure ends it, instead of waiting for it."""

    def __exit__(self, kind: type[BaseException] | None, *failure: Any) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, *failure)


def needs(program: str) -> str:
    """The path of a program; in CI its absence is a failure, elsewhere the test is left out."""
    found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        message = f"{program}{ABSENT}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    return str(found)


def working_sandbox() -> Sandbox:
    """The sandbox of this machine; where its kernel allows none, the test is left out."""
    needs("bwrap")
    try:
        sandbox, _ = find_sandbox("bwrap")
    except SandboxMissing as error:
        pytest.skip(str(error))
    assert sandbox is not None
    return sandbox


def closed_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def few_of(values: Iterable[str], always: Container[str]) -> list[Any]:
    """Parameters of a test: some of them always, all with ``./check -m long``."""
    return [
        value if value in always else pytest.param(value, marks=pytest.mark.long)
        for value in values
    ]


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit status."""

    lines: tuple[str, ...]
    status: int


def answer(world: World, program: str, *words: str | Path) -> Answer:
    """Run a command in this process."""
    parse = {"cas": cas.commands.parse, "cas-admin": cas_admin.command_line.parse_admin}[program]
    lines = list[str]()
    output = parse([*map(str, words)]).command(world)
    while True:
        try:
            lines.append(next(output))
        except StopIteration as end:
            return Answer(tuple(lines), end.value)


@dataclass
class Site:
    """An installation of its own below a temporary directory: configuration, catalogue, jobs."""

    directory: Path
    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    sections: str = ""
    """What the configuration has behind its ``[settings]``."""

    @property
    def jobs(self) -> Path:
        return self.directory / "cores"

    def run(
        self,
        program: str,
        *words: str | Path,
        input: str = "",
        timeout: float = 300,
        is_stderr_stdout: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        argv = [str(COMMANDS / program), *map(str, words)]
        environment = self.prepared()
        if ready_commands.can_run(environment, input):
            return ready_commands.run(
                argv,
                environment,
                self.directory,
                input,
                timeout,
                is_stderr_stdout=is_stderr_stdout,
            )
        return subprocess.run(
            argv,
            env=environment,
            cwd=self.directory,
            **({"input": input} if input else {"stdin": subprocess.DEVNULL}),
            timeout=timeout,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if is_stderr_stdout else subprocess.PIPE,
            text=True,
            errors="surrogateescape",
            check=False,
        )

    def start(self, program: str, *words: str | Path) -> Running | ready_commands.Started:
        argv = [str(COMMANDS / program), *map(str, words)]
        environment = self.prepared()
        if ready_commands.can_run(environment, ""):
            return ready_commands.Started(argv, environment, self.directory)
        return Running(
            argv,
            env=environment,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def prepared(self) -> dict[str, str]:
        """The environment, once the configuration is written."""
        self.configure()
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "CAS_CONF": str(self.directory / "cas.conf"),
            **self.environment,
        }

    def cas(self, *words: str | Path, **how: Any) -> subprocess.CompletedProcess[str]:
        return self.run("cas", *words, **how)

    def admin(self, *words: str | Path, **how: Any) -> subprocess.CompletedProcess[str]:
        return self.run("cas-admin", *words, **how)

    def configure(self) -> None:
        lines = [f"{key} = {value}" for key, value in self.settings.items()]
        text, path = "\n".join(("[settings]", *lines, self.sections)), self.directory / "cas.conf"
        # a command that was started just before may be about to read it
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)

    def world(self) -> World:
        """What the verbs are given, for one that runs in this process."""
        self.configure()
        config = read_config(self.directory / "cas.conf", Config(Path(), Path(), Path(), ""))
        return World(config, Silent(), datetime.now(UTC), is_interactive=False, ask=input)

    def keep_snippets(self, *names: str) -> Path:
        """Leave only these of the shipped snippets; the site's own directory of them."""
        own = self.directory / "snippets"
        own.mkdir()
        for path in (shipped("snippets") / "crash").iterdir():
            if path.name not in names:
                (own / path.name).touch()
        self.settings["snippets"] = str(own)
        return own

    def job_directories(self, ticket: str) -> list[Path]:
        return sorted(path.parent for path in (self.jobs / ticket).glob("*/job.json"))

    def job(self, ticket: str) -> Path:
        """The directory of the ticket's only job."""
        (directory,) = self.job_directories(ticket)
        return directory

    def result(self, ticket: str) -> Mapping[str, Any]:
        result: Mapping[str, Any] = json.loads((self.job(ticket) / "result.json").read_text())
        return result
