"""Everything that can go wrong, each with its exit code and its advice.

The message of an error carries the facts (what happened, on what); the class carries the exit code
and the next step. ``cas`` and ``cas-admin`` print both and no traceback, except with ``--debug``.
"""

from __future__ import annotations

import errno
from pathlib import Path

from cas.choices import Verdict

AGAIN = "run the same command again"
"""In advice; a job that was begun is gone on with by another command."""
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class CasError(Exception):
    """A failure that a user can read and act on."""

    exit_code = 4
    verdict = Verdict.FAILED
    hint = ""

    def __init__(self, message: str, *, hint: str | None = None, offset: int | None = None) -> None:
        """Keep the facts.

        :param hint: the next step, where it depends on the facts; else the class's
        :param offset: byte offset in the dump at which the failure was seen
        """
        super().__init__(message)
        self.hint = type(self).hint if hint is None else hint
        self.offset = offset
        self.result = ""
        """What is for standard output all the same: the directory of the job that it stopped."""


class Interrupted(KeyboardInterrupt):
    """A signal stopped what was begun; the text says what is kept, and how to go on."""


class UsageError(CasError):
    """The command line asks for something that cannot be meant."""

    exit_code = 2
    hint = "see: cas --help"


class ConfigError(CasError):
    """The configuration file cannot be used as it is."""

    exit_code = 2
    hint = "see cas.conf(5)"


class NotPermitted(ConfigError):
    """This user may not use a file or a directory; the next run may not either."""

    hint = "let its owner run this, or have root give it to this user (chown)"

    def __init__(self, message: str, obstacle: Path | None, *, hint: str | None = None) -> None:
        """Keep the facts.

        :param obstacle: the file or directory whose owner or mode is in the way, if that is it
        """
        super().__init__(message, hint=hint)
        self.obstacle = obstacle


class NotADump(CasError):
    """The file is not a kernel dump that can be read."""

    hint = "give the vmcore itself, or an archive that holds one"


class UnsupportedFormat(NotADump):
    """The file is recognised, but nothing here opens it."""


class DumpChanged(CasError):
    """A dump that was kept is not what was received any more."""

    hint = (
        "put the file back as it was received and analyse that, or what is there now: "
        "cas -i ID -f FILE"
    )


class UnpackError(CasError):
    """The upload's compression or archive is damaged."""

    hint = "ask for the file again and compare checksums before unpacking"


class Refused(CasError):
    """Policy forbids what was asked."""

    exit_code = 5
    verdict = Verdict.REFUSED


class LimitExceeded(Refused):
    """An upload asks for more than the configuration allows."""

    hint = "if the upload is honest, raise the limit in cas.conf and run cas again"

    def __init__(self, message: str, *, limit: str, hint: str | None = None) -> None:
        """Keep the facts.

        :param limit: the directive of cas.conf that was reached, e.g. ``unpackLimit``
        """
        super().__init__(message, hint=hint)
        self.limit = limit


class SandboxMissing(Refused):
    """The configuration demands a sandbox that does not work here."""

    hint = "install bubblewrap and allow user namespaces, or set `sandbox = auto` in cas.conf"


class FetchError(CasError):
    """A URL does not lead to a file."""

    hint = "check the URL, or fetch the file by other means and give its path"


class KernelNotFound(CasError):
    """No catalogued debuginfo matches the dump."""

    exit_code = 6
    verdict = Verdict.WAITING
    hint = "put the package below `kernels` and run: cas-admin -b"


class DatabaseDamaged(CasError):
    """The database is reached, and of no use as it is: a damaged file, a table that is gone."""

    hint = (
        "run: cas-admin index (it sets a damaged file aside, makes anew what is lost, and enters "
        "the jobs), then: cas-admin -b"
    )


class AmbiguousKernel(CasError):
    """Several catalogued kernels match the dump equally well."""

    exit_code = 6
    verdict = Verdict.WAITING
    hint = "remove the package that does not belong to this dump and run: cas-admin -b"

    def __init__(self, message: str, *, rivals: tuple[str, ...], hint: str | None = None) -> None:
        """Keep the facts.

        :param rivals: each kernel's package and identity, sorted: they tell whether anything
            has changed since
        """
        super().__init__(message, hint=hint)
        self.rivals = rivals


class KernelMismatch(CasError):
    """A vmlinux is not the one that its package or the dump promised."""

    hint = "the package is damaged or mislabelled: replace it and run: cas-admin -b"


class PackageError(CasError):
    """A debuginfo package cannot be read."""

    hint = "replace the package and run: cas-admin -b"


class PackageNotTrusted(Refused):
    """The configuration demands signed packages, and nobody vouches for this one."""

    hint = "put the signer's public key into the directory `keys`, or get a signed package"


class EngineError(CasError):
    """A debugger could not analyse the dump."""


class KernelMisfit(EngineError):
    """What is read of a dump through its vmlinux is not what the dump says of itself."""

    hint = (
        "the dump's headers may be another kernel's, or the vmlinux of another build; to look at "
        "it all the same: cas debug --kernel FILE --force"
    )

    def __init__(self, contradictions: str) -> None:
        """Say so.

        :param contradictions: with both values
        """
        super().__init__(f"the kernel does not fit: {contradictions}")


class HostLost(EngineError):
    """An analysis host died, hung, lied or lost the link in the middle of something."""

    hint = "see what is wrong with it: cas-admin host check"


class DiskFull(CasError):
    """There is no room for what must be written."""

    exit_code = 75
    hint = (
        "free space (cas-admin -p removes old jobs, cas-admin cache clean extracted kernels), "
        f"then {AGAIN}"
    )
    place: Path | None = None
    """The directory on whose file system it is; ``None``: it is no file system that is full."""


class Shortage(CasError):
    """This process may not have what it needs of the machine: memory, another thread or file."""

    exit_code = 75
    hint = (
        "raise the limits (ulimit -v unlimited -u unlimited -n 4096, or LimitAS=, TasksMax= and "
        f"LimitNOFILE= of a systemd unit), or free some, then {AGAIN}"
    )


class TryAgain(CasError):
    """Something needed is busy or unreachable at the moment."""

    exit_code = 75
    hint = f"{AGAIN} later"


class DumpMissing(TryAgain):
    """A dump that stays where it was submitted is not there, or cannot be read there."""

    hint = f"put it back as it was, or mount its file system, then {AGAIN}"


class JobBusy(TryAgain):
    """Another run is working on the job."""


class JobFailed(CasError):
    """A job stopped before its end; its directory says where."""


EXIT_CODES: dict[int, str] = {
    0: Verdict.COMPLETE,
    1: "several",
    2: "usage",
    3: Verdict.PARTIAL,
    4: Verdict.FAILED,
    5: Verdict.REFUSED,
    6: Verdict.WAITING,
    75: "try again later",
}
"""Meaning of every exit status of ``cas -i`` and ``cas-admin``; cas(1) has the same table."""


def plain_reason(error: Exception) -> str:
    """What an error says, of the system's its words alone: neither number nor the file's name."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def shortage(error: Exception) -> Shortage | None:
    """What an error of Python's says of a shortage; ``None``: it is another error."""
    if isinstance(error, MemoryError):
        return Shortage("there is not enough memory")
    # threading knows no class of its own for it
    if type(error) is RuntimeError and "can't start new thread" in str(error):
        return Shortage("no more threads can be started: there is a limit, or no memory")
    if isinstance(error, OSError) and error.errno in _SHORT:
        return Shortage(f"this process may not have more: {error.strerror}")
    return None
