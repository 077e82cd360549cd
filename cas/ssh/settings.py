"""What ~/.ssh/config says about a server.

paramiko reads the file, after what it does not know is put into words that it does: ``Include`` is
followed here, ``~`` is the home directory that was asked for, and a condition of ``Match`` that
would start a program, or that paramiko does not know, marks its block. A server that such a block
may be for is refused; the others are not.

Source: ssh_config(5).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

import paramiko

from cas.frozen import dataclass
from cas.ssh.failures import SshError

INCLUDE_DEPTH = 16
"""Files that include one another, at most; as in OpenSSH (readconf.c, READCONF_MAX_DEPTH)."""
CONDITIONS = {"host", "originalhost", "user", "localuser"}
"""Conditions of ``Match``, with a word each, that can be judged here."""
BARE_CONDITIONS = {"all", "canonical", "final"}
LISTS = {"userknownhostsfile", "globalknownhostsfile"}
FILES = {"identityfile", "certificatefile", "identityagent", "revokedhostkeys"}
UNFOLLOWED = "cas_unfollowed"
_LINE = re.compile(r"\s*(\w+)(?:\s*=\s*|\s+)(.*?)\s*")


class _Unreadable(Exception):
    """A file is no ssh_config."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one server."""

    path: Path
    """The file."""
    said: Mapping[str, str | list[str]]

    def word(self, key: str) -> str | None:
        """A setting; ``None`` when nothing, or ``none``, is said."""
        value = self.said.get(key)
        return value if isinstance(value, str) and value.lower() != "none" else None

    def is_on(self, key: str) -> bool:
        """Whether a setting says yes."""
        return self.word(key) == "yes"

    def files(self, key: str) -> tuple[Path, ...] | None:
        """The files of a setting; ``None`` when nothing is said."""
        value = self.said.get(key)
        if value is None:
            return None
        names = value if isinstance(value, list) else shlex.split(value)
        return tuple(Path(name) for name in names if name.lower() != "none")


def settings_of(name: str, home: Path) -> Settings:
    """What a user's file says about a server.

    :param name: as a person calls it
    :raises SshError: the file cannot be used, or not for this server
    """
    path = home / ".ssh/config"
    try:
        lines = _Reader(home).settings_lines(path) if path.is_file() else ()
        said = paramiko.SSHConfig.from_text("\n".join(lines)).lookup(name)
    except (OSError, ValueError, LookupError, _Unreadable, paramiko.SSHException):
        raise SshError(
            f"{path} cannot be read as ssh_config(5)", hint=f"see: ssh -G {shlex.quote(name)}"
        ) from None
    settings = Settings(path, {**said})
    unfollowed = settings.word(UNFOLLOWED)
    if unfollowed is None and settings.word("proxycommand") is not None:
        unfollowed = "ProxyCommand"
    if unfollowed is not None:
        raise SshError(
            f"{settings.path} has `{unfollowed}` for {name}, which is not followed here",
            hint="give this host a block without it; ProxyJump works",
        )
    return settings


@dataclass(frozen=True, slots=True)
class _Reader:
    """Puts lines into words that paramiko knows."""

    home: Path

    def settings_lines(self, path: Path, depth: int = 0) -> Iterator[str]:
        """Those of a file and of all that it includes."""
        if depth > INCLUDE_DEPTH:
            raise _Unreadable
        block = None
        for line in path.read_text().splitlines():
            found = _LINE.fullmatch(line)
            key, value = (found[1].lower(), found[2]) if found else ("", "")
            if key in ("host", "match"):
                block = line if key == "host" else self._match_applies(value)
                yield block
            elif key == "include":
                yield from self._included_settings(value, block, depth)
            elif key in LISTS:
                yield f"{key} {shlex.join(self._at_home(word) for word in shlex.split(value))}"
            elif key in FILES:
                yield f"{key} {self._at_home(value.strip(chr(34)))}"
            else:
                yield line

    def _match_applies(self, value: str) -> str:
        """``Match``, and a mark when it has a condition that is not judged here."""
        words, known = shlex.split(value), []
        unfollowed = None
        while words:
            word = words.pop(0)
            name = word.lstrip("!").lower()
            if name in BARE_CONDITIONS:
                known.append(word)
            elif name in CONDITIONS:
                known += [word, words.pop(0)]
            else:
                unfollowed, words = f"Match {name}", words[1:]
        mark = f"\n{UNFOLLOWED} {unfollowed}" if unfollowed else ""
        return f"Match {shlex.join(known or ['all'])}{mark}"

    def _included_settings(self, value: str, block: str | None, depth: int) -> Iterator[str]:
        found: list[Path] = []
        for word in shlex.split(value):  # below ~/.ssh unless it is absolute
            pattern = (self.home / ".ssh" / self._at_home(word)).relative_to("/")
            found += sorted(path for path in Path("/").glob(str(pattern)) if path.is_file())
        lines = list(chain.from_iterable(self.settings_lines(path, depth + 1) for path in found))
        if not any(re.match(r"\s*(host|match)\b", line, re.IGNORECASE) for line in lines):
            yield from lines
        elif block is None:
            yield from (*lines, "Host *")
        else:
            yield f"{UNFOLLOWED} Include of other blocks"

    def _at_home(self, word: str) -> str:
        return re.sub(r"^~(?=/|$)|%d", lambda _: str(self.home), word)
