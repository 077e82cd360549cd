"""A shell in which somebody works on an analyzer: on one crash, confined as the analyzer itself."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace

from cas.analyzers.analyzer import Analyzer
from cas.analyzers.prepared import PreparedCrash
from cas.analyzers.shell import ShellPlaces, find_shell
from cas.choices import AnalyzerKind
from cas.engines.drgn.analyzing import AnalyzerCall, python_program
from cas.engines.drgn.glide import GlideModule
from cas.errors import EngineError
from cas.files.whole import put
from cas.frozen import dataclass
from cas.supervise import FILES, Confinement, VisibleFiles

_RC = """\
. "$CAS_FUNCTIONS"
cp "$CAS_STORED" "$CAS_ANALYZER"
cas_analyze() {{
    {run}
}}
thoth_analyze() {{ cas_analyze; }}
cas_leave_() {{
    if [ "$1" -eq 0 ]; then
        {{ printf 'text\\0'; cat "$CAS_ANALYZER"; printf '\\0'; }} >"$CAS_PIPE"
    fi
}}
trap 'cas_leave_ $?' EXIT
PS1='{prompt}> '
"""
_SHORT = 8


@dataclass(frozen=True, slots=True)
class ShellSession:
    """How the shell is started."""

    words: Sequence[str | os.PathLike[str]]
    confinement: Confinement
    view: VisibleFiles


def shell_session(
    crash: PreparedCrash,
    analyzer: Analyzer,
    confinement: Confinement,
    modules: tuple[GlideModule, ...],
    pipe: int,
) -> ShellSession:
    """A shell with the analyzer in ``$CAS_ANALYZER``, which ``cas_analyze`` runs.

    When it ends with status 0, it says what the analyzer's text is by then.

    :param confinement: where it runs; its directory is empty, and of its own
    :param modules: of the deep trace
    :param pipe: descriptor of the pipe for what is said
    :raises EngineError: there is no shell, or nothing that opens the dump for Python
    """
    room = confinement.directory
    places = ShellPlaces.prepare(room, crash, analyzer, confinement, None)
    files, run = dict(places.files), '( . "$CAS_ANALYZER" )'
    if analyzer.kind is AnalyzerKind.PYTHON:
        if crash.case is None:
            raise EngineError(crash.why_no_case)
        call = AnalyzerCall(analyzer.text, crash.shown, modules, pipe)
        words, _, view = python_program(call, crash.case, confinement)
        files = {**view.files, **files}
        seen = {os.fspath(path): place for path, place in files.items()}
        named = [os.fspath(word) for word in words]
        if confinement.sandbox:
            named = [seen.get(word, word) for word in named]
        stored = places.place(room / "analyzer")
        run = " ".join('"$CAS_ANALYZER"' if w == stored else shlex.quote(w) for w in named)
    rc = room / "rc"
    put(rc, _RC.format(run=run, prompt=f"{analyzer.name} {crash.id[:_SHORT]}").encode())
    files[rc] = f"{FILES}/rc"
    if confinement.sandbox is None:
        (room / "tmp").mkdir()
    facts = places.variables(pipe)
    own_text = f"{facts['CAS_TMPDIR']}/{analyzer.name}"
    variables = {
        **confinement.environment,
        **facts,
        "CAS_STORED": places.place(room / "analyzer"),
        "CAS_ANALYZER": own_text,
        "THOTH_ANALYZER": own_text,
        "ENV": f"{FILES}/rc" if confinement.sandbox else str(rc),  # for a shell that is not bash
    }
    shell = find_shell()
    words = [shell, "--rcfile", rc, "-i"] if shell.name == "bash" else [shell, "-i"]
    return ShellSession(
        words, replace(confinement, environment=variables), VisibleFiles(files, (pipe,))
    )
