"""What hardware reported before the crash: machine checks, memory, PCI Express, heat, links.

From the kernel log, and from the counters that the kernel keeps of its processors, which outlive
it: ``mce_exception_count`` (arch/x86/kernel/cpu/mce/core.c), ``thermal_state`` (therm_throt.c).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from drgn import Object
from drgn.helpers.linux.cpumask import for_each_online_cpu
from drgn.helpers.linux.percpu import per_cpu

from cas.choices import Kind, Weight
from cas.detectors.case import Broken, Case, bounded
from cas.klog.choice import choose
from cas.klog.lines import Log
from cas.klog.troubles import PASSING, Told, Trouble, boot, troubles
from cas.model.evidence import Evidence
from cas.text import count
from cas.units import human_span

MAX_CPUS = 4096
NAMED = 10
"""Processors that are named in a sentence."""
SHORTLY_S = 600.0
"""How long before a crash links and devices that went are worth a word."""
AT_ONCE_S = 60.0
"""How long before a crash that hardware explains its own lines stand in the log."""
TOLD = {
    Trouble.MACHINE_CHECK: "machine check",
    Trouble.BAD_MEMORY: "uncorrected memory error",
    Trouble.PCIE: "PCI Express error",
    Trouble.DEVICE: "device fault",
    Trouble.BUS: "bus error that an NMI reports",
    Trouble.NMI: "NMI that nobody knows the reason of",
    Trouble.THERMAL: "processor too hot",
    Trouble.NETWORK: "network device",
    Trouble.CORRECTED: "corrected hardware error",
    Trouble.LINK: "link that went down",
    Trouble.GONE: "device that went",
}
"""Troubles that are of hardware, or may be."""
_EXPLAINED: Mapping[str, frozenset[Trouble]] = {
    Kind.MACHINE_CHECK: frozenset({Trouble.MACHINE_CHECK, Trouble.BAD_MEMORY, Trouble.PCIE}),
    Kind.NMI: frozenset({Trouble.BUS, Trouble.NMI}),
}
"""Kinds of crashes that hardware explains, by what it reported right before."""
_THROTTLES = (
    ("core_throttle", "core"),
    ("package_throttle", "package"),
)


def detect(case: Case) -> Iterator[Evidence]:
    """What the log says, the most telling first; then the counters of the processors."""
    yield from said(case.log, case.kind)
    # what each processor has counted since the boot, whatever the log has lost since
    checks = dict[int, int]()
    hot = dict[tuple[int, str], int]()
    for cpu in bounded(for_each_online_cpu(case.prog), MAX_CPUS):
        try:
            if "mce_exception_count" in case.prog:
                checks[cpu] = int(per_cpu(case.prog["mce_exception_count"], cpu).value_())
            if "thermal_state" in case.prog:
                state: Object = per_cpu(case.prog["thermal_state"], cpu)
                for member, _ in _THROTTLES:
                    hot[cpu, member] = int(state.member_(member).count.value_())
        except Broken as error:
            case.remark(f"counters of CPU {cpu} cannot be read: {case.text(str(error))}")
    if any(checks.values()):
        told = {cpu: number for cpu, number in checks.items() if number}
        yield Evidence(
            f"{count(sum(told.values()), 'machine check exception')} since the boot,"
            f" on {_named_cpus(told)}",
            "mce_exception_count",
            f"p mce_exception_count:{min(told)}",
            details=tuple(f"CPU {cpu}: {number:,}" for cpu, number in told.items()),
        )
    for member, what in _THROTTLES:
        throttled = {
            cpu: number for (cpu, each), number in hot.items() if each == member and number
        }
        if throttled:
            yield Evidence(
                f"throttled since the boot, the {what} too hot: {_named_cpus(throttled)}",
                "thermal_state",
                f"p thermal_state:{min(throttled)}",
                details=tuple(f"CPU {cpu}: {number:,} times" for cpu, number in throttled.items()),
            )


def said(log: Log, kind: str) -> Iterator[Evidence]:
    """What the kernel log says of the hardware before the crash.

    :param kind: of the crash
    """
    crash = choose(log).crash
    end = len(log) if crash.index is None else crash.index
    groups = dict[tuple[Trouble, str], list[Told]]()
    for told in troubles(log, boot(log, end), end):
        if told.trouble in TOLD:
            groups.setdefault((told.trouble, told.on), []).append(told)
    explained = _EXPLAINED.get(kind, frozenset())
    order = list(TOLD)
    for (trouble, _), lines in sorted(groups.items(), key=lambda each: order.index(each[0][0])):
        said_s, since_s = log[lines[-1].line].uptime_s, None
        if said_s is not None and crash.uptime_s is not None:
            since_s = max(0.0, crash.uptime_s - said_s)
        if trouble in PASSING and (since_s is None or since_s > SHORTLY_S):
            continue
        is_cause = trouble in explained and since_s is not None and since_s <= AT_ONCE_S
        first = log[lines[0].line]
        often = "" if len(lines) == 1 else f", {len(lines):,} lines{' or more' * lines[0].is_flood}"
        ago = ""
        if since_s is not None:
            ago = f"{human_span(int(since_s)) if since_s >= 1 else 'just'} before the crash"
        last = f", {'the last ' * (len(lines) > 1)}{ago}" if ago else ""
        stamp = "" if first.uptime_s is None else f"[{first.uptime_s:.6f}] "
        yield Evidence(
            f"{TOLD[trouble]}{often}{last}: {first.text.strip()}",
            f"{stamp}{first.text.strip()}",
            "log",
            Weight.CAUSE if is_cause else Weight.CONTEXT,
        )


def _named_cpus(numbers: Iterable[int]) -> str:
    shown = sorted(numbers)
    more = len(shown) - NAMED
    named = ", ".join(str(cpu) for cpu in shown[:NAMED])
    word = "CPU" if len(shown) == 1 else "CPUs"
    return f"{word} {named}{f' and {more:,} more' if more > 0 else ''}"
