"""What a debugger writes to a terminal, without what could harm the terminal or its user.

A debugger prints a customer's memory. Control sequences in it may set the window's title or the
clipboard, print on paper, or make the terminal answer, which looks as if the user had typed it.
Only what moves the cursor, edits, scrolls and colours is let through.

Source: ECMA-48 (5th edition), and ctlseqs of xterm for what terminals make of it.
"""

from __future__ import annotations

import codecs
import re

LONGEST = 64
"""Characters of a control sequence; a longer one is dropped."""
CONTROLS = frozenset("\a\b\t\n\v\f\r")
"""Dropped are, among others, ENQ, which terminals answer, and the shifts to other letters."""
STRINGS = frozenset("]PX^_")
"""Behind ESC, what begins a string: OSC, DCS, SOS, PM, APC."""
STRING_END = re.compile(r"[\a\x18\x1a\x1b\n\r\x9c]")
"""A terminal would go on behind a newline; but it does not see the beginning, and the user shall
see the rest."""
ESCAPES = frozenset(("7", "8", "D", "E", "M", "=", ">", "(B"))
"""Behind ESC: save and restore the cursor, line feeds, keypad, plain letters."""
FINALS = frozenset("ABCDEFGHIJKLMPSTXZ@`adefm")
"""The ends of control sequences with numbers: move, erase, insert, delete, scroll, colour."""
BARE_FINALS = frozenset("su")
"""The ends of control sequences without any number: save and restore the cursor."""
PRIVATE_MODES = frozenset(("1", "7", "12", "25", "47", "1047", "1048", "1049", "2004"))
"""Cursor keys, wrapping, the cursor's look, the other screen, marked pastes."""
USUALLY_ON = frozenset(("7", "25"))
_TOKEN = re.compile(
    r"(?P<plain>[^\x00-\x1f\x7f-\x9f]+)"
    r"|\x1b\[(?P<numbers>[0-?]*)(?P<between>[ -/]*)(?P<final>[@-~])?"
    r"|\x1b(?P<escape>[ -/]*(?P<last>[0-Z\\-~])?)"
    r"|[\x00-\x1f\x7f-\x9f]"
)


class Harmless:
    """A filter of one terminal's output; what comes in pieces is put together again."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._is_in_string = False
        self._unusual: dict[str, str] = {}
        """What sets the terminal back, by what was changed."""

    def feed(self, data: bytes) -> bytes:
        """What may be shown of the next output."""
        text = self._held + self._decoder.decode(data)
        self._held = ""
        shown, at = [], 0
        while at < len(text):
            if self._is_in_string:  # which the terminal does not see
                found = STRING_END.search(text, at)
                at = len(text)
                if found is not None:
                    self._is_in_string = False
                    at = found.start() if found[0] in "\x1b\n\r" else found.end()
                continue
            found = _TOKEN.match(text, at)
            assert found  # noqa: S101  the pattern takes every character
            at = found.end()
            is_cut = at == len(text) and found["final"] is None and found["last"] is None
            if is_cut and found[0][0] == "\x1b":
                # the rest is to come; enough of a long one to see that it is too long
                self._held = found[0][: LONGEST + 1]
            elif self._is_harmless(found):
                shown.append(found[0])
        return "".join(shown).encode()

    def undo(self) -> bytes:
        """What sets the terminal back as it was, when the program is gone."""
        undone = "".join(self._unusual.values())
        self._unusual.clear()
        return undone.encode()

    def _is_harmless(self, found: re.Match[str]) -> bool:
        if found[0][0] != "\x1b":
            return found["plain"] is not None or found[0] in CONTROLS
        if found[0].startswith("\x1b["):
            return found["final"] is not None and self._is_harmless_sequence(found)
        escape = found["escape"]
        self._is_in_string = escape in STRINGS
        if escape == "=":
            self._unusual["keypad"] = "\x1b>"
        elif escape == ">":
            self._unusual.pop("keypad", None)
        return escape in ESCAPES

    def _is_harmless_sequence(self, found: re.Match[str]) -> bool:
        numbers, final = found["numbers"], found["final"]
        is_plain = re.fullmatch(r"\??[0-9;:]*", numbers) is not None
        if found["between"] or len(found[0]) > LONGEST or not is_plain:
            return False
        if numbers.startswith("?"):
            return final in "hl" and self._is_harmless_mode(numbers[1:], is_on=final == "h")
        if final in BARE_FINALS:
            return not numbers
        if final in "hl":  # insert instead of overwriting
            self._unusual["insert"] = "\x1b[4l"
            return numbers == "4"
        if final == "r":
            self._unusual["region"] = "\x1b7\x1b[r\x1b8"
            return True
        if final == "m":
            self._unusual["colour"] = "\x1b[m"
        # five numbers before a T ask for reports of the mouse
        return final in FINALS and not (final == "T" and ";" in numbers)

    def _is_harmless_mode(self, modes: str, *, is_on: bool) -> bool:
        wanted = modes.split(";")
        if not PRIVATE_MODES.issuperset(wanted):
            return False
        for mode in wanted:
            if is_on == (mode in USUALLY_ON):
                self._unusual.pop(mode, None)
            else:
                self._unusual[mode] = f"\x1b[?{mode}{'l' if is_on else 'h'}"
        return True
