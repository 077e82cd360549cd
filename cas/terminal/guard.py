"""A process that sets the user's terminal back when we are killed and cannot do it ourselves.

It runs this very file, without the rest of the program: it shall be there as soon as it can, and
take little. It has a session of its own, so that what is sent to our group or our terminal does not
end it, and learns of our end by the end of its standard input.
"""

from __future__ import annotations

import os
import sys
import termios
from typing import Any

RAW_LOCAL = termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN
"""Off only in a raw terminal: a shell that edits its command line has the signals on."""
MODES = 6
"""Numbers of the settings before the characters: four of flags, two of speed."""
FAREWELL = b"."
"""What is said before an end at which there is nothing to set back."""


def words(terminal: int, before: list[Any]) -> list[str]:
    """The command line of a guard.

    :param terminal: a descriptor that it inherits
    :param before: the terminal's settings, as `termios.tcgetattr` gives them
    """
    *modes, characters = before
    numbers = (each if isinstance(each, int) else each[0] for each in characters)
    return [sys.executable, "-I", "-S", __file__, *map(str, (terminal, *modes, *numbers))]


def main(terminal: int, *settings: int) -> None:
    """Wait for the end of standard input; the terminal is set back if it is still raw then."""
    if os.read(0, 1) == FAREWELL:
        return
    now = termios.tcgetattr(terminal)
    # a shell that has set it back by itself may have begun to use it
    is_raw = not now[1] & termios.OPOST and not now[3] & RAW_LOCAL
    if is_raw:
        before: list[Any] = [*settings[:MODES], list(settings[MODES:])]
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


if __name__ == "__main__":
    try:
        main(*map(int, sys.argv[1:]))
    except (OSError, termios.error):  # the terminal is gone
        sys.exit(1)
