"""Values of variables: structures that pointers lead to, breadth first, each target once a trace.

What cannot be read is told as ``<fault ADDRESS>`` in its place, and nothing else is missing for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from drgn import FaultError, Object, ObjectAbsentError, Type, TypeKind, sizeof

from cas.engines.drgn.child.glide.names import (
    MAX_ERRNO,
    Symbols,
    error_name,
    named_number,
    named_pointer,
    null_area,
    plain_type,
    poison_name,
)
from cas.engines.drgn.child.glide.value import Value
from cas.engines.drgn.child.target import Target

ELEMENTS = 16
"""Elements of an array or a list that are told."""
STRING_BYTES = 256
VALUES = 400
"""Values of one variable at most, those near to it first."""
NESTING = 8
"""Structures within one another."""
SMALL = 10
"""Numbers below are told without their hexadecimal form."""
WORD = 1 << 64

_ERRORS = frozenset({"ret", "err", "error", "rc", "retval", "result", "status", "res"})
"""Names of variables in which every negative number is an error."""
_FREQUENT = frozenset(
    -number for number in (*range(2, 35), 61, 71, 75, 95, 104, 110, 115, 512, 517)
)
"""Errors that are told of other variables, too."""

OPTIMIZED_OUT = "<optimized out>"
Unreadable = (
    FaultError,
    ObjectAbsentError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""What is raised where a dump does not have what is wanted, or has garbage; and where a kernel has
other types than the one that was expected."""

_LINKS = frozenset({"list_head", "hlist_node", "hlist_head", "llist_node", "rb_node"})
"""What is linked stands around them: pointers to them tell nothing by themselves."""
_COMPOUND = (TypeKind.STRUCT, TypeKind.UNION, TypeKind.CLASS)


class Told(NamedTuple):
    """What is known of a structure besides its members."""

    note: str
    elements: tuple[tuple[str, Object], ...] = ()
    """Of a container, by what to call them."""
    is_all: bool = False
    """Its members say nothing more."""
    left_out: int = 0
    """Further elements."""


class Knowledge(Protocol):
    """What is known of some types."""

    def tell(self, found: Object, holder: str, member: str) -> Told | None:
        """What to say of a structure; ``None``: nothing is known of its type.

        :param holder: tag of the structure that has it as a member; empty of a variable
        """

    def number(self, value: int, holder: str, member: str) -> str | None:
        """What to say of a number, of which the names of flags say nothing."""

    def per_cpu(self, found: Object, holder: str, member: str) -> Object | None:
        """What a per-CPU pointer means on the CPU that is looked at; ``None``: it is none."""

    def is_landmark(self, tag: str) -> bool:
        """Whether a structure is large and known: pointers of others to it are not followed."""


class _At(NamedTuple):
    """Where a value stands."""

    holder: str
    """Tag of the structure that has it as a member; empty of a variable."""
    depth: int
    """Pointers that may still be followed."""
    path: str
    nesting: int
    """Structures and arrays that may still be within one another."""

    def inside(self, step: str) -> _At:
        """Where what is in it stands."""
        return self._replace(path=f"{self.path}{step}", nesting=self.nesting - 1)


class _Pending(NamedTuple):
    """A structure that a pointer leads to, and that is still to be told."""

    found: Object
    into: Value
    at: _At


@dataclass(slots=True)
class Drawer:
    """Tells values; it remembers what it has told."""

    target: Target
    symbols: Symbols
    knowledge: Knowledge
    is_raw: bool = False
    """Every member is told, and nothing but its value."""
    seen: dict[tuple[int, str], str] = field(default_factory=dict)
    """Address and type of what was followed: where it stands."""
    values: int = 0
    """Values that were told so far."""
    _left: int = 0
    _queue: deque[_Pending] = field(default_factory=deque)

    def draw(self, found: Object, name: str, depth: int, path: str) -> Value:
        """A variable, and what it leads to.

        :param depth: pointers that are followed, one through the other
        :param path: how to call it from elsewhere, e.g. ``#3.sk``
        """
        self._left = VALUES
        self._queue.clear()
        value = self._value(found, name, _At("", depth, path, NESTING))
        while self._queue:
            pending = self._queue.popleft()
            if self._left <= 0:
                self.seen.pop(_target_of(pending.found), None)
                pending.into.left_out += 1
                continue
            self._fill_members(pending.found, pending.into, pending.at)
        return value

    def _value(self, found: Object, name: str, at: _At) -> Value:
        self._left -= 1
        self.values += 1
        value = Value(name, found.type_.type_name())
        try:
            self._fill(found, value, at)
        except ObjectAbsentError:
            value.text = OPTIMIZED_OUT
        except FaultError as error:
            value.text = fault_text(error)
        except Unreadable as error:
            value.text = f"<{' '.join(str(error).split())[:120]}>"
        return value

    def _fill(self, found: Object, value: Value, at: _At) -> None:
        kind = plain_type(found.type_)
        if found.absent_:
            raise ObjectAbsentError
        if kind.kind in _COMPOUND:
            self._fill_compound(found, value, at)
        elif kind.kind == TypeKind.ARRAY:
            self._fill_array(found, kind, value, at)
        elif kind.kind == TypeKind.POINTER:
            self._fill_pointer(found, kind, value, at)
        elif kind.kind == TypeKind.FUNCTION:
            value.text = f"{found.address_ or 0:#x}"
        else:
            self._fill_number(found, kind, value, at.holder)

    def _fill_number(self, found: Object, kind: Type, value: Value, holder: str) -> None:
        raw = found.value_()
        if kind.kind == TypeKind.BOOL:
            value.text = "true" if raw else "false"
        elif kind.kind == TypeKind.ENUM:
            names = [one.name for one in kind.enumerators or () if one.value == raw]
            value.text = names[0] if names else str(raw)
            value.note = str(raw) if names else ""
        else:
            value.text = str(raw)
            if kind.kind != TypeKind.FLOAT and not self.is_raw:
                value.note = self._note_of_number(found, kind, holder, value)

    def _note_of_number(self, found: Object, kind: Type, holder: str, value: Value) -> str:
        raw: int = found.value_()
        named = named_number(
            raw, found.type_.unqualified().type_name(), holder, value.name, found.prog_
        )
        named = named or self.knowledge.number(raw, holder, value.name)
        if kind.size == 1 and kind.name == "char" and 32 < raw < 127:
            named = named or f"{chr(raw)!r}"
        if raw < 0 and (value.name in _ERRORS or raw in _FREQUENT):
            named = named or error_name(raw)
        raw %= 1 << (8 * kind.size)
        if kind.size == 8 and named is None:
            named = self.symbols.name(raw)
        named = named or poison_name(raw)
        written = f"{raw:#x}" if raw >= SMALL else ""
        return ", ".join(filter(None, (written, named)))

    def _fill_array(self, found: Object, kind: Type, value: Value, at: _At) -> None:
        element = plain_type(kind.type)
        length = kind.length or 0
        if element.kind == TypeKind.INT and element.size == 1 and element.name == "char":
            value.text = self._array_text(found, length)
            if value.text:
                return
        shown = (length if self.is_raw else min(length, ELEMENTS)) if at.nesting else 0
        elements = [self._value(found[n], f"[{n}]", at.inside(f"[{n}]")) for n in range(shown)]
        if not self.is_raw and length > 1 and all(map(_is_zero, elements)):
            is_zero = shown == length or not any(_bytes_of(found))
            if is_zero:
                value.text, elements, shown = "{0}", [], length
        value.left_out = length - shown
        if not self.is_raw and element.kind != TypeKind.INT:
            told = [each for each in elements if not _is_zero(each)]
            value.zeros, elements = len(elements) - len(told), told
        value.members = elements

    def _array_text(self, found: Object, length: int) -> str:
        if not length or self.is_raw:
            return ""
        raw = _bytes_of(found, min(length, STRING_BYTES + 1)).partition(b"\0")[0]
        return quoted(raw[:STRING_BYTES], is_cut=len(raw) > STRING_BYTES)

    def _fill_pointer(self, found: Object, kind: Type, value: Value, at: _At) -> None:
        address: int = found.value_()
        value.text = f"{address:#x}" if address else "NULL"
        if not address or self.is_raw:
            return
        pointee = plain_type(kind.type)
        named = named_pointer(address, at.holder, value.name)
        if note := named or self._note_of_address(address):
            value.note = note
            if pointee.kind == TypeKind.FUNCTION or not self.symbols.is_code_or_data(address):
                return
        elsewhere = self.knowledge.per_cpu(found, at.holder, value.name)
        if elsewhere is not None:
            value.note = f"per-CPU, here {elsewhere.value_():#x}"
            found = elsewhere
        elif address < null_area(self.target.prog):
            return
        if pointee.kind == TypeKind.INT and pointee.size == 1 and pointee.name == "char":
            value.note = self._string_at(address)
        elif pointee.kind in _COMPOUND and pointee.is_complete():
            self._follow(found, pointee, value, at)

    def _note_of_address(self, address: int) -> str:
        if address >= WORD - MAX_ERRNO:
            return error_name(address - WORD) or ""
        return self.symbols.name(address) or poison_name(address) or ""

    def _string_at(self, address: int) -> str:
        try:
            raw = self.target.prog.read_c_string(address, max_size=STRING_BYTES + 1)
        except FaultError as error:
            return fault_text(error)
        return quoted(raw[:STRING_BYTES], is_cut=len(raw) > STRING_BYTES)

    def _follow(self, found: Object, pointee: Type, value: Value, at: _At) -> None:
        """What a pointer to a structure points to: now in words, and later by its members."""
        tag = pointee.tag or ""
        if tag in _LINKS:
            return
        key = (found.value_(), tag)
        if key in self.seen:
            value.above = self.seen[key]
            return
        structure = found[0]
        told = self._tell(structure, "", "")
        if told is not None:
            value.note = "; ".join(filter(None, (value.note, told.note)))
            if told.is_all:
                return
        if at.depth <= 0 or ("->" in at.path and self.knowledge.is_landmark(tag)):
            return
        self.seen[key] = at.path
        below = _At("", at.depth - 1, f"{at.path}->", NESTING)
        self._queue.append(_Pending(structure, value, below))

    def _tell(self, found: Object, holder: str, member: str) -> Told | None:
        if self.is_raw:
            return None
        try:
            return self.knowledge.tell(found, holder, member)
        except FaultError as error:
            return Told(fault_text(error))
        except Unreadable:
            return None

    def _fill_compound(self, found: Object, value: Value, at: _At) -> None:
        told = self._tell(found, at.holder, value.name)
        if told is not None:
            value.note = told.note
            value.members = [
                self._value(each, name, at.inside(name)) for name, each in told.elements
            ]
            value.left_out = told.left_out
            if told.is_all:
                return
        if not at.nesting:
            value.left_out += 1
            return
        self._fill_members(found, value, at.inside("."))

    def _fill_members(self, found: Object, value: Value, at: _At) -> None:
        kind = plain_type(found.type_)
        tag = kind.tag or ""
        try:
            self._require_memory(found, kind)
        except FaultError as error:
            value.note = "; ".join(filter(None, (value.note, fault_text(error))))
            return
        for name, member in members_of(found):
            if self._left <= 0 and not self.is_raw:
                value.left_out += 1
                continue
            told = self._value(member, name, at._replace(holder=tag, path=f"{at.path}{name}"))
            if not self.is_raw and _is_zero(told):
                value.zeros += 1
                self._left += 1
            else:
                value.members.append(told)

    def _require_memory(self, found: Object, kind: Type) -> None:
        """Fail at once where nothing of a structure can be read: each member would say the same."""
        if found.address_ is None:
            return
        size = sizeof(kind)
        if not size:
            return
        try:
            self.target.prog.read(found.address_, 1)
        except FaultError:
            if size < 2:
                raise
            self.target.prog.read(found.address_ + size - 1, 1)


def members_of(found: Object) -> Iterator[tuple[str, Object]]:
    """The members of a structure, those of anonymous ones among them."""
    for name in member_names(found.type_):
        yield name, found.member_(name)


def member_names(kind: Type) -> Iterable[str]:
    """Names of members, as C lets one write them."""
    for member in plain_type(kind).members or ():
        if member.name is not None:
            yield member.name
        else:
            yield from member_names(member.type)


def fault_text(error: FaultError) -> str:
    """What stands in the place of a value that cannot be read."""
    return f"<fault {error.address:#x}>"


def quoted(raw: bytes, *, is_cut: bool = False) -> str:
    r"""A string as C writes it; bytes that do not print as ``\xNN``."""
    if len(raw) > ELEMENTS and len(set(raw)) == 1:
        return f"{quoted(raw[:1])} {len(raw)} times{' or more' if is_cut else ''}"
    text = "".join(
        f"\\{chr(byte)}"
        if byte in b'"\\'
        else chr(byte)
        if 32 <= byte < 127
        else _ESCAPES.get(byte) or f"\\x{byte:02x}"
        for byte in raw
    )
    return f'"{text}"{"…" if is_cut else ""}'


_ESCAPES: Mapping[int, str] = {9: "\\t", 10: "\\n", 13: "\\r"}


def _is_zero(value: Value) -> bool:
    """Whether a value is nothing but zeros."""
    if value.note or value.above or value.left_out:
        return False
    if value.text:
        return value.text in ("0", "NULL", "false", "{0}", '""', "0.0")
    return not value.members


def _bytes_of(found: Object, size: int | None = None) -> bytes:
    if found.address_ is not None:
        return bytes(found.prog_.read(found.address_, sizeof(found) if size is None else size))
    return bytes(found.to_bytes_()[:size])


def _target_of(found: Object) -> tuple[int, str]:
    return found.address_ or 0, plain_type(found.type_).tag or ""
