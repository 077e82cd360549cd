"""What people type at ``cas-admin`` that is no command of it, and what they mean by it."""

from __future__ import annotations

from cas.commands import command_line
from cas.commands.habits import JOBS
from cas.commands.mistakes import Habits, Line, parser_options, shell_command
from cas.commands.verb import ADMIN_VERBS, VERBS, verb_names
from cas.jobs.work_directory import is_ticket

LISTS = (
    "the kernels: cas-admin kernels; the extracted ones: cas-admin cache list; the hosts: "
    "cas-admin host list; what waits or went wrong: cas-admin status"
)
BUILD = "new packages are catalogued by: cas-admin -b"
_MEANT = {
    **dict.fromkeys(("list", "ls", "show"), LISTS),
    **dict.fromkeys(("hosts", "servers", "server"), "cas-admin host list"),
    **dict.fromkeys(("packages", "catalog", "catalogue", "kernel"), "cas-admin kernels"),
    **dict.fromkeys(("rebuild", "update", "scan", "reindex", "import"), BUILD),
    **dict.fromkeys(("add", "register"), "to register an analysis host: cas-admin host add HOST"),
    **dict.fromkeys(("mail", "mails", "send", "retry"), "cas-admin resume"),
    **dict.fromkeys(("clean", "trim"), "cas-admin cache clean"),
    **dict.fromkeys(("jobs", "tickets"), JOBS),
    **dict.fromkeys(("rm", "delete"), "old jobs are removed by: cas-admin -p -d DAYS"),
    **{verb: f"cas-admin host {verb} HOST" for verb in ("remove", "enable", "disable")},
    "verify": "of the extracted kernels: cas-admin cache verify; of everything: cas-admin check",
    "watch": "cas-admin -b --watch",
    "version": "cas-admin --version",
}


def _meant_by_word_for_admin(line: Line) -> tuple[str, str] | None:
    word, flags = line.argv[line.bare[0]], {*line.argv}
    if flags & {"-p", "--purge"} and word.isdigit():
        right = ["-p", "-d", word]
        return f"the age of what is purged stands behind -d, not alone: {word}", shell_command(
            "cas-admin", right
        )
    if flags & {"-b", "--build"}:
        return (
            f"-b takes no place or package: {word}",
            "packages are sought below `kernels` of cas.conf: cas-admin -b",
        )
    if flags & {"-s", "--server"}:
        return f"-s takes no host: {word}", shell_command("cas-admin", ["host", "add", word])
    if is_ticket(word) and any(letter.isdigit() for letter in word):
        return f"{word} is no verb", f"to go on with a ticket: cas -i {word}"
    return None


HABITS = Habits(
    "cas-admin",
    ADMIN_VERBS,
    "new packages: cas-admin -b; how things are: cas-admin status; all of it: cas-admin --help",
    _MEANT,
    "cas",
    verb_names(VERBS),
    tuple(parser_options(command_line.parser())),
    _meant_by_word_for_admin,
)
