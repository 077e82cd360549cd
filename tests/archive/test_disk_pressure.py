"""How long the room of the archive lasts, and which dumps go where its disk is nearly full."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from stored_crashes import WHOLE, keep_busy, opened, put

from cas.archive.spare_room import SPARE_BYTES
from cas.errors import ConfigError
from cas.settings.config import Config, read_config
from cas.settings.rules import WaterMark
from cas_admin.archive_room import Growth, Level

from installed import Site, needs

A, B, C, D = (f"{letter}" * 32 for letter in "abcd")
MIB = 1 << 20


@pytest.fixture
def full(site: Site) -> Iterator[Site]:
    """A site whose archive has 8 MiB for itself, of which four crashes take 6."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    store = site.directory / "store"
    store.mkdir(mode=0o700)
    mount = [needs("mount"), "-t", "tmpfs", "-o", "size=8m,mode=700", "cas-test", str(store)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(done.stderr)
    try:
        site.settings["store"] = str(store)
        site.sections = "[maintenance]\narchiveHighWater = 70%\narchiveLowWater = 45%\n"
        keep_busy(site)
        signed = {"signatures": {"top_3": "x"}}
        for crash_id, days, mib in ((A, 300, 2), (B, 250, 2), (C, 200, 1), (D, 150, 1)):
            content = os.urandom(mib * MIB)
            put(site, crash_id, {content: WHOLE}, days, facts=signed if crash_id == A else None)
        yield site
    finally:
        subprocess.run([needs("umount"), str(store)], check=True)


def files(site: Site) -> set[str]:
    """The ids of the crashes that have files."""
    found = Path(site.settings["store"]).glob("objects/*/*/files/*")
    return {path.parents[1].name for path in found}


def test_beyond_the_high_mark_the_oldest_go_until_the_low_one(full: Site) -> None:
    listed = full.admin("purge", "--pressure")
    assert listed.returncode == 0, listed.stderr
    head, _, *goes, stays, told = listed.stdout.splitlines()
    assert "archiveHighWater = 70% is passed" in head
    assert [line[:16] for line in goes] == [B[:16], C[:16]]
    assert stays.endswith("1 the best of their signature, 1 not needed for the room that is wanted")
    assert told.startswith("2 crashes would go, 3.0 MiB be freed")
    assert files(full) == {A, B, C, D}
    status = full.admin("status")
    assert "run: cas-admin purge --pressure" in status.stdout
    done = full.admin("purge", "--pressure", "--delete")
    assert done.returncode == 0, done.stderr
    assert "archiveHighWater = 70% was passed" in done.stdout
    assert files(full) == {A, D}
    again = full.admin("purge", "--pressure", "--delete")
    assert (again.returncode, files(full)) == (0, {A, D})
    assert again.stdout.rstrip().endswith("is not passed: nothing has to go")


def test_what_cannot_be_reached_by_the_rules_is_said(full: Site) -> None:
    full.sections += "purgeOlder = 220d\npurgeLarger = 1500K\n"
    done = full.admin("purge", "--pressure", "--delete")
    assert (done.returncode, files(full)) == (3, {A, C, D})
    assert "more are needed to reach archiveLowWater" in done.stdout
    assert "1 the best of their signature" in done.stdout
    done = full.admin("purge", "--pressure", "--json")
    found = json.loads(done.stdout)
    assert (found["is_pressed"], found["goes"]) == (False, [])


def fill(directory: Path) -> None:
    """Leave no block of a file system."""
    with (directory / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


@pytest.mark.parametrize("words", [("--older", "220d", "--delete"), ("-d", "220", "--yes")])
def test_a_disk_without_a_block_is_freed_all_the_same(full: Site, words: tuple[str, ...]) -> None:
    store = Path(full.settings["store"])
    shutil.copy(full.settings["database"], store / "cas.db")
    full.settings["database"] = str(store / "cas.db")
    fill(store)
    assert os.statvfs(store).f_bavail == 0
    done = full.cas("ls")
    assert (done.returncode, "no room for the database" in done.stderr) == (75, True), done.stderr
    done = full.admin("purge", *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "4.0 MiB freed"
    assert files(full) == {C, D}
    presences = full.cas("ls", "presence=purged").stdout.splitlines()
    assert {line[:16] for line in presences[1:]} == {A[:16], B[:16]}
    # what it needed is kept for the next one
    assert (store / "spare-room").stat().st_blocks * 512 == SPARE_BYTES


def test_without_a_mark_or_with_rules_of_its_own_it_is_refused(site: Site) -> None:
    done = site.admin("purge", "--pressure", "--delete")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no `archiveHighWater` in cas.conf" in done.stderr
    site.sections = "[maintenance]\narchiveHighWater = 90%\n"
    done = site.admin("purge", "--pressure", "--older", "1y")
    assert done.returncode == 2
    assert "the rules of --pressure stand in cas.conf" in done.stderr


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("archiveHighWater = full", "a percentage that is taken"),
        ("archiveHighWater = 100%", "a percentage that is taken"),
        ("archiveLowWater = 80%", "says nothing without `archiveHighWater`"),
        ("archiveHighWater = 80%\narchiveLowWater = 90%", "the disk is fuller"),
        ("archiveHighWater = 50G\narchiveLowWater = 20G", "the disk is fuller"),
        ("purgeOlder = 10x", "ends with no unit of time"),
    ],
)
def test_marks_that_cannot_be_meant_are_refused(tmp_path: Path, lines: str, said: str) -> None:
    conf = tmp_path / "cas.conf"
    conf.write_text(f"[maintenance]\n{lines}\n")
    with pytest.raises(ConfigError, match=said):
        read_config(conf, Config(Path(), Path(), Path(), ""))


def test_a_mark_is_what_is_taken_or_what_is_free(tmp_path: Path) -> None:
    conf = tmp_path / "cas.conf"
    conf.write_text("[maintenance]\narchiveHighWater = 90 %\narchiveLowWater = 50G\n")
    rules = read_config(conf, Config(Path(), Path(), Path(), "")).retention
    assert (rules.high, rules.low) == (WaterMark(percent=90), WaterMark(free_bytes=50 << 30))
    assert WaterMark(percent=90).free_of(1000) == 100
    level = Level.of(tmp_path / "not" / "there", rules)
    assert level.place == tmp_path


def test_how_long_the_room_lasts_is_told_once_it_can_be_known(site: Site) -> None:
    keep_busy(site)
    archive = opened(site)
    now_s = int(site.world().now.timestamp())
    growth = Growth.of(archive, now_s)
    assert growth.told(MIB) == "how long that lasts is not known: nothing is archived yet"
    put(site, A, {b"a" * MIB: WHOLE}, days=3)
    growth = Growth.of(archive, now_s)
    assert growth.told(MIB) == "how long that lasts is not known: the first crash came 3 days ago"
    put(site, B, {b"b" * 7 * MIB: WHOLE}, days=10)
    growth = Growth.of(archive, now_s)
    assert growth.added_bytes == {7: MIB}
    assert growth.lasts_days(14 * MIB) == {7: pytest.approx(98.0)}
    put(site, C, {b"c" * 52 * MIB: WHOLE}, days=35)
    growth = Growth.of(archive, now_s)
    assert growth.added_bytes == {30: 8 * MIB, 7: MIB}
    # what is purged came all the same
    assert site.admin("purge", "--older", "5d", "--delete").returncode == 0
    assert Growth.of(archive, now_s).added_bytes == {30: 8 * MIB, 7: MIB}
    assert growth.told(80 * MIB) == (
        "that lasts 300 days at the rate of the last 30 days (273.1 KiB a day), "
        "560 days at that of the last 7 (146.3 KiB a day)"
    )
    facts = json.loads(site.admin("status", "--json").stdout)["archive"]
    assert facts["added_bytes"] == {"30": 8 * MIB, "7": MIB}
    assert facts["is_pressed"] is None


def test_where_nothing_came_lately_the_room_lasts(site: Site) -> None:
    keep_busy(site)
    put(site, A, {b"old": WHOLE}, days=100)
    growth = Growth.of(opened(site), int(site.world().now.timestamp()))
    assert growth.told(MIB) == "nothing came in the last 30 days"
    assert growth.lasts_days(MIB) == {}


def test_a_job_without_room_is_told_which_rule_would_make_some(site: Site, vmcore_b: Path) -> None:
    keep_busy(site)
    site.settings["debugs"] = str(site.directory / "debugs")
    site.sections = "[maintenance]\npurgeOlder = 60d\npurgeLarger = 1K\n"
    put(site, A, {os.urandom(3 * MIB): WHOLE}, days=100)
    put(site, B, {b"young" * MIB: WHOLE}, days=10)
    site.settings["diskReserve"] = "100T"
    rule = "cas-admin purge --older 60d --larger 1K --keep-exemplar --delete removes"
    for words in (("-i", "T-1", "-f", vmcore_b), ("upload", vmcore_b)):
        done = site.cas(*words)
        assert done.returncode == 75
        assert "no room for " in done.stderr
        assert f"free space ({rule} 3.0 MiB of old dumps, cas-admin -p" in done.stderr
    assert site.cas("hold", A).returncode == 0
    done = site.cas("upload", vmcore_b)
    assert f"free space ({rule} nothing now, cas-admin -p" in done.stderr
