"""Crashes for somebody else: which are meant, what is written of them, and that it was."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import msgspec

from cas import __version__
from cas.archive.archive import Archive
from cas.archive.crash_directories import NotArchived
from cas.archive.crash_index import IndexBehind
from cas.choices import SecretKind
from cas.commands.archive_access import opened_archive
from cas.commands.crash_spec import chosen_crashes
from cas.commands.invocation import World
from cas.commands.meant_job import ended_jobs, newest_report_of
from cas.commands.specification import is_job_named
from cas.errors import CasError, UsageError
from cas.export import content
from cas.export.content import Subject, Told
from cas.export.names import Names
from cas.export.package import ENDS, exporting, require_absent
from cas.export.record import NAME, Export, ExportedCrash, LeftOut, Replaced
from cas.export.redaction import Redactor
from cas.files.whole import put, read_open, read_regular, write_whole
from cas.jobs.job import Job
from cas.jobs.layout import DUMP
from cas.jobs.work_directory import WorkDirectory
from cas.model.archived import Selection
from cas.report.result import crash_id_of
from cas.settings.person import person
from cas.text import count, json_text

WORDS_LIMIT = 1 << 20
_OTHER_ARCHIVES = (".zip", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".cpio")
FEWEST = 3
"""Characters of a given word: with fewer nothing of a report would be left."""
_ABSENT = LeftOut(name=DUMP, why="it is not on this machine")
_REPLACEMENT = re.compile(rf"({'|'.join(each.upper() for each in SecretKind)})-(\d+)(?!\d)")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be exported, and how."""

    target: Path
    is_redacted: bool
    has_dumps: bool
    words: Path | None
    """A file of words that are replaced, too."""
    key: Path | None
    """Where it is written which secret is behind which replacement."""


def export_crashes(words: Sequence[str], wanted: Wanted, world: World) -> Export:
    """Export the crashes that words mean, and note that with each.

    :raises CasError: they mean nothing, or the export cannot be written; nothing of it is there
    """
    _check(wanted)
    given = _given_words(wanted.words, world)
    archive = opened_archive(world)
    with ExitStack() as stack:
        subjects = _subjects(words, wanted, world, archive, stack)
        told = [content.read_subject(each) for each in subjects]
        names = Names()
        if wanted.is_redacted:
            world.progress.say("Looking for what is secret")
            for host in archive.store.registered_hosts():
                names.add_host(host.name)
            _learn_all(told, names, given, world)
        redactor = Redactor(names)
        with exporting(wanted.target, world.now) as place:
            made = _write(told, place, wanted, redactor, world)
            if wanted.key:
                _write_key(wanted.key, names)
            _note(subjects, wanted, world, archive)  # nobody exports what he cannot record
    for name in redactor.doubtful:
        world.progress.warn(
            f"{name} is a word of the kernel, too: it is replaced only where it stands as a name;"
            " look through the export, or give the word with --words"
        )
    return made


def _check(wanted: Wanted) -> None:
    require_absent(wanted.target)
    if wanted.target.name.endswith(_OTHER_ARCHIVES) and not wanted.target.name.endswith(ENDS):
        raise UsageError(
            f"{wanted.target.name} would be a directory",
            hint=f"an archive ends with one of {', '.join(ENDS)}",
        )
    if not wanted.target.parent.is_dir():
        raise UsageError(f"{wanted.target.parent} is no directory", hint="make it: mkdir")
    if wanted.is_redacted and wanted.has_dumps:
        raise UsageError(
            "a dump cannot be redacted: it is the memory of the machine",
            hint="leave out --with-dump, or --redact to export all as it is",
        )
    if not wanted.is_redacted and (wanted.words or wanted.key):
        raise UsageError("--words and --key are of use only with --redact", hint="add: --redact")
    if wanted.key:
        require_absent(wanted.key)
        target, key = wanted.target.absolute(), wanted.key.absolute()
        if key == target or target in key.parents:
            raise UsageError(
                "the key must not lie in the export: it undoes it", hint="give --key another place"
            )


def _given_words(file: Path | None, world: World) -> list[str]:
    if file is None:
        return []
    try:
        if file in world.held:
            content = read_open(world.held[file], WORDS_LIMIT)
        else:
            content = read_regular(file.resolve(), WORDS_LIMIT)
        lines = content.decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"cannot read {file}: {why}", hint="a word a line") from error
    words = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    for number, word in enumerate(words):
        if len(word) < FEWEST:
            raise UsageError(
                f"{file}: word {number + 1} has fewer than {FEWEST} characters",
                hint="with it replaced nothing of a report would be left",
            )
    return words


def _subjects(
    words: Sequence[str], wanted: Wanted, world: World, archive: Archive, stack: ExitStack
) -> list[Subject]:
    jobs = _named_jobs(words, world)
    try:
        selection = chosen_crashes(words, world, archive)
    except NotArchived:
        if not jobs:
            raise
        selection = Selection(ids=())
    archive.index.look_after_files(selection)
    subjects = list[Subject]()
    for line, presence, text in archive.store.crashes.infos(selection):
        stack.enter_context(archive.using(line.id))
        info = archive.read(line.id)
        told_by = jobs.get(line.id)
        job = told_by or newest_report_of(info, WorkDirectory.of(world.config), archive)
        by = (*(each.by for each in info.changes), *(each.by for each in info.holds))
        best = info.best_file if wanted.has_dumps else None
        dump = archive.path_of(info, best) if best and not best.purged_s else None
        shown = content.info_of_text(text, presence)
        subjects.append(Subject(line.id, line.id, job, shown, by, dump))
    if subjects or not jobs:
        return subjects or _nothing_meant()
    # of what the archive does not know the newest job stands for itself
    crash_id, job = list(jobs.items())[-1]
    dump = job.stored.vmcore if job.stored and wanted.has_dumps else None
    return [Subject(crash_id or "job", crash_id, job, None, dump=dump)]


def _nothing_meant() -> NoReturn:
    raise NotArchived("no crash of the archive is meant")


def _named_jobs(words: Sequence[str], world: World) -> dict[str | None, Job]:
    """The newest ended job of each crash, where a word names jobs, oldest first."""
    work = WorkDirectory.of(world.config)
    if len(words) > 1 or "=" in words[0] or not is_job_named(words[0], work):
        return {}
    found = dict[str | None, Job]()
    for job in ended_jobs(words[0], work):
        crash_id = None
        with suppress(CasError):  # a result of before there were ids
            crash_id = crash_id_of(job.directory)
        found.pop(crash_id, None)
        found[crash_id] = job
    return found


def _learn_all(told: Iterable[Told], names: Names, given: Sequence[str], world: World) -> None:
    for word in given:
        names.add(SecretKind.WORD, word)
    config = world.config
    names.add_host(config.mail.host)
    names.add_user(config.casuser)
    names.add_user(person(world.environment, config))
    if config.file:
        with suppress(OSError, UnicodeDecodeError):
            names.learn(config.file.read_text())
    for each in told:
        content.learn(each, names)


def _write(
    told: Sequence[Told], place: Path, wanted: Wanted, redactor: Redactor, world: World
) -> Export:
    crashes = list[ExportedCrash]()
    for each in told:
        directory = place / each.subject.name
        directory.mkdir(mode=0o700)
        if wanted.is_redacted:
            files, left_out = content.write_redacted(each, directory, redactor)
        else:
            files, left_out = content.write_as_it_is(each, directory)
        if wanted.has_dumps:
            left_out = [left for left in left_out if left.name != DUMP]
        if each.subject.dump and content.is_regular(each.subject.dump):
            shutil.copyfile(each.subject.dump, directory / DUMP)
            (directory / DUMP).chmod(0o600)
            files.append(DUMP)
        elif wanted.has_dumps:
            left_out.append(_ABSENT)
        crashes.append(
            ExportedCrash(
                id=each.subject.crash_id,
                directory=directory.name,
                files=tuple(files),
                left_out=tuple(left_out),
            )
        )
    made = Export(
        made=world.now,
        by=f"cas {__version__}",
        redacted=wanted.is_redacted,
        has_dumps=any(DUMP in each.files for each in crashes),
        crashes=tuple(crashes),
        replaced=_replaced(place) if wanted.is_redacted else (),
        masked=redactor.masked,
    )
    text = json_text(msgspec.to_builtins(made), indent=1)
    put(place / NAME, text.encode() + b"\n")
    return made


def _replaced(place: Path) -> tuple[Replaced, ...]:
    counts = Counter[tuple[str, int]]()
    for path in place.rglob("*"):
        if path.is_file():
            found = _REPLACEMENT.findall(path.read_text("utf-8", "replace"))
            counts.update((kind, int(number)) for kind, number in found)
    return tuple(
        Replaced(replacement=f"{kind}-{number}", kind=SecretKind(kind.lower()), count=often)
        for (kind, number), often in sorted(counts.items())
    )


def _write_key(file: Path, names: Names) -> None:
    found = {replacement: list(forms) for replacement, forms in names.originals.items()}
    write_whole(file.absolute(), json_text(found, indent=1).encode() + b"\n")


def _note(subjects: Sequence[Subject], wanted: Wanted, world: World, archive: Archive) -> None:
    by, at_s = person(world.environment, world.config), int(world.now.timestamp())
    what = "export, redacted" if wanted.is_redacted else "export, not redacted"
    what += ", with the dump" * wanted.has_dumps
    behind: CasError | None = None
    for each in subjects:
        if each.crash_id is None or each.info is None:
            continue
        try:
            with archive.changing(each.crash_id) as draft:
                draft.info = draft.info.noting(what, by, at_s)
        except IndexBehind as error:
            behind = error
    if behind:
        world.progress.warn(f"{behind}; {behind.hint}")


def summary_lines(made: Export, target: Path) -> Iterable[str]:
    """What was exported, in a few lines."""
    said = "redacted" if made.redacted else "not redacted: names, addresses and all"
    yield (
        f"exported {_crashes(len(made.crashes))} to {target}, {said}"
        + ", with dumps" * made.has_dumps
    )
    kinds = Counter[SecretKind]()
    often = Counter[SecretKind]()
    for each in made.replaced:
        kinds[each.kind] += 1
        often[each.kind] += each.count
    for kind, number in kinds.items():
        yield f"{kind:8} {number:,} replaced, {count(often[kind], 'time')}"
    if made.masked:
        yield f"memory   {count(made.masked, 'place')} masked"
    absent = sum(_ABSENT in each.left_out for each in made.crashes)
    if absent:
        yield f"without the dump of {_crashes(absent)}: it is not on this machine"


def _crashes(number: int) -> str:
    return count(number, "crash").replace("crashs", "crashes")
