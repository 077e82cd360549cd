"""Frozen values of ours are those of `dataclasses`, whoever looks."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import FrozenInstanceError, field
from typing import Any, ClassVar

import msgspec
import pytest

from cas.frozen import dataclass


class Body:
    """What the classes below have in common, made by us and by `dataclasses`."""

    kinds: ClassVar[int] = 3
    name: str
    size: int = 0
    parts: list[str] = field(default_factory=list)
    mark: str = field(default="", compare=False, repr=False)
    double: int = field(init=False, default=1)
    last: int = field(default=7, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "double", self.size * 2)


BODY = {key: value for key, value in vars(Body).items() if key not in ("__dict__", "__weakref__")}


def fresh_body() -> dict[str, Any]:
    """The same once more: `dataclasses` writes into fields."""
    return {key: copy.copy(value) for key, value in BODY.items()}


Ours = dataclass(frozen=True, slots=True)(type("Ours", (), fresh_body()))
Theirs = dataclasses.dataclass(frozen=True, slots=True)(type("Theirs", (), fresh_body()))


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0


@dataclass(frozen=True, slots=True)
class Named(Point):  # noqa: PLW1641  it gets one
    name: str = "?"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and other.name == self.name


@dataclass(frozen=True, slots=True)
class Nothing:
    pass


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("a",), {}),
        (("a", 3), {"last": 1}),
        ((), {"name": "b", "parts": ["p"], "mark": "m"}),
        ((), {}),
        (("a", 1, [], "m", 5), {}),
        (("a",), {"other": 1}),
    ],
)
def test_it_takes_what_the_standard_one_takes(
    words: tuple[Any, ...], named: dict[str, Any]
) -> None:
    told = []
    for kind in (Ours, Theirs):
        try:
            told.append(repr(kind(*words, **named)).partition("(")[2])
        except TypeError as error:
            told.append(str(error).partition("(")[2])
    assert told[0] == told[1]


def test_values_are_equal_by_their_fields() -> None:
    one, same, other = Ours("a", mark="x"), Ours("a", mark="y"), Ours("a", 1)
    assert (one == same, one == other, one == Theirs("a")) == (True, False, False)
    assert hash(Point(1, 2)) == hash(Point(1, 2))
    assert len({Point(1), Point(1), Point(2)}) == 2
    assert (Nothing() == Nothing(), hash(Nothing())) == (True, hash(Nothing()))
    assert Point(1) != Named(1)
    assert Named(1, name="n") == Named(2, name="n")
    assert hash(Named(1, name="n")) == hash(Named(1, name="n"))


def test_nothing_can_be_set_and_lists_are_not_shared() -> None:
    one = Ours("a")
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'name'"):
        one.name = "b"
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'name'"):
        del one.name
    with pytest.raises(FrozenInstanceError):
        one.unknown = 1
    assert not hasattr(one, "__dict__")
    one.parts.append("p")
    assert Ours("a").parts == []


def test_functions_of_dataclasses_take_it() -> None:
    one = Ours("a", 2, last=5)
    assert [each.name for each in dataclasses.fields(Ours)] == [
        each.name for each in dataclasses.fields(Theirs)
    ]
    assert dataclasses.asdict(one) == dataclasses.asdict(Theirs("a", 2, last=5))
    assert dataclasses.replace(one, size=4) == Ours("a", 4, last=5)
    assert dataclasses.replace(one, size=4).double == 8
    assert dataclasses.astuple(Named(1, 2, "n")) == (1, 2, "n")
    assert Ours.__match_args__ == Theirs.__match_args__


def test_it_is_copied_and_stored() -> None:
    assert pickle.loads(pickle.dumps(Named(1, 2, "n"))) == Named(1, 2, "n")  # noqa: S301
    twin = copy.deepcopy(Ours("a", 1, ["p"], last=2))
    assert twin == Ours("a", 1, ["p"], last=2)
    assert msgspec.convert({"x": 1}, Point) == Point(1)
    assert msgspec.json.encode(Point(1)) == b'{"x":1,"y":0}'
