"""Kernel modules that taint the kernel, whose code is on the stack, and what else tainted it.

Which letters a module has is in ``struct module`` (``kernel/module/main.c``), in bits that have the
numbers of the kernel's own since Linux 4.10 (7fd8329ba502); when the kernel
reported what tainted it is in its log. That a module is on a stack makes it no culprit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from drgn import Object
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.module import for_each_module, module_taints
from drgn.helpers.linux.panic import tainted

from cas.choices import Kind
from cas.detectors.case import Broken, Case, bounded, has_member
from cas.frozen import dataclass
from cas.klog.choice import choose
from cas.klog.events import Event, events_of, read_report
from cas.klog.kinds import EXCEPTIONS
from cas.klog.lines import Log
from cas.klog.taint import LETTERS, SUSPECT
from cas.klog.troubles import Trouble, troubles
from cas.model.code import Frame
from cas.model.evidence import Evidence

NAMED = 10
"""Modules that are named in a sentence."""
MAX_KMODS = 2000
MAX_PATCHED = 1000
"""Functions of live patches that are looked at."""
MAX_REPORTS = 20
"""Reports of the log whose call traces are looked at."""
_OF_KMODS = "PFOECK"
"""Letters that a module brings."""
_REPORTED = {
    "D": EXCEPTIONS,
    "W": frozenset({Kind.WARNING}),
    "L": frozenset({Kind.SOFT_LOCKUP}),
    "B": frozenset({Kind.MEMORY_ERROR}),
    "M": frozenset({Kind.MACHINE_CHECK}),
}
"""Letters that the kernel sets when it reports something, and which reports set them."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A loaded module that taints the kernel."""

    name: str
    letters: str
    address: int

    def __str__(self) -> str:
        meanings = (
            LETTERS[each].partition(" loaded")[0] for each in LETTERS if each in self.letters
        )
        return f"{self.name} ({self.letters}: {', '.join(meanings)})"


def detect(case: Case) -> Iterator[Evidence]:
    """Modules on stacks first, then all others, then what else tainted the kernel."""
    suspects = tuple(_tainting_modules(case))
    events = events_of(case.log)
    frames = case.backtrace(case.panic_task) if case.panic_task is not None else ()
    on_stack = {each.name: [f for f in frames if f.kmod == each.name] for each in suspects}
    for suspect in suspects:
        if own := on_stack[suspect.name]:
            more = f" and {_number_with_noun(len(own) - 1, 'more frame')}" if len(own) > 1 else ""
            yield Evidence(
                f"code of {suspect} is on the stack of the task that panicked:"
                f" {_frame_with_place(own[0])}{more}",
                f"struct module {suspect.address:#x}",
                "bt",
                details=tuple(_frame_with_place(frame) for frame in own),
            )
    elsewhere = [suspect for suspect in suspects if not on_stack[suspect.name]]
    yield from in_traces(case.log, events, elsewhere)
    yield from _live_patches(case)
    if suspects:
        named = ", ".join(f"{each.name} ({each.letters})" for each in suspects[:NAMED])
        more = f" and {len(suspects) - NAMED} more" if len(suspects) > NAMED else ""
        verb = "taints" if len(suspects) == 1 else "taint"
        yield Evidence(
            f"{_number_with_noun(len(suspects), 'loaded module')} {verb} the kernel: {named}{more}",
            f"struct module {suspects[0].address:#x}",
            "mod -t",
            details=tuple(str(each) for each in suspects),
        )
    yield from unexplained(case, suspects, events)


def _tainting_modules(case: Case) -> Iterator[Suspect]:
    seen = set()
    for module in bounded(for_each_module(case.prog), MAX_KMODS):
        if module.value_() in seen:
            case.remark("the list of modules leads back into itself")
            return
        seen.add(module.value_())
        try:
            letters = case.text(module_taints(module))
            if SUSPECT & set(letters):
                yield Suspect(case.text(module.name), letters, module.value_())
        except Broken as error:
            case.remark(f"a kernel module cannot be read: {case.text(str(error))}")


def in_traces(log: Log, events: Sequence[Event], suspects: Sequence[Suspect]) -> Iterator[Evidence]:
    """In which reports of the log they are."""
    known = {suspect.name: suspect for suspect in suspects}
    found: dict[str, list[tuple[Event, Frame]]] = {}
    for event in events[-MAX_REPORTS:]:
        frames = [
            frame
            for trace in read_report(log, event).traces
            if not trace.is_foreign and not trace.is_guess
            for frame in trace.stack
        ]
        for name in dict.fromkeys(frame.kmod for frame in frames if frame.kmod in known):
            first = next(frame for frame in frames if frame.kmod == name)
            found.setdefault(name or "", []).append((event, first))
    for name, reports in found.items():
        event, frame = reports[0]
        often = "a report" if len(reports) == 1 else f"{len(reports)} reports"
        yield Evidence(
            f"code of {known[name]} is in the call trace of {often} of the kernel log,"
            f" first in {_plain_function(frame)}",
            _stamped_announcement(event),
            "log",
            details=tuple(_stamped_announcement(each) for each, _ in reports),
        )


def _live_patches(case: Case) -> Iterator[Evidence]:
    """Live patches that are enabled, and whether what they replace is on the stack."""
    if "klp_patches" not in case.prog:
        return
    patches = list_for_each_entry(
        "struct klp_patch", case.prog["klp_patches"].address_of_(), "list"
    )
    for patch in bounded(patches, MAX_KMODS):
        try:
            name = case.text(patch.mod.name)
            replaced = tuple(bounded(_replaced_functions(case, patch), MAX_PATCHED))
        except Broken as error:
            case.remark(f"a live patch cannot be read: {case.text(str(error))}")
            continue
        frames = case.backtrace(case.panic_task) if case.panic_task is not None else ()
        on_stack = [f.function for f in frames if f.function in replaced]
        said = f"; of these on the stack: {', '.join(on_stack[:NAMED])}" if on_stack else ""
        yield Evidence(
            f"the live patch {name} replaces {_number_with_noun(len(replaced), 'function')}{said}",
            f"struct klp_patch {patch.value_():#x}",
            "mod",
            details=replaced,
        )


def _replaced_functions(case: Case, patch: Object) -> Iterator[str]:
    if not has_member(patch, "obj_list"):  # before Linux 5.1 the objects stand in an array
        return
    for each in list_for_each_entry("struct klp_object", patch.obj_list.address_of_(), "node"):
        functions = each.func_list.address_of_()
        for function in list_for_each_entry("struct klp_func", functions, "node"):
            yield case.text(function.old_name)


def unexplained(
    case: Case, suspects: Sequence[Suspect], events: Sequence[Event]
) -> Iterator[Evidence]:
    """Who or what set each letter that neither a loaded module nor the crash explains."""
    letters = set(tainted(case.prog)) & set(LETTERS)
    crash = choose(case.log).crash.index
    for letter in (each for each in LETTERS if each in letters):
        event = next((e for e in events if e.kind in _REPORTED.get(letter, ())), None)
        if event is not None and event.index != crash:
            at = "" if event.uptime_s is None else f" {event.uptime_s:.3f} s after boot"
            said = f"tainted {letter} ({LETTERS[letter]}), in the log first{at}"
            yield Evidence(f"{said}: {event.message}", _stamped_announcement(event), "log")
        elif letter in _OF_KMODS and not any(letter in each.letters for each in suspects):
            yield from _unloaded_module(case, letter)


def _unloaded_module(case: Case, letter: str) -> Iterator[Evidence]:
    """A letter of a module that is not loaded any more; the log may have its name."""
    words = {"O": "out-of-tree", "P": "license", "E": "verification failed", "C": "staging"}
    told = next(
        (
            each
            for each in troubles(case.log, 0, len(case.log))
            if each.trouble is Trouble.KMOD and words.get(letter, "?") in case.log[each.line].text
        ),
        None,
    )
    if told is None:
        yield Evidence(
            f"tainted {letter} ({LETTERS[letter]}), which no loaded module has: it was unloaded, or"
            " the letter was set by hand",
            "tainted_mask",
            "mod -t",
        )
    else:
        line = case.text(case.log[told.line].text)
        yield Evidence(
            f"tainted {letter} ({LETTERS[letter]}) by {case.text(told.on)}, which is not loaded"
            " any more",
            line,
            "log",
        )


def _stamped_announcement(event: Event) -> str:
    stamp = "" if event.uptime_s is None else f"[{event.uptime_s:.6f}] "
    return f"{stamp}{event.line.strip()}"


def _frame_with_place(frame: Frame) -> str:
    return f"{_plain_function(frame)}{f' at {frame.file}:{frame.line}' if frame.file else ''}"


def _plain_function(frame: Frame) -> str:
    """A function without what the compiler adds: ``.isra.0``."""
    return frame.function.partition(".")[0]


def _number_with_noun(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
