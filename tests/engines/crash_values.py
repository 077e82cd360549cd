"""What crash's ``struct`` prints, as a tree, and whether the deep trace's values are the same."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TypeAlias

from drgn import FaultError, Object, Program, sizeof
from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.fs import for_each_file, for_each_mount
from drgn.helpers.linux.irq import for_each_irq_desc
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.mm import for_each_valid_pfn_and_page, for_each_vma
from drgn.helpers.linux.mmzone import for_each_online_pgdat
from drgn.helpers.linux.net import for_each_net, for_each_netdev
from drgn.helpers.linux.percpu import per_cpu
from drgn.helpers.linux.pid import for_each_pid, for_each_task
from drgn.helpers.linux.slab import for_each_slab_cache

from cas.engines.drgn.child.glide.drawing import Drawer
from cas.engines.drgn.child.glide.names import Symbols
from cas.engines.drgn.child.glide.structures import Structures
from cas.engines.drgn.child.glide.value import Value
from cas.engines.drgn.child.target import Target

from installed import needs

Parsed: TypeAlias = "str | bytes | list[tuple[str | None, Parsed]]"

TOKEN = re.compile(
    r"""\s*(?:(?P<open>\{)|(?P<close>\})|(?P<comma>,)
    |(?P<name>[A-Za-z_]\w*)\s=\s
    |(?P<string>"(?:[^"\\]|\\.)*"(?:\.\.\.)?)
    |(?P<scalar>(?:\([^)]*\)\s)?(?:'(?:[^'\\]|\\.)+'|<[^>]*>+|"(?:[^"\\]|\\.)*"|[^,{}\n'"<])+))""",
    re.VERBOSE,
)
ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
NAMED = {b"a": 7, b"b": 8, b"t": 9, b"n": 10, b"v": 11, b"f": 12, b"r": 13, b"e": 27}
REPEATS = re.compile(r"^(.*?) <repeats (\d+) times>$", re.DOTALL)


def parse(text: str) -> Parsed:
    """The value in what crash prints of one structure, ``struct NAME {…}``."""
    tokens = TOKEN.finditer(text, text.index("{"))
    next(tokens)
    return _items(tokens)


def _items(tokens: Iterator[re.Match[str]]) -> list[tuple[str | None, Parsed]]:
    items: list[tuple[str | None, Parsed]] = []
    name: str | None = None
    for token in tokens:
        if token["close"]:
            break
        if token["name"]:
            name = token["name"]
            continue
        if token["comma"]:
            continue
        value: Parsed
        if token["open"]:
            value = _items(tokens)
        elif token["string"]:
            value = string(token["string"])
        else:
            value = token["scalar"].strip()
        times = 1
        if isinstance(value, str) and (found := REPEATS.match(value)):
            value, times = found[1], int(found[2])
        elif isinstance(value, str) and (found := re.fullmatch(r"<repeats (\d+) times>", value)):
            items += [items[-1]] * (int(found[1]) - 1)
            continue
        items += [(name, value)] * times
        name = None
    return items


def string(text: str) -> bytes:
    """The bytes of a string as gdb writes it."""
    raw = text.removesuffix("...")[1:-1].encode("latin-1", "replace")
    return ESCAPE.sub(_byte, raw)


def _byte(found: re.Match[bytes]) -> bytes:
    escaped = found[1]
    return bytes([int(escaped, 8) if len(escaped) == 3 else NAMED.get(escaped, escaped[0])])


@dataclass
class Comparison:
    """Leaves that were compared, and those that differ."""

    leaves: int = 0
    differences: list[str] = field(default_factory=list)

    def compare(self, ours: Value, theirs: Parsed, path: str) -> None:
        """Compare a value with all that is in it."""
        if ours.members and isinstance(theirs, list):
            if ours.members[0].name.startswith("["):
                self._elements(ours, theirs, path)
            else:
                self._members(ours, theirs, path)
        elif ours.members and isinstance(theirs, bytes):
            shown = [int(each.text) & 0xFF for each in ours.members][: len(theirs)]
            self._leaf(path, list(theirs), shown)
        elif not isinstance(theirs, list) and ours.text:
            self._leaf(path, _number(str(theirs)), _number(ours.text))
        elif isinstance(theirs, list) and theirs and ours.text:
            self._leaf(path, theirs, ours.text)

    def _members(self, ours: Value, theirs: list[tuple[str | None, Parsed]], path: str) -> None:
        spliced = dict(_spliced(theirs))
        for member in ours.members:
            if member.name not in spliced:
                self._leaf(f"{path}.{member.name}", None, member.text)
                continue
            self.compare(member, spliced[member.name], f"{path}.{member.name}")

    def _elements(self, ours: Value, theirs: list[tuple[str | None, Parsed]], path: str) -> None:
        values = [value for _, value in theirs if value != "..."]
        # crash prints no more than so many elements
        for number, (member, value) in enumerate(zip(ours.members, values, strict=False)):
            self.compare(member, value, f"{path}[{number}]")

    def _leaf(self, path: str, theirs: object, ours: object) -> None:
        self.leaves += 1
        if theirs != ours:
            self.differences.append(f"{path}: crash {theirs!r}, here {ours!r}")


def _spliced(items: list[tuple[str | None, Parsed]]) -> Iterator[tuple[str, Parsed]]:
    """Members, those of anonymous structures and unions among them."""
    for name, value in items:
        if name is not None:
            yield name, value
        elif isinstance(value, list):
            yield from _spliced(value)


def _number(text: str) -> str:
    """A scalar without what explains it: a symbol, a character, a string."""
    if text == "NULL":
        return "0x0"
    if text.startswith("("):
        text = text.partition(") ")[2] or text
    return text.removesuffix("...").split(" ")[0]


def compared(target: Target, found: Sequence[Object], texts: Sequence[str]) -> Comparison:
    """The structures as the trace tells them, against what crash prints of each."""
    symbols = Symbols(target)
    drawer = Drawer(target, symbols, Structures(symbols, target.prog), is_raw=True)
    result = Comparison()
    for each, text in zip(found, texts, strict=True):
        kind = each.type_.type_name()
        result.compare(drawer.draw(each, kind, 0, ""), parse(text), f"{kind} {each.address_:#x}")
    return result


def structures(prog: Program) -> Iterator[Iterable[Object]]:
    """Pointers to structures of the dump, type by type."""
    tasks = list(for_each_task(prog))
    users = [task for task in tasks if task.mm]
    files = [file for task in users for _, file in for_each_file(task)]
    mounts = list(for_each_mount(prog))
    cpus = list(for_each_possible_cpu(prog))
    yield tasks
    yield (task.signal for task in tasks)
    yield (task.sighand for task in tasks)
    yield (task.cred for task in tasks)
    yield (task.mm for task in users)
    yield (vma for task in users for vma in for_each_vma(task.mm))
    yield for_each_pid(prog)
    yield files
    roots = [mount.mnt.mnt_root for mount in mounts]
    yield chain(
        (file.f_inode for file in files),
        (
            inode
            for mount in mounts
            for inode in list_for_each_entry(
                "struct inode", mount.mnt.mnt_sb.s_inodes.address_of_(), "i_sb_list"
            )
        ),
    )
    yield chain(
        (file.f_path.dentry for file in files),
        roots,
        (
            dentry
            for root in roots
            for dentry in list_for_each_entry(
                "struct dentry", root.d_subdirs.address_of_(), "d_child"
            )
        ),
    )
    yield (file.f_mapping for file in files)
    yield mounts
    yield (mount.mnt.mnt_sb for mount in mounts)
    yield for_each_slab_cache(prog)
    yield (per_cpu(prog["runqueues"], cpu).address_of_() for cpu in cpus)
    yield (pool.address_of_() for cpu in cpus for pool in per_cpu(prog["cpu_worker_pools"], cpu))
    yield list_for_each_entry("struct workqueue_struct", prog["workqueues"].address_of_(), "list")
    yield (zone.address_of_() for node in for_each_online_pgdat(prog) for zone in node.node_zones)
    yield chain.from_iterable(map(for_each_netdev, for_each_net(prog)))
    yield (description for _, description in for_each_irq_desc(prog))
    yield (page for _, page in islice(for_each_valid_pfn_and_page(prog), 4096, None, 41))
    yield list_for_each_entry("struct module", prog["modules"].address_of_(), "list")
    yield (task.nsproxy for task in tasks if task.nsproxy)
    yield (per_cpu(prog["hrtimer_bases"], cpu).address_of_() for cpu in cpus)


def chosen(prog: Program, most: int) -> Iterator[Object]:
    """Structures that are whole in the dump, each once, so many of each type at most."""
    for kind in structures(prog):
        taken: set[int] = set()
        with suppress(FaultError):
            for pointer in kind:
                address = pointer.value_()
                if len(taken) == most:
                    break
                if address in taken:
                    continue
                with suppress(FaultError):
                    prog.read(address, sizeof(pointer.type_.type))
                    taken.add(address)
                    yield pointer[0]


def printed_by_crash(found: list[Object], vmlinux: Path, dump: Path, directory: Path) -> list[str]:
    """What crash prints of each structure."""
    commands = [
        f"struct {each.type_.unqualified().type_name().split()[-1]} {each.address_:x}"
        for each in found
    ]
    script = directory / "in"
    script.write_text("\n".join([*commands, "exit"]) + "\n")
    done = subprocess.run(
        [needs("crash"), "--no_crashrc", "-s", "-i", script, vmlinux, dump],
        capture_output=True,
        text=True,
        encoding="latin-1",
        env={**os.environ, "HOME": str(directory), "LC_ALL": "C"},
        check=True,
    )
    texts = [f"struct {text}" for text in f"\n{done.stdout}".split("\nstruct ")[1:]]
    assert len(texts) == len(found), done.stdout[-500:] + done.stderr[-500:]
    return texts
