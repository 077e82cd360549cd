"""``cas-admin sweep`` as it is typed, with hosts that ``cas-admin host add --sweep`` registers."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ssh_servers import Sshd
from swept_hosts import dump_into

from cas.archive.archive import Archive
from cas.database.store import Store
from cas.files.shipped import shipped
from cas.hosts.registry import HostRegistry
from cas.model.host import Host
from cas.sweep.sweep import only_sweep

from installed import Site


class Swept(Site):
    """A site with one host that is registered to be swept."""

    there: Path

    def sweep(self, *words: str, status: int = 0) -> dict[str, Any]:
        """What is told of the host."""
        done = self.admin("sweep", "--json", *words)
        assert done.returncode == status, done.stderr
        told = json.loads(done.stdout)
        schema = json.loads((shipped("schemas") / "sweep.schema.json").read_text())
        jsonschema.validate(told, schema)
        (host,) = told["hosts"]
        assert host["host"] == "db01"
        found: dict[str, Any] = host
        return found

    def archive(self) -> Archive:
        """That of the site."""
        return Archive.of(self.world().config)


@pytest.fixture
def swept(site: Site, server: Sshd) -> Swept:
    found = Swept(site.directory, site.settings, {"HOME": str(server.home)})
    found.there = site.directory / "var/crash"
    found.there.mkdir(parents=True)
    found.settings["debugs"] = str(site.directory / "debugs")
    found.sections = f"[sweep]\ndirectories = {found.there}\nsettle = 0.05\n"
    done = found.admin("host", "add", "--sweep", "db01")
    assert done.returncode == 0, done.stderr
    return found


def test_a_host_is_registered_to_be_swept_and_analyses_no_dumps(swept: Swept) -> None:
    (line,) = swept.admin("host", "list").stdout.splitlines()[1:]
    assert (line.split()[0], line.split()[-1]) == ("db01", "swept")
    registry = HostRegistry(Store(swept.settings["database"]))
    assert [host.name for host in registry.swept()] == ["db01"]
    assert registry.for_analysis() == ()
    assert swept.admin("host", "check", "db01").returncode == 0
    other = swept.admin("host", "add", "db01")
    assert (other.returncode, "to be swept" in other.stderr) == (2, True)
    assert "NAME:22" in other.stderr
    assert swept.admin("host", "disable", "db01").returncode == 0
    assert json.loads(swept.admin("sweep", "--json").stdout)["hosts"] == []
    unknown = swept.admin("sweep", "db07")
    assert (unknown.returncode, "db07 is not registered to be swept" in unknown.stderr) == (2, True)
    assert "cas-admin host add --sweep db07" in unknown.stderr
    swept.sections += "[sweep db01]\ndirectories = /nowhere\n"
    assert "db01: /nowhere: there is no such directory: `directories`" in (
        swept.admin("host", "check", "db01").stderr
    )


def test_a_dry_sweep_lists_what_is_missing_and_a_real_one_fetches_it(swept: Swept) -> None:
    swept.sections += "[sweep db99]\ntime = 5\n"
    dump = dump_into(swept.there, 1)
    (dump.parent / "vmcore.1").symlink_to(dump)
    dry = swept.admin("sweep")
    assert dry.returncode == 0, dry.stderr
    missing, summary = dry.stdout.splitlines()
    assert missing.startswith("db01  ")
    assert missing.endswith(f"  missing  {dump}")
    assert "1 to fetch" in summary
    assert "to fetch what is missing: cas-admin sweep --fetch" in dry.stderr
    assert "vmcore.1 is left: it is a symbolic link" in dry.stderr
    assert "[sweep db99], but no such host is registered" in dry.stderr
    assert swept.cas("ls").stdout.splitlines()[1:] == []
    real = swept.admin("sweep", "--fetch")
    assert real.returncode == 0, real.stderr
    crash = missing.split()[1]
    assert f"db01  {crash}" in real.stdout
    assert f"{crash}, the first answer:" in real.stderr
    info = json.loads(swept.cas("info", crash).stdout)
    (place,) = info["swept"]
    assert (place["host"], place["path"]) == ("db01", str(dump))
    assert place["modified"] == int(dump.stat().st_mtime)
    assert info["verdict"] == "waiting"  # for its kernel: it was looked at
    again = swept.sweep("--fetch")
    assert (again["known"], again["missing"], again["read_bytes"]) == (1, [], 0)


def test_two_hosts_with_the_same_dumps_bring_each_once_and_answers_end_with_their_time(
    swept: Swept,
) -> None:
    Store(swept.settings["database"]).hosts.put_host(Host("db02", is_swept=True))
    swept.sections += "answerTime = 0.001\n"
    for number in range(3):
        dump_into(swept.there, number)
    done = swept.admin("sweep", "--fetch", "--json")
    assert done.returncode == 0, done.stderr
    hosts = json.loads(done.stdout)["hosts"]
    assert {host["host"] for host in hosts} == {"db01", "db02"}
    brought = [each["crash"] for host in hosts for each in host["missing"]]
    assert len(brought) == len(set(brought)) == 3
    assert "2 fetched dumps without an answer yet: cas-admin -b gives them" in done.stderr
    assert swept.cas("ticket", brought[0], "T-1").returncode == 0
    assert swept.cas("hold", brought[1], "evidence").returncode == 0
    assert swept.admin("host", "remove", "db02").returncode == 0
    again = swept.sweep("--fetch")
    assert (again["known"], again["missing"]) == (3, [])


def test_a_second_sweep_at_the_same_time_says_so_and_is_no_failure(swept: Swept) -> None:
    dump_into(swept.there, 1)
    with only_sweep(swept.archive()):
        done = swept.admin("sweep", "--fetch")
        assert json.loads(swept.admin("sweep", "--json").stdout)["hosts"] == []
    assert (done.returncode, done.stdout) == (0, "")
    assert "another sweep is at work: nothing was done" in done.stderr
    assert len(swept.sweep()["missing"]) == 1


def test_a_host_that_is_closed_to_us_makes_the_status_1(swept: Swept) -> None:
    swept.sections += "sftpServer = false\n"
    assert "SWEEPS in cas.conf(5)" in swept.sweep("--fetch", status=1)["problem"]


def test_a_killed_sweep_loses_nothing_and_the_next_one_goes_on(swept: Swept) -> None:
    small, large = dump_into(swept.there, 1), dump_into(swept.there, 2)
    size = 32 << 20
    with large.open("r+b") as file:
        file.truncate(size)
    incoming = swept.archive().path / "incoming"
    with swept.start("cas-admin", "sweep", "--fetch") as running:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            parts = list(incoming.glob("*/download/.vmcore.part"))
            if any(part.stat().st_size > size // 4 for part in parts):
                break
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
        running.wait()
    told = swept.sweep("--fetch")
    fetched = {each["path"] for each in told["missing"]}
    assert str(large) in fetched
    assert 0 < told["fetched_bytes"] < size
    archive = swept.archive()
    digests = set[bytes]()
    for crash in archive.ids():
        info = archive.read(crash)
        (file,) = info.files
        assert [place.host for place in info.swept] == ["db01"]
        digests.add(archive.file_path(crash, str(file.digest)).read_bytes())
    assert digests == {small.read_bytes(), large.read_bytes()}
    assert list(incoming.iterdir()) == []


@pytest.mark.long
def test_sweeps_that_are_killed_at_any_time_bring_every_dump_once(swept: Swept) -> None:
    dumps = {dump_into(swept.there, number).read_bytes() for number in range(12)}
    for tenths in range(4, 16, 2):
        with swept.start("cas-admin", "sweep", "--fetch") as running:
            time.sleep(tenths / 10)
            running.send_signal(signal.SIGKILL)
            running.wait()
    swept.sweep("--fetch")
    assert swept.sweep("--fetch")["known"] == len(dumps)
    archive, found = swept.archive(), list[bytes]()
    for crash in archive.ids():
        info = archive.read(crash)
        (file,) = info.files
        assert [place.host for place in info.swept] == ["db01"]
        found.append(archive.file_path(crash, str(file.digest)).read_bytes())
    assert (len(found), set(found)) == (len(dumps), dumps)
    incoming = (archive.path / "incoming").iterdir()
    # what was not even begun goes later
    assert [path for path in incoming if not path.name.startswith(".")] == []
