"""The rungs of crash's own ladder: with which options it is started next, after what it said."""

from __future__ import annotations

import re
from collections.abc import Sequence

Options = tuple[str, ...]

FULL: Options = ()
MINIMAL: Options = ("--minimal",)
ZERO_EXCLUDED = "--zero_excluded"
"""Memory that the dump does not have reads as zeros."""
REMEDIES = {
    "--no_kmem_cache": re.compile(rb"kmem_cache|slab", re.IGNORECASE),
    "--no_modules": re.compile(rb"\bmodules?\b|module_init", re.IGNORECASE),
    ZERO_EXCLUDED: re.compile(rb"page excluded|zero_excluded|(seek|read) error"),
}
"""Options that leave out what crash stumbled over, and its words for that. It names the last of
them for incomplete dumps: KDUMP since crash 8.0.0 (4631320e96f8), ELF since crash 8.0.0
(41cda195c642)."""
SILENT: tuple[Options, ...] = ((ZERO_EXCLUDED,), tuple(REMEDIES))
"""When it says nothing of use: what opens most of such dumps, then without all that may fail."""


def untried_remedies(options: Options, said: bytes) -> frozenset[str]:
    """Options, not tried yet, that leave out what crash stumbled over.

    :param said: its last words
    """
    return frozenset(
        option for option, words in REMEDIES.items() if option not in options and words.search(said)
    )


def next_rung(options: Options, said: bytes) -> Options | None:
    """The options of the next start; ``None``: there is none left.

    :param options: those that it just failed with
    :param said: its last words
    """
    if options == MINIMAL:
        return None
    if named := untried_remedies(options, said):
        return tuple(option for option in REMEDIES if option in named.union(options))
    return next((rung for rung in SILENT if set(rung) > set(options)), MINIMAL)


def rung_name(options: Options) -> str:
    """How a report calls a rung."""
    return " ".join(("crash", *options))


def options_in_ladder(ladder: Sequence[str]) -> Options:
    """The options with which crash opened the dump in a job.

    :param ladder: of the job's report, e.g. ``crash``, ``crash --zero_excluded``
    """
    rungs = [rung.split() for rung in ladder if rung.split()[:1] == ["crash"]]
    known = {*REMEDIES, *MINIMAL}
    return tuple(word for word in rungs[-1] if word in known) if rungs else ()
