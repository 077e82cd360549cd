"""Frozen values, made as `dataclasses` makes them but for what takes most of its time there.

`dataclasses` writes six methods of each class as source text and has them compiled, 0.6 ms a class
with Python 3.11: a tenth of a second of a processor for the two hundred that are imported before a
first answer, and most of these methods are never called. Here ``__init__`` alone is compiled, when
the class is first called; the others go by the names of the fields. Fields, slots and match
arguments are those of `dataclasses`, whose functions, and msgspec, take such a value for theirs.
"""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414  for mypy it is the same
else:

    def dataclass(kind: type | None = None, /, **options: bool):
        """The decorator of that name; what is not ``frozen=True, slots=True`` alone it leaves to
        `dataclasses`.
        """
        if options == {"frozen": True, "slots": True}:
            return _frozen
        return dataclasses.dataclass(kind, **options)


def _frozen(plain: type[Any]) -> type[Any]:
    kind: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True)(plain)
    fields = dataclasses.fields(kind)
    compared = _getter([each.name for each in fields if each.compare])
    hashed = _getter([each.name for each in fields if _is_hashed(each)])

    def __init__(self: Any, *words: Any, **named: Any) -> None:
        kind.__init__ = _compiled_init(kind, fields)
        kind.__init__(self, *words, **named)

    def __eq__(self: Any, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return bool(compared(self) == compared(other))

    def __hash__(self: Any) -> int:
        return hash(hashed(self))

    @reprlib.recursive_repr()
    def __repr__(self: Any) -> str:
        told = (f"{each.name}={getattr(self, each.name)!r}" for each in fields if each.repr)
        return f"{self.__class__.__qualname__}({', '.join(told)})"

    def __getstate__(self: Any) -> list[Any]:
        return [getattr(self, each.name) for each in fields]

    def __setstate__(self: Any, state: Sequence[Any]) -> None:
        for each, value in zip(fields, state, strict=True):
            object.__setattr__(self, each.name, value)

    own = vars(plain)
    for method in (__init__, __eq__, __repr__, __getstate__, __setstate__):
        if method.__name__ not in own:
            setattr(kind, method.__name__, method)
    if own.get("__hash__") is None:
        kind.__hash__ = __hash__
    kind.__setattr__, kind.__delattr__ = _refuse_setting, _refuse_deleting
    return kind  # type: ignore[no-any-return]


def _is_hashed(field: dataclasses.Field[Any]) -> bool:
    return field.compare if field.hash is None else field.hash


def _getter(names: Sequence[str]) -> Callable[[object], Any]:
    return attrgetter(*names) if names else lambda _: ()


def _refuse_setting(self: object, name: str, value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_deleting(self: object, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _compiled_init(kind: type[Any], fields: Sequence[dataclasses.Field[Any]]) -> Any:
    """The ``__init__`` that `dataclasses` would write."""
    known: dict[str, Any] = {"_put": object.__setattr__, "_absent": object()}
    taken, named, lines = list[str](), list[str](), list[str]()
    for number, field in enumerate(fields):
        word, value = field.name, field.name
        if field.default is not dataclasses.MISSING:
            known[f"_default_{number}"] = field.default
            word = f"{field.name}=_default_{number}"
            value = value if field.init else f"_default_{number}"
        elif field.default_factory is not dataclasses.MISSING:
            known[f"_make_{number}"] = field.default_factory
            word, made = f"{field.name}=_absent", f"_make_{number}()"
            value = f"{made} if {value} is _absent else {value}" if field.init else made
        elif not field.init:
            continue
        if field.init:
            (named if field.kw_only else taken).append(word)
        lines.append(f" _put(_self, {field.name!r}, {value})\n")
    if hasattr(kind, "__post_init__"):
        lines.append(" _self.__post_init__()\n")
    words = ", ".join(["_self", *taken, *(["*", *named] if named else [])])
    exec(f"def __init__({words}):\n{''.join(lines) or ' pass'}", known)  # noqa: S102  our own names
    init = known["__init__"]
    init.__qualname__, init.__module__ = f"{kind.__qualname__}.__init__", kind.__module__
    return init
