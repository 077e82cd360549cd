"""What the guides show is what happens: each command in them is run as it is written.

A ``console`` block holds commands (``$ …``), what is typed at a debugger's prompt, and what is
printed. Printed lines are compared without times and sizes; ``...`` stands for any lines.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.extend(str(Path(__file__).parents[1] / room) for room in ("analyzers", "archive", "fetch"))

from catalogue import deb_packages
from machines import age, crashed
from ssh_servers import sshd
from store_servers import know_store, served_store
from stored_crashes import keep_busy

from installed import COMMANDS, FIXTURES, Site, needs

DOCS = Path(__file__).parents[2] / "docs"
X86_64 = "kernel-debuginfo-6.1.192-1.cas1.x86_64.rpm"
KNOWN = """\
[[issue]]
name = "the ledger of cas_oops has no account"
advice = "Do not load cas_oops until the kernel is updated."
link = "https://example.com/cas/oops-1"

[issue.when]
title = "NULL pointer dereference in cas_*"
"""
PROMPT = re.compile(r"(?:crash|drgn|>>)> ?(.*)")
ALONE = re.compile(r"(cas(?:-admin)?(?: [\w./-]+)*)(; echo \"exit status \$\?\")?")
"""A command of ours for which no shell is needed, and what may be behind it."""
CHANGING = (
    (r"\d{4}\.\d\d\.\d\d\.\d\d\.\d\d\.\d\d", "STAMP"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?( UTC)?", "TIME"),
    (r"\b\d{4}-\d\d-\d\d\b", "TIME"),
    (r"\b\d+(\.\d+)? (s|seconds?|minutes?|[KMG]i?B)\b", "AMOUNT"),
    (r" +", " "),
)


@dataclass(frozen=True)
class Step:
    """A command of a guide."""

    line: int
    """In the file, from 1."""
    command: str
    typed: tuple[str, ...]
    """Lines given to it at its prompt."""
    printed: tuple[str, ...]


def steps(text: str) -> Iterator[Step]:
    for block in re.finditer(r"^```console\n(.*?)^```$", text, re.M | re.S):
        begin = text.count("\n", 0, block.start()) + 2
        lines = block[1].splitlines()
        starts = [n for n, line in enumerate(lines) if line.startswith("$ ")]
        assert starts and starts[0] == 0, f"line {begin}: a block begins with a command"
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
            last = next(n for n in range(start, end) if not lines[n].endswith("\\"))
            shown = lines[last + 1 : end]
            prompts = [PROMPT.fullmatch(line) for line in shown]
            yield Step(
                begin + start,
                "\n".join(lines[start : last + 1])[2:],
                tuple(found[1] for found in prompts if found),
                tuple(
                    line for line, is_prompt in zip(shown, prompts, strict=True) if not is_prompt
                ),
            )


def unchanging(line: str) -> str:
    for pattern, word in CHANGING:
        line = re.sub(pattern, word, line)
    return line.strip()


def is_shown(shown: tuple[str, ...], printed: list[str]) -> bool:
    """Whether the output is what a guide shows of it."""
    parts = [
        r"(?:.*\n)*?" if line == "..." else re.escape(unchanging(line)) + r"\n"
        for line in shown
        if line.strip()
    ]
    text = "".join(f"{unchanging(line)}\n" for line in printed if line.strip())
    return re.fullmatch("".join(parts), text) is not None


def replaced(text: str, words: Mapping[str, str]) -> str:
    for word, other in words.items():
        text = text.replace(word, other)
    return text


def test_all_texts_show_jobs_where_the_installed_configuration_puts_them() -> None:
    project = DOCS.parent
    named = re.search(r"^#workDirectory = (\S+)", (project / "etc/cas.conf").read_text(), re.M)
    assert named
    texts = [project / "README.md", *DOCS.glob("*.md"), *(project / "man").iterdir()]
    shown = [
        path
        for text in texts
        for path in re.findall(r"/\S+?(?=/[\w-]+/\d{4}\.\d\d\.\d\d\.)", text.read_text())
    ]
    assert len(shown) > 8
    assert {*shown} == {named[1]}


@pytest.fixture
def arranged(site: Site) -> Iterator[Site]:
    """What lies before the reader: dumps, packages, a file of known issues and an analysis host."""
    site.settings["debugs"] = str(site.directory / "debugs")
    # no guide shows what the other snippets say: that crash takes each is seen in tests/snippets
    site.keep_snippets("traceback", "sys")
    for part, name in (("a", "vmcore.elf.xz"), ("arm64", "vmcore-arm64.elf.xz")):
        shutil.copy(FIXTURES / part / "vmcore.elf.xz", site.directory / name)
        (package,) = (FIXTURES / part).glob("*.rpm")
        shutil.copy(package, site.directory)
    (site.directory / "known.toml").write_text(KNOWN)
    site.jobs.mkdir()
    with sshd(site.directory / "lab", site.directory) as host:
        host.know(name="lab-03")
        (site.directory / ".ssh/config").write_text(
            f"Host lab-03\nHostName 127.0.0.1\nPort {host.port}\nHostKeyAlias lab-03\n"
        )
        yield site


@pytest.mark.early
@pytest.mark.parametrize("engine", ["drgn", pytest.param("auto", marks=pytest.mark.long)])
def test_the_engineers_guide_shows_what_happens(arranged: Site, indexed: Path, engine: str) -> None:
    """With drgn, and without crash's sessions; or all as on a usual site.

    The kernel has an index, which spares each start of crash two thirds of its time.
    """
    kernels, package = Path(arranged.settings["kernels"]), arranged.directory / X86_64
    unpacked = arranged.directory / "unpacked"
    unpacked.mkdir()
    subprocess.run([needs("bsdtar"), "-xf", package, "-C", unpacked, "*.ko.debug"], check=True)
    kmods = {
        f"/{path.relative_to(unpacked)}".removesuffix(".debug"): path.read_bytes()
        for path in unpacked.rglob("*.ko.debug")
    }
    needs("dpkg-deb")
    deb_packages.build(unpacked, kmods).rename(kernels / "linux-image-cas1-dbg_1_amd64.deb")
    (kernels / "vmlinux").symlink_to(indexed)
    assert arranged.admin("-b").returncode == 0
    sessions = [step for step in steps((DOCS / "guide.md").read_text()) if is_of_crash(step)]
    assert len(sessions) == 3
    for step in steps((DOCS / "guide.md").read_text()):
        arranged.settings["engine"] = "auto" if step in sessions else engine
        if engine == "auto" or step not in sessions:
            take("guide.md", step, arranged)


@pytest.mark.early
def test_the_administrators_guide_shows_what_happens(arranged: Site) -> None:
    """drgn does it all: what crash says is in the other guide."""
    arranged.settings["engine"] = "drgn"
    for step in steps((DOCS / "site.md").read_text()):
        take("site.md", step, arranged)


@pytest.mark.long
def test_the_walk_through_thoths_readme_and_our_own_show_what_happens(arranged: Site) -> None:
    needs("jq")
    arranged.settings["engine"] = "drgn"
    text = (DOCS / "thoth.md").read_text()
    (script,) = re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)
    (arranged.directory / "diagnose.sh").write_text(script)
    for step in steps(text):
        take("thoth.md", step, arranged)
    # what README shows of the archive begins with the same dumps
    assert arranged.cas("unticket", "0757b6bc").returncode == 0
    assert arranged.cas("ticket", "0757b6bc", "T-1234").returncode == 0
    for step in steps((DOCS.parent / "README.md").read_text()):
        take("README.md", step, arranged)


MACHINES = ("db01", "db02")
NOTE = {
    "cas_note": 1,
    "time": "2026-11-09T05:41:07Z",
    "node": "db02",
    "release": "6.1.192-1.cas1.x86_64",
    "signatures": {"version": 3, "title": "6bf4d6ec043d0941", "top_3": "c07e2c4b732e2de1"},
}


@pytest.fixture
def month(site: Site) -> Iterator[Site]:
    """A site with a small disk for its archive, two machines that let it in, and a store."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system, and reads what is root's by sudo")
    needs("sudo")
    store = site.directory / "store"
    store.mkdir(mode=0o700)
    mount = [needs("mount"), "-t", "tmpfs", "-o", "size=160m,mode=700", "cas-test", str(store)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(mounted.stderr)
    try:
        site.settings |= {"store": str(store), "engine": "drgn", "diskReserve": "8M"}
        keep_busy(site)
        shutil.copy(FIXTURES / "a" / X86_64, site.settings["kernels"])
        with sshd(site.directory / "ssh", site.directory) as host, served_store() as endpoint:
            know_store(site, endpoint)
            lines = ""
            for name in MACHINES:
                host.know(name=name)
                lines += f"Host {name}\nHostName 127.0.0.1\nPort {host.port}\nHostKeyAlias {name}\n"
                (site.directory / name / "crash").mkdir(parents=True)
            (site.directory / ".ssh/config").write_text(lines)
            yield site
    finally:
        subprocess.run([needs("umount"), str(store)], check=True)


@pytest.mark.long
def test_the_month_of_an_archives_upkeep_shows_what_happens(month: Site, vmcore: Path) -> None:
    """What no reader sees: time that passes, and machines that crash."""
    text = (DOCS / "upkeep.md").read_text().partition("\n## A month\n")[2]
    (rules,) = re.findall(r"^```ini\n(.*?)^```$", text, re.M | re.S)
    month.sections = rules.partition("[stores]")[0] + month.sections
    month.sections += "".join(
        f"[sweep {name}]\ndirectories = {month.directory}/{name}/crash\n" for name in MACHINES
    )
    shown = {f"{month.directory}/{name}/crash": "/var/crash" for name in MACHINES}
    shown[month.settings["store"]] = "/cores/archive"
    for part in text.split("\n### ")[1:]:
        arrange(month, part.partition(":")[2].splitlines()[0].strip(), vmcore)
        for step in steps(part):
            take("upkeep.md, A month", step, month, shown)


def arrange(site: Site, heading: str, vmcore: Path) -> None:
    """What happens before a part of the month is read."""

    def crash(name: str, when: str, number: int) -> Path:
        place = site.directory / name / "crash"
        return crashed(vmcore, place, name, f"{when}+00:00", number)

    store = Path(site.settings["store"])
    if heading == "both have crashed":
        log = crash("db01", "2026-11-02T03:11:45", 1).with_name("vmcore-dmesg.txt")
        log.write_text("[    0.000000] Linux version 6.1\n")
        crash("db02", "2026-11-02T04:20:01", 2)
    elif heading == "once more, and no dump":
        age(store, days=7)
        (site.directory / "note.json").write_text(json.dumps(NOTE))
    elif heading == "other dumps came":
        age(store, days=3)
        crash("db01", "2026-11-11T08:30:12", 11)
        crash("db01", "2026-11-12T02:02:44", 12)
        assert site.admin("sweep", "--fetch").returncode == 0
        age(store, days=1)
        crash("db02", "2026-11-12T22:10:31", 20)
        assert site.admin("sweep", "--fetch").returncode == 0
    elif heading == "the disk is full":
        age(store, days=15)
        assert site.admin("index").returncode == 0


def is_of_crash(step: Step) -> bool:
    """Whether it opens the debugger that the site has, on a dump of this machine's architecture."""
    is_session = "cas debug" in step.command or "./crash" in step.command
    return is_session and "--engine" not in step.command


def take(guide: str, step: Step, site: Site, shown: Mapping[str, str] | None = None) -> None:
    """Run the command of a guide, and compare what is printed.

    :param shown: what the guide has in the place of the site's own paths
    """
    places = {"/cores/processed": str(site.jobs), "/mnt/kernels": site.settings["kernels"]}
    command = replaced(step.command, places)
    alone = None if step.typed else ALONE.fullmatch(command)
    if alone is None:
        environment = site.prepared()
        done = subprocess.run(
            ["bash", "-c", command],
            input="".join(f"{line}\n" for line in step.typed),
            env={**environment, "PATH": f"{COMMANDS}:{environment['PATH']}"},
            cwd=site.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
    else:
        done = site.run(*alone[1].split(), is_stderr_stdout=True)
        done.stdout += f"exit status {done.returncode}\n" if alone[2] else ""
    shown = {**{there: here for here, there in places.items()}, **(shown or {})}
    printed = replaced(done.stdout, shown)
    assert is_shown(step.printed, printed.splitlines()), (
        f"{guide}:{step.line}: {step.command}\n{printed}"
    )
