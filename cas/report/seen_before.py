"""Whether a crash happened before, in words: the same on the terminal and in every report."""

from __future__ import annotations

from cas.model.finding import Finding
from cas.model.occurrence import Newest, Occurrences, Tally
from cas.text import count, one_line

NAMED = 3
"""Tickets, hosts and kernels that are named."""
UNKNOWN = "unknown: no code is at fault, or it is not known surely enough to compare"
NOT_LOOKED_UP = "unknown: it could not be looked up"


def seen_phrases(finding: Finding, *, is_log: bool = False) -> tuple[str, ...]:
    """What is known of earlier occurrences, a phrase each.

    :param is_log: there is no dump, so that only the kernel log can be the same
    """
    told = list(_occurrence_phrases(finding, is_log))
    if finding.signature is None:
        return tuple(told) or (UNKNOWN,)
    first, *others = told or ["no" if finding.seen else NOT_LOOKED_UP]
    if finding.seen and finding.seen.uncompared:
        jobs = count(finding.seen.uncompared, "job")
        others.append(f"not compared with {jobs} of an earlier version: cas-admin reprocess all")
    return (f"{first} (signature {finding.signature})", *others)


def sighted(finding: Finding, *, is_log: bool = False) -> tuple[str, ...]:
    """The same, where there is something to tell at once."""
    return tuple(_occurrence_phrases(finding, is_log))


def seen_on(finding: Finding) -> tuple[str, ...]:
    """What else crashed on this machine, and on machines like it: counts alone."""
    found = finding.seen
    if found is None:
        return ()
    told = []
    if found.host:
        told.append(f"{found.host.name} {_often(found.host)}")
    if found.model:
        machines = f", on {count(found.model.hosts, 'machine')}" if found.model.hosts else ""
        bios = finding.machine.bios if finding.machine else None
        said = f"machines of this model ({found.model.name}) {_often(found.model)}{machines}"
        same = found.model.same_bios
        told.append(f"{said}; {same:,} of them with BIOS {bios}" if same and bios else said)
    return tuple(told)


def _often(tally: Tally) -> str:
    if tally.count == 1:
        return f"crashed one other time, on {tally.since:%Y-%m-%d}"
    often = f"crashed {tally.count:,} other times since {tally.since:%Y-%m-%d}"
    told = count(tally.signatures, "signature") if tally.signatures else "no signature"
    return f"{often} ({told})"


def named_jobs(finding: Finding) -> tuple[str, ...]:
    """The jobs that :func:`seen_phrases` names: ``TICKET``, or ``TICKET/STAMP``."""
    found = finding.seen
    if found is None:
        return ()
    kinds = (each.tickets.names for each in (found.same, found.similar) if each)
    files = (found.same_dump[:NAMED], found.same_log[:NAMED])
    some = [*files, *(names[:NAMED] for names in kinds)]
    return tuple(dict.fromkeys(one_line(name) for names in some for name in names))


def _occurrence_phrases(finding: Finding, is_log: bool) -> list[str]:
    found = finding.seen
    if found is None:
        return []
    told = []
    same_dump, same_log = found.same_dump, found.same_log
    if is_log:
        same_dump, same_log = (), (*same_dump, *same_log)
    if same_dump:
        told.append(f"the same dump as {_all_named(same_dump)}")
    if same_log:
        told.append(f"the same kernel log as {_all_named(same_log)}")
    if found.same:
        told.append(f"the same crash {_occurrences_phrase(found.same)}")
    if found.similar:
        told.append(f"a similar one, of the same title, {_occurrences_phrase(found.similar)}")
    return told


def _occurrences_phrase(seen: Occurrences) -> str:
    often = "once, on" if seen.count == 1 else f"{seen.count:,} times since"
    # one dump may have several tickets, and one ticket several dumps
    is_each = seen.tickets.count == seen.count - seen.notes
    where = "" if is_each else f", in {count(seen.tickets.count, 'ticket')}"
    said = [f"{often} {seen.since:%Y-%m-%d}{where}"]
    if seen.tickets.count:
        said[0] += f": {_named_first(seen.tickets)}"
    if seen.notes:
        said.append(f"{count(seen.notes, 'note')} without a dump")
    for what, names in (("host", seen.hosts), ("kernel", seen.kernels)):
        if names.count:
            many = what if names.count == 1 else f"{what}s"
            said.append(f"{many} {_named_first(names)}")
    return "; ".join(said)


def _all_named(names: tuple[str, ...]) -> str:
    return _named_first(Newest(len(names), names))


def _named_first(newest: Newest) -> str:
    named = newest.names[:NAMED]
    more = newest.count - len(named)
    return ", ".join(named) + (f" and {more:,} more" if more > 0 else "")
