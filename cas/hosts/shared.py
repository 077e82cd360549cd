"""Whether an analysis host sees our files under the same names, so that nothing is copied.

Equal paths prove nothing: every machine has a /var. A file that was not there a moment ago does.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cas.hosts.link import Link

NONCE_BYTES = 32
READ = f'exec head -c {NONCE_BYTES * 4} < "$1"'
SIZES = 'for file; do : < "$file" && stat -L -c %s "$file" || echo none; done 2> /dev/null'
"""Opening it first makes NFS ask its server (nfs(5), close-to-open consistency)."""
SIZE_DIGITS = 20


def is_shared(link: Link, directory: Path) -> bool:
    """Whether a host proved that it sees a directory of ours.

    :return: ``False`` as well where nothing can be proved, for we may not write there
    :raises HostLost: the link broke
    """
    try:
        with _nonce(directory.absolute()) as (path, content):
            done = link.run(
                READ, str(path), timeout_s=link.keepalive_s, max_bytes=NONCE_BYTES * 4 + 1
            )
    except OSError:
        return False
    return done.status == 0 and done.stdout == content


def see_the_same(link: Link, paths: Sequence[Path]) -> bool:
    """Whether a host sees these very files of ours under the same names.

    :raises HostLost: the link broke
    """
    names = [path.absolute() for path in paths]
    # a link in a shared directory may lead to one that every machine has for itself
    parents = dict.fromkeys(each.parent for name in names for each in (name, name.resolve()))
    if not all(is_shared(link, parent) for parent in parents):
        return False
    limit = (SIZE_DIGITS + 1) * len(names)
    done = link.run(SIZES, *map(str, names), timeout_s=link.keepalive_s, max_bytes=limit)
    return done.stdout.split() == [b"%d" % name.stat().st_size for name in names]


@contextmanager
def _nonce(directory: Path) -> Iterator[tuple[Path, bytes]]:
    """A file that nobody can have foreseen."""
    path = directory / f".cas-{secrets.token_hex(16)}"
    content = secrets.token_hex(NONCE_BYTES).encode()
    try:
        with open(path, "xb", opener=_private) as file:
            file.write(content)
        yield path, content
    finally:
        path.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
