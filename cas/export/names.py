"""Which secrets there are in an export, and by what each is replaced, everywhere the same."""

from __future__ import annotations

from collections import Counter
from itertools import chain

from cas.choices import SecretKind
from cas.export import patterns
from cas.export.hexdumps import bytes_as_text, without_columns
from cas.export.kernel_words import KEPT_DOMAINS, PLACES, WORDS
from cas.export.views import decoded_base64, readings


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
            key = patterns.address_key(value) or patterns.link_key(value) or key
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
