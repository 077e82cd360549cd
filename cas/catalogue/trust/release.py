"""Whether a signed archive vouches for a DEB: Release names an index, the index the package.

As apt does it, for a mirror (``dists/SUITE/InRelease``, ``pool/…``) and for a flat directory, but
without Valid-Until: it keeps old indexes from passing for new ones, and ours are old on purpose.

Source: the Debian wiki's DebianRepository/Format; GnuPG's doc/DETAILS for gpgv's status lines.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, cast

from cas.catalogue.trust.keys import Desk, Keys, Unable, ring
from cas.catalogue.trust.signature_state import Verdict, by_key
from cas.errors import plain_reason
from cas.frozen import dataclass

_ANCESTORS = 8
"""Directories above a package in which its archive is sought."""
_RELEASES = 64
"""Looked into for one package, at most: a mirror may have many suites."""
_RELEASE_BYTES = 32 << 20
_LINE_BYTES = 1 << 20
_INDEX_LINES = 1 << 26
"""Debian's largest index has a million."""
_BLOCK_BYTES = 1 << 20
_SIGNATURE = re.compile(r"^\[GNUPG:\] ([A-Z]{3,6}SIG) ([0-9A-F]{16,})", re.MULTILINE)
_PLAINTEXT = "[GNUPG:] PLAINTEXT "
_SECTION = re.compile(r"^SHA256: *\n((?: .*\n)+)", re.MULTILINE)
_ENTRY = re.compile(r"^ ([0-9a-f]{64}) +(\d+) (\S+)$", re.MULTILINE)
_ARCH = re.compile(r"_([a-z0-9]+)\.d?deb$")
_FORMS = (".xz", ".gz", "")
"""What may follow ``Packages``; the first that is there is read."""


_CHANGED = Verdict(ok=False, text="was changed after it was signed")


@dataclass(frozen=True, slots=True)
class _Entry:
    """What a Release file promises of an index."""

    path: PurePosixPath
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A package, as an index names it."""

    name: str
    digest: str


def check_release(path: Path, keys: Keys, desk: Desk) -> Verdict:
    """What the archives say in which a package lies.

    A verdict against it does not last: the archive's files may still come.

    :raises Unable: gpgv is not there
    :raises OSError: the package cannot be read
    """
    against = "is not signed, and no Release file beside or above it vouches for it"
    wanted = None
    for release in islice(_release_files(path), _RELEASES):
        signer, text = _verified_release(release, keys, desk)
        if not signer.ok:
            against = f"lies in an archive whose {release} {signer.text}"
            continue
        if wanted is None:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            wanted = _Wanted(path.name, digest)
        listed = _is_listed(wanted, release.parent, text, desk)
        if listed is True:
            return Verdict(True, f"is listed in {release}, which {signer.text}", signer.until_s)
        if listed is False:
            text = f"is not the package of this name that {release} vouches for"
            return Verdict(ok=False, text=text, is_lasting=False)
    return Verdict(ok=False, text=against, is_lasting=False)


def _release_files(package: Path) -> Iterator[Path]:
    """The Release files of the archives that a package may belong to, the nearest first."""
    seen = set()
    for above in list(package.parents)[:_ANCESTORS]:
        suites = (
            suite for pattern in ("*", "*/*") for suite in sorted(above.glob(f"dists/{pattern}"))
        )
        for directory in (above, *suites):
            files = (directory / name for name in ("InRelease", "Release"))
            release = next((file for file in files if _is_readable(file)), None)
            if release is not None and release.resolve() not in seen:
                seen.add(release.resolve())
                yield release


def _is_readable(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= _RELEASE_BYTES


def _verified_release(release: Path, keys: Keys, desk: Desk) -> tuple[Verdict, str]:
    """Who signed a Release file, and exactly the text that was signed."""
    text = desk.directory / "signed"
    text.unlink(missing_ok=True)
    words: list[str | Path] = ["gpgv", "--status-fd", "1", "--keyring", ring(keys, desk)]
    if release.name == "InRelease":
        words += ["--output", text, release]
    else:
        signature = release.with_name("Release.gpg")
        if not _is_readable(signature):
            return Verdict(ok=False, text="is not signed"), ""
        text.write_bytes(release.read_bytes())
        words += [signature, text]
    said = desk.run(*words).stdout.decode("utf-8", "replace")
    verdict = _signer_of(said, keys)
    if said.count(_PLAINTEXT) != (release.name == "InRelease"):  # signed is something else
        verdict = _CHANGED
    return verdict, text.read_text("utf-8", "replace") if verdict.ok else ""


def _signer_of(said: str, keys: Keys) -> Verdict:
    """Of several signatures one good one is enough, unless another is wrong."""
    found: dict[str, str] = dict(_SIGNATURE.findall(said))
    if "BADSIG" in found:
        return _CHANGED
    if "GOODSIG" in found:
        return by_key(keys, found["GOODSIG"])
    for kind, identity in found.items():
        verdict = by_key(keys, identity)  # which may not tell what is wrong, and gpgv does
        refused = Verdict(ok=False, text=f"{verdict.text}, which gpgv does not accept ({kind})")
        return refused if verdict.ok else verdict
    return Verdict(ok=False, text="is not signed")


def _is_listed(wanted: _Wanted, directory: Path, release: str, desk: Desk) -> bool | None:
    """Whether an index has this package; ``None`` when none has one of its name."""
    answer = None
    for entry in _indexes(release, wanted.name, directory):
        # a copy of the index, if it is what its Release file promises
        index, copy = directory / entry.path, desk.directory / "index"
        if index.stat().st_size != entry.size_bytes:
            continue
        digest = hashlib.sha256()
        with index.open("rb") as file, copy.open("wb") as to:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                to.write(block)
        if digest.hexdigest() != entry.digest:
            continue
        found = _is_named(copy, entry.path.suffix, wanted)
        if found:
            return True
        answer = found if answer is None else answer
    return answer


def _indexes(release: str, name: str, directory: Path) -> Iterator[_Entry]:
    """The indexes that are there, each in one form."""
    arch = _ARCH.search(name)
    binary = ("binary-all", f"binary-{arch[1]}") if arch else ()
    section = _SECTION.search(release)
    entries: dict[PurePosixPath, _Entry] = {}
    for digest, size, file in _ENTRY.findall(section[1] if section else ""):
        path = PurePosixPath(file)
        entries[path] = _Entry(path, digest, int(size))
    for base in sorted({path.with_suffix("") for path in entries if path.stem == "Packages"}):
        of_arch = base.parent.name
        if binary and of_arch.startswith("binary-") and of_arch not in binary:
            continue
        for form in map(base.with_suffix, _FORMS):
            is_inside = not form.is_absolute() and ".." not in form.parts
            if form in entries and is_inside and (directory / form).is_file():
                yield entries[form]
                break


def _is_named(index: Path, suffix: str, wanted: _Wanted) -> bool | None:
    """Whether an index has the package's digest; ``None`` when it has not even its name."""
    has_name = False
    try:
        with _open_index(index, suffix) as file:
            for _ in range(_INDEX_LINES):
                line = file.readline(_LINE_BYTES)
                if not line:
                    break
                key, _, value = line.decode("utf-8", "replace").strip().partition(": ")
                if key == "SHA256" and value == wanted.digest:
                    return True
                has_name |= key == "Filename" and PurePosixPath(value).name == wanted.name
    except (OSError, EOFError, lzma.LZMAError) as error:
        said = f"an index of its archive cannot be read: {plain_reason(error)}"
        raise Unable(said) from error
    return False if has_name else None


def _open_index(index: Path, suffix: str) -> IO[bytes]:
    if suffix == ".xz":
        return lzma.open(index)
    return cast("IO[bytes]", gzip.open(index)) if suffix == ".gz" else index.open("rb")
