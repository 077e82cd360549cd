"""The moment of the crash, by the kernel's own clocks.

A kernel that panicked may go on counting until the dump is taken, for hours in a guest, and before
that it may write for a minute to a slow console: that time is taken off, or everything would seem
to have waited for so long.
"""

from __future__ import annotations

from drgn import Object, Program

from cas.choices import Kind
from cas.detectors.case import Case
from cas.frozen import dataclass
from cas.klog.lines import Log

NS = 1_000_000_000
CLOCK_SYMBOLS = "tk_core|timekeeper_data"
"""Names of the kernel's clocks, one of which a kernel has."""
LONGEST_S = 50 * 365 * 86_400
"""Since the boot; what is longer was no time."""
PANIC = "Kernel panic - not syncing"
BEGINNINGS = (
    *("BUG: ", "Oops: ", "general protection fault", "divide error", "Unable to handle "),
    *(" invoked oom-killer", "INFO: task ", "rcu: INFO: ", "watchdog: ", "WARNING: "),
)
"""How reports of the kernel begin that it makes a panic of."""
REPORT_S = 60.0
"""That such a report can take on a slow console."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When the kernel crashed."""

    jiffies: int
    """The counter of ticks, 64 bits wide."""
    monotonic_ns: int
    """CLOCK_MONOTONIC."""
    hz: int
    """Ticks in a second."""

    def seconds_since_tick(self, jiffies: int, bits: int = 64) -> float | None:
        """How long ago a tick was, in seconds, negative before it; ``None`` where it was none.

        :param bits: how many of the counter's it has: an ``unsigned long``'s
        """
        past = (self.jiffies - jiffies) % (1 << bits)
        if past >= 1 << (bits - 1):
            past -= 1 << bits
        return self._possible(past / self.hz)

    def seconds_since(self, monotonic_ns: int) -> float | None:
        """How long ago a time by CLOCK_MONOTONIC was, in seconds; ``None`` where it was none."""
        if monotonic_ns <= 0:
            return None
        return self._possible((self.monotonic_ns - monotonic_ns) / NS)

    def _possible(self, seconds: float) -> float | None:
        return seconds if -LONGEST_S < seconds <= self.monotonic_ns / NS + 1 else None


def moment_of(case: Case) -> Moment:
    """When the kernel crashed.

    :raises LookupError: its clocks cannot be found, or have no time
    :raises FaultError: they are not in the dump
    """
    kept: Moment | None = case.kept.get("moment")
    if kept is not None:
        return kept
    if case.hz is None:
        raise LookupError("how long a tick of the kernel's clock is cannot be told")
    clock = timekeeper(case.prog).tkr_mono
    monotonic_ns = int(
        clock.base.value_() + (clock.xtime_nsec.value_() >> min(clock.shift.value_(), 63))
    )
    if not 0 < monotonic_ns < LONGEST_S * NS:
        raise LookupError("the kernel's clock has no time")
    late_ns = min(after_panic_ns(case), monotonic_ns)
    jiffies = int(case.prog["jiffies_64"].value_())
    moment = Moment(jiffies - late_ns * case.hz // NS, monotonic_ns - late_ns, case.hz)
    case.kept["moment"] = moment
    return moment


def timekeeper(prog: Program) -> Object:
    """The kernel's clocks, ``struct timekeeper`` of include/linux/timekeeper_internal.h.

    They have a name of their own since Linux 3.17 (3fdb14fd1df7), and are the first of several
    since Linux 6.17 (22c62b9a84b8).
    """
    if "timekeeper_data" in prog:
        return prog["timekeeper_data"][prog["TIMEKEEPER_CORE"]].timekeeper
    return prog["tk_core"].timekeeper


def after_panic_ns(case: Case) -> int:
    """How long the kernel ran on after its crash, by the clock that stamps the log."""
    begun_s = crash_stamp(case.log)
    return 0 if begun_s is None else max(0, int(case.clock_ns - begun_s * NS))


def crash_stamp(log: Log) -> float | None:
    """When the kernel began to report its crash; ``None``: it did not panic."""
    number = next(log.having(PANIC), None)
    stamp = None if number is None else log[number].uptime_s
    if number is None or stamp is None:
        return None
    earlier = (next((n for n in log.having(each) if n < number), None) for each in BEGINNINGS)
    stamps = (log[n].uptime_s for n in earlier if n is not None)
    near = [each for each in stamps if each is not None and 0 <= stamp - each < REPORT_S]
    return max(near, default=stamp)


LIMITS: dict[str, tuple[str, int]] = {
    Kind.HUNG_TASK: ("sysctl_hung_task_timeout_secs", 2),
    Kind.SOFT_LOCKUP: ("watchdog_thresh", 1),
    Kind.HARD_LOCKUP: ("watchdog_thresh", 1),
    Kind.RCU_STALL: ("rcu_cpu_stall_timeout", 2),
}
"""After how many seconds the kernel calls it a crash, and by what that is divided to get the age of
what may have caused it. A soft lockup takes twice ``watchdog_thresh``."""


def long_s(case: Case, usual_s: float) -> float:
    """From how many seconds on something took long.

    :param usual_s: on a machine whose kernel has been patient
    """
    name, divisor = LIMITS.get(case.kind, ("", 1))
    limit = case.number(name) if name else None
    return usual_s if limit is None or limit <= 0 else min(usual_s, max(1.0, limit / divisor))
