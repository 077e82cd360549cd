"""Dumps on hosts that nobody uploads from: found, known by kilobytes, and fetched once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from swept_hosts import Hosts, dump_into

from installed import Site


@pytest.fixture
def hosts(site: Site) -> Iterator[Hosts]:
    site.settings["debugs"] = str(site.directory / "debugs")
    with ExitStack() as stack:
        yield Hosts(site, stack)


def swept(site: Site, *words: str, status: int = 0) -> dict[str, Any]:
    """What is told of each host, by its name."""
    done = site.admin("sweep", "--json", *words)
    assert done.returncode == status, done.stderr
    return {each["host"]: each for each in json.loads(done.stdout)["hosts"]}


def crashes(site: Site) -> list[str]:
    return [line.split()[0] for line in site.cas("ls").stdout.splitlines()[1:]]


def test_a_dry_sweep_lists_what_is_missing_and_changes_nothing(hosts: Hosts) -> None:
    dump = dump_into(hosts.add("db01"), 1)
    done = hosts.site.admin("sweep")
    assert done.returncode == 0, done.stderr
    assert str(dump) in done.stdout
    assert "1 to fetch" in done.stdout
    assert "cas-admin sweep --fetch" in done.stderr
    assert crashes(hosts.site) == []


def test_what_is_missing_is_fetched_once_with_what_the_host_says_of_it(hosts: Hosts) -> None:
    dump = dump_into(hosts.add("db01"), 1)
    (missing,) = swept(hosts.site, "--fetch")["db01"]["missing"]
    assert (missing["path"], missing["is_fetched"]) == (str(dump), True)
    info = json.loads(hosts.site.cas("info", missing["crash"]).stdout)
    (place,) = info["swept"]
    assert (place["host"], place["path"]) == ("db01", str(dump))
    assert place["modified"] == int(dump.stat().st_mtime)
    again = swept(hosts.site, "--fetch")["db01"]
    assert (again["known"], again["missing"], again["read_bytes"]) == (1, [], 0)
