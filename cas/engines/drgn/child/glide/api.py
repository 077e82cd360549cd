"""What a module of the deep trace is given: the dump, and a way to tell something of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from drgn import FaultError, Object, Program
from drgn.helpers.linux.block import request_queue_busy_iter
from drgn.helpers.linux.fs import mount_dst, super_block_for_each_mount
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.pid import for_each_task

from cas.detectors.requests import STATES, is_plausible
from cas.engines.drgn.child.glide.drawing import Drawer, Unreadable
from cas.engines.drgn.child.glide.names import Symbols
from cas.engines.drgn.child.glide.structures import Structures
from cas.engines.drgn.child.glide.value import Value
from cas.engines.drgn.child.target import Target

LINES = 2000
LINE_CHARACTERS = 400
"""What a module may tell, in all and in a line."""
MOST = 10_000
"""Elements of a list of the kernel that are looked at; a damaged one has no end."""
REQUESTS = 10
"""Of a queue, that are told one by one."""

SUPPRESS = object()
"""What a hook returns to have its task, frame or variable left out."""


class TooMuch(Exception):
    """A module tells more than it may."""


class Trace:
    """What a module is given: the dump, and a way to tell something."""

    SUPPRESS = SUPPRESS

    def __init__(
        self, target: Target, symbols: Symbols, drawer: Drawer, knowledge: Structures
    ) -> None:
        """Nothing is told yet."""
        self.prog: Program = target.prog
        self._symbols, self._drawer, self._knowledge = symbols, drawer, knowledge
        self._lines: list[str | Value] = []
        self._left = LINES
        self._names = 0

    def say(self, *lines: str) -> None:
        """Tell lines of text, where the hook's task, frame or section stands.

        :raises TooMuch: the module has told 2,000 lines
        """
        for line in lines:
            for each in str(line).splitlines() or [""]:
                self._tell(each[:LINE_CHARACTERS])

    def show(self, found: Object, name: str = "", depth: int = 1) -> None:
        """Tell a value as the trace does, with its members.

        :param depth: pointers that are followed, one through the other
        """
        self._names += 1
        path = f"{name or 'value'}({self._names})"
        self._tell(self._drawer.draw(found, name, depth, path))

    def attempt(self, part: Callable[..., object], *arguments: object) -> None:
        """Call ``part(trace, …)``; what it cannot read is told in a line, and what follows goes on.

        :raises TooMuch: it tells more than the module may
        """
        try:
            part(self, *arguments)
        except Unreadable as error:
            self.say(f"  {part.__name__}: {' '.join(str(error).split())}")

    def symbol(self, name: str) -> Object | None:
        """A variable or function of the kernel; ``None``: this kernel has none of the name."""
        try:
            return self.prog[name]
        except KeyError:
            return None

    def name(self, address: int) -> str:
        """An address as ``symbol+0xoffset``, else in hex."""
        return self._symbols.name(int(address)) or f"{int(address):#x}"

    def source(self, address: int) -> str | None:
        """``file:line`` of an address in code."""
        try:
            place = self.prog.source_location(int(address))[-1]
        except (LookupError, FaultError):
            return None
        return f"{place.filename}:{place.line}"

    def read(self, address: int, size: int) -> bytes:
        """Memory of the crashed kernel.

        :raises drgn.FaultError: it is not in the dump
        """
        return bytes(self.prog.read(int(address), size))

    def string(self, address: int, max_bytes: int = 256) -> str:
        """A string that ends in NUL, as far as it prints; pointers serve as well as numbers.

        :raises drgn.FaultError: it is not in the dump
        """
        raw: bytes = self.prog.read_c_string(int(address), max_size=max_bytes)
        return raw.decode("utf-8", "replace")

    def words(self, found: Object) -> str:
        """What the trace says of a structure, ``pid 47 "cat", D (disk sleep)``; empty: nothing."""
        told = self._knowledge.tell(found, "", "")
        return told.note if told else ""

    def bits(self, enumeration: str, value: int) -> str:
        """The names of the bits that are set, by the kernel's own enumeration of their numbers.

        A number with several names has the first of them.

        :param enumeration: such as ``enum flag_bits``
        """
        names: dict[int, str] = {}
        for one in self.prog.type(enumeration).enumerators or ():
            names.setdefault(one.value, one.name)
        bits = [n for n in range(int(value).bit_length()) if int(value) >> n & 1]
        return ", ".join(names.get(n, f"bit {n}") for n in bits) or "none"

    def enumerator(self, value: Object) -> str:
        """The name of a value of an enumeration, else its number."""
        number = int(value.value_())
        names = value.type_.unaliased().enumerators or ()
        return next((one.name for one in names if one.value == number), str(number))

    def ticks(self, jiffies: int) -> str:
        """A time that the kernel counts in ticks, ``3.2 s before the crash``."""
        return self._knowledge.moment_of_ticks(int(jiffies)) or "?"

    def nanoseconds(self, monotonic: int) -> str:
        """A time by the kernel's monotonic clock, ``3.2 s before the crash``."""
        return self._knowledge.moment_of_nanoseconds(int(monotonic)) or "?"

    def entries(self, kind: str, head: Object, link: str) -> Iterator[Object]:
        """What is on a ``struct list_head``, at most 10,000 of it, however damaged it is.

        :param kind: of an entry, such as ``struct inode``
        :param link: the member of it that links it
        """
        at = head if head.type_.kind.name == "POINTER" else head.address_of_()
        yield from islice(list_for_each_entry(kind, at, link), MOST)

    def tasks(self) -> Iterator[Object]:
        """The tasks of the kernel, ``struct task_struct *``, at most 10,000."""
        yield from islice(for_each_task(self.prog), MOST)

    def file_systems(self, *kinds: str) -> Iterator[tuple[Object, str]]:
        """``struct super_block *`` of some kinds, each as ``ext4 on sda1 (/home)``."""
        for found in self.entries("struct super_block", self.prog["super_blocks"], "s_list"):
            kind = found.s_type.name.string_().decode("utf-8", "replace")
            if kind in kinds:
                device = found.s_id.string_().decode("utf-8", "replace")
                places = ", ".join(
                    mount_dst(each).decode("utf-8", "replace")
                    for each in islice(super_block_for_each_mount(found), 4)
                )
                yield found, f"{kind} on {device}" + (f" ({places})" if places else "")

    def say_requests(self, queue: Object) -> None:
        """Tell how many requests a ``struct request_queue *`` has in flight, and the first of them.

        What hands I/O on, as device mapper does, has none of its own.
        """
        if not queue or not queue.tag_set:
            return
        if not is_plausible(queue):
            self.say("    its tags make no sense")
            return
        found = [one for one in islice(request_queue_busy_iter(queue), MOST) if one]
        if found:
            self.say(f"    {len(found):,} in flight")
        for request in found[:REQUESTS]:
            since = self.nanoseconds(request.start_time_ns.value_())
            state = STATES.get(int(request.state.value_()), "in an unknown state")
            words = self.words(request[0])
            self.say(f"    {words}, {state}, made {since}: request {request.value_():#x}")
        if len(found) > REQUESTS:
            self.say(f"    … {len(found) - REQUESTS:,} more")

    def _tell(self, what: str | Value) -> None:
        self._left -= 1
        if self._left < 0:
            raise TooMuch(f"it told more than {LINES:,} lines")
        self._lines.append(what)

    def take(self) -> list[dict[str, Any]]:
        """What was told since the last time, in JSON's types."""
        lines, self._lines = self._lines, []
        return [
            {"text": each} if isinstance(each, str) else {"value": each.record()} for each in lines
        ]
