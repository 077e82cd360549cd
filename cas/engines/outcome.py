"""How a snippet's commands end, in the words of :class:`cas.model.Section`, whatever ran them."""

from __future__ import annotations

from cas.rules import Supervision

WEIGHT = {"ok": 0, "failed": 1, "not run": 2, "cut": 3, "timeout": 4, "memory": 5, "crashed": 6}
"""Which of a snippet's outcomes names its section."""
ENDED = frozenset({"not run", "timeout", "memory", "crashed"})
"""How a command ends that did not come to its end."""
LATECOMERS = 16
"""Part of a section's limit that a command may write though the ones before it left nothing."""


def budget(rules: Supervision, written_bytes: int) -> int:
    """How many bytes a section's next command may write."""
    return max(rules.section_bytes - written_bytes, rules.section_bytes // LATECOMERS)
