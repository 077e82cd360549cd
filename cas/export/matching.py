"""Where known secrets stand in a text, however they are written there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from itertools import chain
from typing import NamedTuple
from unicodedata import normalize

from cas.choices import SecretKind
from cas.export import patterns
from cas.export.kernel_words import BUILDERS, NO_MAIL
from cas.export.names import Names

_LOOSE = 4
"""Characters of a name that is replaced within other words, too."""
_COMM = 15
"""Characters of a task's name, include/linux/sched.h: TASK_COMM_LEN, of which one is its end."""
_KEPT = re.compile(
    r"(?<![\w.])[A-Za-z_][\w.]{0,127}\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?(?: \[\w+\])?"
    r"|(?<![\w])(?:0x)?[0-9a-fA-F]{8,}(?![\w])"
    r"|Linux version \S+|\b(?:vmlinux|vmcore)\b"
)
"""What a vendor reads a report by: code, numbers of memory, build-ids, the release."""
_AROUND = 200
"""Characters on each side of a name in which what is kept begins and ends."""
_NAMING = (
    *("/home/", "nodename: ", "hostname: ", "hostname=", "host=", "user=", "server: ", "server "),
    *("://", "password=", "passwd=", "pass=", "password ", "passwd "),
)
"""Behind these even a word of the kernel is a name."""
_SEPARATOR = re.compile("[._-]")
_OF_TICKET = ("cas -i ", "cas debug ", "cas show ", "reprocess ", "ticket ", "ticket=", "tickets: ")
"""Behind these stands a ticket."""
_TELLING_BYTES = 3
_MAC_DIGITS, _GUID_DIGITS = 12, 16


class Hit(NamedTuple):
    """A secret in a text."""

    start: int
    end: int
    replacement: str


class _Form(NamedTuple):
    """A way in which a secret is written, in lower case."""

    replacement: str
    pattern: str
    is_sure: bool
    """It is meant also within what a report is read by."""


class Matcher:
    """What finds the secrets that are known; names that come later it does not know."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self.doubtful = list[str]()
        """Names that are words of the kernel as well, and stay where they stand as such."""

    def hits(self, text: str) -> Iterator[Hit]:
        """Where secrets stand, and by what they are replaced; some may overlap."""
        lowered = patterns.in_small(text)
        if self._addresses:
            yield from self._address_hits(text, lowered)
        if self._mails and "@" in text:
            yield from self._mail_hits(text, lowered)
        for found in self._literals.finditer(lowered):
            form = self._forms[found[0]]
            if form.is_sure or not _is_kept(text, found.start(), found.end()):
                end = self._end(lowered, found)
                yield Hit(found.start(), end, form.replacement)

    def _end(self, lowered: str, found: re.Match[str]) -> int:
        """Where a name ends that was cut within its domain."""
        last = found.end()
        for rest in self._rests.get(found[0], ()):
            end = found.end()
            for letter in rest:
                if lowered[end : end + 1] != letter:
                    break
                end += 1
            # a sentence's end, or `.log`, is not the beginning of `.local`
            is_cut = lowered[found.end() : end] != "." and not lowered[end : end + 1].isalnum()
            if is_cut or end - found.end() > _LOOSE:
                last = max(last, end)
        return last

    @cached_property
    def _rests(self) -> Mapping[str, list[str]]:
        """What may follow the beginning of a machine's name."""
        found = dict[str, list[str]]()
        for replacement, forms in self._names.originals.items():
            if replacement.startswith(f"{SecretKind.HOST.upper()}-"):
                for form in map(str.lower, forms):
                    for begun in {form.partition(".")[0], form[:_COMM]} - {form}:
                        found.setdefault(begun, []).append(form.removeprefix(begun))
        return found

    @cached_property
    def in_memory(self) -> Sequence[str]:
        """Addresses as the machine has them, a character for each byte."""
        found = list[bytes]()
        for key in self._addresses:
            if ":" in key:
                found.append(IPv6Address(key).packed)
            elif "." in key:
                found.append(IPv4Address(key).packed)
            else:
                found.append(bytes.fromhex(key))
        # few bytes that are often 0 stand in numbers of any kind
        return [each.decode("latin-1") for each in found if len({*each} - {0}) >= _TELLING_BYTES]

    def _address_hits(self, text: str, lowered: str) -> Iterator[Hit]:
        if "in-addr.arpa" in lowered:
            yield from self._named(patterns.PTR4, text, _of_ptr, cut=1)
        if "ip6.arpa" in lowered:
            yield from self._named(patterns.PTR6, text, patterns.of_nibbles, cut=1)
        yield from self._named(patterns.IPV4, text, str)
        yield from self._named(patterns.IPV6, text, str)
        for found in patterns.SPACED_MAC.finditer(text):
            if to := self._addresses.get(found[0].replace(" ", "").lower()):
                yield Hit(found.start(), found.end(), to)
        for found in patterns.MAC.finditer(text):
            key = patterns.link_key(found[0])
            if key and (to := self._addresses.get(key)):
                yield Hit(found.start(), found.end(), to)

    def _named(
        self, pattern: re.Pattern[str], text: str, read: Callable[[str], str], cut: int = 0
    ) -> Iterator[Hit]:
        for found in pattern.finditer(text):
            key = patterns.address_key(read(found[0]))
            if key and (to := self._addresses.get(key)):
                yield Hit(found.start(), found.end() - cut, to)

    def _mail_hits(self, text: str, lowered: str) -> Iterator[Hit]:
        for found in patterns.MAIL.finditer(text):
            is_unit = found[1].lower() in NO_MAIL
            to = self._mails.get(lowered[found.start() : found.end()])
            if to and not is_unit and not BUILDERS.fullmatch(found[0]):
                yield Hit(found.start(), found.end(), to)

    @cached_property
    def long_names(self) -> Sequence[str]:
        """Names of which a part is telling, too, in lower case."""
        kinds = (SecretKind.HOST, SecretKind.USER, SecretKind.MAIL, SecretKind.WORD)
        starts = tuple(f"{each.upper()}-" for each in kinds)
        return [
            name
            for name, form in self._forms.items()
            if form.replacement.startswith(starts)
            and len(name) > _LOOSE + 1
            and self._is_loose(name)
        ]

    @cached_property
    def _addresses(self) -> Mapping[str, str]:
        return self._names.of(SecretKind.ADDRESS)

    @cached_property
    def _mails(self) -> Mapping[str, str]:
        return self._names.of(SecretKind.MAIL)

    @cached_property
    def _literals(self) -> re.Pattern[str]:
        longest_first = sorted(self._forms, key=lambda name: (-len(name), name))
        return re.compile("|".join(self._forms[name].pattern for name in longest_first) or "(?!)")

    @cached_property
    def _forms(self) -> Mapping[str, _Form]:
        found = dict[str, _Form]()
        for name, replacement in self._written():
            if name not in found:
                found[name] = self._form(name, replacement)
        for digits, replacement in self._digits():
            found.setdefault(digits, _Form(replacement, _of_digits(digits), is_sure=True))
        return found

    def _written(self) -> Iterator[tuple[str, str]]:
        """Every way in which a secret is written as letters."""
        for replacement, forms in self._names.originals.items():
            if replacement.startswith(f"{SecretKind.ADDRESS.upper()}-"):
                continue
            for form in chain.from_iterable(map(_spellings, forms)):
                yield form.lower(), replacement
                yield form.encode("utf-8", "surrogateescape").decode("latin-1").lower(), replacement
                if len(form) > _COMM:
                    yield form[:_COMM].lower(), replacement
                if patterns.UUID.fullmatch(form):
                    yield form.replace("-", "").lower(), replacement
                    yield form.replace("-", "_").lower(), replacement
        for key, replacement in self._addresses.items():
            if key.replace(".", "").isdigit() and "." in key:
                octets = key.split(".")
                yield "-".join(octets), replacement
                yield "_".join(octets), replacement
            elif ":" not in key:
                yield key, replacement
                groups = [key[at : at + 4] for at in range(0, len(key), 4)]
                if len(key) == _MAC_DIGITS:
                    yield ".".join(groups), replacement
                elif len(key) == _GUID_DIGITS:
                    yield ":".join(groups), replacement

    def _digits(self) -> Iterator[tuple[str, str]]:
        """Addresses as digits alone: numbers in memory, ``%pi6``."""
        for key, replacement in self._addresses.items():
            if ":" in key:
                yield IPv6Address(key).exploded.replace(":", ""), replacement
            elif "." in key:
                octets = [f"{int(each):02x}" for each in key.split(".")]
                yield "".join(octets), replacement
                yield "".join(reversed(octets)), replacement

    def _form(self, name: str, replacement: str) -> _Form:
        """A name where it is one."""
        kind = SecretKind(replacement.partition("-")[0].lower())
        if kind is SecretKind.WORD or (kind is SecretKind.PASSWORD and self._is_loose(name)):
            return _Form(replacement, re.escape(name), is_sure=True)
        if kind is SecretKind.TICKET:
            return _Form(replacement, _of_ticket(name), is_sure=False)
        if kind is SecretKind.SERIAL or kind is SecretKind.ADDRESS:
            pattern = re.escape(name) if self._is_loose(name) else _apart(name)
            return _Form(replacement, pattern, is_sure=True)
        if self._is_loose(name):
            return _Form(replacement, re.escape(name), is_sure=False)
        if name not in self._names.kernel_words:
            return _Form(replacement, _apart(name), is_sure=False)
        self.doubtful.append(name)
        behind = "|".join(f"(?<={re.escape(each + name)})" for each in _NAMING)
        return _Form(replacement, f"{re.escape(name)}(?:{behind})(?![a-z0-9_])", is_sure=False)

    def _is_loose(self, name: str) -> bool:
        return len(name) >= _LOOSE and not any(name in word for word in self._names.kernel_words)


def apart(hits: Iterable[Hit]) -> list[Hit]:
    """Of those that overlap the first, and of these the longest."""
    kept, last = list[Hit](), -1
    for hit in sorted(hits, key=lambda one: (one.start, -one.end)):
        if hit.start >= last:
            kept.append(hit)
            last = hit.end
    return kept


def _is_kept(text: str, start: int, end: int) -> bool:
    """Whether a name is a part of what a report is read by."""
    first = max(text.rfind("\n", 0, start) + 1, start - _AROUND)
    for found in _KEPT.finditer(text, first, end + _AROUND):
        if found.start() > start:
            return False
        if found.end() >= end:
            return True
    return False


def _spellings(name: str) -> Iterator[str]:
    """A name as units, variables and domains spell it; of other letters each way to encode them."""
    yield name
    if _SEPARATOR.search(name):
        yield _SEPARATOR.sub("_", name)
        yield _SEPARATOR.sub("-", name)
    if name.isascii():
        if "xn--" in name.lower():
            yield ".".join(map(_of_punycode, name.lower().split(".")))
        return
    for form in ("NFC", "NFD"):
        yield normalize(form, name)
    labels = normalize("NFC", name).lower().split(".")
    with suppress(UnicodeError):
        coded = (
            one if one.isascii() else f"xn--{one.encode('punycode').decode()}" for one in labels
        )
        yield ".".join(coded)


def _of_punycode(label: str) -> str:
    with suppress(UnicodeError):
        return (
            label.removeprefix("xn--").encode().decode("punycode") if label[:4] == "xn--" else label
        )
    return label


# what stands before a name is looked at behind it: what begins with letters is found sooner


def _apart(name: str) -> str:
    return rf"{re.escape(name)}(?<![a-z0-9]{re.escape(name)})(?![a-z0-9])"


def _of_digits(digits: str) -> str:
    return rf"{digits}(?:(?<![0-9a-z]{digits})|(?<=0x{digits}))(?![0-9a-z])"


def _of_ticket(name: str) -> str:
    """A ticket; what may be any number or word only where nothing else is meant."""
    some = re.escape(name)
    if not name.isalnum() or len(name) > 2 * _LOOSE:
        return rf"{some}(?<![\w.-]{some})(?![\w-]|\.\d)"
    before = "|".join(f"(?<={re.escape(each + name)})" for each in _OF_TICKET)
    return rf"{some}(?:{before}|(?<=/{some})(?=/\d{{4}}\.)|(?<![\w.-]{some})(?=/\d{{4}}\.\d\d\.))"


def _of_ptr(text: str) -> str:
    return ".".join(reversed(text.rstrip(".").split(".")))
