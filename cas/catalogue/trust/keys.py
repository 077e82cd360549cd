"""The administrator's public keys, as the programs that check signatures want them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path

from cas.errors import EngineError
from cas.frozen import dataclass
from cas.supervise import Confinement, Finished, find_program, run_program
from cas.text import short_line

SUFFIXES = frozenset({".asc", ".gpg", ".pub"})
DEBIAN = {
    "rpmkeys": "rpm",
    "gpg": "gnupg",
    "gpgv": "gpgv",
    "debsig-verify": "debsig-verify",
}
"""Which Debian package has a program."""
START_S = 60.0
SLOWEST_BYTES_PER_S = 8 << 20
"""A package is read at this rate or faster."""
SAID_BYTES = 1 << 20
SHOWN = 200
"""Characters of what a program said, or a key is called."""


class Unable(Exception):
    """Why a signature cannot be checked here and now; says nothing about the package."""


@dataclass(frozen=True, slots=True)
class Key:
    """A public key, or a subkey of one."""

    identity: str
    """The 16 hex digits, upper case, that signatures name."""
    fingerprint: str
    """Of the primary key, upper case."""
    owner: str
    expires_s: int | None
    """Seconds since 1970; ``None``: never."""
    is_revoked: bool = False


@dataclass(frozen=True, slots=True)
class Keys:
    """All keys of the configured directory."""

    directory: Path
    """Where the administrator keeps them."""
    all: tuple[Key, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    """Armoured, one of each primary key, by fingerprint."""

    def key_named(self, identity: str) -> Key | None:
        """The key that a signature names, with 8, 16 or 40 hex digits."""
        wanted = identity.upper()
        return next(
            (
                key
                for key in self.all
                if key.fingerprint.endswith(wanted) or key.identity.endswith(wanted[-16:])
            ),
            None,
        )


def named_plainly(path: Path, desk: Desk) -> Path:
    """The file under a name of ours: what a program says then has no word of an attacker's."""
    link = desk.directory / "package"
    if not link.is_symlink():
        link.symlink_to(path)
    return link


@dataclass(frozen=True, slots=True)
class Desk:
    """A directory for one check, and the programs that run there."""

    directory: Path
    confinement: Confinement
    timeout_s: float

    def run(self, *argv: str | Path, reads: Path | None = None) -> Finished:
        """What a program says, within the time that reading the file may take.

        :raises Unable: it is not installed, or took too long
        """
        name = str(argv[0])
        if find_program(name) is None:
            raise Unable(f"{name} is not installed (Debian: {DEBIAN[name]})")
        size = reads.stat().st_size if reads else 0
        limit_s = max(START_S, self.timeout_s) + size / SLOWEST_BYTES_PER_S
        try:
            done = run_program(argv, self.confinement, timeout_s=limit_s, max_bytes=SAID_BYTES)
        except EngineError as error:
            raise Unable(str(error)) from error
        if done.timed_out or done.cut:
            raise Unable(f"{name} was ended: {done.reason}")
        return done


def keys_stamp(directory: Path) -> str:
    """A digest of which key files are there, and when they were changed."""
    facts = [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in key_files(directory)
    ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def key_files(directory: Path) -> list[Path]:
    """The key files of a directory.

    :raises Unable: it cannot be read
    """
    try:
        return sorted(path for path in directory.absolute().iterdir() if path.suffix in SUFFIXES)
    except OSError as error:
        raise Unable(f"the keys in {directory} cannot be read: {error.strerror}") from error


def read_keys(directory: Path, desk: Desk) -> Keys:
    """The keys of a directory, armoured or not, each with its subkeys.

    :raises Unable: there is none, or no program that reads them
    """
    files = key_files(directory)
    home = desk.directory / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ("gpg", "--homedir", home, "--batch", "--no-options", "--no-autostart", "--quiet")
    imported = desk.run(*gpg, "--import", *files) if files else None
    listed = desk.run(*gpg, "--with-colons", "--fixed-list-mode", "--list-keys")
    keys = tuple(_listed_keys(listed.stdout.decode("utf-8", "replace")))
    if not keys:
        said = f": {short_line(imported.stderr.strip(), SHOWN)}" if imported else ""
        raise Unable(f"{directory} holds no public key{said}")
    armoured = {}
    for fingerprint in dict.fromkeys(key.fingerprint for key in keys):
        armoured[fingerprint] = desk.directory / f"{fingerprint}.asc"
        desk.run(*gpg, "--armor", "--output", armoured[fingerprint], "--export", fingerprint)
    return Keys(directory, keys, armoured)


def ring(keys: Keys, desk: Desk, fingerprint: str = "") -> Path:
    """A binary keyring of all keys, or of one."""
    path = desk.directory / f"ring{fingerprint}.gpg"
    if not path.exists():
        home = desk.directory / "gnupg"
        only = (fingerprint,) if fingerprint else ()
        words = ("--batch", "--no-options", "--no-autostart", "--output", path)
        desk.run("gpg", "--homedir", home, *words, "--export", *only)
    return path


def _listed_keys(listing: str) -> Iterator[Key]:
    """What ``gpg --with-colons`` lists.

    Source: GnuPG's doc/DETAILS: fields 2 (validity), 5 (key id), 7 (expiration), 10 (fingerprint,
    user id).
    """
    blocks: list[list[list[str]]] = []  # the rows of each primary key
    for line in listing.splitlines():
        row = [*line.split(":"), *[""] * 12]
        if row[0] == "pub":
            blocks.append([row])
        elif blocks:
            blocks[-1].append(row)
    for block in blocks:
        fingerprint = next((row[9] for row in block if row[0] == "fpr"), "")
        owner = next((row[9] for row in block if row[0] == "uid"), "nobody")
        primary = _time(block[0][6])
        for row in block:
            if row[0] in ("pub", "sub"):
                ends = [end for end in (primary, _time(row[6])) if end is not None]
                end, is_revoked = min(ends, default=None), "r" in (block[0][1], row[1])
                yield Key(row[4], fingerprint, short_line(owner, SHOWN), end, is_revoked)


def _time(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
