"""crash's commands as drgn has them, and as we add or mend them for a first look at a dump.

drgn's ``foreach`` knows other names of the task states and ends at the first task that cannot be
read; its ``ps -m`` needs a kernel with scheduler statistics; some commands it has not at all.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from drgn import Object, PlatformFlags, Program, RelocatableModule, Symbol
from drgn.commands import CommandError, _redirect_and_pipe, parse_shell_command
from drgn.commands._crash import _fs
from drgn.commands._crash.common import CRASH_COMMAND_NAMESPACE, _get_pager, crash_command
from drgn.helpers.common.format import double_quote_ascii_string, number_in_binary_units
from drgn.helpers.linux.cpumask import for_each_online_cpu, num_online_cpus, num_present_cpus
from drgn.helpers.linux.fs import for_each_file
from drgn.helpers.linux.kthread import task_is_kthread
from drgn.helpers.linux.mm import totalram_pages
from drgn.helpers.linux.panic import tainted
from drgn.helpers.linux.pid import for_each_task
from drgn.helpers.linux.sched import (
    cpu_rq,
    task_cpu,
    task_on_cpu,
    task_rq,
    task_state_to_char,
    thread_group_leader,
)

from cas.engines.drgn.child import (
    dis,  # noqa: F401  adds `dis`
    memory,  # noqa: F401  mends what shows the memory
)

Command = Callable[[Program, Sequence[str]], None]
Condition = Callable[[Object], bool]

MAX_TEXT_BYTES = 256
_PLACE = re.compile(r"([A-Za-z_$][\w.$]*)\+(0x[0-9a-fA-F]+|\d+)(?:/(0x[0-9a-fA-F]+))?")
"""Code as a kernel log names it."""

STATES: Mapping[str, str] = {
    "DE": "X",
    "ID": "I",
    "IN": "S",
    "PA": "P",
    "RU": "R",
    "ST": "T",
    "TR": "t",
    "UN": "D",
    "ZO": "Z",
}
"""crash's names of the task states, and the kernel's letters that drgn uses."""

CONDITIONS: Mapping[str, Condition] = {
    "active": task_on_cpu,
    "gleader": lambda task: thread_group_leader(task) and not task_is_kthread(task),
    "kernel": task_is_kthread,
    "user": lambda task: not task_is_kthread(task),
}
"""Words that select the tasks of ``foreach``."""

FOREACH = frozenset({"bt", "files", "ps", "set", "sig", "task", "vm", "vtop"})
"""What ``foreach`` can do with a task."""
TABLES = frozenset({"ps", "set"})
"""What ``foreach`` does with all tasks at once."""


class Refused(Exception):
    """The command asks for what does not run here."""


class CannotRead(Exception):
    """Part of what was asked for is not in the dump, or damaged."""


def installed_files(task: Object) -> Iterator[tuple[int, Object]]:
    """The open files of a task, without descriptors that wait for their file, as in accept()."""
    return ((number, file) for number, file in for_each_file(task) if file)


# drgn 0.3.0 reads the file that is not there, and gives up on the task.
_fs.for_each_file = installed_files  # type: ignore[attr-defined]


def run_command_of_crash(prog: Program, command: str) -> None:
    """Run a command of crash's.

    :raises Exception: whatever drgn, or the dump, has to say against it
    """
    words = command.split()
    own = _command_of_ours(words)
    if own is None:
        run_in_drgn(prog, command)
    else:
        own(prog, words)


def run_with_shell(
    prog: Program,
    command: str,
    variables: dict[str, Any],
    first: Mapping[str, Command] | None = None,
) -> None:
    """The same for a user, who may send its output through a pipe or into a file.

    On a terminal it goes through a pager.

    :param variables: what Python knows there
    :param first: commands in the place of others of the name
    :raises Exception: whatever drgn, or the dump, has to say against it
    """
    words = command.split()
    first = first or {}
    if words and words[0] in {*first, *FIRST_WORDS, *(each.split()[0] for each in OWN)}:
        parsed = parse_shell_command(command)
        own = first.get(words[0]) or _command_of_ours(parsed.args)
        if own is not None:
            is_redirected = any(each.fd == 1 for each in parsed.redirections)
            pager = _get_pager(prog) if sys.stdout.isatty() and not is_redirected else None
            with _redirect_and_pipe(parsed.redirections, parsed.pipeline or pager):
                own(prog, parsed.args)
            return
    CRASH_COMMAND_NAMESPACE.run(prog, command, globals=variables)


def _command_of_ours(words: Sequence[str]) -> Command | None:
    return OWN.get(" ".join(words)) or (FIRST_WORDS.get(words[0]) if words else None)


def names(prog: Program) -> frozenset[str]:
    """The first words of all commands."""
    own = (each.split()[0] for each in OWN)
    return frozenset({*own, *(name for name, _ in CRASH_COMMAND_NAMESPACE.enabled(prog))})


def run_in_drgn(prog: Program, command: str) -> None:
    """As drgn itself does it, but without a shell, a redirection or a pager.

    :raises Refused: the command asks for one
    """
    if command.lstrip().startswith("!"):
        raise Refused("no shell runs here: pipes and shell commands are refused")
    variables: dict[str, Any] = {"globals": {"prog": prog}}
    name, words, found, _ = CRASH_COMMAND_NAMESPACE._resolve(prog, command, variables)
    parsed = found.parse(words)
    if parsed.pipeline is not None:
        raise Refused("no shell runs here: pipes and shell commands are refused")
    if parsed.redirections:
        raise Refused("redirections are refused: the snippet's name says where its output goes")
    found.run(prog, name, parsed.args, **variables)


def run_for_each(prog: Program, words: Sequence[str]) -> None:
    """``foreach`` task by task, so that one that cannot be read does not end it.

    :raises CannotRead: some tasks could not be shown
    """
    at = next((i for i, word in enumerate(words) if word in FOREACH), len(words))
    chosen = [STATES.get(word, word) for word in words[1:at]]
    action = " ".join(words[at:])
    by_name = not all(word in CONDITIONS or word in STATES.values() for word in chosen)
    if action == "ps -m" and not by_name:
        return _print_waits(prog, _select(prog, chosen))
    if by_name or not TABLES.isdisjoint(words):
        return run_in_drgn(prog, " ".join(["foreach", *chosen, action]))
    failed = 0
    last: Exception | None = None
    for number, task in enumerate(_select(prog, chosen)):
        print("\n" if number else "", end="")
        try:
            run_in_drgn(task.prog_, f"foreach {task.value_():x} {action}")
        except (CommandError, Refused):
            raise
        except Exception as error:
            failed, last = failed + 1, error
            print(f"PID {task.pid.value_()}: {error}")
    if failed:
        raise CannotRead(f"{failed} of {number + 1} tasks could not be shown whole") from last


def show_waits(prog: Program, _: Sequence[str]) -> None:
    """How long ago each task last ran (``ps -m``)."""
    _print_waits(prog, for_each_task(prog, idle=True))


def show_backtraces(prog: Program, words: Sequence[str]) -> None:
    """``bt`` without the options that only change how symbols look."""
    kept = [word for word in words if word not in ("-s", "-x", "-sx", "-xs")]
    run_in_drgn(prog, " ".join(kept))


def show_dmi(prog: Program, _: Sequence[str]) -> None:
    """What firmware and machine say about themselves (``sys -i``)."""
    for name, value in prog.type("enum dmi_field").enumerators or ():
        if name == "DMI_STRING_MAX":
            break
        pointer = prog["dmi_ident"][value]
        if pointer:
            data: bytes = prog.read(pointer.value_(), MAX_TEXT_BYTES)
            text = data.partition(b"\0")[0].decode("utf-8", "replace")
            print(f"{name:>20}: {text}")


def show_taint(prog: Program, _: Sequence[str]) -> None:
    """The taint mask and its letters (``sys -t``)."""
    letters = tainted(prog).replace(" ", "")
    print(f"TAINTED_MASK: {prog['tainted_mask'].value_():x}  {letters}".rstrip())


@crash_command(name="mach", description="show the machine that crashed")
def _crash_cmd_mach(prog: Program, name: str, args: argparse.Namespace, **_: Any) -> None:
    is_little = prog.platform and PlatformFlags.IS_LITTLE_ENDIAN in prog.platform.flags
    machine: bytes = prog["init_uts_ns"].name.machine.string_()
    rows = {
        "MACHINE TYPE": machine.decode("utf-8", "replace"),
        "MEMORY SIZE": number_in_binary_units(totalram_pages(prog) * prog["PAGE_SIZE"]),
        "CPUS": f"{num_present_cpus(prog)} (online: {num_online_cpus(prog)})",
        "PAGE SIZE": int(prog["PAGE_SIZE"]),
        "KERNEL STACK SIZE": int(prog["THREAD_SIZE"]),
        "BYTE ORDER": "little" if is_little else "big",
    }
    for what, value in rows.items():
        print(f"{what:>20}: {value}")


def _select(prog: Program, chosen: Sequence[str]) -> Iterator[Object]:
    states = [word for word in chosen if word not in CONDITIONS]
    conditions = [CONDITIONS[word] for word in chosen if word in CONDITIONS]
    for task in for_each_task(prog, idle=True):
        if states and task_state_to_char(task) not in states:
            continue
        if all(condition(task) for condition in conditions):
            yield task


def _print_waits(prog: Program, tasks: Iterable[Object]) -> None:
    """Most recently run first, as crash sorts them."""
    names = {letter: name for name, letter in STATES.items()}
    now_ns = max(cpu_rq(prog, cpu).clock.value_() for cpu in for_each_online_cpu(prog))
    rows: list[tuple[int, Object]] = []
    for task in tasks:
        slept_ns = 0
        if not task_on_cpu(task):
            rq = task_rq(task)
            # the scheduler notes the time when it takes a task off its CPU, by the CPU's clock of
            # running tasks; that of an idle CPU stands still
            ended_ns = rq.clock.value_() - rq.clock_task.value_() + task.se.exec_start.value_()
            slept_ns = max(0, int(now_ns - ended_ns))
        rows.append((slept_ns, task))
    for waited_ns, task in sorted(rows, key=lambda row: row[0]):
        state = task_state_to_char(task)
        waited = timedelta(milliseconds=waited_ns // 1_000_000)
        minutes, seconds = divmod(waited.seconds, 60)
        print(
            f"[{waited.days} {minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
            f".{waited.microseconds // 1000:03}] [{names.get(state, state)}]"
            f"  PID: {task.pid.value_():<7}  TASK: {task.value_():x}  CPU: {task_cpu(task)}"
            f"  COMMAND: {double_quote_ascii_string(task.comm.string_())}"
        )


def show_symbols(prog: Program, words: Sequence[str]) -> None:
    """``sym``, also of a place as the kernel log has it, with the lines that are inlined there.

    :raises CommandError: there is no such function, or it has another size
    """
    places = [found for word in words[1:] if (found := _PLACE.fullmatch(word))]
    if not places:
        return run_in_drgn(prog, " ".join(words))
    for place in places:
        for start in _starts(prog, place[1], place[3]):
            address = start + int(place[2], 0)
            lines = [*prog.source_location(address)]
            texts = [
                f"{each.filename}: {each.line} ({each.name()}, inlined)" for each in lines[:-1]
            ]
            texts += [f"{each.filename}: {each.line}" for each in lines[-1:]]
            print(f"{address:x} {place[1]}+{place[2]}", "\n    ".join(texts))


def _starts(prog: Program, name: str, size: str | None) -> list[int]:
    """Where a function of that name begins; where there are several of that size, each."""
    if not (named := prog.symbols(name)):
        raise CommandError(f"symbol not found: {name}")
    if size is None:
        return [prog.symbol(name).address]
    starts = {each.address for each in named if _may_have(prog, each, int(size, 0))}
    if not starts:
        raise CommandError(f"{name} has another size here than {size}: it is of another build")
    return sorted(starts)


def _may_have(prog: Program, symbol: Symbol, size: int) -> bool:
    """Whether the kernel may say that a function is so large: it counts to the next symbol.

    Behind the last one of a kmod's section that may be anywhere.
    """
    if size <= symbol.size:
        return bool(size == symbol.size)
    with suppress(LookupError):
        if isinstance(prog.module(symbol.address), RelocatableModule):
            return True
    behind = prog.symbols(symbol.address + size - 1)
    return all(each.address <= symbol.address for each in behind)


FIRST_WORDS: Mapping[str, Command] = {
    "bt": show_backtraces,
    "foreach": run_for_each,
    "sym": show_symbols,
}
"""Commands that we see to whatever their options."""

OWN: Mapping[str, Command] = {
    "ps -m": show_waits,
    "sys -i": show_dmi,
    "sys -t": show_taint,
}
"""Commands that drgn lacks, or that need what not every kernel has."""
