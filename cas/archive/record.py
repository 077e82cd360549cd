"""``info.json`` of a crash in the archive: the truth, of which the database is an index."""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec
from msgspec import Meta, field

from cas.errors import UsageError
from cas.files.record import Count, Record, Unreadable
from cas.jobs.job_record import Digest
from cas.text import json_text

VERSION = 1
CHANGES_KEPT = 200
"""Changes that are remembered of a crash, the newest."""

_DEPTH_LIMIT = 100
"""Objects and arrays in one another: whoever prints them calls himself for each."""
_TOO_DEEP = "it is nested too deeply"

CrashIdText = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}(?!\n)$")]
AnswerName = Annotated[str, Meta(pattern=r"^\d{4}(\.\d\d){5}\.\d{6}(?!\n)$")]
JobName = Annotated[str, Meta(pattern=r"^[^/\x00]+/[^/\x00]+$")]


Seconds = Annotated[int, Meta(ge=-(1 << 35), le=1 << 37)]
"""Since 1970, of the years that a calendar has."""


CRASH, NOTE = "crash", "note"
"""What a crash of the archive is: one with files, or one that a note tells of."""


class StoreCopy(Record, frozen=True, kw_only=True):
    """A copy of a file in a store, which was read back whole, and right, when it was made."""

    url: str
    """``s3://BUCKET/KEY``."""
    at_s: Seconds
    """When it was read back, in seconds since 1970."""
    by: str
    flaw: str | None = None
    """What was wrong with it when it was asked for last; ``None``: nothing."""


class ToldFile(Record, frozen=True, kw_only=True):
    """One file of a crash: its dumps differ in what was left out, and how far they came."""

    name: str
    """What it was called where it came from."""
    digest: Digest | None
    """``None``: only a part of it was read, where it lies."""
    size_bytes: Count
    format: str
    dump_level: int | None = None
    """makedumpfile's ``-d``; ``None``: nothing is left out, or it does not tell."""
    is_whole: bool
    """Nothing is known to be missing."""
    lacks: str | None = None
    """What is known to be missing."""
    at: str | None = None
    """Where it lies: a URL, or a path, also of a file that could not be given a second name in the
    archive; ``None``: in the archive."""
    added_s: Seconds
    """Seconds since 1970."""
    copy: StoreCopy | None = None
    """Its last copy in a store; where `at` is its URL, the file is only there."""
    is_uploaded: bool = False
    """Somebody has uploaded it: it does not go with the last job of its crash."""
    purged_s: Seconds | None = None

    @property
    def is_moved(self) -> bool:
        """Whether it is in a store, and no longer on this machine."""
        return self.copy is not None and self.at == self.copy.url


class File(ToldFile, frozen=True, kw_only=True):
    """The same, and by what it is known again."""

    looks: tuple[int, int, int] | None = None
    """Inode, and when content and anything at all were changed last, in ns since 1970: while it
    looks so it has this digest."""


class Change(Record, frozen=True, kw_only=True):
    """Who changed what people say of a crash."""

    at_s: Seconds
    by: str
    what: str


class Hold(Record, frozen=True, kw_only=True):
    """Why a crash must not be purged, whatever its age."""

    at_s: Seconds
    by: str
    why: str = ""


class Place(Record, frozen=True, kw_only=True):
    """Where a sweep has seen a file of a crash."""

    host: str
    path: str
    """On the host, fit to be shown."""
    size_bytes: Count
    modified_s: Seconds
    """By the host's clock, in seconds since 1970."""
    uid: Count | None = None
    gid: Count | None = None


class Info(Record, frozen=True, kw_only=True):
    """A crash."""

    version: Annotated[int, Meta(ge=1, le=VERSION)] = VERSION
    id: CrashIdText
    is_weak: bool = False
    """Another crash may have this id, too."""
    type: str = CRASH
    time_s: Seconds
    """When it crashed, in seconds since 1970; when it was added where that is not known."""
    added_s: Seconds
    facts: dict[str, Any] = field(default_factory=dict)
    """What the newest job or upload of its best file found out, by property."""
    facts_of: str | None = None
    """The digest of the file that they are of."""
    facts_at_s: Seconds = 0
    """When the job or upload began that found them out, in seconds since 1970."""
    answer: AnswerName | None = None
    """The directory below ``answers`` that says what an upload of that file gave."""
    files: tuple[File, ...] = ()
    """In the order in which they came."""
    jobs: tuple[JobName, ...] = ()
    """Those that analysed a file of it and are not purged, as ``TICKET/STAMP``."""
    set_tickets: tuple[str, ...] = ()
    """Those that somebody has set: they protect it from a purge."""
    holds: tuple[Hold, ...] = ()
    """While there is one nothing of the crash is purged, and no job of it."""
    swept: tuple[Place, ...] = ()
    """Where sweeps have seen files of it."""
    properties: dict[str, Any] = field(default_factory=dict)
    """What people and analyzers say of it."""
    changes: tuple[Change, ...] = ()

    @property
    def tickets(self) -> tuple[str, ...]:
        """Those of its jobs, then those that were set."""
        of_jobs = (name.partition("/")[0] for name in self.jobs)
        return tuple(dict.fromkeys((*of_jobs, *self.set_tickets)))

    @property
    def best_file(self) -> File | None:
        """Whole before cut, then least left out, not flattened, larger, newer."""
        return max(self.files, key=file_rank, default=None)

    def noting(self, what: str, by: str, at_s: int) -> Info:
        """The same with one more change remembered."""
        changes = (*self.changes, Change(at_s=at_s, by=by, what=what))[-CHANGES_KEPT:]
        return msgspec.structs.replace(self, changes=changes)


def file_rank(file: ToldFile) -> tuple[Any, ...]:
    """By what the best file is chosen: the greatest is it."""
    is_kept = file.purged_s is None
    is_log = file.format == "kernel log"
    unfiltered = -(file.dump_level or 0)
    # a stream of makedumpfile has the same bytes, in an order that fewer programs read
    is_plain = not file.format.startswith("flattened")
    return is_kept, not is_log, file.is_whole, unfiltered, is_plain, file.size_bytes, file.added_s


class TooDeep(UsageError):
    """What somebody says of a crash has too many objects and arrays in one another."""

    exit_code = 1
    hint = "set less in one another"


def info_of(content: bytes) -> Info:
    """A record that was read.

    :raises Unreadable: it is no JSON, of a later version, or some value has another type
    """
    try:
        # json and not msgspec's own reader: undecodable file names have surrogates
        found = json.loads(content)
        if is_deep(found):
            raise Unreadable(_TOO_DEEP)
        return msgspec.convert(found, Info)
    except RecursionError as error:
        raise Unreadable(_TOO_DEEP) from error
    except (ValueError, msgspec.MsgspecError) as error:
        raise Unreadable(str(error) or type(error).__name__) from error


def content_of(info: Info) -> bytes:
    """What is written of a crash.

    :raises TooDeep: what is said of it is
    """
    try:
        values = msgspec.to_builtins(info)
        is_refused = is_deep(values)
    except RecursionError:
        is_refused = True
    if is_refused:
        raise TooDeep(f"what is said of the crash {info.id} would be nested too deeply")
    return json_text(values, indent=1).encode() + b"\n"


def is_deep(value: object, limit: int = _DEPTH_LIMIT) -> bool:
    """Whether there are more objects and arrays in one another than a record may have."""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list | tuple):
        return False
    return not limit or any(is_deep(each, limit - 1) for each in value)
