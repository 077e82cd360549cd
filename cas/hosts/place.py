"""A place on an analysis host where crash can be started on our dump."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from cas.errors import HostLost
from cas.frozen import dataclass
from cas.hosts.link import HostUnfit, Link
from cas.hosts.session.session import RemoteChild, RemoteTerminal, Session
from cas.model.host import CrashProgram
from cas.terminal import Window

KEEP = 'umask 077; exec cat > "$1"'
REPLY_BYTES = 4 << 10


@dataclass(frozen=True, slots=True)
class RemoteFiles:
    """The files that crash reads on a host."""

    vmlinux: Path
    vmcore: Path
    there: Mapping[Path, str]
    """Names on the host, by ours; of kernel modules' files too."""
    options: tuple[str, ...] = ()
    """Options of crash without which it does not find the kernel in this dump."""

    @property
    def crash_words(self) -> list[str]:
        """crash's words for them: the options that they need, and their names on the host."""
        return [*self.options, self.there[self.vmlinux], self.there[self.vmcore]]


@dataclass(frozen=True, slots=True)
class RemotePlace:
    """An analysis host with a crash, our dump and its vmlinux: a
    :class:`cas.engines.crash.place.Place`."""

    program: CrashProgram
    link: Link
    session: Session
    files: RemoteFiles
    extensions: tuple[str, ...]
    """Shared objects that crash's prelude loads, as far as they are on the host."""
    stack: ExitStack
    """Ends the session."""

    @property
    def name(self) -> str:
        """The host's name."""
        return self.link.name

    @property
    def sandbox(self) -> str:
        """What its programs run in: ``bwrap``, or ``none`` and why."""
        return self.session.sandbox

    def start(self, options: Sequence[str]) -> RemoteChild:
        """Start crash there, supervised from here."""
        words = [self.program.path, "--no_crashrc", "-s", *options, *self.files.crash_words]
        return self.session.start(words, [*self.files.there.values(), *self.extensions])

    def terminal(self, options: Sequence[str], opening: bytes, window: Window) -> RemoteTerminal:
        """Start crash there on a terminal of its own.

        :param opening: commands before the first prompt
        """
        path = f"{self.session.directory}/opening"
        done = self.link.run_script(
            KEEP, path, feed=opening, timeout_s=self.link.keepalive_s, max_bytes=REPLY_BYTES
        )
        if done.status != 0:
            raise HostUnfit(f"{self.name}: cannot write {path}")
        words = [self.program.path, "--no_crashrc", "-s", "-i", path, *options]
        words += self.files.crash_words
        sees = [*self.files.there.values(), path, *self.extensions]
        return self.session.terminal(words, sees, window)

    def where(self, path: Path) -> str | None:
        """The name on the host of a file of ours."""
        return self.files.there.get(path)

    def version(self) -> str:
        """What its crash calls itself."""
        return f"crash {self.program.version} on {self.name}"

    def close(self) -> None:
        """End the session; on a lost host it ends by itself."""
        with suppress(HostLost):
            self.stack.close()
