"""What the administrator decided, in groups: the values of cas.conf, with their defaults."""

from __future__ import annotations

import re
from pathlib import Path

from cas.frozen import dataclass

STORE_PREFIX = re.compile(r"(s3|gs|az)://[A-Za-z0-9._-]+(/[A-Za-z0-9._/-]*)?", re.ASCII)
"""A store, and what the names begin with that are given to dumps in it."""


@dataclass(frozen=True, slots=True)
class Mail:
    """How results are mailed."""

    host: str | None = None
    """``None``: no mail is sent."""
    port: int | None = None
    """``None``: 25, 587 with STARTTLS, 465 with TLS."""
    security: str = "none"
    """``none``, ``starttls`` or ``tls``."""
    user: str | None = None
    password_file: Path | None = None
    """First line is the password; never in the configuration or an argument list."""
    sender: str | None = None
    """``From`` address; ``None``: ``cas@`` and this machine's name."""
    timeout_s: float = 60.0
    """For the server to take all mails of one run."""
    retry_s: float = 300.0
    """After the server was of no use, before a run tries again; longer after each failure."""
    sections: tuple[str, ...] = ("traceback", "sys", "modules")
    """Snippets whose output may leave this machine in a mail."""
    attaches_report: bool = False
    """Whether the whole of ``report.html`` may leave this machine in a mail."""
    attachment_bytes: int = 5 << 20
    """Of a report that is attached, at most."""


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    """What an upload may cost; there is no limit of ratio, an honest dump of zeros has any."""

    unpack_bytes: int = 1 << 40
    """Of everything that is unpacked, over all layers and members together."""
    reserve_bytes: int = 512 << 20
    """Free space of the work directory's file system that unpacking and fetching leave alone."""
    members: int = 10_000
    """Of all archives of an upload together."""
    depth: int = 16
    """Wrappings inside one another."""
    sidecar_bytes: int = 256 << 20
    """Of all sidecar files of an upload together."""


@dataclass(frozen=True, slots=True)
class Supervision:
    """How programs that read a dump are watched and ended; seconds may have fractions."""

    sandbox: str = "auto"
    """``auto`` (bubblewrap where it works), ``bwrap`` (refuse without it) or ``none``."""
    watchdog_s: float = 30.0
    """Without output and without use of the processor, after which a program counts as hung."""
    stop_s: float = 5.0
    """Between the request to stop and the kill."""
    respawn_s: float = 1.0
    """Between two starts of a program in one job, at least."""
    attempts: int = 8
    """Starts of one program in one job, at most."""
    command_s: float = 60.0
    """Seconds that one command of a snippet may take."""
    start_s: float = 300.0
    """Seconds from the start of a debugger until it answers about the dump."""
    section_bytes: int = 64 << 20
    """Bytes that the output of one snippet may have."""
    memory_bytes: int = 16 << 30
    """Bytes of address space that each process of a program may take (RLIMIT_AS)."""
    cpu_s: float = 3600.0
    """Processor time of one program."""
    file_bytes: int = 4 << 30
    """Size of a file that a program writes."""
    processes: int = 64
    """That a program may have at a time, where the system can count them."""


@dataclass(frozen=True, slots=True)
class HostRules:
    """When and how analysis hosts are used."""

    use: str = "auto"
    """``auto`` (where no crash of this machine serves), ``first`` (before this machine's) or
    ``never``."""
    jobs: int = 4
    """Sessions on one host at a time."""
    keepalive_s: float = 15.0
    """Without a sign of life from a host, after which it counts as lost."""
    wait_s: float = 600.0
    """For a host that has room, while all are busy."""
    directory: str = "~/.cache/cas"
    """On the host: absolute, or below the user's home; holds copies of dumps and kernels."""
    cache_bytes: int = 200 << 30
    """Of those copies."""


@dataclass(frozen=True, slots=True)
class SweepRules:
    """How a host is swept for dumps."""

    directories: tuple[str, ...] = ("/var/crash", "/var/lib/systemd/pstore")
    """On the host, absolute."""
    server: str | None = None
    """A command there that speaks sftp, such as OpenSSH's server by sudo; ``None``: the subsystem
    of its sshd."""
    time_s: float = 3600.0
    """For one host, at most."""
    size_bytes: int = 200 << 30
    """That one sweep fetches from one host, at most."""
    settle_s: float = 5.0
    """Between two looks at a file that is to be fetched: one that grows meanwhile is left."""
    answer_s: float = 3600.0
    """For the first answers on what was fetched from all hosts, at most."""


@dataclass(frozen=True, slots=True)
class WaterMark:
    """How full a file system may be: one of the two."""

    percent: int | None = None
    """Of what its users may have that is taken, as df(1) counts."""
    free_bytes: int | None = None
    """That are to be free."""

    def free_of(self, total_bytes: int) -> int:
        """Bytes that are free at the mark.

        :param total_bytes: that users may have of the file system

        >>> WaterMark(percent=90).free_of(1000), WaterMark(free_bytes=50).free_of(1000)
        (100, 50)
        """
        if self.percent is not None:
            return total_bytes * (100 - self.percent) // 100
        return self.free_bytes or 0

    def __str__(self) -> str:
        """As cas.conf has it."""
        return f"{self.percent}%" if self.percent is not None else f"{self.free_bytes}"


@dataclass(frozen=True, slots=True)
class RetentionRules:
    """When dumps of the archive go by themselves, and which."""

    high: WaterMark | None = None
    """Beyond it dumps go; ``None``: none goes by itself."""
    low: WaterMark | None = None
    """Until it is reached; ``None``: as far as the high one."""
    older_s: int | None = None
    """Seconds that they are old at least; ``None``: `purgeLimit`."""
    larger_bytes: int | None = None
    """That the files of a crash have together, at least one more."""


@dataclass(frozen=True, slots=True)
class PackageRules:
    """Which packages of debug information are catalogued, how they are read, and trusted."""

    rpm_filter: str = r".*\(kerne.+\|/linux\(-[a-z]+\)?\)-debuginfo-[0-9].*\.rpm"
    """A regular expression of ``find -regex`` for the whole path."""
    deb_filter: str = (
        r".*\(linux-image-.*-dbg\(sym\)?\|\(proxmox\|pve\)-kernel-.*-dbgsym\)_.*\.d?deb"
    )
    readers: int = 4
    """Packages and directories that are read at a time."""
    timeout_s: float = 30.0
    """Without an answer from a file system, after which what is there is passed over."""
    signatures: str = "ignore"
    """``ignore``, ``report`` (say what is wrong with a package that is used) or ``require``."""
    keys: Path | None = None
    """Directory of the public keys that packages may be signed with."""


@dataclass(frozen=True, slots=True)
class CacheRules:
    """How much of the extracted kernels is kept, and how long."""

    limit_bytes: int = 200 << 30
    """When it holds more, what was not used for the longest time goes."""
    target_bytes: int | None = None
    """Until it holds no more than this; ``None``: four fifths of the limit."""
    days: int = 180
    """Since the last use, after which a kernel goes in any case."""


@dataclass(frozen=True, slots=True)
class StoreRules:
    """Where the objects of a bucket are, and who we are there."""

    endpoint: str | None = None
    """URL of the store's server; ``None``: Amazon's for the region, Google's, that of the account
    at Azure."""
    region: str = "us-east-1"
    """Of Amazon's protocol alone."""
    credentials: Path | None = None
    """A file as the store's provider gives it; ``None``: requests are not signed."""
    has_instance_metadata: bool = False
    """Whether a key is asked for at the cloud's own address on this machine (169.254.169.254); of
    Amazon's protocol alone."""


@dataclass(frozen=True, slots=True)
class TierRules:
    """Which dumps of the archive `cas move --due` takes to a store."""

    after_s: int | None = None
    """Since somebody used them, or they came; ``None``: none are due."""
    store: str | None = None
    """``s3://BUCKET/PREFIX``."""


@dataclass(frozen=True, slots=True)
class DebuginfodRules:
    """Which servers are asked for a kernel that no catalogued package has."""

    urls: tuple[str, ...] = ()
    """None by default: a build-id tells the server which kernel crashed here."""
    file_bytes: int = 4 << 30
    """Of one file, at most."""
    timeout_s: float = 90.0
    """Without a byte from a server, after which it counts as gone."""
