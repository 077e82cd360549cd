"""What somebody meant who named a file that is not there, or a directory."""

from __future__ import annotations

import difflib
import glob
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cas.commands.mistakes import shell_command
from cas.errors import CasError, NotADump
from cas.files.whole import is_directory, is_file
from cas.intake import check_upload as check_file
from cas.jobs.job import load_job
from cas.jobs.layout import DUMP
from cas.jobs.reference import lack_of_dump
from cas.jobs.work_directory import STATE

SHOWN = 5
"""Files that are proposed."""
MOST = 1000
"""Files of a directory that are looked at."""
_SCP = re.compile(r"(?P<host>[\w.@-]+):(?P<path>[^:]+)")
_GLOB = re.compile(r"[*?\[]")


def require_dump_file(path: Path, before: Sequence[str]) -> None:
    """Make sure that there is a regular, readable, non-empty file.

    :param before: the words of the right command, up to the file
    :raises NotADump: with the reason, and what was meant as far as that can be told
    """
    try:
        check_file(path)
    except NotADump as error:
        if (meant := _meant_file(path, [*before])) is not None:
            error.hint = meant
        raise


def _meant_file(path: Path, before: list[str]) -> str | None:
    if path == Path("-"):
        return "only a job reads from a pipe: ... | cas -i TICKET -f -"
    if is_directory(path):
        return _in_directory(path, before)
    if os.path.lexists(path):
        return None
    # absolute patterns are none for pathlib
    found = sorted(glob.glob(str(path))) if _GLOB.search(str(path)) else []  # noqa: PTH207
    found = found or _names_alike(path)
    if found:
        some = [shell_command("cas", [*before, name]) for name in found[:SHOWN]]
        return f"did you mean: {', or: '.join(some)}"
    if (remote := _SCP.fullmatch(str(path))) is not None:
        url = f"sftp://{remote['host']}/{remote['path'].lstrip('/')}"
        words = before if before[0] == "-i" else ["-i", "TICKET", "-f"]
        return f"from another machine: {shell_command('cas', [*words, url])}"
    return None


def _in_directory(path: Path, before: list[str]) -> str:
    """The file in a directory that may be the dump."""
    if is_file(path / STATE):
        try:
            job = load_job(path.resolve())
        except CasError as error:
            return error.hint
        said = ["it is a job"]
        if job.is_unfinished:
            said.append(f"to go on with it: cas -i {job.order.ticket}")
        if job.stored is not None and lack_of_dump(job) is None:
            name = f"{job.directory.parent.name}/{job.directory.name}"
            where = job.stored.vmcore if job.stored.reference else path / DUMP
            said += [f"its dump is in {where}", f"to open a debugger on it: cas debug {name}"]
        return "; ".join(said)
    names = _dump_names(path)
    if not names:
        return "name the dump, or an archive that holds it"
    return ", or: ".join(
        shell_command("cas", [*before, str(path / name)]) for name in names[:SHOWN]
    )


def _dump_names(path: Path) -> list[str]:
    """Names of files that are dumps by their first bytes, else all that may be packed ones."""
    from cas.dump import kind_of
    from cas.intake import is_wrapped

    plain, wrapped = list[str](), list[str]()
    with suppress(OSError):
        for name in sorted(os.listdir(path))[:MOST]:  # noqa: PTH208  names only
            file = path / name
            with suppress(OSError):
                if not is_file(file):
                    continue
                with file.open("rb") as opened:
                    is_dump = kind_of(opened.read(8192)) is not None
                if is_dump:
                    plain.append(name)
                elif is_wrapped(file):
                    wrapped.append(name)
    return plain or wrapped


def _names_alike(path: Path) -> list[str]:
    """Files beside it with a name like it."""
    with suppress(OSError):
        names = os.listdir(path.parent)  # noqa: PTH208  names only
        begun = sorted(name for name in names if name.startswith(f"{path.name}."))
        alike = begun or difflib.get_close_matches(path.name, names, n=1, cutoff=0.8)
        return [str(path.parent / name) for name in alike if is_file(path.parent / name)]
    return []
