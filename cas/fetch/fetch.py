"""From a URL to a file that is whole: attempt after attempt, then length and checksum."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from cas.errors import DiskFull, FetchError, Refused, TryAgain
from cas.fetch.attempts import Attempts
from cas.fetch.part import Part
from cas.fetch.source import Broken, Changed, Denied, FetchPolicy, Had, NotThere, Source
from cas.fetch.url import Url
from cas.progress import Advance, Progress
from cas.units import human_size

__all__ = ["FetchPolicy", "fetch"]

CHECKSUM_FILE_BYTES = 4 << 10
HASH_BYTES = 1 << 20


def fetch(url: Url, directory: Path, policy: FetchPolicy, progress: Progress) -> Path:
    """Download a file into a directory that holds nothing else.

    It is called ``url.name`` once it is whole, checked and on the disk; before, it is a hidden
    part, which a later call goes on with. A file of that name is the result of an earlier call.

    :raises FetchError: the URL leads to no usable file; nothing is left behind
    :raises Refused: policy forbids it, or the file is too large; nothing is left behind
    :raises TryAgain: the server cannot be reached or breaks off; what came is kept
    :raises DiskFull: there is no room; what came is kept
    """
    part = Part(directory, url, policy.limits)
    if part.whole.is_file():
        part.clear_note()
        return part.whole
    with part:
        try:
            digest = _download(url, part, policy, progress)
            _compare_checksums(url, part, digest, policy, progress)
            return part.publish()
        except (TryAgain, DiskFull):
            if not part.is_resumable:
                part.remove()
            raise
        except (FetchError, Refused):
            part.remove()
            raise


def _opened_source(url: Url, had: Had, policy: FetchPolicy) -> AbstractContextManager[Source]:
    """A source by the URL's scheme; its library is loaded only now."""
    if url.scheme == "ftp":
        from cas.fetch import ftp

        return ftp.opened_by_ftp(url, policy, had)
    if url.scheme == "sftp":
        from cas.fetch import sftp

        return sftp.opened_by_sftp(url, policy, had)
    from cas.fetch import http

    if url.is_object:
        from cas.fetch.stores import by_http

        return http.opened_by_http(*by_http(url, policy), had)
    return http.opened_by_http(url, policy, had)


def _download(url: Url, part: Part, policy: FetchPolicy, progress: Progress) -> str | None:
    """All of the file into the part, over as many connections as it takes.

    :return: the file's SHA-256, where the server says it with the file
    """
    attempts = Attempts(policy, progress)
    with _Bar(url, progress) as bar:
        while True:
            try:
                with _opened_source(url, part.had, policy) as source:
                    part.go_on_with(source)
                    bar.draw(source, part.had.offset)
                    for data in iter(source.read, b""):
                        part.add(data)
                        bar.show_size(part.had.offset)
                size, declared = part.had.offset, source.version.size_bytes
                if declared is not None and size < declared:
                    sizes = f"{human_size(size)} of {human_size(declared)}"
                    raise Broken(f"{url}: the connection ended after {sizes}")
                return source.sha256
            except Changed as error:
                part.begin_anew()
                attempts.failed(error, 0)
            except Broken as error:
                attempts.failed(error, part.had.offset)


class _Bar:
    """The bar of a download, from when its length is known."""

    def __init__(self, url: Url, progress: Progress) -> None:
        self._text = f"Fetching {url}"
        self._progress = progress
        self._stack = ExitStack()
        self._advance: Advance | None = None
        self._at = 0

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)

    def draw(self, source: Source, size: int) -> None:
        """Draw the bar, unless it is there from the attempt before."""
        if self._advance is None:
            bar = self._progress.bar(self._text, source.version.size_bytes)
            self._advance = self._stack.enter_context(bar)
            for remark in source.remarks:
                self._progress.warn(remark)
        self.show_size(size)

    def show_size(self, size: int) -> None:
        """So many bytes are there; fewer than before when it began anew."""
        if self._advance:
            self._advance(size - self._at)
        self._at = size


def _compare_checksums(
    url: Url, part: Part, promised: str | None, policy: FetchPolicy, progress: Progress
) -> None:
    """Compare the file's SHA-256 with what the server says beside it or with it, if it does.

    :raises FetchError: they differ
    """
    beside = _checksum_beside(url, policy, progress)
    expected = [(digest, where) for digest, where in (beside, (promised, "the server")) if digest]
    if not expected:
        return
    sha256 = hashlib.sha256()
    with (
        os.fdopen(part.reading_descriptor(), "rb", buffering=0) as file,
        progress.bar("Comparing checksums", part.had.offset) as advance,
    ):
        for data in iter(lambda: file.read(HASH_BYTES), b""):
            sha256.update(data)
            advance(len(data))
    found = sha256.hexdigest()
    for digest, where in expected:
        if digest != found:
            raise FetchError(
                f"{url}: the file's SHA-256 is {found}, but {where} says {digest}",
                hint="ask for the file again: it was damaged, or its checksum is of another file",
            )


def _checksum_beside(url: Url, policy: FetchPolicy, progress: Progress) -> tuple[str | None, str]:
    """What ``URL.sha256`` says, and how it is called; there need not be one."""
    beside = replace(url, path=f"{url.path}.sha256")
    if url.path.endswith("/"):
        return None, ""
    attempts = Attempts(policy, progress)
    while True:
        try:
            text = b""
            with _opened_source(beside, Had(), policy) as source:
                for more in iter(source.read, b""):
                    text += more
                    if len(text) > CHECKSUM_FILE_BYTES:
                        break
        except (NotThere, Denied):
            return None, ""
        except Broken as error:
            attempts.failed(error, 0)
        else:
            break
    # the digest at the beginning of what sha256sum wrote, with or without --tag
    pattern = rb"\s*(?:SHA256 \([^\n]*\) = |\\?)([0-9A-Fa-f]{64})(?![^\s*])"
    found = re.match(pattern, text[:CHECKSUM_FILE_BYTES])
    if found is None:
        progress.warn(f"{beside} is not a checksum as sha256sum writes it: it is left out")
        return None, str(beside)
    return found[1].decode().lower(), str(beside)
