"""What a host is asked about itself, and the strict reading of what it says.

A host may lie, be broken, or have a login shell that talks. Whatever does not have the form of an
answer is no answer; words of programs there stand behind a blank, so that they pass for no fact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

from cas.frozen import dataclass

PROGRAM_S = 5
"""Seconds for a program to say its version."""
PROGRAMS = 8
"""crash binaries of one host, at most."""
PROGRAM_BYTES = 8 << 10
TOOLS = {
    "awk": "mawk",
    "env": "coreutils",
    "flock": "util-linux",
    "mkfifo": "coreutils",
    "sha256sum": "coreutils",
    "timeout": "coreutils",
}
"""What sessions and copies on a host need, and a package that has it."""
PATH_FORM = r"/[A-Za-z0-9/._+-]{1,254}"
"""How paths of programs look; others are left alone."""
TIMED_OUT = (124, 137)
"""Exit statuses of timeout(1): it sent TERM, it was told to send KILL."""
BEGIN, END = "cas: here begins the answer", "cas: here ends the answer"

_FACTS = r"""
umask 077; LC_ALL=C; export LC_ALL; cd / || exit
echo; echo "$2"
case $1 in "~/"*) dir=$HOME/${1#"~/"} ;; *) dir=$1 ;; esac
echo "cpus $( (nproc || grep -c ^processor /proc/cpuinfo) 2>/dev/null | head -n 1 | head -c 99)"
head -c 4096 /proc/meminfo | grep ^MemAvailable:
echo "load $(head -c 99 /proc/loadavg)"
room() {
    place=$dir
    while [ ! -d "$place" ] && [ "$place" != / ]; do place=$(dirname "$place"); done
    echo "df $(df -Pk "$place" 2>/dev/null | tail -n 1 | head -c 999)"
    echo "blocks $(stat -f -c '%a %S' "$place" 2>/dev/null | head -c 99)"
}
"""

LOAD = (
    _FACTS
    + r"""
room
locks=$(grep FLOCK /proc/locks 2>/dev/null) || locks=
for slot in "$dir"/slots/*; do
    [ -f "$slot" ] || continue
    # who has no lock is not touched: our own try would keep a session from it
    case $locks in *":$(stat -L -c %i "$slot") "*) ;; *) continue ;; esac
    flock -n -s "$slot" true || echo "busy ${slot##*/}"
done
echo "$3"
"""
)
"""``$1``: the directory for copies; ``$2``, ``$3``: how the answer begins and ends."""

INSPECT = (
    _FACTS
    + rf"""
echo "arch $(uname -m | head -n 1 | head -c 99)"
for tool in {" ".join(TOOLS)}; do
    command -v $tool >/dev/null 2>&1 && echo "has-$tool yes"
done
if mkdir -p "$dir" 2>/dev/null; then
    probe=$dir/.cas-probe-$$
    [ -O "$dir" ] || echo "foreign yes"
    (: > "$probe") 2>/dev/null && rm -f "$probe" && echo "writable yes"
fi
room
ask() {{
    echo "$1 $2"
    {{ timeout -s KILL {PROGRAM_S} "$2" "$3" </dev/null 2>&1; printf '\n=%s\n' $?; }} \
        | head -c {PROGRAM_BYTES} | sed 's/^/ /'
    echo
}}
command -v timeout >/dev/null 2>&1 || {{ echo "$3"; exit; }}
end=$3
drgn=$(command -v drgn) && case $drgn in /*) ask drgn "$drgn" --version ;; esac
set -f; IFS=:; list=$PATH:/usr/local/bin:/usr/bin:/opt/crash/bin
set -- $list; set +f; unset IFS
seen=: number=0
for place; do
    case $place in /*) ;; *) continue ;; esac
    for program in "$place"/crash "$place"/crash-* "$place"/crash_*; do
        [ -f "$program" ] && [ -x "$program" ] && [ $number -lt {PROGRAMS} ] || continue
        case $program in *[!A-Za-z0-9/._+-]*) continue ;; esac
        file=$(stat -L -c %d,%i "$program")
        case $seen in *":$file:"*) continue ;; esac
        seen=$seen$file: number=$((number + 1))
        said=$(ask crash "$program" --version)
        printf '%s\n' "$said"
        case $said in *" crash "*) ask build "$program" --buildinfo ;; esac
    done
done
echo "$end"
"""
)
"""Takes the same words as :data:`LOAD`."""


@dataclass(frozen=True, slots=True)
class ProgramAnswer:
    """What a program on a host said about itself."""

    status: int | None = None
    """Its exit status; ``None`` when it said too much."""
    lines: tuple[str, ...] = ()

    def first_match(self, pattern: str) -> str | None:
        """The first group of the first line that matches."""
        matches = (re.fullmatch(pattern, line, re.ASCII) for line in self.lines)
        return next((match[1] for match in matches if match), None)


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """A whole answer."""

    facts: Mapping[str, str]
    busy: int = 0
    """Slots in which a session runs."""
    programs: Mapping[tuple[str, str], ProgramAnswer] = field(default_factory=dict)
    """What programs said, by what they are (``crash``, ``build``, ``drgn``) and their path."""

    def whole_number(self, key: str, pattern: str = r"(\d{1,15})") -> int | None:
        """A whole number in a fact."""
        match = re.search(pattern, self.facts.get(key, ""), re.ASCII)
        return int(match[1]) if match else None

    @property
    def cpus(self) -> int | None:
        """How many processors there are; none is no answer."""
        return self.whole_number("cpus", r"^(\d{1,5})$") or None

    @property
    def memory_bytes(self) -> int | None:
        """Memory that is available."""
        kib = self.whole_number("MemAvailable:", r"^\s*(\d{1,15}) kB$")
        return None if kib is None else kib << 10

    @property
    def free_bytes(self) -> int | None:
        """Room that is free below the directory for copies.

        ``df -P`` has size, used, available and per cent.

        busybox's df knows nothing of a directory whose file system is not in ``/proc/mounts``,
        as in a container or chroot; stat does.
        """
        kib = self.whole_number("df", r"\s\d{1,15}\s+\d{1,15}\s+(\d{1,15})\s+\d{1,3}%")
        if kib is not None:
            return kib << 10
        blocks = re.fullmatch(r"(\d{1,15}) (\d{1,9})", self.facts.get("blocks", ""), re.ASCII)
        if blocks is None:
            return None
        # nobody has more than that, and a database takes no larger number
        return min(int(blocks[1]) * int(blocks[2]), (1 << 63) - 1)

    @property
    def load_average(self) -> float | None:
        """Processes that ran or waited for a disk, over the last minute."""
        match = re.match(r"(\d{1,6}\.\d\d) ", self.facts.get("load", ""), re.ASCII)
        return float(match[1]) if match else None


def read_answer(output: bytes) -> HostAnswer | None:
    """What a host says in answer to one of the questions above; ``None``: that was no answer."""
    _, begin, rest = output.decode("utf-8", "replace").partition(f"\n{BEGIN}\n")
    body, end, _ = rest.partition(f"\n{END}\n")
    if not begin or not end:
        return None
    facts: dict[str, str] = {}
    busy = 0
    programs: dict[tuple[str, str], ProgramAnswer] = {}
    for key, value, words in _answer_lines(body.split("\n")):
        if key in ("crash", "build", "drgn"):
            if re.fullmatch(PATH_FORM, value, re.ASCII) and len(programs) <= 2 * PROGRAMS:
                said = [line for line in words if line]
                status = re.fullmatch(r"=(\d{1,3})", said[-1], re.ASCII) if said else None
                programs[key, value] = (
                    ProgramAnswer(int(status[1]), tuple(said[:-1]))
                    if status
                    else ProgramAnswer(None, tuple(said))
                )
        elif key == "busy":
            busy += 1
        else:
            facts.setdefault(key, value)
    return HostAnswer(facts, busy, programs)


def _answer_lines(lines: Sequence[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Each line that is no program's, with the lines of a program that follow it."""
    key, value, words = "", "", list[str]()
    for line in lines:
        if line.startswith(" "):
            words.append(line[1:])
        elif line:
            if key:
                yield key, value, words
            key, _, value = line.partition(" ")
            words = []
    if key:
        yield key, value, words
