"""What of a crash is exported: its newest report, drawn anew without secrets, log and sections."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import date
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

from cas.choices import SecretKind
from cas.errors import JobFailed
from cas.export.names import Names
from cas.export.record import LeftOut
from cas.export.redaction import Redactor
from cas.files.permission import user_name
from cas.files.whole import put, read_regular
from cas.jobs.job import Job
from cas.jobs.layout import DUMP, SIDECARS
from cas.jobs.work_directory import is_ticket
from cas.model.report import Report
from cas.report.report import drawn
from cas.report.result import load
from cas.text import json_text
from cas.triage.rejudge import revived

INFO = "info.json"
SECTION_LIMIT = 64 << 20
"""Bytes of a section; what a snippet may write is less."""
_PACKED = (
    b"\x1f\x8b",
    b"\xfd7zXZ",
    b"\x28\xb5\x2f\xfd",
    b"BZh",
    b"PK\x03\x04",
    b"\x7fELF",
    b"7z\xbc\xaf",
)
_HOSTS = frozenset({"server", "host", "nodename", "node", "hosts"})
_TICKETS = frozenset({"ticket", "tickets", "similar", "same_dump", "same_log", "jobs"})
_PATHS = frozenset({"dump", "at", "upload"})
"""Directories of the site are called as a customer or a project is; files tell enough."""
_SAFE = re.compile(r"[^A-Za-z0-9._+-]")
_HOST = re.compile(r"[\w.:-]{1,255}", re.ASCII)
_BINARY = "it is no text, and nobody can look into it"
_OF_SITE = re.compile(r".*\.(eml|trc|log)|job\.json|crash(\.in|\.out)?|\..*|usr|in-use")


@dataclass(frozen=True, slots=True)
class Subject:
    """A crash that is to be exported."""

    name: str
    """What its directory is called."""
    crash_id: str | None
    job: Job | None
    """What has told of it; ``None``: nothing has, as of a note without a dump."""
    info: Mapping[str, Any] | None
    """As ``cas info`` prints it; ``None``: the archive does not know it."""
    by: tuple[str, ...] = ()
    """Who has changed what is said of it."""
    dump: Path | None = None
    """Its best file, if that is to be exported."""


@dataclass(frozen=True, slots=True)
class Told:
    """A subject with what was read of it."""

    subject: Subject
    report: Report | None
    sections: Mapping[str, bytes]
    """By the names of their files."""
    left_out: tuple[LeftOut, ...]


def read_subject(subject: Subject) -> Told:
    """Read all that may be exported of a crash.

    :raises CasError: its report cannot be read
    """
    job = subject.job
    if job is None:
        return Told(subject, None, {}, ())
    report = revived(load(job.directory), job)
    sections, left_out = dict[str, bytes](), list[LeftOut]()
    for section in report.sections:
        try:
            content = read_regular(section.path, SECTION_LIMIT)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise JobFailed(f"cannot read {section.path}: {error.strerror}") from error
        if _text_of(content) is None:
            left_out.append(LeftOut(name=section.path.name, why=_BINARY))
        else:
            sections[section.path.name] = content
    known = {*sections, "report.txt", "report.html", "result.json"}
    known |= {each.name for each in left_out}
    others = [name for name in sorted(os.listdir(job.directory)) if name not in known]  # noqa: PTH208  names only
    left_out += _others(others)
    return Told(subject, report, sections, tuple(left_out))


def _others(names: Iterable[str]) -> Iterator[LeftOut]:
    """What else a job has; what the customer has called somehow is not named."""
    for name in names:
        if _OF_SITE.fullmatch(name):
            continue
        why = "it is no result"
        if name.startswith(DUMP):
            why = "a dump is memory, which cannot be redacted"
        elif name == SIDECARS:
            why = "what came with the dump; nobody has looked into it"
        yield LeftOut(name=name, why=why)
    yield LeftOut(name="log and records of the job", why="they are of the site alone")


def learn(told: Told, names: Names) -> None:
    """Take in who and what is named by a crash: first what is known to be a name, then the rest."""
    subject, report, job = told.subject, told.report, told.subject.job
    if report:
        names.add_host(report.dump.nodename if report.dump else None)
        names.add_host(report.answer.nodename if report.answer else None)
    if subject.info:
        _learn_fields(subject.info, names)
    for person in subject.by:
        names.add_user(person)
    if report:
        _learn_fields(report, names)
        if report.stored:
            for path in (*report.stored.sidecars, *report.stored.parts):
                names.learn(path.name)
    if job:
        with suppress(OSError):
            names.add_user(user_name(job.directory.stat().st_uid))
            names.add_user(user_name(job.order.upload.stat().st_uid))
        names.learn(
            "\n".join(filter(None, (str(job.order.upload), job.order.url, job.order.email)))
        )
    for content in told.sections.values():
        names.learn(_text_of(content) or "")
    if report:
        names.learn("\n".join(_strings(report)))
    if subject.info:
        names.learn("\n".join(_strings(subject.info)))


def write_redacted(
    told: Told, directory: Path, redactor: Redactor
) -> tuple[list[str], list[LeftOut]]:
    """Write a crash without secrets; the names of its files, and what is left out."""
    names, files = dict[str, str](), list[str]()
    for name, content in told.sections.items():
        text = _text_of(content)
        assert text is not None  # noqa: S101  others are left out
        names[name] = _file_name(redactor.text(name), {*names.values()})
        put(directory / names[name], redactor.text(text).encode("utf-8", "surrogateescape"))
        files.append(names[name])
    if told.report:
        report = redacted(told.report, redactor)
        sections = tuple(
            replace(each, path=directory / names.get(was.path.name, "left-out"))
            for each, was in zip(report.sections, told.report.sections, strict=True)
        )
        report = replace(report, sections=sections, directory=Path(told.subject.name), vmlinux=None)
        for name, content in drawn(report).items():
            put(directory / name, redactor.text(content.decode()).encode())
            files.append(name)
    if told.subject.info:
        info = redacted(told.subject.info, redactor)
        text = json_text(info, indent=4)
        put(directory / INFO, redactor.text(text).encode())
        files.append(INFO)
    left_out = [LeftOut(name=redactor.text(each.name), why=each.why) for each in told.left_out]
    return sorted(files), left_out


def write_as_it_is(told: Told, directory: Path) -> tuple[list[str], list[LeftOut]]:
    """The same with everything that is known."""
    files = list[str]()
    job = told.subject.job
    for name, content in told.sections.items():
        put(directory / name, content)
        files.append(name)
    for name in ("report.txt", "report.html", "result.json"):
        if job:
            put(directory / name, read_regular(job.directory / name, SECTION_LIMIT))
            files.append(name)
    if told.subject.info:
        put(directory / INFO, json_text(told.subject.info, indent=4).encode())
        files.append(INFO)
    return sorted(files), list(told.left_out)


def redacted(value: Any, redactor: Redactor, name: str = "") -> Any:
    """A value without secrets, of the same form.

    :param name: of the field that has it
    """
    if value is None or isinstance(value, Enum | bool | int | float | date):
        return value
    if isinstance(value, str):
        return _text(value, redactor, name)
    if isinstance(value, Path):
        return Path(redactor.text(value.name))
    if is_dataclass(value) and not isinstance(value, type):
        kept = {each.name: getattr(value, each.name) for each in fields(value)}
        below = {key: redacted(each, redactor, _below(name, key)) for key, each in kept.items()}
        return replace(value, **below)
    if isinstance(value, Mapping):
        return {
            redactor.text(str(key)): redacted(each, redactor, _below(name, str(key)))
            for key, each in value.items()
        }
    if isinstance(value, tuple | list):
        return type(value)(redacted(each, redactor, name) for each in value)
    return value


def _below(name: str, key: str) -> str:
    """A field's name; of names in `Newest` whose they are."""
    return name if key == "names" else key


def _text(value: str, redactor: Redactor, name: str) -> str:
    if name in _HOSTS and _HOST.fullmatch(value):
        return redactor.name(value, SecretKind.HOST)
    if name in _PATHS:
        return redactor.text(PurePath(value).name)
    parts = [each.partition("/") for each in value.split(",")]
    if name in _TICKETS and all(is_ticket(ticket) for ticket, _, _ in parts):
        tickets = (redactor.name(ticket, SecretKind.TICKET) for ticket, _, _ in parts)
        return ",".join(
            to + slash + stamp for to, (_, slash, stamp) in zip(tickets, parts, strict=True)
        )
    return redactor.text(value)


def _learn_fields(value: Any, names: Names, name: str = "") -> None:
    if isinstance(value, str) and not isinstance(value, Enum):
        if name in _HOSTS:
            names.add_host(value)
        elif name in _TICKETS:
            for each in value.split(","):
                ticket = each.partition("/")[0]
                if is_ticket(ticket):
                    names.add(SecretKind.TICKET, ticket)
    elif is_dataclass(value):
        for one in fields(value):
            _learn_fields(getattr(value, one.name), names, _below(name, one.name))
    elif isinstance(value, Mapping):
        for key, each in value.items():
            _learn_fields(each, names, _below(name, str(key)))
    elif isinstance(value, tuple | list):
        for each in value:
            _learn_fields(each, names, name)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, Enum):
        return
    if isinstance(value, str | Path):
        yield str(value)
    elif is_dataclass(value):
        for one in fields(value):
            yield from _strings(getattr(value, one.name))
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield str(key)
            yield from _strings(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _strings(each)


def _text_of(content: bytes) -> str | None:
    """The text of a file; ``None``: it has none."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    if content.startswith(_PACKED):
        return None
    text = content.decode("utf-8", "surrogateescape")
    odd = sum(1 for char in text[:65536] if "\udc80" <= char <= "\udcff" or char < "\t")
    zeros = text.count("\0", 0, 65536)
    return None if (odd - zeros) * 20 > len(text[:65536]) else text


def _file_name(text: str, taken: set[str]) -> str:
    name = _SAFE.sub("_", text) or "section"
    number = 2
    while name in taken:
        name, number = f"{_SAFE.sub('_', text)}-{number}", number + 1
    return name


def is_regular(path: Path) -> bool:
    """Whether a dump can be copied."""
    with suppress(OSError):
        return stat.S_ISREG(path.stat().st_mode)
    return False


def info_of_text(text: str, presence: str) -> dict[str, Any]:
    """The object that ``cas info`` prints."""
    return {**json.loads(text), "presence": presence}
