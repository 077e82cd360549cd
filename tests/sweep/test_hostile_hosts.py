"""Hosts that are closed, gone, slow or mean harm: each is told, and none stops the others."""

from __future__ import annotations

import os
import re
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from made_crashes import FULL
from ssh_servers import Sshd, make_key, sshd
from swept_hosts import Sweeper

from cas.model.host import Host
from cas.progress import Silent
from cas.settings.rules import HostRules
from cas.sweep.far_host import names_of, reached
from cas.sweep.sweep import sweep_hosts
from cas.sweep.walk import Walk

from installed import closed_port


@pytest.fixture
def impatient(sweeper: Sweeper) -> Sweeper:
    """Who waits a few seconds."""
    sweeper.config = replace(sweeper.config, hosts=HostRules(keepalive_s=5.0), fetch_timeout_s=1.0)
    sweeper.rule(time_s=3.0)
    return sweeper


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("garbage", "does not speak sftp there"),
        ("count", "does not speak sftp"),
        ("extended", "does not speak sftp"),
        ("climbing", "does not speak sftp"),
    ],
)
def test_a_host_that_does_not_speak_as_it_should_is_told(
    sweeper: Sweeper, how: str, said: str
) -> None:
    sweeper.lie(how)
    swept = sweeper.sweep()
    assert swept.missing == []
    assert said in str(swept.problem)


@pytest.mark.parametrize("how", ["silent", "dripping"])
def test_a_slow_host_is_given_up_when_its_time_is_over(impatient: Sweeper, how: str) -> None:
    shutil.move(impatient.dump(1), impatient.there / "vmcore")
    impatient.lie(how)
    swept = impatient.sweep()
    assert swept.missing == []
    assert re.search("not done within|did not answer|connection broke", str(swept.problem))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("swapped", "the next sweep looks again"),
        ("shrinking", "the host sends"),
        ("generous", "no ELF header"),
    ],
)
def test_a_file_that_is_not_what_was_listed_is_left(sweeper: Sweeper, how: str, said: str) -> None:
    dump = sweeper.dump(1, FULL)
    content = dump.read_bytes()
    (sweeper.there / "vmcore").write_bytes(content + bytes((1 << 20) - len(content)))
    sweeper.lie(how)
    swept = sweeper.sweep()
    assert swept.missing == []
    assert said in sweeper.left(swept)["vmcore"]
    assert list((sweeper.archive.path / "incoming").glob("*")) == []


def test_a_connection_that_breaks_is_made_once_more_and_the_file_is_gone_on_with(
    sweeper: Sweeper,
) -> None:
    content = sweeper.dump(1, FULL).read_bytes()
    (sweeper.there / "vmcore").write_bytes(content + os.urandom((1 << 20) - len(content)))
    sweeper.lie("breaking")
    swept = sweeper.sweep()
    assert (swept.problem, swept.known, swept.left) == (None, 0, [])
    assert [each.is_fetched for each in swept.missing] == [True]
    assert swept.fetched_bytes < 3 << 19


def test_names_that_a_host_makes_up_are_told_on_one_line(sweeper: Sweeper) -> None:
    (sweeper.there / "vmcore").write_text("no dump")
    sweeper.lie("names")
    left = sweeper.sweep().left
    assert len(left) >= 2
    assert all(each.path.isprintable() for each in left)


@pytest.mark.parametrize("how", ["endless", "deep"])
def test_a_directory_without_an_end_is_looked_at_as_far_as_is_of_use(
    sweeper: Sweeper, how: str
) -> None:
    sweeper.lie(how)
    rules = sweeper.config.sweep_rules()
    with reached(Host("db01"), rules, sweeper.config) as there:
        walk = Walk(there, most_entries=3000)
        walk.through(rules.directories)
    assert len(walk.found) <= 3000
    if how == "endless":
        assert "more than 3,000 names" in walk.problems[0]


@pytest.mark.long
def test_a_directory_of_a_million_entries_costs_no_more_than_its_limit(sweeper: Sweeper) -> None:
    sweeper.lie("endless")
    sweeper.rule(time_s=60.0)
    swept = sweeper.sweep(fetches=False)
    assert "more than 200,000 names" in str(swept.problem)


@pytest.mark.parametrize("content", [b"", b"\0\0\0\1", b"\0\0\0\1\0\0\0\5ab", b"\xff" * 12])
def test_answers_that_end_too_early_are_none(content: bytes) -> None:
    with pytest.raises((ValueError, struct.error)):
        names_of(content)


@pytest.fixture
def another(server: Sshd, tmp_path: Path) -> Iterator[Callable[..., Sshd]]:
    """One more host of this name, with an sshd of its own, whose key is not known yet."""
    with ExitStack() as stack:

        def start(name: str) -> Sshd:
            running = stack.enter_context(sshd(tmp_path / name, server.home))
            with (server.home / ".ssh/config").open("a") as config:
                config.write(f"Host {name}\n  HostName 127.0.0.1\n  Port {running.port}\n")
            return running

        yield start


def test_hosts_that_cannot_be_reached_stop_no_other_one(
    impatient: Sweeper, another: Callable[..., Sshd], tmp_path: Path
) -> None:
    stopped, changed = another("stopped"), another("changed")
    another("unknown")
    stopped.know()
    make_key(tmp_path / "other")
    changed.know(tmp_path / "other.pub")
    home = stopped.home
    with (home / ".ssh/config").open("a") as config:
        config.write(f"Host dead\n  HostName 127.0.0.1\n  Port {closed_port()}\n")
    impatient.dump(1)
    stopped.stop()
    names = "stopped", "changed", "unknown", "dead", "db01", "nowhere.invalid"
    hosts = [Host(name, is_swept=True) for name in names]
    try:
        told = {
            each.host.name: each
            for each in sweep_hosts(
                hosts, impatient.archive, impatient.config, Silent(), fetches=True
            )
        }
    finally:
        stopped.cont()
    assert [each.is_fetched for each in told["db01"].missing] == [True]
    problems = {name: str(swept.problem) for name, swept in told.items()}
    assert problems.pop("db01") == "None"
    assert "another one than in known_hosts" in problems["changed"]
    assert "is not known" in problems["unknown"]
    assert all(problem != "None" for problem in problems.values())


def test_a_directory_that_cannot_be_read_hides_no_other_one(sweeper: Sweeper) -> None:
    (sweeper.there / "vmcore").write_bytes(sweeper.dump(1).read_bytes())
    sweeper.lie("broken-directories")
    swept = sweeper.sweep(fetches=False)
    assert [Path(each.path).name for each in swept.missing] == ["vmcore"]
    problem = str(swept.problem)
    assert problem.count("the server does not give it") == 5
    assert problem.endswith("and 2995 more problems") or problem.endswith("and 2,995 more problems")


def test_a_full_disk_here_stops_the_host_whose_dump_found_no_room(sweeper: Sweeper) -> None:
    sweeper.dump(1)
    intake = replace(sweeper.config.intake, reserve_bytes=1 << 60)
    full = replace(sweeper.config, intake=intake)
    before, sweeper.config = sweeper.config, full
    swept = sweeper.sweep()
    assert "room" in str(swept.problem)
    assert [each.is_fetched for each in swept.missing] == [False]
    sweeper.config = before
    assert [each.is_fetched for each in sweeper.sweep().missing] == [True]


def test_a_database_that_cannot_be_used_ends_the_host_and_loses_nothing(sweeper: Sweeper) -> None:
    for number in range(3):
        sweeper.dump(number)
    database = Path(sweeper.config.database)
    database.mkdir()
    swept = sweeper.sweep()
    assert swept.is_index_behind
    assert "it is recorded" in str(swept.problem)
    brought = {each.crash for each in swept.missing if each.is_fetched}
    assert set(sweeper.archive.ids()) == brought
    database.rmdir()
    again = sweeper.sweep()
    assert (again.problem, again.known) == (None, len(brought))
    assert len([*sweeper.archive.ids()]) == 3


def test_a_missing_login_is_told_with_its_remedy(sweeper: Sweeper) -> None:
    sweeper.rule(server="sudo -n /nowhere/sftp-server -R")
    problem = str(sweeper.sweep().problem)
    assert "`sudo -n /nowhere/sftp-server -R` does not speak sftp there" in problem
    assert "SWEEPS in cas.conf(5)" in problem
