"""Timers that are late, and timer storms.

The timer wheel of a CPU is served by its tick. What is due and was not run shows since when the CPU
has not served it: its interrupts were off, or something kept it from its soft interrupts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from drgn import Object, offsetof
from drgn.helpers.linux.percpu import per_cpu
from drgn.helpers.linux.timer import timer_base_names

from cas.choices import Kind, Weight
from cas.detectors.case import Broken, Case, word_mask, word_size
from cas.detectors.layout import looking_at
from cas.detectors.moment import CLOCK_SYMBOLS, Moment, long_s, moment_of
from cas.detectors.needs import Needs
from cas.frozen import dataclass
from cas.model.evidence import Evidence
from cas.units import human_span

NEEDS = Needs(
    symbols=("timer_bases", CLOCK_SYMBOLS), types=("struct timer_base", "struct timer_list")
)
LATE_S = 5.0
STORM = 100
"""Timers of one function that are overdue on a CPU which runs one of them; a busy server has some
tens that are due at once."""
MAX_TIMERS = 50_000
"""Timers of a CPU that are counted."""
TIME_SHARE = 0.6
LEVEL_BITS, CLOCK_SHIFT = 6, 3
"""LVL_BITS, LVL_CLK_SHIFT, kernel/time/timer.c: each level has 64 buckets, each 8 times as long as
those of the level before, since Linux 4.8 (500462a9de65)."""
IN_STORM = frozenset([Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP, Kind.RCU_STALL, Kind.HUNG_TASK])


@dataclass(frozen=True, slots=True)
class Wheel:
    """A CPU's timers of one kind."""

    cpu: int
    address: int
    """Address of its ``struct timer_base``."""
    late_s: float
    """How long ago the first timer of all was due; negative: it is not yet."""
    running: int | None
    """Address of the timer function that runs."""


def detect(case: Case) -> Iterator[Evidence]:
    """The CPUs whose timers are late, and the functions with very many timers due at once."""
    moment = moment_of(case)
    names = timer_base_names(case.prog)
    for number, cpu in enumerate(case.cpus):
        if case.clock.is_used(TIME_SHARE):
            case.remark(f"looked at {number:,} of {len(case.cpus):,} CPUs")
            return
        with looking_at(case, f"timers of CPU {cpu}"):
            bases = per_cpu(case.prog["timer_bases"], cpu)
            for name, base in zip(names, bases, strict=False):
                # Those that may wait are served whenever the CPU happens to be awake. Those that
                # must stay on their CPU have a base since Linux 6.9 (83a665dc99a7).
                if name != "BASE_DEF":
                    yield from _evidence_of_wheel(case, moment, cpu, base)


def _evidence_of_wheel(case: Case, moment: Moment, cpu: int, base: Object) -> Iterator[Evidence]:
    bits = [int(word.value_()) for word in base.pending_map]
    buckets = pending_buckets(bits, 8 * word_size(case.prog))
    timer, running = base.running_timer.read_(), None
    with suppress(*Broken):
        running = int(timer.function.value_()) if timer else None
    if not buckets:
        return
    clock = int(base.clk.value_())
    due = next_due(buckets, clock)
    late = moment.seconds_since_tick(due & word_mask(case.prog), 8 * word_size(case.prog))
    if late is None:
        return
    wheel = Wheel(cpu, base.address_ or 0, late, running)
    found = judged_wheel(
        case, wheel, lambda: _overdue_timers(case, moment, base, buckets), long_s(case, LATE_S)
    )
    if found is not None:
        yield found


def judged_wheel(
    case: Case, wheel: Wheel, counted: Callable[[], tuple[Counter[int], int]], long: float
) -> Evidence | None:
    """What a CPU's timers show; ``None``: they are served.

    :param counted: gives how many timers of each function are overdue, and how many there are
    :param long: from how many seconds on they are late
    """
    if wheel.late_s < long:
        return None
    overdue, total = counted()
    count = overdue[wheel.running] if wheel.running is not None else 0
    if count >= STORM and count * 2 >= total:
        return storm(case, wheel, count, total)
    return late_timers(case, wheel)


def late_timers(case: Case, wheel: Wheel) -> Evidence:
    """A CPU that serves its timers no more."""
    running = (
        f"; timer function {_function_name(case, wheel.running)} runs" if wheel.running else ""
    )
    return Evidence(
        f"timers of CPU {wheel.cpu} are {human_span(wheel.late_s)} late{running}",
        f"timer_base {wheel.address:#x}",
        "timer",
    )


def storm(case: Case, wheel: Wheel, count: int, total: int) -> Evidence:
    """A CPU that has hardly any timers but those of the function that runs.

    Whether they are too many, or the one that runs does not end, their number does not tell.
    """
    more = " or more" if total >= MAX_TIMERS else ""
    return Evidence(
        f"timer storm, or a timer without end: CPU {wheel.cpu} runs timer function"
        f" {_function_name(case, wheel.running)}, and {count:,}{more} of its {total:,} timers are"
        f" overdue ones of that, by up to {human_span(wheel.late_s)}",
        f"timer_base {wheel.address:#x}",
        "timer",
        Weight.CAUSE if case.kind in IN_STORM else Weight.CONTEXT,
    )


def pending_buckets(words: Sequence[int], word_bits: int) -> list[int]:
    """The numbers of the buckets that have timers in them, by the wheel's bitmap."""
    return [
        number * word_bits + bit
        for number, word in enumerate(words)
        for bit in range(word_bits)
        if word >> bit & 1
    ]


def next_due(buckets: Sequence[int], clock: int) -> int:
    """When the first of these buckets is due, in ticks.

    :param buckets: not empty
    :param clock: up to which tick the wheel was served

    Source: __next_timer_interrupt(), kernel/time/timer.c.
    """
    due = []
    for bucket in buckets:
        level, place = divmod(bucket, 1 << LEVEL_BITS)
        shift = level * CLOCK_SHIFT
        # the wheel looks at a level only when the levels before have gone round
        now = (clock + (1 << shift) - 1) >> shift
        ahead = (place - now) % (1 << LEVEL_BITS)
        due.append((now + ahead) << shift)
    return min(due)


def _overdue_timers(
    case: Case, moment: Moment, base: Object, buckets: Sequence[int]
) -> tuple[Counter[int], int]:
    """How many timers of each function are overdue, and how many timers there are."""
    prog = case.prog
    size = word_size(prog)
    next_at = offsetof(prog.type("struct timer_list"), "entry.next")
    expires_at = offsetof(prog.type("struct timer_list"), "expires")
    function_at = offsetof(prog.type("struct timer_list"), "function")
    found: Counter[int] = Counter()
    total = 0
    try:
        for bucket in buckets:
            timer = int(base.vectors[bucket].first.value_())
            while timer and total < MAX_TIMERS and not case.clock.is_used(TIME_SHARE):
                total += 1
                expires = prog.read_word(timer + expires_at)
                if (moment.jiffies - expires) & word_mask(prog) < 1 << (8 * size - 1):
                    found[prog.read_word(timer + function_at)] += 1
                timer = prog.read_word(timer + next_at)
    except Broken as error:
        case.remark(f"a list of timers breaks off: {error}")
    return found, total


def _function_name(case: Case, function: int | None) -> str:
    return (case.symbol(function or 0) or f"{function or 0:#x}").replace("+0x0", "")
