"""Parts that pstore keeps of kernel logs on a host, put together as those of an upload are."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cas.dump.log_file import choose_log
from cas.dump.source import opened_source
from cas.sweep.judging import Seen, Useless, log_there
from cas.sweep.walk import Found, Joined

PARTS = 1000
"""Of one directory that are read; a log buffer of 1 MiB is a thousand of EFI's."""
_NAME_BYTES = 100
_ODD = re.compile(r"[^\w.+-]", re.ASCII)


def logs_of_parts(parts: Sequence[tuple[Found, bytes]]) -> Iterator[tuple[Joined, Seen | str]]:
    """The kernel logs that parts make up, and what each says of itself, or why it is left.

    :param parts: all of a directory, with what they hold
    """
    with tempfile.TemporaryDirectory(prefix="cas-parts-") as scratch:
        files = dict[Path, Found]()
        for number, (found, content) in enumerate(parts):
            name = _ODD.sub("_", found.name.decode("utf-8", "replace"))[:_NAME_BYTES]
            path = Path(scratch) / f"{number:04}-{name}"
            path.write_bytes(content)
            files[path] = found
        text = Path(scratch) / "text"
        while chosen := choose_log(list(files)):
            text.write_bytes(chosen.text)
            log = _joined([files.pop(path) for path in chosen.files], chosen.text)
            try:
                with opened_source(text) as source:
                    yield log, log_there(log, source)
            except Useless as error:
                yield log, str(error)
        if files:
            yield _joined(list(files.values()), b""), "it is no part of a kernel log"


def _joined(parts: Sequence[Found], content: bytes) -> Joined:
    newest = parts[-1]
    state = replace(newest.state, size_bytes=len(content))
    return Joined(newest.path, state, newest.kind, tuple(parts), content)
