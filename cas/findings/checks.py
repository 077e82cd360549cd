"""What a check of the kernel says that failed: an assertion, a list, a slab object.

Such a report is an answer already, as far as it goes; here it is put in a sentence, with what the
kernel printed beside it. Formats: ``lib/bug.c``, ``kernel/panic.c``, ``lib/list_debug.c`` and
``mm/slub.c`` from Linux 2.6 to 7.x.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePath

from cas.choices import Kind, Weight
from cas.frozen import dataclass
from cas.klog.events import Event
from cas.klog.lines import Log
from cas.model.code import SourceLines
from cas.model.evidence import Evidence

CHECKED = frozenset({Kind.BUG_ON, Kind.WARNING, Kind.LIST_CORRUPTION, Kind.MEMORY_ERROR})
"""Kinds that a check of the kernel announces."""
LOG = "the message in the kernel log"
TRACE_LINES = 6
"""Lines that are shown of a trace of who had memory."""
_NEAR_LINES = 4
_CUT = re.compile(r" *-+\[ cut here \]-+")
_PLACE = r"(?:\[(.{1,200}?)\] )?(?:at )?([\w./+-]{1,200}):(\d{1,7})"
_BUG = re.compile(rf"kernel BUG at {_PLACE}!")
_WARNING = re.compile(rf"WARNING: (?:CPU: \d{{1,5}} PID: \d{{1,10}} )?(?:at )?{_PLACE}\b")
"""The condition, in brackets, with CONFIG_DEBUG_BUGVERBOSE_DETAILED; file and line."""
_ENTRY = re.compile(
    r"list_del corruption, (?:0x)?([0-9a-f]{16})->(next|prev) is (NULL|LIST_POISON[12])\b"
)
_DOUBLE_ADD = re.compile(
    r"list_add double add: new=(?:0x)?([0-9a-f]{16}), prev=(?:0x)?([0-9a-f]{16}), "
    r"next=(?:0x)?([0-9a-f]{16})"
)
_SLAB = re.compile(r"(?:=+ ?)?BUG ([\w:.-]{1,60})(?:\(\S{0,60}\))?(?: \(.{0,40}\))?: (.{1,120})")
_OBJECT = re.compile(r"(?:INFO: )?Object 0x([0-9a-f]{8,16}) @offset=")
_TRACK = re.compile(
    r"(?:INFO: )?(Allocated|Freed) in "
    r"([A-Za-z_.][\w.$]{0,127})\+0x[0-9a-f]{1,16}/0x[0-9a-f]{1,16}(?: \[([\w-]{1,64})\])?"
    r" age=\d{1,20} cpu=(\d{1,5}) pid=(\d{1,10})"
)
_SPOILT = re.compile(
    r"(?:INFO: )?0x([0-9a-f]{8,16})-0x([0-9a-f]{8,16})(?: @offset=\d{1,10})?\. "
    r"First byte 0x([0-9a-f]{1,2}) instead of 0x([0-9a-f]{1,2})"
)
_TRACED = re.compile(r"[ \t]+[A-Za-z_.][\w.$]{0,127}\+0x[0-9a-f]{1,16}/0x")
_END = re.compile(r"CPU: \d|Pid: \d|Call Trace")


@dataclass(frozen=True, slots=True)
class Had:
    """Who had an object of a slab cache last, as SLUB kept it (``slub_debug=U``)."""

    did: str
    """``allocated`` or ``freed``."""
    who: str
    """``cas_free_order [cas_crashes] (pid 47, CPU 0)``."""
    lines: tuple[str, ...] = ()
    """As it stands in the log, with its trace."""


def said_before(log: Log, event: Event) -> str:
    """What the kernel said of a failed assertion right before it; empty: nothing.

    A warning's own words stand below the line where reports are to be cut.
    """
    if event.detail:
        return event.detail
    if event.index is None or event.kind is not Kind.WARNING:
        return ""
    near = log[max(0, event.index - _NEAR_LINES) : event.index]
    said = [each.text.strip() for each in near if each.caller == event.caller]
    cuts = [number for number, text in enumerate(said) if _CUT.match(text)]
    words = said[cuts[-1] + 1 :] if cuts else []
    return words[0] if len(words) == 1 else ""


def checked(
    event: Event, said: str, texts: Sequence[str], command: str, *, is_wide: bool = True
) -> Iterator[Evidence]:
    """What the check says that announced a crash.

    :param said: what the kernel printed right before it
    :param texts: the lines of the report
    :param command: what shows the code that was stopped
    :param is_wide: whether pointers have 64 bits
    """
    if event.kind in (Kind.BUG_ON, Kind.WARNING):
        found = _BUG.search(event.line) or _WARNING.search(event.line)
        if found is not None:
            condition, file, line = found.groups()
            sentence = f"the check at {file}:{line} failed"
            sentence += f": {condition}" if condition else ""
            sentence += f"; the kernel said right before: {said}" if said else ""
            yield Evidence(sentence, found[0], command, Weight.CAUSE)
    elif event.kind is Kind.LIST_CORRUPTION and is_wide:
        yield from _list_entry_evidence(event.message)
    elif event.kind is Kind.MEMORY_ERROR:
        yield from _slab_object_evidence(event.line, texts)


def with_source_line(evidence: Evidence, source: SourceLines) -> Evidence:
    """An assertion with what stands in its line of the source."""
    found = _BUG.search(evidence.source) or _WARNING.search(evidence.source)
    number = source.line - source.first
    if found is None or int(found[3]) != source.line or number not in range(len(source.lines)):
        return evidence
    if PurePath(found[2]).name != PurePath(source.file).name:
        return evidence
    return replace(evidence, details=(f"{source.line}  {source.lines[number].strip()}",))


def _list_entry_evidence(message: str) -> Iterator[Evidence]:
    """Which entry was to be removed or added, where that one itself shows why it cannot."""
    if found := _ENTRY.search(message):
        at, member, value = found.groups()
        sentence = f"the `{member}` of the list entry{_at_address(at)} is {value}"
        if value == "NULL":
            sentence += ": it was never in a list, or something wrote over it"
        else:
            sentence += ", which list_del() leaves there: the entry had been removed before"
        yield Evidence(sentence, LOG, _rd_command(at, 2), Weight.CAUSE)
    elif found := _DOUBLE_ADD.search(message):
        new, before, behind = found.groups()
        beside = [name for name, at in (("prev", before), ("next", behind)) if at == new]
        if beside:
            sentence = (
                f"the list entry{_at_address(new)} was to be added beside itself (as its own"
                f" `{'` and `'.join(beside)}`): it is in that list already"
            )
            yield Evidence(sentence, LOG, _rd_command(new, 2), Weight.CAUSE)


def _slab_object_evidence(headline: str, texts: Sequence[str]) -> Iterator[Evidence]:
    """The object of a slab cache that SLUB found wrong, and who had it last."""
    found = _SLAB.match(headline)
    at = next((one[1] for text in texts if (one := _OBJECT.match(text))), None)
    if found is None or at is None:
        return
    cache, complaint = found[1], found[2].strip()
    had = tuple(_had(texts))
    sentence = f"the object{_at_address(at)} of slab cache {cache}"
    if complaint == "Object already free":
        sentence += " was to be freed, and is free already"
    else:
        sentence += f": {complaint}"
        spoilt = next((one for text in texts if (one := _SPOILT.match(text))), None)
        if spoilt and complaint.endswith("overwritten"):
            place = "" if _is_hashed(spoilt[1]) else f" at 0x{spoilt[1]}"
            sentence += f", the first byte{place} with 0x{spoilt[3]} in place of 0x{spoilt[4]}"
    for each in sorted(had, key=lambda each: each.did == "allocated"):
        sentence += f"; last {each.did} in {each.who}"
    details = tuple(line for each in had for line in each.lines)
    yield Evidence(sentence, LOG, _rd_command(at, 16), Weight.CAUSE, details)


def _had(texts: Sequence[str]) -> Iterator[Had]:
    """Who allocated the object, and who freed it; each once, as of the report's first object."""
    told: set[str] = set()
    for number, text in enumerate(texts):
        if _END.match(text):
            return
        found = _TRACK.match(text)
        if found is None or found[1] in told:
            continue
        told.add(found[1])
        lines = [text]
        for each in texts[number + 1 : number + TRACE_LINES]:
            if not _TRACED.match(each):
                break
            lines.append(each.rstrip())
        kmod = f" [{found[3]}]" if found[3] else ""
        who = f"{found[2]}{kmod} (pid {found[5]}, CPU {found[4]})"
        yield Had(found[1].lower(), who, tuple(lines))


def _is_hashed(digits: str) -> bool:
    """Whether an address is none: since Linux 4.15 (ad67b74d2469) ``%p`` prints a hash, 32 bits."""
    return len(digits) == 16 and digits.startswith("00000000")


def _at_address(digits: str) -> str:
    return "" if _is_hashed(digits) else f" at 0x{digits}"


def _rd_command(digits: str, words: int) -> str:
    return "log" if _is_hashed(digits) else f"rd {digits} {words}"
