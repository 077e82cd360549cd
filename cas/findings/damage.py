"""What a damaged dump lacks, what it gave anyway, and what to write to the one who sent it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from cas.choices import Cause, SectionStatus
from cas.frozen import dataclass
from cas.klog.lines import Log
from cas.model.dump import Dump, Missing
from cas.model.report import Report
from cas.text import count, located, one_line, short_line
from cas.units import human_size

LISTED = 5
"""Things missing that are told one by one; result.json has all of them."""


_LIKELY = {
    Cause.PART: "makedumpfile wrote the dump in several files (--split), and not all of them"
    " arrived.",
    Cause.TWICE: "A part of the set came twice, most likely in place of another one.",
    Cause.INCOMPLETE: "makedumpfile itself marked the dump as incomplete: most likely the dump"
    " target ran full, or the crash kernel was reset before it had finished.",
    Cause.WRAPPING: "The compressed file ends too early or was changed on its way: most likely"
    " the transfer was cut, or did not keep the bytes (FTP in text mode, a mail gateway).",
    Cause.CONVERTED: "The file went through a transfer that changed its line ends, as FTP in text"
    " mode does: it cannot be put right.",
    Cause.PACKED_CUT: "What it was packed in arrived whole, so it was cut before it was packed:"
    " most likely its disk ran full, or it was packed while it was still being written.",
    Cause.CLAIM: "The headers of the dump are not those that were written: most likely they were"
    " changed by storage or in the transfer.",
    Cause.CUT: "Most likely the file was cut in a copy or a transfer, or while it was still being"
    " written.",
    Cause.BLANK: "Zeros stand in the file where the dump had something else: most likely a copy was"
    " not finished, or a disk ran full, or lost its power, while the file was being written.",
    Cause.PAGES: "Pages inside the file are not those that were written: most likely they were"
    " changed by storage or in the transfer, or a copy was not finished.",
    Cause.DAMAGED: "Bytes inside the file are not those that were written: most likely they were"
    " changed by storage or in the transfer.",
    Cause.UNKNOWN: "Something was lost on the way.",
}

_COMPARE = (
    "On the machine where the dump was written, please look at its size and checksum"
    " (ls -l {name}; sha256sum {name})"
)
_COMPARED = (
    _COMPARE + ". If the checksum differs from that of the file you sent, please send it again; if"
    " not, please check the storage that holds it."
)
_WANTED = {
    Cause.PART: "Please send the other parts of the set, together with this one.",
    Cause.TWICE: "Please compare the files that you sent with those that makedumpfile wrote, and"
    " send what is not among them.",
    Cause.INCOMPLETE: "Please check the free space of the dump target (usually /var/crash), the"
    " memory reserved for the crash kernel (crashkernel=) and whether a watchdog or a management"
    " controller resets the machine while it dumps. If there is a complete dump of this crash or"
    " of another one, please send it.",
    Cause.WRAPPING: _COMPARE + ", test it (gzip -t, xz -t, zstd -t or the like), and send it again"
    " in binary mode if they differ from what arrived. If the file at your end is damaged too,"
    " please pack the dump again.",
    Cause.CONVERTED: "Please send the file again in binary mode (ftp: binary), best packed with"
    " gzip or xz, and compare checksums: sha256sum {name}.",
    Cause.PACKED_CUT: "Please look at the dump before it was packed: is it larger than"
    " {unpacked:,} bytes? If so, please pack it again and send it. If it is not, please check the"
    " free space of the dump target (usually /var/crash).",
    Cause.CLAIM: _COMPARED,
    Cause.CUT: _COMPARE + ". If they differ from what arrived, please send the file again in"
    " binary mode. If it is as short at your end, please check the free space of the dump target"
    " (usually /var/crash).",
    Cause.BLANK: _COMPARED,
    Cause.PAGES: _COMPARED,
    Cause.DAMAGED: _COMPARED,
    Cause.UNKNOWN: _COMPARED,
}


@dataclass(frozen=True, slots=True)
class Damage:
    """A damaged dump in words."""

    reason: str
    """What is missing, and where that begins: why the verdict is not ``complete``."""
    offset: int | None
    """Where the first of that begins, in bytes; of the upload if its wrapping is damaged."""
    recovered: tuple[str, ...]
    """What it gave anyway, a phrase each."""
    customer_note: str
    """To the customer who sent it: paragraphs with an empty line between them."""


def assess(report: Report, arrived_bytes: int | None = None) -> Damage | None:
    """Judge what is missing; ``None`` for a dump, and an upload, of which nothing is.

    :param report: with all sections that were run
    :param arrived_bytes: size of the upload as it came, wrapped or not
    """
    missing = _everything_missing(report)
    if not missing:
        return None
    offset = next((lack.offset for lack in missing if lack.offset is not None), None)
    why = []
    if report.stored and report.stored.missing:
        why.append(f"the upload is damaged: {_missing_listed(report.stored.missing)}")
    if report.dump and report.dump.missing:
        why.append(f"the dump is damaged: {_missing_listed(report.dump.missing)}")
    note = _customer_note(report, arrived_bytes)
    return Damage("; ".join(why), offset, recovered(report), note)


def causes(report: Report, arrived_bytes: int | None = None) -> tuple[Cause, ...]:
    """Why things are missing, the one that explains the others first."""
    stored, dump = report.stored, report.dump
    found = {lack.cause for lack in _everything_missing(report)}
    is_set = bool(stored and stored.parts)
    if stored and stored.missing and not is_set:
        found = found - {Cause.UNKNOWN} | {Cause.WRAPPING}  # nothing else can be damaged there
    if is_set and stored and stored.missing:
        found.discard(Cause.INCOMPLETE)  # the mark is ours: a part is missing
    if found & {Cause.INCOMPLETE, Cause.WRAPPING, Cause.CONVERTED}:
        found -= {Cause.CUT, Cause.BLANK, Cause.PAGES, Cause.DAMAGED}  # they follow
    if Cause.CUT in found and dump and not is_set and arrived_bytes not in (None, dump.size_bytes):
        found = found - {Cause.CUT} | {Cause.PACKED_CUT}
    return tuple(cause for cause in Cause if cause in found)


def recovered(report: Report) -> tuple[str, ...]:
    """What a dump gave, whatever it lacks: a phrase each."""
    dump, answer = report.dump, report.answer
    said: list[str] = []
    if dump and (dump.osrelease is not None or dump.build_id is not None):
        known = (("release", dump.osrelease), ("build-id", dump.build_id))
        said.append(" and ".join(name for name, value in known if value is not None))
    if dump and dump.crash_time:
        said.append("time of the crash")
    log = (answer and answer.dmesg) or (dump and dump.dmesg)
    if log:
        lines = log.rstrip("\n").count("\n") + 1
        stamps = [line.uptime_s for line in Log(log) if line.uptime_s is not None]
        last = f", to {stamps[-1]:.1f} s" if stamps else ""
        said.append(f"kernel log ({lines:,} line{'' if lines == 1 else 's'}{last})")
    if (answer and answer.panic_message) or (dump and dump.panic_message):
        said.append("panic message")
    if answer and answer.backtrace:
        said.append("backtrace")
    if dump and dump.registers:
        said.append(f"registers of {count(len(dump.registers), 'processor')}")
    if report.sections:
        done = sum(section.status is SectionStatus.OK for section in report.sections)
        said.append(f"{done} of {count(len(report.sections), 'section')}")
    if report.stored and report.stored.sidecars:
        said.append(f"{count(len(report.stored.sidecars), 'file')} that came with it")
    return tuple(said)


def next_step(dump: Dump) -> str:
    """What a damaged dump asks the engineer to do, in a line."""
    lack = dump.missing[0].what
    kinds = {missing.cause for missing in dump.missing}
    if Cause.PART in kinds:
        return f"ask for the other parts of the dump: it {lack}"
    if Cause.INCOMPLETE in kinds:
        return f"ask for a complete dump, and for the free space of the dump target: {lack}"
    if Cause.CONVERTED in kinds:
        return f"ask for the dump again, sent in binary mode: {lack}"
    return f"ask for the dump again: {lack}"


def _everything_missing(report: Report) -> tuple[Missing, ...]:
    stored = report.stored.missing if report.stored else ()
    return (*stored, *(report.dump.missing if report.dump else ()))


def _missing_listed(missing: Sequence[Missing]) -> str:
    told = [located(short_line(lack.what), lack.offset) for lack in missing[:LISTED]]
    more = len(missing) - LISTED
    return "; ".join([*told, f"and {more} more"] if more > 0 else told)


def _customer_note(report: Report, arrived_bytes: int | None) -> str:
    why = causes(report, arrived_bytes)
    name = one_line(Path(report.upload).name) or "vmcore"
    unpacked = report.dump.size_bytes if report.dump else None
    size = unpacked if arrived_bytes is None else arrived_bytes
    sizes = []
    if size is not None:
        sizes.append(f"{size:,} bytes, {human_size(size)}")
    if unpacked is not None and unpacked != size:
        sizes.append(f"unpacked {human_size(unpacked)}")
    of_size = f" ({'; '.join(sizes)})" if sizes else ""
    consolation = "Nothing could be read from what arrived, so we need the file to go on."
    if said := recovered(report):
        consolation = (
            f"Meanwhile we work with what could be read: {', '.join(said)}. What is missing may"
            " hold the answer, so a complete dump helps."
        )
    ticket, wrong = one_line(report.ticket), _missing_listed(_everything_missing(report))
    facts = {"name": shlex.quote(name), "unpacked": unpacked or 0}
    paragraphs = (
        f"Thank you for the dump. We received {name}{of_size} for ticket {ticket}.",
        f"Not all of it can be read. What is wrong: {wrong}.",
        " ".join(_LIKELY[cause] for cause in why),
        " ".join(_WANTED[cause].format(**facts) for cause in why),
        consolation,
    )
    return "\n\n".join(paragraphs)
