"""Modules of the deep trace: Python files that tell what the author of a driver wants to see.

docs/glide.md has what a module may define. One that fails, takes too long or tells too much is
disabled, with a sentence; the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from time import process_time
from typing import Any, NamedTuple

from drgn import FaultError, Object, Program

from cas.engines.drgn.child.glide.drawing import Drawer, Unreadable
from cas.engines.drgn.child.glide.names import Symbols
from cas.engines.drgn.child.glide.value import Value
from cas.engines.drgn.child.limits import Late, time_limit
from cas.engines.drgn.child.target import Target

HOOK_S = 2.0
"""Seconds for one call of a module."""
MODULE_S = 5.0
"""Seconds of a processor for all calls of a module."""
LINES = 2000
LINE_CHARACTERS = 400
"""What a module may tell, in all and in a line."""
CORE = "core"

SUPPRESS = object()
"""What a hook returns to have its task, frame or variable left out."""

_HOOKS = ("matches", "start", "task", "frame", "variable", "end")


class Source(NamedTuple):
    """The file of a module."""

    name: str
    """Of the kernel module that it is for."""
    path: str
    text: str


class TooMuch(Exception):
    """A module tells more than it may."""


class Trace:
    """What a module is given: the dump, and a way to tell something."""

    SUPPRESS = SUPPRESS

    def __init__(self, target: Target, symbols: Symbols, drawer: Drawer) -> None:
        """Nothing is told yet."""
        self.prog: Program = target.prog
        self._symbols, self._drawer = symbols, drawer
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


@dataclass(slots=True)
class Loaded:
    """A module that takes part."""

    source: Source
    trace: Trace
    hooks: Mapping[str, Callable[..., object]]
    printers: Mapping[str, Callable[[Object], str | None]]
    used_s: float = 0.0


@dataclass(slots=True)
class Modules:
    """The modules of a trace."""

    make_trace: Callable[[], Trace]
    loaded: list[Loaded] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What was disabled, and why, since it was last asked."""

    def load(self, sources: Iterable[Source], kmods: frozenset[str]) -> None:
        """Take those whose kernel module is loaded, whose `matches` says so, and ``core``."""
        for source in sources:
            is_wanted = source.name == CORE or source.name in kmods
            if not is_wanted and "matches" not in source.text:
                continue
            self._load_one(source, is_wanted=is_wanted)

    def _load_one(self, source: Source, *, is_wanted: bool) -> None:
        space: dict[str, Any] = {"__name__": f"cas_glide_{source.name}", "__file__": source.path}
        one = Loaded(source, self.make_trace(), {}, {})
        self.loaded.append(one)

        def execute(_: Trace) -> None:
            exec(compile(source.text, source.path, "exec"), space)  # noqa: S102  the site's own

        self._guarded(one, "its file", execute)
        if one not in self.loaded:
            return
        one.hooks = {name: space[name] for name in _HOOKS if callable(space.get(name))}
        printers = space.get("PRINTERS", {})
        one.printers = dict(printers) if isinstance(printers, Mapping) else {}
        if not is_wanted and not self._call(one, "matches") and one in self.loaded:
            self.loaded.remove(one)

    def call(self, hook: str, *arguments: object) -> tuple[bool, list[dict[str, Any]]]:
        """Call a hook of all modules.

        :return: whether one of them wants the item left out; what they told
        """
        is_suppressed, told = False, []
        for one in list(self.loaded):
            if hook in one.hooks:
                is_suppressed |= self._call(one, hook, *arguments) is SUPPRESS
                told += self._named(one)
        return is_suppressed, told

    def sections(self, hook: str) -> Iterator[dict[str, Any]]:
        """What each module tells of the whole, at the start or at the end."""
        for one in list(self.loaded):
            if hook in one.hooks:
                self._call(one, hook)
                if lines := one.trace.take():
                    yield {"module": one.source.name, "when": hook, "lines": lines}

    def say_of_structure(self, kind: str, found: Object) -> str | None:
        """What a module says of a structure, by the name of its type."""
        for one in list(self.loaded):
            if printer := one.printers.get(kind):
                said = self._guarded(one, f"its printer of {kind}", lambda _: printer(found))
                if said:
                    return " ".join(str(said).split())[:LINE_CHARACTERS]
        return None

    def take_problems(self) -> list[str]:
        """What was disabled since the last time."""
        problems, self.problems = self.problems, []
        return problems

    def _named(self, one: Loaded) -> list[dict[str, Any]]:
        return [{"module": one.source.name, **line} for line in one.trace.take()]

    def _call(self, one: Loaded, hook: str, *arguments: object) -> object:
        return self._guarded(one, hook, lambda trace: one.hooks[hook](trace, *arguments))

    def _guarded(self, one: Loaded, what: str, call: Callable[[Trace], object]) -> object:
        """What a module's code gives back; ``None`` where it is disabled for what it did."""
        begun = process_time()
        try:
            with time_limit(HOOK_S):
                return call(one.trace)
        except Late:
            why = f"not within {HOOK_S:g} s"
        except (FaultError, *Unreadable) as error:
            why = f"{type(error).__name__}: {error}"
        except Exception as error:
            why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        except SystemExit:
            why = "it called exit()"
        finally:
            one.used_s += process_time() - begun
            if one.used_s > MODULE_S and one in self.loaded:
                self._disable(one, what, f"{MODULE_S:g} s for all of its calls are over")
        self._disable(one, what, why)
        return None

    def _disable(self, one: Loaded, what: str, why: str) -> None:
        if one in self.loaded:
            self.loaded.remove(one)
            said = " ".join(why.split())[:LINE_CHARACTERS]
            self.problems.append(f"module {one.source.name} is disabled: {what}: {said}")
