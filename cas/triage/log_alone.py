"""A kernel log in place of a dump: its kernel, and where in the source its code stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote

from cas.catalogue.cache.fitting import compare
from cas.choices import Verdict
from cas.engines.drgn.process import Worker
from cas.errors import CasError, EngineError, TryAgain
from cas.frozen import dataclass
from cas.klog.log_text import code_places, kmods_of_places
from cas.model.code import CodePlace, Located
from cas.model.dump import Dump
from cas.model.kernel import Match
from cas.text import count
from cas.triage.context import Context
from cas.triage.kernel import KernelSupply

NO_DUMP = "there is no dump, only a kernel log: what it does not say cannot be looked up"
SHOWN = 5
"""Kernel modules that are named in one sentence."""


@dataclass(frozen=True, slots=True)
class LocatedLog:
    """A kernel log, and the kernel that it was read with."""

    dump: Dump
    match: Match | None = None
    vmlinux: Path | None = None
    lacks_kernel: bool = False
    """Whether nobody has its kernel yet."""


def located_log(
    dump: Dump,
    supply: KernelSupply,
    worker: Worker,
    context: Context,
    meanwhile: Callable[[], None],
) -> LocatedLog:
    """A log whose code has file and line where the catalogue has its kernel; else why is told.

    :param meanwhile: called while drgn looks for them
    :raises TryAgain: what is busy or full now need not be so later
    """
    context.degrade(NO_DUMP)
    places = code_places(dump.dmesg or "")
    if not places:
        return LocatedLog(dump)
    try:
        match, extraction = supply.extract(dump, supply.find(dump), ())
        wanted = kmods_of_places(dump.dmesg or "")
        kmods = supply.kmods(match, wanted)
        guessed = supply.guessed_kmods(match, wanted, kmods)
        files = {**kmods.debug_files, **guessed.debug_files}
        progress = context.progress
        with context.timed("first answer"), progress.bar("Looking for lines of the source", None):
            found = worker.locate(extraction.vmlinux, files, places, meanwhile)
    except CasError as error:
        if error.exit_code == TryAgain.exit_code:
            raise
        hint = f"; {error.hint}" if error.hint and not isinstance(error, EngineError) else ""
        context.remark(f"no line of the source is known: {error}{hint}")
        if dump.build_id is None and dump.banner is None and error.verdict is Verdict.WAITING:
            context.remark(_candidates(places, context))
        is_named = bool(dump.build_id or dump.banner or dump.osrelease)
        return LocatedLog(dump, lacks_kernel=is_named and error.verdict is Verdict.WAITING)
    for remark in (*match.remarks, *kmods.remarks, *guessed.remarks, *_told(found)):
        context.remark(remark)
    if fit := sorted(set(guessed.debug_files) - set(found.misfits)):
        context.remark(
            f"lines of {_named(fit)} are of the build that another package has: the log does not"
            " tell which it was, and its functions have the same sizes"
        )
    lacking = sorted(set(wanted) - set(files))
    if unknown := [name for name in lacking if wanted[name] is None]:
        context.remark(
            f"no lines of {_named(unknown)}: not in the kernel's own package, and the log does not"
            " tell of which build"
        )
    if absent := [name for name in lacking if wanted[name] is not None]:
        context.remark(f"no lines of {_named(absent)}: the build that the log names is not there")
    if None in found.misfits:
        return LocatedLog(dump)
    return LocatedLog(replace(dump, locations=found.locations), match, extraction.vmlinux)


def _candidates(places: Sequence[CodePlace], context: Context) -> str:
    """Which kernels a log may be of that does not say it, by the sizes of the functions in it."""
    wanted = dict[str, set[int]]()
    for place in places:
        if place.kmod is None:
            wanted.setdefault(place.function, set()).add(place.size)
    unnamed = "the log does not say which kernel it is of"
    debug = f"cas debug {context.order.ticket} --kernel"
    by_hand = f"with a vmlinux of yours: {debug} FILE; what there is: cas-admin kernels"
    if not wanted:
        return f"{unnamed}, and names no function of the kernel itself to compare; {by_hand}"
    with context.progress.bar("Comparing the sizes of functions", None):
        compared = compare(context.config.debugs, wanted)
    said = f"{count(compared.compared, 'kernel')} in the cache compared"
    if compared.left:
        said += f", {compared.left} not"
    if not compared.fits:
        return f"{unnamed}, and no kernel in the cache fits ({said}); {by_hand}"
    shown = [f"{fit.name} ({count(fit.functions, 'function')})" for fit in compared.fits[:SHOWN]]
    more = len(compared.fits) - SHOWN
    told = "; ".join(shown) + (f" and {more} more" if more > 0 else "")
    return (
        f"{unnamed}; by the sizes of its functions it may be {told} ({said}); to look at it so:"
        f" {debug} {quote(str(compared.fits[0].vmlinux))}"
    )


def _told(found: Located) -> tuple[str, ...]:
    """Why lines are not known."""
    if None in found.misfits:
        return (
            "no line of the source is known: the kernel that was found does not fit, its functions"
            " have other sizes than in the log",
        )
    said = [f"not all lines of the source are known: {found.problem}"] if found.problem else []
    if found.misfits:
        named = _named([*filter(None, found.misfits)])
        said.append(f"no lines of {named}: what is there of them is of another build")
    return tuple(said)


def _named(kmods: Sequence[str]) -> str:
    more = f" and {len(kmods) - SHOWN} more" if len(kmods) > SHOWN else ""
    return f"{', '.join(kmods[:SHOWN])}{more}"
