"""Which of the files in an upload is the dump, and what is kept beside it."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from cas.choices import Storage
from cas.errors import CasError, NotADump, UnpackError, UnsupportedFormat
from cas.frozen import dataclass
from cas.intake.copy import copy
from cas.intake.space import Sink
from cas.intake.upload_file import HEAD_BYTES
from cas.intake.vmware import COMPRESSED, is_memory, require_one_file
from cas.jobs.layout import DUMP, SIDECARS
from cas.model.dump import KERNEL_LOG, Stored
from cas.settings.rules import IntakeLimits
from cas.streams.budget import Account
from cas.streams.member import Member
from cas.streams.wrapping import PEEK_BYTES, wrapping
from cas.text import count, printable
from cas.units import human_size

READABLE_BYTES = 8 << 20
"""Of a dump that is being unpacked; so much of it is enough to tell what it is."""
JOINED = "vmcore"
"""A dump that is made of parts, or whose name cannot be that of a file of ours."""
MAX_NAMES = 5
PIECE_BYTES = 1 << 20
"""Of a sosreport's text file that is kept."""

ANSWER_S = 1.0
"""A first answer takes less, most of the time; so long the copy of a plain dump, which is read
where it lies, waits for it: the answer wants both processors and the memory."""
_NICE = 10
"""Then the copy gives way to the debuggers."""
_DUMP_HEAD_BYTES = 8 << 10
"""By which a dump is known; a log takes more."""
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SIDECAR = re.compile(
    r"(^|/)([^/]*dmesg[^/]*|(messages|syslog|kern\.log|console|netconsole|serial|journalctl)[^/]*"
    r"|[^/]+\.(txt|log|json)([.-]\d{1,8})?|[^/]*(sha256|md5)(sums?)?(\.txt)?)$",
    re.I,
)
"""Texts that come with a dump, and the names that kernel logs have where kdump failed."""
_SOSREPORT = re.compile(r"(^|/)sosreport-[^/]*/")


ChooseLog = Callable[[Sequence[Path]], tuple[tuple[Path, ...], bytes, tuple[str, ...]] | None]


@dataclass(frozen=True, slots=True)
class Intake:
    """What to look for in an upload, and what it may cost."""

    limits: IntakeLimits
    kind_of: Callable[[bytes], str | None]
    """What begins so (up to 128 KiB): ``dump``, ``part`` of a split set, ``vmware`` (the half of
    a snapshot that is not memory), or ``None``."""
    member: str | None = None
    """Take this file of an archive only."""
    storage: Storage = Storage.COPY
    """What becomes of a plain upload if there is but one; `MOVE` gives it a second name."""
    choose_log: ChooseLog | None = None
    """The kernel log of a crash among files that came without a dump: what it is made of, the text
    and what is to be told of it."""


@dataclass(frozen=True, slots=True)
class _Found:
    name: str
    kind: str


class Selection:
    """The files of one job's uploads, sorted as they come."""

    def __init__(
        self,
        intake: Intake,
        account: Account,
        readable: Future[Path],
        is_wanted: threading.Event,
    ) -> None:
        """Prepare.

        :param readable: gets the dump's file as soon as its beginning is written
        :param is_wanted: set when the copy of a plain dump shall wait no longer
        """
        self.files: list[Path] = []
        """Everything that was written."""
        self._intake = intake
        self._account = account
        self._readable = readable
        self._is_wanted = is_wanted
        self._dumps: list[_Found] = []
        self._parts: list[Path] = []
        self._sidecars: list[Path] = []
        self._names_of_sidecars: dict[Path, tuple[str, str]] = {}
        """As the upload has them, with and without its directories."""
        self._names: list[str] = []
        self._memories: set[str] = set()
        self._upload = Path()
        self._is_one_of_many = False
        self._vmcore: Path | None = None
        self._dropped = 0

    @property
    def vmcore(self) -> Path | None:
        """Where the dump is written; ``None``: none was found yet."""
        return self._vmcore

    def search_upload(self, upload: Path, *, is_one_of_many: bool) -> None:
        """Take what is in an upload.

        :param is_one_of_many: other uploads belong to the same job
        """
        self._upload, self._is_one_of_many = upload, is_one_of_many
        is_dump = is_plain(upload, self._intake.kind_of) and not (
            is_one_of_many and self._kind_of_head(_first_bytes(upload)) is None
        )
        if not is_dump:
            from cas.intake.unpack import Search  # and what unpacks each kind

            Search(upload, self._account, self._intake.kind_of, self._sort_file).run(upload.name)
            return
        kind = self._kind_of_head(_first_bytes(upload)) or "dump"
        if self._intake.storage is Storage.REFERENCE and not is_one_of_many:
            self._dumps.append(_Found(upload.name, kind))
            self._vmcore = upload
            self._readable.set_result(upload)
            return
        target = self._place_dump(_Found(upload.name, kind))
        self._account.dumps += 1
        if target is None:
            return
        if not is_one_of_many:
            self._readable.set_result(upload)
            give_way()
            self._is_wanted.wait(ANSWER_S)
        takes = self._intake.storage is Storage.MOVE and not is_one_of_many
        copy(upload, target, self._account, takes=takes)

    def result(self) -> Stored:
        """What was found.

        :raises NotADump: there is no dump, or several
        :raises UnpackError: the upload is so damaged that nothing of a dump came out
        """
        states = [found.name for found in self._dumps if found.kind == "vmware"]
        require_one_file(self._upload_named(), states, self._memories)
        if self._vmcore is None:
            self._take_log()
        if self._vmcore is None:
            raise self._no_dump_error()
        chosen, wanted = self._dumps, self._intake.member
        if wanted is not None:
            exact = [found for found in self._dumps if found.name == wanted]
            chosen = exact[:1] or [found for found in self._dumps if _base_name(found) == wanted]
        if len(chosen) > 1 and not all(found.kind == "part" for found in chosen):
            raise self._several_dumps_error(chosen)
        for damage in self._account.damages:
            self._account.remark(damage.what)
        for sentence in self._account.locked:
            self._account.remark(sentence)
        if self._dropped:
            files, limit = count(self._dropped, "sidecar file"), self._intake.limits.sidecar_bytes
            self._account.remark(f"{files} left out: all together exceed {human_size(limit)}")
        parts = tuple(self._parts) if len(self._parts) > 1 else ()
        return Stored(
            self._vmcore,
            parts,
            self._sidecars_of(chosen[0]) if chosen else tuple(self._sidecars),
            tuple(self._account.missing),
            tuple(self._account.remarks),
        )

    def _sidecars_of(self, dump: _Found) -> tuple[Path, ...]:
        """Those of its own directory first: kdump makes one for each crash."""

        def is_elsewhere(path: Path) -> bool:
            name, base = self._names_of_sidecars[path]
            return name.removesuffix(base) != dump.name.removesuffix(_base_name(dump))

        return tuple(sorted(self._sidecars, key=is_elsewhere))

    def _kind_of_head(self, head: bytes) -> str | None:
        return self._intake.kind_of(head)

    def _sort_file(self, member: Member) -> None:
        """Sort one file, whose flow stands at its beginning."""
        head = member.flow.peek(HEAD_BYTES)
        kind = self._kind_of_head(head)
        # whether there is only one file, compressed and in no archive
        is_alone = not self._account.members and not self._is_one_of_many
        if kind is None and head and is_alone and not member.flow.is_broken:
            kind = "dump"  # who reads dumps says best what it is
        name = member.name
        if self._is_one_of_many and name != self._upload.name:
            name = f"{self._upload.name}/{name}"
        if kind is None:
            return self._sort_other_file(Member(name, member.flow), head)
        self._account.dumps += 1
        target = self._place_dump(_Found(name, kind))
        if target is not None:
            self._write_dump(member, target, kind)

    def _place_dump(self, found: _Found) -> Path | None:
        """Where a dump is written; ``None`` when it is only counted."""
        self._dumps.append(found)
        if len(self._dumps) > self._intake.limits.members:
            raise self._several_dumps_error(self._dumps)
        wanted = self._intake.member
        if wanted is not None:
            is_better = found.name == wanted or (
                self._vmcore is None and _base_name(found) == wanted
            )
            if not is_better:
                return None
        elif found.kind == "part":
            taken = {JOINED, *(path.name for path in self._parts)}
            names = (self._fit_name(found), *(f"{JOINED}.{n}" for n in range(1, len(taken) + 2)))
            path = self._new_file(next(name for name in names if name not in taken))
            self._parts.append(path)
            self._vmcore = self._vmcore or path
            return path
        elif self._vmcore is not None:
            return None
        self._vmcore = self._vmcore or self._new_file(self._fit_name(found))
        return self._vmcore

    def _fit_name(self, found: _Found) -> str:
        """The dump's own name, or that of what it came in, where one is fit for a file of ours."""
        if is_plain(self._upload, self._intake.kind_of):
            names = [self._upload.name]
        else:
            names = [COMPRESSED.sub("", name) for name in (_base_name(found), self._upload.name)]
        return next(filter(_PLAIN_NAME.fullmatch, names), JOINED)

    def _new_file(self, name: str) -> Path:
        directory = self._account.directory / DUMP
        if directory.is_symlink() or not directory.is_dir():
            directory.unlink(missing_ok=True)  # a run of an earlier release may have left a file
            directory.mkdir(mode=0o700)
        path = directory / name
        self.files.append(path)
        return path

    def _write_dump(self, member: Member, target: Path, kind: str) -> None:
        is_certain = kind != "part" and self._intake.member in (None, member.name)
        self._account.is_writing = True
        try:
            with Sink(target, self._account, f"the dump in {self._upload.name}") as sink:
                while block := member.flow.block():
                    sink.put(block)
                    if is_certain and sink.done_bytes >= READABLE_BYTES:
                        self._announce(target)
        finally:
            self._account.is_writing = False
        if is_certain:
            self._announce(target)

    def _announce(self, path: Path) -> None:
        if not self._readable.done():
            self._readable.set_result(path)

    def _sort_other_file(self, member: Member, head: bytes) -> None:
        """A file that is no dump: kept when it belongs to one, else only named."""
        if len(self._names) < MAX_NAMES:
            self._names.append(member.name)
        if is_memory(member.name) and len(self._memories) < MAX_NAMES:
            self._memories.add(member.name)
        is_wanted = self._intake.member in (member.name, member.name.rpartition("/")[2])
        is_sidecar = is_wanted or _SIDECAR.search(COMPRESSED.sub("", member.name))
        is_piece = not is_sidecar and _SOSREPORT.search(member.name) and b"\0" not in head
        if not head or not (is_sidecar or is_piece):
            return
        directory = self._account.directory / SIDECARS
        directory.mkdir(mode=0o700, exist_ok=True)
        name = re.sub(r"[^A-Za-z0-9._-]", "_", member.name.rpartition("/")[2])[-80:].lstrip(".")
        path = directory / f"{len(self._sidecars) + self._dropped:04d}-{name or 'file'}"
        left = self._intake.limits.sidecar_bytes - self._account.sidecar_bytes
        left = min(left, PIECE_BYTES) if is_piece else left
        with Sink(path, self._account, "a sidecar file") as sink:
            while sink.size_bytes <= left and (block := member.flow.block()):
                sink.put(block)
        if sink.size_bytes > left:
            path.unlink()
            self._dropped += 1
            return
        self._account.sidecar_bytes += sink.size_bytes
        self._sidecars.append(path)
        self._names_of_sidecars[path] = (member.name, member.name.rpartition("/")[2])
        self.files.append(path)

    def _take_log(self) -> None:
        """The kernel log in place of a dump, if one came, or that which was asked for by name."""
        choose, wanted = self._intake.choose_log, self._intake.member
        named = [
            path for path in self._sidecars if wanted in (None, *self._names_of_sidecars[path])
        ]
        chosen = choose(named) if choose and named else None
        if chosen is None:
            return
        files, text, remarks = chosen
        name = self._names_of_sidecars[files[-1]][1]
        fit = COMPRESSED.sub("", name)
        self._vmcore = self._new_file(fit if _PLAIN_NAME.fullmatch(fit) else JOINED)
        with Sink(self._vmcore, self._account, "the kernel log") as sink:
            sink.put(text)
        self._dumps.append(_Found(name, "log"))
        if len(files) > 1:
            self._account.remark(f"the kernel log is put together of {len(files)} files")
        elif len(self._sidecars) > 1:
            self._account.remark(f"the kernel log is {printable(name)}, of the files that came")
        for remark in remarks:
            self._account.remark(remark)

    def _several_dumps_error(self, found: list[_Found]) -> NotADump:
        names = _shown_names([dump.name for dump in found], 20)
        return NotADump(
            f"{self._upload_named()} holds {len(found)} kernel dumps: {names}",
            hint="choose one of them: --member NAME",
        )

    def _no_dump_error(self) -> CasError:
        damages, locked = self._account.damages, self._account.locked
        if self._dumps:
            names = _shown_names([found.name for found in self._dumps], 20)
            wanted = printable(self._intake.member or "")
            text = f"{self._upload_named()} holds no dump called {wanted}; it holds {names}"
            return NotADump(text, hint="choose one of them: --member NAME")
        if locked:
            hint = "unpack it where that is possible, and give the vmcore inside"
            return UnsupportedFormat(
                f"{self._upload_named()} cannot be opened: {locked[0]}", hint=hint
            )
        if damages:
            text = f"{self._upload_named()} holds no dump that can be saved: {damages[0].what}"
            return UnpackError(text, offset=damages[0].offset)
        inside = f"; in it: {_shown_names(self._names, MAX_NAMES)}" if self._names else ""
        if self._intake.member and self._names:
            wanted = printable(self._intake.member)
            text = f"{self._upload_named()} holds no dump and no kernel log called {wanted}{inside}"
            return NotADump(text, hint="choose one of them: --member NAME")
        found = NotADump(f"{self._upload_named()} holds no kernel dump{inside}")
        if self._names and self._intake.choose_log:
            found.hint += "; to take one of these as a kernel log: --member NAME"
        return found

    def _upload_named(self) -> str:
        """What was given: of a copy of ours, and of what was fetched, the name alone."""
        if self._is_one_of_many:
            return "the upload"
        is_ours = self._account.directory in self._upload.parents
        return printable(self._upload.name if is_ours else str(self._upload))


def give_way() -> None:
    """Lower the priority of the thread that calls: on Linux each has one of its own."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def is_plain(upload: Path, kind_of: Callable[[bytes], str | None]) -> bool:
    """Whether an upload is no wrapping: what else it is, is not asked here."""
    kind = kind_of(_first_bytes(upload, _DUMP_HEAD_BYTES))
    if kind not in (None, KERNEL_LOG):
        return True
    head = _first_bytes(upload)
    return kind_of(head) is not None or wrapping(head[:PEEK_BYTES]) is None


def _first_bytes(path: Path, number: int = HEAD_BYTES) -> bytes:
    with path.open("rb") as file:
        return file.read(number)


def _base_name(found: _Found) -> str:
    return found.name.rpartition("/")[2]


def _shown_names(names: list[str], most: int) -> str:
    shown = ", ".join(printable(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
