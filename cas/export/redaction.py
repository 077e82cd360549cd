"""Secrets in a text, and what stands in their place: the same everywhere in an export."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain

from cas.choices import SecretKind
from cas.export import patterns
from cas.export.hexdumps import bytes_as_text, mask_bytes, without_columns
from cas.export.kernel_words import BUILDERS, KEPT_DOMAINS, NO_MAIL, PLACES, WORDS
from cas.export.views import decoded_base64, readings, replace_base64, views

FEWEST = 3
"""Characters of a given word: with fewer nothing of a report would be left."""
_LOOSE = 4
"""Characters of a name that is replaced within other words, too."""
_COMM = 15
"""Characters of a task's name, include/linux/sched.h: TASK_COMM_LEN, of which one is its end."""
_ROUNDS = 4
_KEPT = (
    r"[A-Za-z_][\w.]*\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?(?: \[\w+\])?"
    r"|(?<![\w])(?:0x)?[0-9a-fA-F]{8,}(?![\w])"
    r"|Linux version \S+|\b(?:vmlinux|vmcore)\b"
)
"""What a vendor reads a report by: code, numbers of memory, build-ids, the release."""
_DIGITS = r"(?<![0-9A-Za-z])(?:0x)?(?:{})(?![0-9A-Za-z])"


class Names:
    """Which secrets there are, and by what each is replaced."""

    def __init__(self) -> None:
        self._numbers = Counter[SecretKind]()
        self._replacements = dict[tuple[SecretKind, str], str]()
        self._domains = dict[str, str]()
        """Of hosts whose domain is known, by their short names."""
        self.originals = dict[str, dict[str, None]]()
        """How each secret was written, by its replacement."""
        self.kernel_words = {*WORDS}

    def learn(self, text: str) -> None:
        """Take in what looks secret in a text, also where it is encoded."""
        for match in PLACES.finditer(text):
            name = next(filter(None, match.groups()), "")
            self.kernel_words.update((name.lower(), *name.lower().split("_")))
        told = without_columns(text)
        for said in chain(readings(told), decoded_base64(told), bytes_as_text(text)):
            for each in patterns.found_in(said):
                self.add(each.kind, each.value)

    def add_host(self, name: str | None) -> None:
        """Take in what a machine is called."""
        for each in patterns.named_host(name or ""):
            self.add(each.kind, each.value)

    def add_user(self, name: str | None) -> None:
        """Take in what a person's account is called."""
        if name and patterns.is_user(name):
            self.add(SecretKind.USER, name)

    def add(self, kind: SecretKind, value: str) -> str:
        """Take in a secret; by what it is replaced."""
        if kind is SecretKind.HOST:
            return self._add_host(value)
        key = value.lower()
        if kind is SecretKind.ADDRESS:
            key = patterns.address_key(value) or re.sub("[:-]", "", key)
        return self._named(kind, key, value)

    def _add_host(self, value: str) -> str:
        short, _, domain = value.lower().partition(".")
        known = self._domains.get(short)
        if domain:
            self._add_domain(domain)
            if known not in (None, "", domain):  # another machine of that name
                return self._named(SecretKind.HOST, f"{short}.{domain}", value)
            self._domains[short] = domain
        else:
            self._domains.setdefault(short, "")
        replacement = self._named(SecretKind.HOST, short, value)
        self.originals[replacement][value.partition(".")[0]] = None
        return replacement

    def _add_domain(self, domain: str) -> None:
        if "." in domain and not domain.endswith(KEPT_DOMAINS):
            self._named(SecretKind.DOMAIN, domain, domain)

    def _named(self, kind: SecretKind, key: str, value: str) -> str:
        replacement = self._replacements.get((kind, key))
        if replacement is None:
            self._numbers[kind] += 1
            replacement = f"{kind.upper()}-{self._numbers[kind]}"
            self._replacements[kind, key] = replacement
        self.originals.setdefault(replacement, {})[value] = None
        return replacement

    def of(self, kind: SecretKind) -> dict[str, str]:
        """The replacements of a kind, by what is replaced in one form."""
        return {key: to for (each, key), to in self._replacements.items() if each is kind}


class Redactor:
    """What replaces all that is known to be secret; it counts how often."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self.masked = 0
        """Places in listings of memory where bytes of secrets were overwritten."""
        self.doubtful = list[str]()
        """Names that are words of the kernel as well, and stay where they stand as such."""

    def text(self, text: str) -> str:
        """A text without secrets."""
        # first: columns of text beside numbers are where they are
        text, masked = mask_bytes(text, self._bytes_of, self._long_names)
        self.masked += masked
        for _ in range(_ROUNDS):
            found = list(self._hits_in_views(text))
            if not found:
                break
            text = self._replaced(text, found)
        return replace_base64(text, self._plain)

    def name(self, value: str, kind: SecretKind) -> str:
        """By what a value that is a name and nothing else is replaced."""
        if kind is SecretKind.HOST and not list(patterns.named_host(value)):
            return self.text(value)
        return self._names.add(kind, value)

    def _plain(self, text: str) -> str:
        found = list(self._hits(text))
        return self._replaced(text, found) if found else text

    def _bytes_of(self, text: str) -> list[tuple[int, int]]:
        return [(start, end) for start, end, _ in self._hits(text)]

    def _hits_in_views(self, text: str) -> Iterator[tuple[int, int, str]]:
        for view in views(text):
            for start, end, replacement in self._hits(view.text):
                yield (*view.span(start, end), replacement)

    def _hits(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Where secrets stand in a text, and by what they are replaced."""
        for match in self._pattern.finditer(text):
            name = match.lastgroup
            if name == "kept":
                yield from self._hits_in_kept(match)
            elif name and (replacement := self._meaning(name, match)):
                end = match.end(name) - (name in ("ptr4", "ptr6"))  # without the last dot
                yield match.start(name), end, replacement
            elif name in ("mac", "ipv6", "ipv4", "mail"):
                # what is none of these may have a name in it
                for each in self._literals.finditer(match[0]):
                    start = match.start()
                    yield start + each.start(), start + each.end(), self._literal(each[0])

    def _hits_in_kept(self, match: re.Match[str]) -> Iterator[tuple[int, int, str]]:
        for each in self._words.finditer(match[0]):
            replacement = self._literal_replacements[each[0].lower()]
            yield match.start() + each.start(), match.start() + each.end(), replacement

    def _meaning(self, name: str, match: re.Match[str]) -> str | None:
        text = match[name]
        if name == "mail":
            is_unit = match[0].rpartition(".")[2].lower() in NO_MAIL
            mails = self._names.of(SecretKind.MAIL)
            is_builders = BUILDERS.fullmatch(match[0]) is not None
            return None if is_unit or is_builders else mails.get(text.lower())
        if name == "ptr4":
            octets = text.rstrip(".").split(".")
            return self._address(".".join(reversed(octets)))
        if name == "ptr6":
            return self._address(patterns.of_nibbles(text))
        if name in ("ipv4", "ipv6"):
            return self._address(text)
        if name == "mac":
            return self._addresses.get(re.sub("[:-]", "", text.lower()))
        if name == "token":
            return self._tokens[text.lower().removeprefix("0x")]
        return self._literal(text)

    def _address(self, text: str) -> str | None:
        key = patterns.address_key(text)
        return self._addresses.get(key) if key else None

    def _literal(self, text: str) -> str:
        return self._literal_replacements[text.lower()]

    @cached_property
    def _addresses(self) -> Mapping[str, str]:
        return self._names.of(SecretKind.ADDRESS)

    @cached_property
    def _tokens(self) -> Mapping[str, str]:
        """Addresses as digits alone: of interfaces' names, of numbers in memory."""
        found = dict[str, str]()
        for key, replacement in self._addresses.items():
            if ":" in key:
                found["".join(f"{int(each, 16):04x}" for each in _groups(key))] = replacement
            elif "." in key:
                octets = [int(each) for each in key.split(".")]
                found["".join(f"{each:02x}" for each in octets)] = replacement
                found["".join(f"{each:02x}" for each in reversed(octets))] = replacement
            else:
                found[key] = replacement
        return found

    @cached_property
    def _literal_replacements(self) -> Mapping[str, str]:
        found = dict[str, str]()
        for replacement, forms in self._names.originals.items():
            if not replacement.startswith(SecretKind.ADDRESS.upper()):
                for form in forms:
                    found.setdefault(form.lower(), replacement)
                    if len(form) > _COMM:
                        found.setdefault(form[:_COMM].lower(), replacement)
                    found.setdefault(form.encode().decode("latin-1").lower(), replacement)
        for key, replacement in self._addresses.items():
            if re.fullmatch(r"[\d.]+", key):
                octets = key.split(".")
                found["-".join(octets)] = found["_".join(octets)] = replacement
            elif ":" not in key:
                found[key] = replacement
                if len(key) == 12:
                    found[".".join(key[at : at + 4] for at in (0, 4, 8))] = replacement
        return found

    @cached_property
    def _words(self) -> re.Pattern[str]:
        """Given words alone, which are replaced wherever they stand."""
        return _any_of(
            form
            for replacement, forms in self._names.originals.items()
            if replacement.startswith(SecretKind.WORD.upper())
            for form in forms
        )

    @cached_property
    def _literals(self) -> re.Pattern[str]:
        parts = [self._form(each) for each in _longest_first(self._literal_replacements)]
        return re.compile("|".join(filter(None, parts)) or r"(?!)", re.IGNORECASE)

    @cached_property
    def _long_names(self) -> Sequence[str]:
        kinds = (SecretKind.HOST, SecretKind.USER, SecretKind.MAIL, SecretKind.WORD)
        starts = tuple(each.upper() for each in kinds)
        found = self._literal_replacements.items()
        return [
            form
            for form, to in found
            if to.startswith(starts) and len(form) > _LOOSE + 1 and self._is_loose(form)
        ]

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        tokens = "|".join(map(re.escape, _longest_first(self._tokens)))
        mac = patterns.MAC.pattern.replace(r"\1", "(?P=dash)").replace("([:-])", "(?P<dash>[:-])")
        parts = (
            f"(?P<ptr4>{_bare(patterns.PTR4)})(?=in-addr\\.arpa)",
            f"(?P<ptr6>{_bare(patterns.PTR6)})(?=ip6\\.arpa)",
            f"(?P<mail>{patterns.MAIL.pattern})",
            f"(?P<mac>{mac})",
            f"(?P<ipv6>{patterns.IPV6.pattern})",
            f"(?P<ipv4>{patterns.IPV4.pattern})",
            f"(?P<token>{_DIGITS.format(tokens)})" if tokens else "",
            f"(?P<word>{self._words.pattern})",
            f"(?P<exact>{self._exact})" if self._exact else "",
            f"(?P<kept>{_KEPT})",
            f"(?P<literal>{self._literals.pattern})",
        )
        return re.compile("|".join(filter(None, parts)), re.IGNORECASE)

    @property
    def _exact(self) -> str:
        """Serial numbers as whole words: some look like what is kept."""
        serials = (
            form
            for form, to in self._literal_replacements.items()
            if to.startswith(SecretKind.SERIAL.upper())
        )
        some = "|".join(map(re.escape, _longest_first(serials)))
        return rf"(?<![0-9A-Za-z])(?:{some})(?![0-9A-Za-z])" if some else ""

    def _form(self, name: str) -> str:
        """A pattern of a name where it is one."""
        if self._is_given(name) or (self._is_loose(name) and not self._is_ticket(name)):
            return re.escape(name)
        if self._is_ticket(name):
            return _ticket_form(name)
        if name not in self._names.kernel_words:
            return rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])"
        self.doubtful.append(name)
        # a word of the kernel: only behind what says that it is a name
        before = (
            r"(?<=/home/)",
            r"(?<=nodename: )",
            r"(?<=hostname: )",
            r"(?<=hostname=)",
            r"(?<=host=)",
            r"(?<=user=)",
            r"(?<=server: )",
            r"(?<=server )",
            r"(?<=://)",
        )
        return rf"(?:{'|'.join(before)}){re.escape(name)}(?![A-Za-z0-9_])"

    def _is_given(self, name: str) -> bool:
        return self._literal_replacements[name].startswith(SecretKind.WORD.upper())

    def _is_ticket(self, name: str) -> bool:
        return self._literal_replacements[name].startswith(SecretKind.TICKET.upper())

    def _is_loose(self, name: str) -> bool:
        return len(name) >= _LOOSE and not any(name in word for word in self._names.kernel_words)

    def _replaced(self, text: str, found: Iterable[tuple[int, int, str]]) -> str:
        """A text with replacements; of those that overlap the longest one."""
        pieces, last = list[str](), 0
        for start, end, replacement in _apart(found):
            shown = replacement
            if text[end : end + 1].isdigit():
                shown += "_"
            pieces += [text[last:start], shown]
            last = end
            # columns of a table stay where they are
            blanks = (
                len(text) - end - len(text[end:].lstrip(" ")) if text[end : end + 2] == "  " else 0
            )
            if blanks > 1:
                pieces.append(" " * max(1, blanks + (end - start) - len(shown)))
                last = end + blanks
        return "".join((*pieces, text[last:]))


def _ticket_form(name: str) -> str:
    """A pattern of a ticket; of a short one, such as a number, only where nothing else is meant."""
    some = re.escape(name)
    if (len(name) > _LOOSE and not name.isalnum()) or len(name) > 2 * _LOOSE:
        return rf"(?<![A-Za-z0-9]){some}(?![A-Za-z0-9])"
    return rf"(?:(?<=/){some}(?=/\d{{4}}\.)|(?<![\w.-]){some}(?=/\d{{4}}\.\d\d\.))"


def _apart(found: Iterable[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    kept, last = list[tuple[int, int, str]](), -1
    for start, end, replacement in sorted(found, key=lambda one: (one[0], -one[1])):
        if start >= last:
            kept.append((start, end, replacement))
            last = end
    return kept


def _bare(pattern: re.Pattern[str]) -> str:
    return pattern.pattern.partition("(?=in-addr")[0].partition("(?=ip6")[0][1:-1]


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    some = "|".join(map(re.escape, _longest_first(words)))
    return re.compile(some or r"(?!)", re.IGNORECASE)


def _longest_first(words: Iterable[str]) -> list[str]:
    return sorted({*words}, key=lambda word: (-len(word), word))


def _groups(address: str) -> list[str]:
    from ipaddress import IPv6Address

    return IPv6Address(address).exploded.split(":")
