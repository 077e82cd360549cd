"""``cas-admin cache``, and what jobs and debuggers need of the cache meanwhile."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from made_sites import copy_made, site_at

from cas.files.lease import is_held

from installed import FIXTURES, Site

RELEASE = "6.1.192-1.cas1.x86_64"
BUILD_ID = "bed5fd30e12cd8d93b7cebca1a352810446bd99e"
TAINT, TAINTED = "sys -t", "TAINTED_MASK: "
"""A command that is soon answered, and how its answer begins."""
UTSNAME = "print(prog['init_uts_ns'].name.release.string_().decode())\n"


@pytest.fixture(scope="module")
def analysed(
    tmp_path_factory: pytest.TempPathFactory,
    made: Callable[[str, Callable[[Path], object]], Path],
    catalogued: Callable[[Site, str], Site],
    vmcore_b: Path,
) -> Site:
    """A site of its own with the job T-1, whose cache may be spoiled."""

    def analyse(path: Path) -> None:
        path.mkdir()
        site = catalogued(site_at(path), "b")
        site.keep_snippets("sys")
        running = site.start("cas", "-i", "T-1", "-f", vmcore_b)
        was_held = False
        while running.poll() is None:
            was_held = was_held or is_held(entry(site))
            time.sleep(0.05)
        assert running.returncode == 0, running.communicate()[1]
        assert was_held

    directory = tmp_path_factory.mktemp("site")
    copy_made(made("cached", analyse), directory)
    return site_at(directory, kernels=FIXTURES / "b", snippets=directory / "snippets")


@pytest.fixture
def cached(analysed: Site) -> Iterator[Site]:
    """The same with the kernel in the cache, and with the usual limits."""
    entry(analysed).mkdir(parents=True, exist_ok=True)
    if not (entry(analysed) / "vmlinux").exists():
        done = analysed.cas("debug", "T-1", "-c", TAINT)
        assert done.returncode == 0, done.stderr
    yield analysed
    analysed.settings.pop("cacheLimit", None)


def entry(site: Site) -> Path:
    return Path(site.settings["debugs"]) / BUILD_ID


@contextmanager
def session(site: Site) -> Iterator[None]:
    """A debugger that has the kernel open, started by the job's own command."""
    site.configure()
    argv = [site.job("T-1") / "crash"]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{TAINT}\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith(TAINTED)
        yield
        process.stdin.close()


def by_hand(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [site.job("T-1") / "crash", *words],
        input=UTSNAME,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_list_says_what_is_there_and_since_when(cached: Site) -> None:
    done = cached.admin("cache", "list")
    titles, line, summary = done.stdout.splitlines()
    assert titles.split()[:3] == ["RELEASE", "ARCH", "BUILD-ID"]
    assert line.startswith(f"{RELEASE}  x86_64  {BUILD_ID}  ")
    assert "free" in line
    assert summary.startswith("1 kernel, ")
    assert "of 200.0 GiB" in summary
    said = json.loads(cached.admin("cache", "list", "--json").stdout)
    (found,) = said["entries"]
    assert (said["version"], found["build_id"], found["is_in_use"]) == (1, BUILD_ID, False)
    assert said["size_bytes"] == found["size_bytes"] > 1 << 20


def test_a_clean_cache_stays_as_it_is(cached: Site) -> None:
    done = cached.admin("cache", "clean")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("freed 0 bytes; the cache holds ")
    assert (entry(cached) / "vmlinux").exists()


def test_what_a_debugger_uses_stays_goes_afterwards_and_is_got_back(cached: Site) -> None:
    cached.settings["cacheLimit"] = "1K"
    with session(cached):
        done = cached.admin("cache", "clean")
        assert done.stdout.startswith(f"kept {RELEASE}, {BUILD_ID}, ")
        assert "it is in use" in done.stdout
        assert (entry(cached) / "vmlinux").exists()
        assert is_held(entry(cached))
        purge = cached.admin("-p", "-d", "0", "--yes")
        assert (purge.returncode, purge.stdout) == (0, "")
        assert f"{cached.job('T-1')} stays: the crash " in purge.stderr
        assert " is in use" in purge.stderr
    assert not is_held(entry(cached))
    planned = cached.admin("cache", "clean", "--dry-run")
    assert planned.stdout.startswith(f"would remove {RELEASE}, {BUILD_ID}, ")
    assert (entry(cached) / "vmlinux").exists()
    done = cached.admin("-b")
    assert f"removed {RELEASE}, {BUILD_ID}, " in done.stdout, done.stdout
    assert "the cache held more than 1.0 KiB" in done.stdout
    assert not entry(cached).exists()
    shell = by_hand(cached)
    assert RELEASE in shell.stdout, shell.stderr
    assert "Extracting vmlinux" in shell.stderr
    assert (entry(cached) / "vmlinux").exists()


@pytest.mark.long
def test_a_changed_file_is_named_and_extracted_again_by_the_next_job(cached: Site) -> None:
    assert cached.admin("cache", "verify").returncode == 0
    vmlinux = entry(cached) / "vmlinux"
    content = bytearray(vmlinux.read_bytes())
    content[len(content) // 2] ^= 1
    vmlinux.chmod(0o600)
    vmlinux.write_bytes(content)
    done = cached.admin("cache", "verify")
    assert done.returncode == 4
    assert f"{vmlinux}: has another content than was extracted; remove it" in done.stdout
    (fault,) = json.loads(cached.admin("cache", "verify", "--json").stdout)["faults"]
    assert fault["path"] == str(vmlinux)
    debugged = cached.cas("debug", "T-1", "-c", TAINT)
    assert debugged.stdout.startswith(TAINTED)
    assert f"{vmlinux} has changed since it was extracted" in debugged.stderr
    assert cached.admin("cache", "verify").returncode == 0
