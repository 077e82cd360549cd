"""Which debuginfod servers sent something useless, so that they are not asked for it again soon.

A file for each server and build-id, below the cache, whose content says what was wrong. The name
of the server is not in it: a URL may hold a token.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from pathlib import Path

from cas.text import short_line

DIRECTORY = ".useless"
KEPT_S = 24 * 3600.0
_REASON_LIMIT = 300


def note_useless(cache: Path, server: str, build_id: str, reason: str) -> None:
    """Remember it; where that cannot be written the server is asked once more, no harm done."""
    path = _note_path(cache, server, build_id)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(short_line(reason, _REASON_LIMIT))


def why_useless(cache: Path, server: str, build_id: str) -> str | None:
    """What was wrong within the last day; ``None``: the server may be asked."""
    path = _note_path(cache, server, build_id)
    try:
        age_s = time.time() - path.stat().st_mtime
        if 0 <= age_s < KEPT_S:
            return short_line(path.read_text(errors="replace"), _REASON_LIMIT)
        path.unlink()
    except OSError:  # nothing is noted
        pass
    return None


def forget_useless(cache: Path) -> None:
    """Let all servers be asked again."""
    with suppress(OSError):
        for path in (cache / DIRECTORY).iterdir():
            path.unlink(missing_ok=True)


def _note_path(cache: Path, server: str, build_id: str) -> Path:
    name = hashlib.sha256(server.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return cache / DIRECTORY / f"{build_id}-{name}"
