"""``cas debug SPEC ANALYZER``: a shell in which somebody works on an analyzer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from cas.analyzers.analyzer import Analyzer
from cas.analyzers.debugging import shell_session
from cas.analyzers.library import Library
from cas.analyzers.prepared import PreparedCrash, PreparedCrashes, fetched_by
from cas.analyzers.sayings import Said, SayingPipe
from cas.archive.archive import Archive
from cas.archive.crash_directories import NotArchived
from cas.choices import AnalyzerKind
from cas.commands.analyzing import archive_owner
from cas.commands.archive_access import opened_archive
from cas.commands.crash_lines import HEADER, ls_line
from cas.commands.crash_spec import AmbiguousSpec, chosen_crashes
from cas.commands.invocation import World
from cas.engines.drgn.glide import usable_modules
from cas.errors import CasError, UsageError
from cas.frozen import dataclass
from cas.settings.person import person
from cas.supervise import Confinement, describe_status, find_sandbox, scratch
from cas.terminal import LocalTerminal, Relay, Screen, Window
from cas.text import one_line

SIGNALLED = 128
"""What a shell adds to the number of the signal that ended a program."""
_PASSED_ON = ("EDITOR", "VISUAL")


@dataclass(frozen=True, slots=True)
class AnalyzerOrder:
    """What is to be worked on."""

    words: tuple[str, ...]
    """Which crash."""
    name: str
    """Of the analyzer."""


def analyzer_order(words: Sequence[str], world: World) -> AnalyzerOrder | None:
    """What words mean, the last of which is an analyzer's name; ``None``: it is none."""
    *spec, name = words
    if not spec or "=" in name:
        return None
    try:
        known = Library(Archive.of(world.config)).all()
    except CasError:  # whoever wants a debugger hears of the archive if he needs it
        return None
    return AnalyzerOrder(tuple(spec), name) if name in known else None


def debug_analyzer(order: AnalyzerOrder, world: World) -> int:
    """Open a shell on a crash; a changed analyzer is stored when it ends with status 0.

    :raises NotArchived: nothing is meant
    :raises AmbiguousSpec: several crashes are meant
    :raises CasError: there is no dump or no shell, or what was changed cannot be stored
    """
    if not world.is_interactive:
        raise UsageError(
            "an analyzer is debugged on a terminal",
            hint=f"to run it: cas analyze {' '.join(order.words)} {order.name}",
        )
    archive = opened_archive(world)
    library = Library(archive)
    analyzer = library.get(order.name)
    crash_id = _one_crash(order, archive, world)
    with ExitStack() as stack:
        stack.enter_context(archive.using(crash_id))
        crash = _prepared(crash_id, analyzer, archive, world, stack)
        status, said = _session(crash, analyzer, world)
        _record(said, crash, analyzer, archive, world)
    if status != 0:
        how = describe_status(status)
        world.progress.warn(f"the shell ended with {how}: {analyzer.name} stays as it was")
        return status if status > 0 else SIGNALLED - status
    if said.text is None or said.text == analyzer.text:
        world.progress.say(f"{analyzer.name} was not changed")
        return 0
    by, at_s = person(world.environment, world.config), int(world.now.timestamp())
    changed = Analyzer(analyzer.name, said.text, by, at_s)
    library.add(changed, owner=archive_owner(archive, world))
    world.progress.say(f"stored what was changed of {analyzer.name} ({changed.kind})")
    return 0


def _one_crash(order: AnalyzerOrder, archive: Archive, world: World) -> str:
    selection = chosen_crashes(order.words, world, archive)
    lines = list(archive.store.crashes.lines(selection))
    if not lines:
        raise NotArchived("no crash of the archive is meant")
    if len(lines) > 1:
        raise AmbiguousSpec(
            f"{len(lines):,} crashes are meant",
            [HEADER, *map(ls_line, lines)],
            hint="an analyzer is debugged on one",
        )
    return lines[0].id


def _prepared(
    crash_id: str, analyzer: Analyzer, archive: Archive, world: World, stack: ExitStack
) -> PreparedCrash:
    crashes = PreparedCrashes(archive, world.config, world.progress, stack)
    info = archive.read(crash_id)
    dump = crashes.file_of(info)
    if dump is None:
        is_away = info.best_file is not None and info.best_file.is_moved
        hint = fetched_by(info) if is_away else None
        raise NotArchived(f"the crash {crash_id} has no dump on this machine", hint=hint)
    return crashes.of(info, dump, for_debugger=analyzer.kind is AnalyzerKind.PYTHON)


def _session(crash: PreparedCrash, analyzer: Analyzer, world: World) -> tuple[int, Said]:
    """The shell's exit status, and what was said in it."""
    progress = world.progress
    progress.say(f"debugging {crash.id}")
    progress.say("what is known of it is in $CAS_INFO, the dump in $CAS_DUMP")
    progress.say(f'the analyzer "{analyzer.name}" is in $CAS_ANALYZER; cas_analyze runs it')
    progress.say("what is changed of it is stored when the shell ends with exit status 0")
    sandbox, _ = find_sandbox(world.config.supervision.sandbox)
    editors = {name: world.environment[name] for name in _PASSED_ON if name in world.environment}
    screen = Screen()
    window = Window(screen.size, world.environment.get("TERM", ""))
    with scratch() as room, SayingPipe() as pipe:
        rules, environment = world.config.supervision, {**window.environment, **editors}
        confinement = Confinement(room, rules, environment, sandbox)
        modules = usable_modules(world.config.glide, world.progress.warn)
        session = shell_session(crash, analyzer, confinement, modules, pipe.theirs)
        words, view = session.words, session.view
        with LocalTerminal(words, session.confinement, view, window.size) as terminal:
            pipe.close_theirs()
            status = Relay(terminal, screen).relay()
        return status, pipe.said()


def _record(
    said: Said, crash: PreparedCrash, analyzer: Analyzer, archive: Archive, world: World
) -> None:
    """Record what was said of the crash; what is of no use is told."""
    for wrong in said.wrong:
        world.progress.warn(one_line(wrong))
    if said.changes:
        by, at_s = person(world.environment, world.config), int(world.now.timestamp())
        with archive.changing(crash.id) as draft:
            changed = said.applied(draft.info)
            what = f"debug {analyzer.called}: {said.words}"
            draft.info = changed.noting(what, by, at_s)
