"""Groups of crashes as ``cas groups`` prints them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from cas.archive.groups import By, Group
from cas.commands.crash_lines import UNSET, table_lines
from cas.text import count, short_line

_TICKETS = 3
"""Tickets that are told by name."""
_NAMED = 10
"""Values that JSON has of a property, the most frequent."""
_LISTED = {"hosts": "node", "kernels": "release", "models": "model", "tickets": "tickets"}


def group_lines(groups: Sequence[Group], by: By) -> Iterator[str]:
    """A line for each group, below it how many notes are in it, and what is unusual."""
    head = (by.value, "crashes", "hosts", "kernels", "models", "first", "last", "tickets", "title")
    lines = table_lines(head, (_cells(group, by) for group in groups))
    yield next(lines)
    for group, line in zip(groups, lines, strict=True):
        yield line
        if group.notes:
            yield f"  {count(group.notes, 'note')} without a dump"
        for each in group.unusual:
            yield f"  {short_line(str(each))}"


def group_object(group: Group) -> dict[str, Any]:
    """A group in JSON."""
    found: dict[str, Any] = {
        "key": group.key,
        "title": group.title,
        "crashes": group.count,
        "notes": group.notes,
        "first": group.first_s,
        "last": group.last_s,
    }
    for plural, name in _LISTED.items():
        values = group.values.get(name, ())
        found[plural] = {"count": len(values), "names": dict(values[:_NAMED])}
    return found | {"unusual": [asdict(each) for each in group.unusual]}


def _cells(group: Group, by: By) -> list[str]:
    tickets = [value for value, _ in group.values.get("tickets", ())]
    named = ",".join(tickets[:_TICKETS])
    more = f" and {len(tickets) - _TICKETS:,} more" if len(tickets) > _TICKETS else ""
    return [
        f"no {by}" if group.key is None else group.key,
        f"{group.count:,}",
        *(f"{len(group.values.get(name, ())):,}" for name in ("node", "release", "model")),
        *(
            f"{datetime.fromtimestamp(each, UTC):%Y-%m-%d}"
            for each in (group.first_s, group.last_s)
        ),
        f"{named}{more}" or UNSET,
        group.title or UNSET,
    ]
