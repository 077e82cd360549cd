"""What people type at ``cas`` that is no command of it, and what they mean by it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from cas.commands.mistakes import Habits, Line, fill_in, shell_command
from cas.commands.verb import ADMIN_VERBS, VERBS, verb_names
from cas.errors import UsageError
from cas.files.whole import is_file, is_there
from cas.jobs.work_directory import STATE, is_stamp, is_ticket
from cas.text import count

ANALYSE = "cas -i TICKET -f FILE"
MANY = 5
"""Files that a proposed command may name."""
ADMIN_OPTIONS = ("-b", "--build", "-p", "--purge", "-s", "--server", "--watch", "-d", "--days")
JOBS = (
    "what was analysed: cas jobs, cas ls; a job's report: cas show TICKET; how many jobs wait or "
    "failed: cas-admin status"
)
_TO_ANALYSE = f"to analyse a dump: {ANALYSE}"
_MEANT = {
    **dict.fromkeys(("list", "tickets", "results"), JOBS),
    "analyse": f"{_TO_ANALYSE}; to run an analyzer on crashes: cas analyze SPEC ANALYZER",
    **dict.fromkeys(("submit", "run", "add", "new", "start", "triage"), _TO_ANALYSE),
    **dict.fromkeys(
        ("continue", "retry", "go", "restart", "resume"),
        "to go on with a ticket's job: cas -i TICKET; with all of them: cas-admin resume",
    ),
    **dict.fromkeys(
        ("crash", "gdb", "drgn", "bt", "open", "shell"),
        "to open a debugger on a ticket's dump: cas debug TICKET",
    ),
    **dict.fromkeys(("file", "inspect"), "to look at a dump: cas identify FILE"),
    **dict.fromkeys(("rm", "remove", "delete"), "old jobs are removed by: cas-admin -p"),
    "init": "nothing is to be set up: the archive begins with the first dump; cas upload FILE",
    "version": "cas --version",
    "config": "the settings are in /etc/cas.conf, or where CAS_CONF or --config says: cas.conf(5)",
}


def not_asked(files: Sequence[str]) -> UsageError:
    """What to say to somebody who names no ticket.

    :param files: what stands behind ``-f``
    """
    if files:
        right = shell_command("cas", ["-i", "TICKET", *_each(files)], ANALYSE)
        look = shell_command("cas", ["identify", files[0]])
        return UsageError(
            "-i is needed: the ticket that the results belong to",
            hint=f"{right}; without one, to look at the dump only: {look}",
        )
    return UsageError("nothing was asked for", hint=HABITS.beginning)


def no_ticket(text: str) -> None:
    """Make sure that it is not something else than a ticket that stands behind ``-i``.

    :raises UsageError: a file, a job or its directory
    """
    if text != text.strip():
        words = text.split()
        raise UsageError(
            f"'-i {text.strip()}' is one word, because of its quotes",
            hint=shell_command("cas", ["-i", *words]),
        )
    if "://" in text:
        raise UsageError("-i takes the ticket; a URL is given with -f", hint="cas -i TICKET -f URL")
    path = Path(text)
    if is_file(path / STATE):
        ticket = path.resolve().parent.name
        raise UsageError(
            f"-i takes the ticket, and {text} is a job's directory",
            hint=f"to go on with the ticket's unfinished job: cas -i {ticket}",
        )
    ticket, slash, stamp = text.partition("/")
    if slash and is_ticket(ticket) and is_stamp(stamp):
        raise UsageError(
            f"-i takes the ticket alone, and {text} is one of its jobs",
            hint=f"to go on with the unfinished one: cas -i {ticket}; to debug that one: "
            f"cas debug {text}",
        )
    if is_file(Path(text)):
        right = shell_command("cas", ["-i", "TICKET", "-f", text])
        raise UsageError(f"-i takes the ticket, and {text} is a file", hint=right)


def _meant_by_word(line: Line) -> tuple[str, str] | None:
    """What a word means that is no verb: a dump without -f, a ticket without -i."""
    # the tickets, the files, and the words that belong to no option
    tickets, files = list[str](), list[str]()
    words = [line.argv[at] for at in line.bare]
    for at, word in enumerate(line.argv):
        for short, long, values in (("-i", "--identifier", tickets), ("-f", "--file", files)):
            if word in (short, long) and at + 1 < len(line.argv):
                values.append(line.argv[at + 1])
            elif word.startswith(f"{long}="):
                values.append(word.partition("=")[2])
            elif word.startswith(short) and len(word) > len(short):
                values.append(word[len(short) :])
    if tickets and words and not files:
        if words[0] in verb_names(VERBS):
            return None
        if not _is_path(words[0]) and "://" not in words[0]:
            return None
        return f"{words[0]} needs -f before it", shell_command(
            "cas", ["-i", tickets[0], *_each(words)], ANALYSE
        )
    if tickets and words:
        return _beside_f(tickets[0], files, words)
    word = words[0] if words else ""
    if _is_path(word):
        analyse = shell_command("cas", ["-i", "TICKET", *_each(words)], ANALYSE)
        look = shell_command("cas", ["identify", word])
        return f"{word} is no verb, but there is such a file", f"{analyse}, or: {look}"
    if "://" in word:
        return "a URL is given with -f", shell_command("cas", ["-i", "TICKET", "-f", word], ANALYSE)
    if is_ticket(word) and re.search(r"\d", word):
        files = [*files, *words[1:]]
        if files and all("://" in each or _is_path(each) for each in files):
            right = shell_command("cas", ["-i", word, *_each(files)], ANALYSE)
            return f"{word} is no verb; a ticket needs -i before it", right
        return f"{word} is no verb", fill_in(
            f"if it is a ticket: cas -i TICKET goes on with its job, cas debug TICKET opens its "
            f"dump, {ANALYSE} analyses a dump",
            [word],
        )
    return None


def _beside_f(ticket: str, files: Sequence[str], words: Sequence[str]) -> tuple[str, str]:
    joined = " ".join((files[-1], *words))
    if _is_path(joined):
        right = shell_command("cas", ["-i", ticket, *_each([*files[:-1], joined])], ANALYSE)
        return f"the blank in {joined} makes several words of it", right
    each = [*files, *words]
    one = shell_command("cas", ["-i", ticket, "-f", files[-1]])
    if len(each) > MANY:
        return f"{count(len(each), 'file')} for one -f", f"name one: {one}"
    parts = shell_command("cas", ["-i", ticket, *_each(each)])
    said = f"{count(len(words), 'word')} too many behind -f {files[-1]}: {', '.join(words)}"
    return said, f"for the parts of one split dump: {parts}; for one dump: {one}"


def _each(paths: Sequence[str]) -> list[str]:
    return [word for path in paths[:MANY] for word in ("-f", path)]


def _is_path(word: str) -> bool:
    return bool(word) and is_there(Path(word))


HABITS = Habits(
    "cas",
    VERBS,
    f"{_TO_ANALYSE}; to look at one: cas identify FILE; all of it: cas --help",
    _MEANT,
    "cas-admin",
    verb_names(ADMIN_VERBS),
    ADMIN_OPTIONS,
    _meant_by_word,
)
