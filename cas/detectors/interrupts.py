"""CPUs without interrupts, and interrupts that nobody takes.

A CPU's clock device is set to the time of its next high-resolution timer. If that is long past, the
CPU has taken no interrupt since: they were off there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from drgn.helpers.linux.irq import for_each_irq_desc
from drgn.helpers.linux.percpu import per_cpu

from cas.choices import Kind, Weight
from cas.detectors.case import Broken, Case
from cas.detectors.layout import looking_at, member
from cas.detectors.moment import CLOCK_SYMBOLS, NS, crash_stamp, long_s, moment_of
from cas.detectors.needs import Needs
from cas.model.evidence import Evidence
from cas.units import human_span

NEEDS = Needs(symbols=("hrtimer_bases", CLOCK_SYMBOLS))
LATE_S = 5.0
STOOD_STILL_S = 8.0
"""How far the kernel's clock is behind the log's stamps when it is told that it stood still."""
DRIFT = 1e-3
"""The two clocks drift apart by less than that."""
MAX_IRQS = 20_000
TIME_SHARE = 0.7
SPURIOUS_DISABLED = 0x2
"""IRQS_SPURIOUS_DISABLED, kernel/irq/internals.h."""
MAX_ACTIONS = 8
DEAF = frozenset([Kind.HARD_LOCKUP, Kind.RCU_STALL])
"""What a CPU without interrupts explains."""
LOCKUPS = frozenset([Kind.HARD_LOCKUP, Kind.SOFT_LOCKUP, Kind.RCU_STALL])


def detect(case: Case) -> Iterator[Evidence]:
    """CPUs that took no interrupt for long, a clock that stood still, interrupts given up."""
    moment = moment_of(case)
    with looking_at(case, "high-resolution timers"):
        for cpu in case.cpus:
            base = per_cpu(case.prog["hrtimer_bases"], cpu)
            if not int(base.hres_active.value_()):
                continue
            late = moment.seconds_since(int(base.expires_next.value_()))
            if late is not None and late >= long_s(case, LATE_S):
                yield Evidence(
                    f"CPU {cpu} has taken no timer interrupt for {human_span(late)}, though it was"
                    " due",
                    f"hrtimer_cpu_base {base.address_ or 0:#x}",
                    "timer -r",
                    Weight.CAUSE if case.kind in DEAF else Weight.CONTEXT,
                )
    with looking_at(case, "the kernel's clock"):
        # the CPU that keeps the time for all may have stopped to do so
        stamp_s = crash_stamp(case.log) if case.kind in LOCKUPS else None
        behind = 0.0 if stamp_s is None else stamp_s - moment.monotonic_ns / NS
        if stamp_s is not None and behind >= STOOD_STILL_S + DRIFT * stamp_s:
            timer_cpu = case.number("tick_do_timer_cpu")
            keeps = timer_cpu in case.cpus
            keeper = f"CPU {timer_cpu}, which keeps it, has" if keeps else "no CPU has"
            yield Evidence(
                f"the kernel's clock had stood still for about {human_span(behind)}: {keeper}"
                " served no tick",
                "tk_core, tick_do_timer_cpu",
                "p tick_do_timer_cpu",
            )
    with looking_at(case, "interrupts"):
        yield from _interrupts_given_up(case)


def _interrupts_given_up(case: Case) -> Iterator[Evidence]:
    # in a maple tree since Linux 6.5 (721255b9826b), in a radix tree before: drgn knows both
    for number, (irq, desc) in enumerate(islice(for_each_irq_desc(case.prog), MAX_IRQS)):
        if case.clock.is_used(TIME_SHARE):
            case.remark(f"looked at {number:,} interrupts, of more")
            return
        state = int(member(desc, "core_internal_state__do_not_mess_with_it", "istate").value_())
        if not state & SPURIOUS_DISABLED:
            continue
        names: list[str] = []
        with suppress(*Broken):
            action = desc.action.read_()
            while action and len(names) < MAX_ACTIONS:
                names.append(case.text(action.name, 32))
                action = action.next.read_()
        yield Evidence(
            f"interrupt {irq} ({', '.join(names) or 'of no device'}) is switched off: it came again"
            " and again, and no handler took it",
            f"irq_desc {desc.value_():#x}",
            f"irq {irq}",
        )
