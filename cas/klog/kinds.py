"""What kinds of crashes have in common."""

from __future__ import annotations

from cas.choices import Kind

EXCEPTIONS = frozenset(
    {
        Kind.NULL_DEREFERENCE,
        Kind.PAGE_FAULT,
        Kind.PROTECTION_FAULT,
        Kind.BUG_ON,
        Kind.LIST_CORRUPTION,
        Kind.DIVIDE_ERROR,
        Kind.DOUBLE_FAULT,
        Kind.STACK_OVERFLOW,
        Kind.OOPS,
    }
)
"""Kinds in which the processor stopped the code at fault."""

ELSEWHERE = frozenset({Kind.HUNG_TASK, Kind.RCU_STALL, Kind.HARD_LOCKUP, Kind.SOFT_LOCKUP})
"""Kinds in which the task that panics can be another than the one at fault."""

UNNAMED = frozenset({Kind.SYSRQ, Kind.NMI, Kind.MACHINE_CHECK, Kind.OUT_OF_MEMORY})
"""Kinds that no function is the cause of: what the processor was doing is only where it was, and
who asked for the last page need not be who has the others."""
