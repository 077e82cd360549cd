"""Modules of the deep trace: Python files that tell what the author of a driver wants to see.

docs/glide.md has what a module may define. One that fails, takes too long or tells too much is
disabled, with a sentence; the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic, process_time
from typing import Any, NamedTuple

from drgn import Object

from cas.engines.drgn.child.glide.api import LINE_CHARACTERS, SUPPRESS, Trace
from cas.engines.drgn.child.limits import Late, time_limit

HOOK_S = 2.0
"""Seconds for one call of a module."""
BLAMED_S = 0.5
"""Of a variable's time, in which a printer that is interrupted is not the one that took it."""
MODULE_S = 5.0
"""Seconds of a processor for all calls of a module."""
CORE = "core"

_HOOKS = ("matches", "start", "task", "frame", "variable", "end")


class Source(NamedTuple):
    """The file of a module."""

    name: str
    """Of the kernel module that it is for."""
    path: str
    text: str
    kmods: tuple[str, ...]
    """The kernel modules that it looks into: it takes part where the first is loaded."""


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

    def load(
        self, sources: Iterable[Source], kmods: frozenset[str], named: Mapping[str, str]
    ) -> None:
        """Take those whose kernel module is loaded, whose `matches` says so, and ``core``.

        :param named: names of others that are wanted, each with who wants it
        """
        every = {source.name: source for source in sources}
        for name, who in named.items():
            if name not in every:
                self.problems.append(
                    f"{who} names the module {name}, and there is no cas_glide_{name}.py"
                )
        for source in every.values():
            is_own = source.kmods[0] in kmods
            is_wanted = is_own or source.name == CORE or source.name in named
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
        if is_wanted:
            return
        matches = self._guarded(one, "matches", lambda trace: bool(one.hooks["matches"](trace)))
        if not matches and one in self.loaded:
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
                said = self._guarded(
                    one, f"its printer of {kind}", lambda _: in_a_line(printer(found) or "")
                )
                if said:
                    return str(said)
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
        begun, began = process_time(), monotonic()
        try:
            with time_limit(HOOK_S):
                return call(one.trace)
        except Late:
            seconds = monotonic() - began
            if seconds < BLAMED_S:
                raise
            why = f"not within {seconds:.0f} s"
        except SystemExit:
            why = "it called exit()"
        except BaseException as error:  # the site's code: Ctrl-C and the like are its own, too
            why = _sentence(error)
        finally:
            one.used_s += process_time() - begun
            if one.used_s > MODULE_S and one in self.loaded:
                self._disable(one, what, f"{MODULE_S:g} s for all of its calls are over")
        self._disable(one, what, why)
        return None

    def _disable(self, one: Loaded, what: str, why: str) -> None:
        if one in self.loaded:
            self.loaded.remove(one)
            self.problems.append(f"module {one.source.name} is disabled: {what}: {in_a_line(why)}")


def in_a_line(said: object) -> str:
    """What a module says, without breaks, and not longer than a line may be."""
    return " ".join(str(said).split())[:LINE_CHARACTERS]


def _sentence(error: BaseException) -> str:
    name = type(error).__name__
    try:
        return f"{name}: {error}" if str(error) else name
    except Exception:  # whose __str__ fails, too
        return name
