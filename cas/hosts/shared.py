"""Whether an analysis host sees our files under the same names, so that nothing is copied.

Equal paths prove nothing: every machine has a /var. A file that was not there a moment ago does.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cas.hosts.link import Link

NONCE_BYTES = 32
LOOK = """
number=$1
shift
while [ "$number" -gt 0 ]; do
    head -c 128 < "$1"
    echo
    shift
    number=$((number - 1))
done 2> /dev/null
for file; do
    : < "$file" && stat -L -c %s "$file" || echo none
done 2> /dev/null
"""
"""``$1`` files whose content it tells, then files whose size it tells. Opening one first makes NFS
ask its server (nfs(5), close-to-open consistency)."""

FOUND = 'for file; do [ ! -r "$file" ] || printf "%s\\n" "$file"; done'


def sees_directory(link: Link, directory: Path) -> bool:
    """Whether a host proved that it sees a directory of ours.

    :return: ``False`` as well where nothing can be proved, for we may not write there
    :raises HostLost: the link broke
    """
    return _are_proved(link, [directory.absolute()], [])


def see_the_same(link: Link, paths: Sequence[Path]) -> bool:
    """Whether a host sees these very files of ours under the same names.

    :raises HostLost: the link broke
    """
    names = [path.absolute() for path in paths]
    # a link in a shared directory may lead to one that every machine has for itself
    parents = dict.fromkeys(each.parent for name in names for each in (name, name.resolve()))
    return _are_proved(link, parents, names)


def files_there(link: Link, paths: Sequence[Path]) -> tuple[str, ...]:
    """Those of the paths that are files on a host.

    :raises HostLost: the link broke
    """
    if not paths:
        return ()
    limit = sum(len(str(path)) + 8 for path in paths)
    names = [str(path) for path in paths]
    done = link.run_script(FOUND, *names, timeout_s=link.keepalive_s, max_bytes=limit)
    return tuple(name for name in names if name.encode() in done.stdout.split(b"\n"))


def _are_proved(link: Link, directories: Iterable[Path], files: Sequence[Path]) -> bool:
    try:
        with ExitStack() as stack:
            nonces = [stack.enter_context(_nonce_file(directory)) for directory in directories]
            told = [content for _, content in nonces]
            told += [b"%d" % path.stat().st_size for path in files]
            expected = b"".join(line + b"\n" for line in told)
            words = (str(len(nonces)), *(str(path) for path, _ in nonces), *map(str, files))
            limit = len(expected) + 1024
            done = link.run_script(LOOK, *words, timeout_s=link.keepalive_s, max_bytes=limit)
    except OSError:
        return False
    return done.stdout == expected


@contextmanager
def _nonce_file(directory: Path) -> Iterator[tuple[Path, bytes]]:
    """A file that nobody can have foreseen."""
    path = directory / f".cas-{secrets.token_hex(16)}"
    content = secrets.token_hex(NONCE_BYTES).encode()
    try:
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(content)
        yield path, content
    finally:
        path.unlink(missing_ok=True)
