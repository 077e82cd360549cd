"""A text without secrets: what stands in their place is the same everywhere in an export."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from cas.choices import SecretKind
from cas.export import patterns
from cas.export.hexdumps import mask_bytes
from cas.export.matching import Hit, Matcher, apart
from cas.export.names import Names
from cas.export.views import replace_base64, views

_ROUNDS = 4
_BLANKS = re.compile(" {2,}")


class Redactor:
    """What replaces all that is known to be secret, once everything was taken in."""

    def __init__(self, names: Names) -> None:
        self._names, self._matcher = names, Matcher(names)
        self.masked = 0
        """Places in listings of memory where bytes of secrets were overwritten."""

    @property
    def doubtful(self) -> tuple[str, ...]:
        """Names that are words of the kernel as well, and stay where they stand as such."""
        return tuple(dict.fromkeys(self._matcher.doubtful))

    def text(self, text: str) -> str:
        """A text without secrets."""
        # first: columns of text beside numbers are where they are
        text, masked = mask_bytes(text, self._places, self._matcher.long_names)
        self.masked += masked
        for _ in range(_ROUNDS):
            found = list(self._hits_in_views(text))
            if not found:
                break
            text = _replaced(text, found)
        return replace_base64(text, self._decoded)

    def _decoded(self, said: str, depth: int = 1) -> str:
        """What base64 says without secrets, also in base64 within it, or escaped."""
        said = _replaced(said, self._hits_in_views(said))
        return replace_base64(said, lambda one: self._decoded(one, depth - 1)) if depth else said

    def name(self, value: str, kind: SecretKind) -> str:
        """By what a value that is a name and nothing else is replaced."""
        if kind is SecretKind.HOST and not list(patterns.named_host(value)):
            return self.text(value)
        return self._names.add(kind, value)

    def _places(self, text: str) -> list[tuple[int, int]]:
        """Where secrets stand in memory, of which a character is a byte."""
        found = [(hit.start, hit.end) for hit in self._matcher.hits(text)]
        for address in self._matcher.in_memory:
            # a number that is nothing else is replaced as a text is
            at = text.find(address) if len(text) > len(address) else -1
            while at >= 0:
                found.append((at, at + len(address)))
                at = text.find(address, at + 1)
        return found

    def _hits_in_views(self, text: str) -> Iterator[Hit]:
        for view in views(text):
            for start, end, replacement in self._matcher.hits(view.text):
                yield Hit(*view.span(start, end), replacement)


def _replaced(text: str, found: Iterable[Hit]) -> str:
    """A text with replacements; columns of a table stay where they are."""
    pieces, last = list[str](), 0
    for start, end, replacement in apart(found):
        shown = replacement + "_" * text[end : end + 1].isdigit()
        pieces += [text[last:start], shown]
        last = end
        if blanks := _BLANKS.match(text, end):
            pieces.append(" " * max(1, blanks.end() - start - len(shown)))
            last = blanks.end()
    return "".join((*pieces, text[last:]))
