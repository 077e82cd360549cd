"""All pages of a dump, checked beside everything else."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from cas.model.dump import Dump
from cas.triage.context import Context

if TYPE_CHECKING:
    from cas.dump.checking import Checking


def checked(dump: Dump, checking: Checking, context: Context) -> Dump:
    """The dump with what was found of its pages, once all are checked or our patience is over."""
    with context.timed("page check"), ExitStack() as shown:
        advance, seen = None, 0
        for _ in checking.until_over():
            if advance is None and checking.count:
                text = f"Checking {checking.count:,} pages"
                bar = context.progress.bar(text, checking.count, "pages")
                advance = shown.enter_context(bar)
            if advance is not None:
                advance(checking.checked - seen)
                seen = checking.checked
    for problem in checking.problems():
        context.progress.note(problem)
    judged = checking.judged(dump)
    for missing in judged.missing:
        if missing not in dump.missing:
            context.progress.warn(f"the dump is damaged: {missing.what}")
    return judged
