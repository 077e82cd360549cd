#!/usr/bin/env python3
"""How sure verdicts are against how right, and which crashes signatures join, on labelled logs.

usage: verdict.py confidence|signatures CORPUS [--show]

CORPUS is a directory or a tar file of logs: syzkaller's ``pkg/report/testdata/linux/report``
(``TITLE:``, ``ALT:``, ``FRAME:``, an empty line, the log), or any logs with a table ``labels.tsv``:
file, kinds, functions, task, class.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from cas.choices import Level
from cas.findings.outline import Backtrace, outline
from cas.model.code import Frame
from cas.model.finding import SAME, SIMILAR

ASIDE = 26
"""A log is kept aside if the first byte of its name's SHA-256 is less: a tenth of them."""
GRANULARITIES = ("title", "top 3", "top 5", "full", "former")
"""The last is the one signature of the first version of the rules, as it is compared with jobs of
that time."""

LABELS = tuple(
    (re.compile(title), frozenset(kinds.split()))
    for kinds, *titles in (
        (
            "memory-error null-dereference protection-fault",
            r"KASAN: (?:null-ptr|general protection|maybe wild)",
        ),
        (
            "memory-error protection-fault page-fault",
            r"KASAN: (?:wild-memory|user-memory)",
        ),
        (
            "memory-error",
            r"K(?:ASAN|MSAN|FENCE|CSAN)",
            r"(?:INFO: )?(?:Freed|Allocated) in",
            r"BUG: [Bb]ad page|INFO: (?:Slab|Object)",
        ),
        ("memory-error warning", r"UBSAN"),
        ("protection-fault null-dereference", r"general protection fault"),
        ("null-dereference", r"(?:BUG: )?unable to handle kernel NULL"),
        (
            "page-fault oops",
            r"(?:BUG: )?unable to handle kernel paging|Unhandled fault|unable to handle page",
        ),
        ("page-fault null-dereference oops", r"(?:BUG: )?unable to handle"),
        (
            "list-corruption",
            r"BUG: corrupted list|kernel BUG in list|list_(?:add|del) corruption",
        ),
        (
            "bug-on warning memory-error",
            r"BUG: bad usercopy|kernel panic: bad usercopy|BUG: Dentry still",
        ),
        ("bug-on", r"kernel BUG"),
        ("divide-error", r"divide error"),
        ("double-fault stack-overflow", r"PANIC: double fault"),
        (
            "stack-overflow double-fault",
            r"BUG: stack guard page|kernel stack overflow|kernel panic: corrupted stack end",
            r"BUG: MAX_STACK",
        ),
        ("stack-protector", r"kernel panic: stack is corrupted"),
        (
            "oops page-fault bug-on protection-fault",
            r"int3|stack segment|Internal error|invalid opcode|undefined instr|segment fault",
            r"kernel panic: (?:bad mode|Fatal)",
        ),
        ("rcu-stall", r"INFO: (?:rcu|sched)|rcu detected stall"),
        ("hung-task", r"INFO: task (?:hung|can't die)|kernel panic: hung_task"),
        ("soft-lockup hard-lockup", r"BUG: (?:soft|workqueue|spinlock) lockup"),
        ("sysrq", r"kernel panic: sysrq"),
        ("warning", r"kernel panic: panic_on_warn"),
        ("panic", r"kernel panic"),
        (
            "warning",
            r"possible (?:deadlock|circular|recursive|irq)|inconsistent lock|suspicious RCU",
            r"INFO: (?:suspicious RCU|trying to register|possible|inconsistent)",
            r"BUG: (?:bad unlock|held lock|lock held|still has)",
        ),
        (
            "warning bug-on",
            r"BUG: (?:scheduling while|using |sleeping function|workqueue leaked|atomic)",
        ),
        ("warning", r"WARNING"),
    )
    for title in titles
)
"""Kinds that a support engineer accepts for a title of syzkaller's."""
NOT_KERNEL = re.compile(
    r"SYZ(?:FAIL|FATAL)|go runtime|unexpected kernel reboot|trusty|memory leak|attempt to "
    r"|lost connection",
    re.IGNORECASE,
)
"""Titles of what does not stand in a crashed kernel's own log."""
DIES = re.compile(
    r"Kernel panic - not syncing|\[#\d+\]|Internal error: |BUG: unable to handle|kernel BUG at"
    r"|Unable to handle kernel|general protection fault|PANIC: double fault"
)
_STAMP = re.compile(r"^(?:<\d+>)?\[ *[\d.]+\](?:\[ *[TC]\d+\])? ?")
_TRACED = re.compile(
    r"\s*(?:\[<[0-9a-f]+>\]\s*)?(?:<\w+>\s*)?([A-Za-z_.][\w.$]*)(?:\+0x[0-9a-f]+/0x[0-9a-f]+)"
    r"(?:\s+\[(\w+)\])?"
)
_PC = re.compile(r"RIP: 0010:(?:\[<\w+>\]\s*)*([\w.]+)\+0x[0-9a-f]+")
_BEHIND = re.compile(r"Kernel Offset|Dumping ftrace|---\[ end|Rebooting|RIP: 0033|RSP: 002b")
_REGISTERS = re.compile(r"\s*(?:R[A-Z0-9]{2}|Code|CS|DR\d|FS|CR2|ORIG_RAX|EFLAGS|</?\w+>\s*$)")


@dataclass
class Case:
    """A log, what is expected of its verdict, and the verdict."""

    name: str
    text: str
    titles: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()
    """Empty: no crash is expected, or nothing that this project can tell."""
    functions: frozenset[str] = frozenset()
    is_labelled: bool = False
    """Whether the log is a kernel's, and its title is known."""
    is_sure: bool = True
    """Whether who labelled it was sure of the function (``CORRUPTED: Y``: not)."""
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def dies(self) -> bool:
        return DIES.search(self.text) is not None

    @property
    def is_aside(self) -> bool:
        return hashlib.sha256(self.name.encode()).digest()[0] < ASIDE

    @property
    def is_right(self) -> bool:
        """Kind right and, where the label names a function, it is named."""
        return self.told["kind"] in self.kinds and (
            not self.functions or bool(self.functions & named(self.told))
        )

    @property
    def level(self) -> str:
        return str(self.told["confidence"]["level"])

    def signature(self, granularity: str) -> str | None:
        return _signature(self.told, granularity)


def _signature(told: dict[str, Any], granularity: str) -> str | None:
    found: str | None = {**told["signatures"], "former": told["former"]}.get(granularity)
    return found


def named(told: dict[str, Any]) -> set[str]:
    """The names in What and Where, and of the function at fault."""
    frames = told["frames"]
    owner = next((frame for frame in frames if not frame["inlined"]), None)
    own = {frame["function"] for frame in (*frames[:1], owner) if frame}
    said = re.findall(r"[A-Za-z_][\w.]*", f"{told['what']} {told['where'] or ''}")
    return {plain(name) for name in {*own, *said}}


def plain(name: str) -> str:
    """Without compiler suffixes; numbers made alike, as some labels say ``NUM``."""
    name = re.sub(r"\bNUM\b", "0", name.strip().lstrip(".").partition(".")[0])
    return re.sub(r"\d+", "0", name)


# the corpora


def cases_of(path: Path) -> list[Case]:
    """Every log of a corpus, judged."""
    files = dict(_files(path))
    if "labels.tsv" in files:
        found = [_of_row(row.split("\t"), files) for row in files["labels.tsv"].splitlines()]
    else:
        found = [_of_syzkaller(name, text) for name, text in files.items()]
    for case in found:
        case.told = outline(case.text)
    return found


def _files(path: Path) -> Iterator[tuple[str, str]]:
    if path.is_dir():
        raw = [(p.name, p.read_bytes()) for p in path.iterdir() if p.is_file()]
    else:
        with tarfile.open(path) as tar:
            raw = [(m.name, found.read()) for m in tar if (found := tar.extractfile(m))]
    for name, data in sorted(raw, key=lambda each: (len(each[0]), each[0])):
        yield name, data.replace(b"\r", b"").decode("utf-8", "replace")


def _of_row(row: Sequence[str], files: dict[str, str]) -> Case:
    name, kinds, functions = row[:3]
    return Case(
        name,
        files[name],
        (name,),
        kinds=frozenset(kinds.split("|")) - {""},
        functions=frozenset(plain(each) for each in functions.split("|") if each),
        is_labelled=True,
    )


def _of_syzkaller(name: str, text: str) -> Case:
    head, _, body = ("", "", text[1:]) if text.startswith("\n") else text.partition("\n\n")
    keys: dict[str, list[str]] = defaultdict(list)
    for key, value in re.findall(r"^(\w+): (.*)$", head, re.MULTILINE):
        keys[key].append(value)
    titles = tuple(filter(None, (*keys["TITLE"][:1], *keys["ALT"])))
    case = Case(name, body.partition("\n\nREPORT:\n")[0] + "\n", titles)
    case.is_sure = "Y" not in keys["CORRUPTED"]
    if titles and not NOT_KERNEL.match(titles[0]) and "Y" not in keys["SUPPRESSED"]:
        case.is_labelled = True
        rules = (kinds for pattern, kinds in LABELS if pattern.match(titles[0]))
        case.kinds = next(rules, frozenset())
        case.functions = frozenset(_functions(titles, "".join(keys["FRAME"][:1])))
    return case


def _functions(titles: Iterable[str], frame: str) -> Iterator[str]:
    unknown = {"", "corrupted", "from", "invalid", "preemptible"}
    for title in titles:
        found = re.search(r" in ([A-Za-z_][\w.<>:]*)(?: at addr.*)?$", title)
        found = found or re.search(r" in ([\w.]+) / ", title)
        if found and plain(found[1]) not in unknown:
            yield plain(found[1])
    if plain(frame) not in unknown:
        yield plain(frame)


def debuggers(text: str) -> tuple[Frame, ...]:
    """The panic task's stack as a debugger gives it: the trace behind the panic line, if any."""
    lines = [_STAMP.sub("", line) for line in text.split("\n")]
    starts = (n for n, line in enumerate(lines) if line.startswith("Kernel panic - not syncing"))
    panic = next(starts, len(lines))
    heads = (n for n in range(panic, min(panic + 12, len(lines))) if "Call Trace" in lines[n])
    start = next(heads, len(lines))
    frames = tuple(_stack(lines[start + 1 : start + 160]))
    return frames if any(frame.function == "panic" for frame in frames) else ()


def _stack(lines: Iterable[str]) -> Iterator[Frame]:
    for line in lines:
        if _BEHIND.match(line):
            return
        if found := _PC.match(line):
            yield Frame(found[1], offset=1)
        elif not _REGISTERS.match(line) and (found := _TRACED.match(line)):
            yield Frame(found[1], offset=1, kmod=found[2])


# the figures


def confidence(cases: Sequence[Case], *, show: bool) -> Iterator[str]:
    """How many of each level are right, and how many of the right ones are called high."""
    judged = [case for case in cases if case.kinds]
    yield f"{len(judged)} logs; right: the kind, and the function where the label names one"
    head = f"{'':14} {'n':>4} {'right':>6}  {'high':>6} {'right':>6} {'of the right, high':>19}"
    yield head + "".join(f"  {level:>6} {'right':>6}" for level in ("medium", "low"))
    parts = {
        "all": judged,
        "nine tenths": [case for case in judged if not case.is_aside],
        "a tenth aside": [case for case in judged if case.is_aside],
    }
    for part, some in parts.items():
        yield _row(part, some)
        dying = [case for case in some if case.dies]
        if len(dying) < len(some):
            yield _row("  dies", dying)
            yield _row("  lives on", [case for case in some if not case.dies])
    if show:
        yield from _overrated(judged)


def _row(name: str, cases: Sequence[Case]) -> str:
    right = [case for case in cases if case.is_right]
    row = f"{name:14} {len(cases):4} {_percent(len(right), len(cases)):>6}"
    for level in Level:
        own = [case for case in cases if case.level == level]
        row += f"  {len(own):>6} {_percent(sum(case.is_right for case in own), len(own)):>6}"
        if level is Level.HIGH:
            called = sum(case.level == level for case in right)
            row += f" {_percent(called, len(right)):>19}"
    return row


def _overrated(cases: Iterable[Case]) -> Iterator[str]:
    """What is called high and is wrong."""
    for case in cases:
        if case.level == Level.HIGH and not case.is_right and not case.is_aside:
            told = case.told
            yield f"{case.name}: {case.titles[0]}"
            yield f"    {told['what']} | {told['where']} | {', '.join(told['confidence']['why'])}"


def _percent(some: int, all_: int) -> str:
    return f"{100 * some / all_:.1f}" if all_ else "-"


def signatures(cases: Sequence[Case], *, show: bool) -> Iterator[str]:
    """What signatures join and split, at each granularity."""
    judged = [case for case in cases if case.is_labelled]
    quiet = [case for case in cases if not case.titles]
    seen = sum(case.told["kind"] != "none" for case in quiet)
    yield f"{len(judged)} logs; a crash seen in {seen} of {len(quiet)} logs without one"
    yield _line("", GRANULARITIES)
    own = [case for case in judged if case.kinds and case.functions]
    have = (sum(bool(case.signature(name)) for case in own) for name in GRANULARITIES)
    yield _line(f"of {len(own)} that name a function, have one (%)", _shares(have, len(own)))
    stacks = [
        (case, outline(case.text, Backtrace(frames)))
        for case in judged
        if (frames := debuggers(case.text))
    ]
    equal = (_equal(stacks, name) for name in GRANULARITIES)
    yield _line(f"of {len(stacks)} with a stack, equal from log and stack (%)", equal)
    for sure in (False, True):
        some = [case for case in judged if case.is_sure or not sure]
        told = "without doubtful labels" if sure else "every label at its word"
        yield f"{len(some)} logs, {told}:"
        columns = [_Joined(some, name, sure=sure) for name in GRANULARITIES]
        yield _line("  under the signature of another title", (len(c.foreign) for c in columns))
        splits = f"  of {len(columns[0].repeated)} repeated titles with a function, split"
        yield _line(splits, (len(c.split) for c in columns))
        yield _line("  pairs joined", (len(c.pairs) for c in columns))
        yield _line("    wrongly (%)", (_percent(len(c.wrong), len(c.pairs)) for c in columns))
        yield _line("  of the pairs of these titles, joined (%)", (c.recall for c in columns))
        yield from _seen_before({column.granularity: column for column in columns})
        if show:
            for column in columns:
                yield from column.told()


def _seen_before(columns: dict[str, _Joined]) -> Iterator[str]:
    """What a report would say of each pair that it joins."""
    same = columns[SAME].pairs
    similar = [pair for pair in columns[SIMILAR].pairs if pair not in same]
    told = {
        "the same crash": (same, columns[SAME].wrong),
        "a similar one": (similar, [pair for pair in columns[SIMILAR].wrong if pair in similar]),
    }
    for name, (joined, wrong) in told.items():
        yield f"  {name}: {len(joined)} pairs, {_percent(len(wrong), len(joined))} % wrongly"


def _shares(some: Iterable[int], all_: int) -> Iterator[str]:
    return (_percent(each, all_) for each in some)


def _line(name: str, cells: Iterable[object]) -> str:
    return f"{name:50}" + "".join(f"{cell:>8}" for cell in cells)


def _equal(stacks: Sequence[tuple[Case, dict[str, Any]]], name: str) -> str:
    both = [(case.signature(name), _signature(told, name)) for case, told in stacks]
    both = [pair for pair in both if all(pair)]
    return _percent(sum(log == stack for log, stack in both), len(both))


class _Joined:
    """What one granularity joins."""

    def __init__(self, cases: Sequence[Case], granularity: str, *, sure: bool) -> None:
        self.granularity, self.sure = granularity, sure
        groups: dict[str, list[Case]] = defaultdict(list)
        titles: dict[str, list[Case]] = defaultdict(list)
        for case in cases:
            if value := case.signature(granularity):
                groups[value].append(case)
            if case.functions:
                titles[case.titles[0]].append(case)
        self.pairs = [pair for group in groups.values() for pair in combinations(group, 2)]
        self.wrong = [pair for pair in self.pairs if not self._agree(*pair)]
        self.foreign = [case for group in groups.values() for case in self._foreign(group)]
        self.repeated = {name: group for name, group in titles.items() if len(group) > 1}
        self.split = [name for name, group in self.repeated.items() if self._is_split(group)]
        alike = [pair for group in self.repeated.values() for pair in combinations(group, 2)]
        self.recall = _percent(sum(self._is_joined(*pair) for pair in alike), len(alike))

    def _agree(self, one: Case, other: Case) -> bool:
        return bool(self._titles(one) & self._titles(other))

    def _titles(self, case: Case) -> set[str]:
        # lockdep's BUG: and INFO: became WARNING: in Linux 4.11 to 4.15
        return {
            re.sub(r"^(?:BUG|WARNING|INFO): ", "", title) if self.sure else title
            for title in case.titles
        }

    def _foreign(self, group: Sequence[Case]) -> list[Case]:
        """Those that do not agree with the log with which most of them agree."""
        most = max(group, key=lambda case: sum(self._agree(case, other) for other in group))
        return [case for case in group if not self._agree(case, most)]

    def _is_split(self, group: Iterable[Case]) -> bool:
        return len({case.signature(self.granularity) for case in group} - {None}) > 1

    def _is_joined(self, one: Case, other: Case) -> bool:
        value = one.signature(self.granularity)
        return value is not None and value == other.signature(self.granularity)

    def told(self) -> Iterator[str]:
        """The wrong joins and the splits."""
        for one, other in self.wrong:
            both = f"{one.name} {one.titles[0]}, {other.name} {other.titles[0]}"
            yield f"    {self.granularity}, joined: {both}: {one.told['title']}"
        for name in self.split:
            own = [f"{case.name} {case.told['title']}" for case in self.repeated[name]]
            yield f"    {self.granularity}, split: {name}: {'; '.join(own)}"


def main() -> None:
    """Read the corpus, judge, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("confidence", "signatures"))
    parser.add_argument("corpus", type=Path, metavar="CORPUS")
    parser.add_argument(
        "--show", action="store_true", help="name the logs that a figure is made of"
    )
    asked = parser.parse_args()
    measured = confidence if asked.command == "confidence" else signatures
    print(*measured(cases_of(asked.corpus), show=asked.show), sep="\n")


if __name__ == "__main__":
    main()
