"""Snippets: files of debugger commands, one topic each, rendered for one dump.

A snippet's file name is the name of its result file. A plain file holds crash commands as a Jinja2
template; an executable file is run and what it prints are the commands. Leading comment lines may
carry a title and say when the snippet applies::

    # title: Netfilter connections
    # arch: x86_64 aarch64
    # module: nf_conntrack
    struct netns_ct init_net.ct
    # needs: symbol=nf_conntrack_htable_size
    p nf_conntrack_htable_size

What a command needs of the kernel (:mod:`cas.snippets.needs`) stands above it; above the first
command, in the header, it goes for all.

The file ``prelude`` of every directory is no snippet: its commands come first in every session of
crash, whatever runs there.

Snippets have the debugger's full power, a shell included: the administrator owns them. What a dump
says about itself is not trusted with that power, so only well-formed names reach a template.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path

from cas.errors import CasError, EngineError
from cas.files.whole import is_there
from cas.frozen import dataclass
from cas.jobs.layout import is_own
from cas.model.snippet import Need, Snippet
from cas.snippets import needs
from cas.supervise import Confinement, run_program
from cas.units import human_size

MAX_BYTES = 1 << 20
"""Of a snippet file, and of the commands that an executable one prints."""
MAX_LINE_BYTES = 1000
"""crash 8.0.2 takes what stands behind byte 1493 of a line as a command of its own (measured)."""
PROGRAM_TIMEOUT_S = 30.0

PRELUDE = "prelude"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_BACKUP = re.compile(
    r"[.#].*|.*~|.*\.(bak|orig|rej|swp|rpmsave|rpmnew|rpmorig|dpkg-.*|ucf-.*)", re.DOTALL
)
_HEADER = re.compile(r"#\s*(title|arch|module)\s*:\s*(.*)", re.IGNORECASE)
_NEEDS = re.compile(r"#\s*needs\s*:\s*(.*)", re.IGNORECASE)
_REDIRECT = re.compile(r"(?P<command>.*?)(?:\s*>>|\s>)\s*(?P<target>[^\s'\"|()<>]+)")
_RELEASE = re.compile(r"[A-Za-z0-9._+~-]{1,64}")
_KMOD = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_ENDING = frozenset({"exit", "quit", "q"})
_TASK_COMMANDS = frozenset({"ps", "foreach", "task", "sig", "waitq", "fuser"})


class SnippetError(CasError):
    """A snippet file cannot be turned into commands."""

    hint = "correct the snippet, or put an empty file of its name into the site's directory"


@dataclass(frozen=True, slots=True)
class Facts:
    """What snippets may depend on."""

    arch: str
    release: str | None
    kmods: Sequence[str] = ()
    size_bytes: int = 0
    """Of the dump."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """A snippet that gave no commands; its section is ``failed``."""

    name: str
    title: str
    reason: str
    file: Path


@dataclass(frozen=True, slots=True)
class Loaded:
    """The snippets for one dump, each list in name order."""

    snippets: tuple[Snippet, ...]
    unusable: tuple[Unusable, ...] = ()
    remarks: tuple[str, ...] = ()
    """What was skipped or read differently, and why: for the job's log."""
    prelude: tuple[str, ...] = ()
    """Commands before all others in crash, those of the first directory first."""


@dataclass(frozen=True, slots=True)
class _Command:
    text: str
    needs: tuple[Need, ...]
    file: Path


@dataclass(slots=True)
class _Loading:
    commands: dict[str, list[_Command]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    unusable: list[Unusable] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def load(directories: Iterable[Path], facts: Facts, confinement: Confinement) -> Loaded:
    """The snippets that apply to a dump, rendered for it.

    :param directories: a file in a later one replaces the one of its name in an earlier one
    :param confinement: where executable snippets run
    """
    loading = _Loading()
    directories = tuple(directories)
    before = load_prelude(directories, facts, confinement)
    for path in _snippet_files(directories, loading.remarks):
        _add_snippet(path, facts, confinement, loading)
    snippets = tuple(
        Snippet(
            name,
            loading.titles.get(name, name),
            tuple(command.text for command in commands),
            tuple(each.needs for each in commands) if any(each.needs for each in commands) else (),
            tuple(dict.fromkeys(command.file for command in commands)),
        )
        for name, commands in sorted(loading.commands.items())
    )
    return Loaded(
        snippets,
        (
            *before.unusable,
            *(broken for broken in loading.unusable if broken.name not in loading.commands),
        ),
        (*before.remarks, *loading.remarks),
        before.prelude,
    )


def load_prelude(directories: Iterable[Path], facts: Facts, confinement: Confinement) -> Loaded:
    """The commands before all others, and nothing else.

    :param directories: each may have a prelude; none replaces another
    :param confinement: where executable ones run
    """
    commands: list[str] = []
    unusable: list[Unusable] = []
    remarks: list[str] = []
    for path in (directory / PRELUDE for directory in directories):
        if not is_there(path):
            continue
        if reason := _why_not(path):
            remarks.append(f"{path} skipped: {reason}")
            continue
        try:
            data = _read_limited(path)
            if reason := _why_not_for(_header(data.decode("utf-8", "replace")), facts):
                remarks.append(f"{path} skipped: {reason}")
                continue
            commands += [
                line for line, _ in _commands(_command_text(path, data, facts, confinement))
            ]
        except CasError as error:
            unusable.append(Unusable(PRELUDE, "Prelude", str(error), path))
    return Loaded((), tuple(unusable), tuple(remarks), tuple(commands))


def fitting(snippet: Snippet, is_met: Callable[[Need], bool]) -> tuple[Snippet, Mapping[int, str]]:
    """A snippet without the commands that a kernel has nothing for.

    :return: and why each of these is left out, by its position
    """
    why = {
        number: needs.unmet(lacking)
        for number, wanted in enumerate(snippet.needs)
        if (lacking := [need for need in wanted if not is_met(need)])
    }
    commands = (text for number, text in enumerate(snippet.commands) if number not in why)
    return replace(snippet, commands=tuple(commands), needs=()), why


def outside(directory: Path, loaded: Loaded) -> frozenset[str]:
    """Names of the snippets of which a file lies elsewhere than in a directory."""
    places = [(each.name, each.files) for each in loaded.snippets]
    places += [(each.name, (each.file,)) for each in loaded.unusable]
    return frozenset(
        name for name, files in places if any(file.parent != directory for file in files)
    )


def walks_tasks(snippet: Snippet) -> bool:
    """Whether its answer is wrong where the debugger does not find every task.

    crash 8.0.2 finds only the active tasks of kernels whose ``struct pid`` ends in a flexible array
    (Linux 6.5, also 6.1.192): it reads too little of each to see the first of ``numbers``. At its
    start it then warns of an active task that is "not found in PID hash".
    """
    return any(command.split(maxsplit=1)[0] in _TASK_COMMANDS for command in snippet.commands)


def _snippet_files(directories: Iterable[Path], remarks: list[str]) -> list[Path]:
    chosen: dict[str, Path] = {}
    for directory in directories:
        try:
            found = sorted(directory.iterdir())
        except OSError as error:
            remarks.append(f"snippet directory {directory} skipped: {error.strerror}")
            continue
        for path in found:
            if path.name == PRELUDE:
                continue
            if reason := _why_not(path):
                remarks.append(f"snippet {path.name!a} in {directory} skipped: {reason}")
            else:
                chosen[path.name] = path
    return [chosen[name] for name in sorted(chosen)]


def _why_not(path: Path) -> str | None:
    if _BACKUP.fullmatch(path.name):
        return "a hidden or backup file"
    if reason := _why_no_target(path.name):
        return reason
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return str(error.strerror)
    if not stat.S_ISREG(mode):
        return "not a regular file"
    return "everybody may change it" if mode & stat.S_IWOTH else None


def _why_no_target(name: str) -> str | None:
    if not _NAME.fullmatch(name):
        return "its name has other characters than letters, digits, dots, dashes and underscores"
    if is_own(name):
        return "the job directory has another file of this name"
    return None


def _add_snippet(path: Path, facts: Facts, confinement: Confinement, loading: _Loading) -> None:
    name = title = path.name
    try:
        data = _read_limited(path)
        text = data.decode("utf-8", "replace")
        header = _header(text)
        above = filter(None, map(_NEEDS.fullmatch, _head_lines(text)))
        needed = tuple(need for line in above for need in needs.parse(line[1]))
        title = loading.titles[name] = header.get("title", name)
        if reason := _why_not_for(header, facts):
            loading.remarks.append(f"snippet {name} skipped: {reason}")
            return
        lines = _commands(_command_text(path, data, facts, confinement))
        if not lines:
            loading.remarks.append(f"snippet {name} skipped: it has no commands for this dump")
        for line, wanted in lines:
            target, command = _unredirected(line, name, loading.remarks)
            each = _Command(command, tuple(dict.fromkeys((*needed, *wanted))), path)
            loading.commands.setdefault(target, []).append(each)
    except CasError as error:
        loading.unusable.append(Unusable(name, title, str(error), path))


def _read_limited(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SnippetError(f"cannot read {path}: {error.strerror}") from error
    # an executable may be a compiled program: only what it prints is limited
    if len(data) > MAX_BYTES and not _is_executable(path):
        raise SnippetError(f"{path} is larger than {human_size(MAX_BYTES)}")
    return data


def _is_executable(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o111)


def _header(text: str) -> dict[str, str]:
    header: dict[str, str] = {}
    for line in _head_lines(text):
        if found := _HEADER.fullmatch(line):
            header.setdefault(found[1].lower(), found[2])
    return header


def _head_lines(text: str) -> Iterator[str]:
    """The lines before the first command."""
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            return
        yield line.rstrip()


def _why_not_for(header: Mapping[str, str], facts: Facts) -> str | None:
    arches = header.get("arch", facts.arch).split()
    if facts.arch not in arches:
        return f"it is for {', '.join(arches)}"
    wanted = header.get("module", "").split()
    loaded = {kmod.replace("-", "_") for kmod in facts.kmods}
    if wanted and not any(kmod.replace("-", "_") in loaded for kmod in wanted):
        return f"module {' or '.join(wanted)} was not loaded"
    return None


def _command_text(path: Path, data: bytes, facts: Facts, confinement: Confinement) -> str:
    if _is_executable(path):
        return _decoded_utf8(path, _printed_by(path, facts, confinement))
    if data.startswith(b"#!"):
        raise SnippetError(f"{path} is a program, but not executable")
    text = _decoded_utf8(path, data)
    if "{{" not in text and "{%" not in text and "{#" not in text:
        return text
    # only snippets that are templates cost the import of Jinja2
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    modules = sorted({kmod for kmod in facts.kmods if _KMOD.fullmatch(kmod)})
    variables: dict[str, object] = {
        "arch": facts.arch,
        "modules": modules,
        "size": facts.size_bytes,
    }
    if facts.release and _RELEASE.fullmatch(facts.release):
        variables |= {"kernel": facts.release, "release": facts.release}

    environment = SandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True)
    try:
        return environment.from_string(text).render(variables)
    except Exception as error:  # a template can fail in as many ways as a program
        reason = str(error) or type(error).__name__
        raise SnippetError(f"{path}, as a template: {reason}") from error


def _decoded_utf8(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SnippetError(f"the commands of {path} are not UTF-8 text") from error


def _printed_by(path: Path, facts: Facts, confinement: Confinement) -> bytes:
    release = facts.release or ""
    environment = {
        "CAS_ARCH": facts.arch,
        "CAS_KERNEL": release if _RELEASE.fullmatch(release) else "",
        "CAS_SIZE": str(facts.size_bytes),
    }
    try:
        finished = run_program(
            [path.absolute()],
            replace(confinement, environment=environment),
            timeout_s=PROGRAM_TIMEOUT_S,
            max_bytes=MAX_BYTES,
        )
    except EngineError as error:
        raise SnippetError(str(error)) from error
    if finished.status != 0 or finished.timed_out or finished.cut:
        raise SnippetError(f"{path}: {finished.reason}")
    return finished.stdout


def _commands(text: str) -> list[tuple[str, tuple[Need, ...]]]:
    """Each command, and what the lines above it say that it needs."""
    commands = []
    needed: tuple[Need, ...] = ()
    for line in map(str.strip, text.replace("\r\n", "\n").split("\n")):
        if found := _NEEDS.fullmatch(line):
            needed += needs.parse(found[1])
        if not line or line.startswith("#") or line in _ENDING:
            continue
        if _CONTROL.search(line):
            raise SnippetError(f"a control character stands in the command {line[:80]!a}")
        if len(line.encode()) > MAX_LINE_BYTES:
            raise SnippetError(f"a command is longer than {MAX_LINE_BYTES} bytes: {line[:60]!a}…")
        commands.append((line, needed))
        needed = ()
    return commands


def _unredirected(line: str, name: str, remarks: list[str]) -> tuple[str, str]:
    """Where a command's output belongs, and the command without its own redirection.

    The original's snippets said it themselves: ``bt >> traceback``.
    """
    found = _REDIRECT.fullmatch(line)
    if not found or line.startswith("!"):
        return name, line
    if not found["command"]:
        raise SnippetError(f"there is no command in {line[:80]!a}")
    target = found["target"]
    if _why_no_target(target):
        remarks.append(f"snippet {name}: the output of {line[:80]!a} goes to {name}")
        target = name
    return target, found["command"]
