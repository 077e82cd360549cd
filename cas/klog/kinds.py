"""What kinds of crashes there are."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """Kinds of crashes; the values are part of the signature and never change."""

    NULL_DEREFERENCE = "null-dereference"
    PAGE_FAULT = "page-fault"
    PROTECTION_FAULT = "protection-fault"
    BUG_ON = "bug-on"
    LIST_CORRUPTION = "list-corruption"
    DIVIDE_ERROR = "divide-error"
    DOUBLE_FAULT = "double-fault"
    STACK_OVERFLOW = "stack-overflow"
    STACK_PROTECTOR = "stack-protector"
    OOPS = "oops"
    MEMORY_ERROR = "memory-error"
    WARNING = "warning"
    HUNG_TASK = "hung-task"
    SOFT_LOCKUP = "soft-lockup"
    HARD_LOCKUP = "hard-lockup"
    RCU_STALL = "rcu-stall"
    OUT_OF_MEMORY = "out-of-memory"
    MACHINE_CHECK = "machine-check"
    NMI = "nmi"
    SYSRQ = "sysrq"
    PANIC = "panic"
    NONE = "none"
    """Nothing announces a crash: a dump of a running system."""


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
