"""The sandbox: bubblewrap with no network, nothing to write to, and only the files that are needed.

A program in it sees the system's programs and libraries, its own files under fixed names, a small
``/tmp`` and ``/dev/shm``, and nothing else; it can neither see nor signal any other process, and
the kernel's keys are out of its reach. When ``cas`` ends, in whatever way, everything in it is
killed by the kernel.
"""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from cas.errors import SandboxMissing, plain_reason
from cas.frozen import dataclass
from cas.supervise import seccomp
from cas.supervise.programs import SAFE_PATH, find_program

HOME = "/home/cas"
FILES = "/files"
"""Where a program finds the files that it was given."""
SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
OPTIONAL = ("/etc/ld.so.cache", "/etc/alternatives")
TMP_BYTES = 256 << 20
SHM_BYTES = 64 << 20
PROBE_S = 10.0
ISOLATION = (
    "--die-with-parent",
    "--unshare-pid",
    "--unshare-net",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup-try",
    "--cap-drop",
    "ALL",
)
NO_USER_NAMESPACES = ("--unshare-user", "--disable-userns")
"""Since bubblewrap 0.7: a program cannot make namespaces of its own, in which it is root."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A bubblewrap that works here."""

    bwrap: Path
    users: tuple[str, ...] = NO_USER_NAMESPACES
    has_sizes: bool = True
    """Since bubblewrap 0.7; before, nothing but the machine bounds what a program puts into its
    directories, and there is no ``/dev/shm`` to write to."""
    has_filter: bool = True
    """System calls are filtered; see :mod:`cas.supervise.seccomp`."""

    @property
    def lacks(self) -> tuple[str, ...]:
        """What it cannot do here, in words for a report."""
        return (
            *(() if self.has_sizes else ("no limit of its directories, bwrap is older than 0.7",)),
            *(() if self.has_filter else ("no filter of system calls",)),
        )

    def argv(self, sees: Mapping[Path, str], filter_: int | None, *, has_proc: bool) -> list[str]:
        """The words before a program's own.

        :param sees: files and directories that it can read, and where it finds them
        :param filter_: a descriptor with the filter of system calls, if it has one
        :param has_proc: whether it sees its own processes; without, it cannot open a descriptor
            that it was given a second time
        """
        words = [str(self.bwrap), *ISOLATION, *self.users, *_system_mounts()]
        words += ["--seccomp", str(filter_)] if filter_ is not None else []
        if has_proc:
            # root without any capability may still write to /proc/sys: core_pattern starts programs
            words += ["--proc", "/proc", "--remount-ro", "/proc"]
        words += ["--dev", "/dev"]
        if self.has_sizes:
            words += ["--size", str(SHM_BYTES), "--tmpfs", "/dev/shm"]  # noqa: S108  its own
        words += ["--remount-ro", "/dev"]  # a tmpfs too, and as large as half of the memory
        for directory in ("/tmp", HOME):  # noqa: S108  a tmpfs of its own
            words += [*(("--size", str(TMP_BYTES)) if self.has_sizes else ()), "--tmpfs", directory]
        for path, place in sees.items():
            words += ["--ro-bind", str(path), place]
        return [*words, "--remount-ro", "/", "--chdir", HOME, "--"]


def find_sandbox(wanted: str) -> tuple[Sandbox | None, str]:
    """The sandbox that programs run in, and how to call it in a report.

    :param wanted: ``auto``, ``bwrap`` or ``none``
    :raises SandboxMissing: it is demanded and does not work here
    """
    if wanted == "none":
        return None, "none (switched off in the configuration)"
    found = find_program("bwrap")
    sandbox, reason = _try_sandbox(found) if found else (None, "there is no bwrap")
    if sandbox:
        return sandbox, "; ".join(("bwrap", *sandbox.lacks))
    if wanted == "bwrap":
        raise SandboxMissing(f"the sandbox cannot be used: {reason}")
    return None, f"none ({reason})"


def likely_sandbox(wanted: str) -> Sandbox | None:
    """What `find_sandbox` gives where bubblewrap works as on most machines; nothing is tried.

    A program that is started in one that does not work never runs.

    :param wanted: as for `find_sandbox`
    """
    found = find_program("bwrap") if wanted != "none" else None
    return Sandbox(found) if found else None


@functools.cache
def _try_sandbox(bwrap: Path) -> tuple[Sandbox | None, str]:
    """Whether bubblewrap works for this user on this kernel, tried once."""
    reason = ""
    for has_filter in (True, False):
        for sandbox in (
            Sandbox(bwrap, has_filter=has_filter),
            Sandbox(bwrap, ("--unshare-user-try",), has_sizes=False, has_filter=has_filter),
        ):
            reason = _why_no_sandbox(sandbox)
            if not reason:
                return sandbox, ""
    return None, reason


def _why_no_sandbox(sandbox: Sandbox) -> str:
    environment = {"PATH": SAFE_PATH, "LANG": "C.UTF-8"}
    with seccomp.opened_filter() as filter_:
        argv = sandbox.argv({}, filter_ if sandbox.has_filter else None, has_proc=True)
        try:
            done = subprocess.run(
                [*argv, "/usr/bin/env", "true"],
                env=environment,
                capture_output=True,
                timeout=PROBE_S,
                check=False,
                pass_fds=(filter_,),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{argv[0]}: {plain_reason(error)}"
    if done.returncode == 0:
        return ""
    said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return said or f"{argv[0]} ended with exit status {done.returncode}"


@functools.cache
def _system_mounts() -> tuple[str, ...]:
    """The system's programs and libraries, and the links that lead to them."""
    words = ["--ro-bind", "/usr", "/usr"]
    for name in SYSTEM:
        path = Path(name)
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), name]
        elif path.is_dir():
            words += ["--ro-bind", name, name]
    for name in OPTIONAL:
        words += ["--ro-bind-try", name, name]
    return tuple(words)


def visible(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Files and directories at their own names, as far as the system's do not hold them."""
    for path in paths:
        if not path.parent.resolve().is_relative_to("/usr"):
            yield path, os.fspath(path)
