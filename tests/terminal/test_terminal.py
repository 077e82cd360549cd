"""A program on a terminal of its own, and what of its output reaches the user's."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cas.errors import EngineError
from cas.settings.rules import Supervision
from cas.supervise import Confinement, Sandbox, VisibleFiles
from cas.terminal import LocalTerminal, Size
from cas.terminal.harmless import LONGEST, Harmless
from cas.terminal.screen import USUAL

from installed import needs, working_sandbox

ESC = "\x1b"
HARMLESS = {
    "plain text": "a line\r\n\tafter a tab",
    "letters of the world": "größer 日本 ✓ \xa0",
    "bell and backspace": "a\a\b",
    "colours": f"{ESC}[1;38;5;196mred{ESC}[0m{ESC}[m",
    "colours with colons": f"{ESC}[38:2::1:2:3m",
    "moving": f"{ESC}[3A{ESC}[B{ESC}[10;20H{ESC}[5G{ESC}7{ESC}8{ESC}[s{ESC}[u",
    "erasing": f"{ESC}[2J{ESC}[K{ESC}[1K{ESC}[3X",
    "editing": f"{ESC}[4h{ESC}[2P{ESC}[@{ESC}[L{ESC}[M{ESC}[4l",
    "scrolling": f"{ESC}[1;20r{ESC}M{ESC}D{ESC}[2S{ESC}[T",
    "a pager's screen": f"{ESC}[?1049h{ESC}[?25l{ESC}[?1h{ESC}=",
    "marked pastes": f"{ESC}[?2004h",
    "plain letters": f"{ESC}(B",
}
HARMFUL = {
    "a title": f"{ESC}]0;owned\a",
    "the clipboard": f"{ESC}]52;c;cm0gLXJm{ESC}\\",
    "a link": f"{ESC}]8;;http://example.com{ESC}\\",
    "a title in the screen program": f"{ESC}kowned{ESC}\\",
    "a question for settings": f"{ESC}P$qm{ESC}\\",
    "a privacy message": f"{ESC}^x{ESC}\\",
    "a start of string": f"{ESC}Xx{ESC}\\",
    "a program command": f"{ESC}_Gx{ESC}\\",
    "who are you": f"{ESC}[c{ESC}[>c{ESC}[=c{ESC}[>q{ESC}Z",
    "where is the cursor": f"{ESC}[6n{ESC}[?6n",
    "how are you": f"{ESC}[5n{ESC}[x{ESC}[?25$p",
    "the window's title and size": f"{ESC}[21t{ESC}[8;1;1t{ESC}[14t",
    "the printer": f"{ESC}[5i{ESC}[?5i{ESC}[i",
    "reports of the mouse": f"{ESC}[?1000h{ESC}[?1006h{ESC}[?1003;1006h",
    "reports of the focus": f"{ESC}[?1004h",
    "mouse highlighting": f"{ESC}[1;2;3;4;5T",
    "another keyboard": f"{ESC}[>4;2m{ESC}[>1u{ESC}[?u{ESC}[20h",
    "resets": f"{ESC}c{ESC}[!p",
    "leds": f"{ESC}[3q",
    "other letters": f"{ESC}(0{ESC})0{ESC}N\x0e\x0f",
    "answerback": "\x05",
    "other controls": "\x00\x01\x7f\x18\x1a",
    "eight-bit controls": "\x9b6n\x85\x90\x98\x9f",
    "an endless repetition": f"{ESC}[999999999b",
    "a long sequence": f"{ESC}[{'1;' * LONGEST}m",
    "tests of the screen": f"{ESC}#8",
}


@pytest.mark.parametrize("text", HARMLESS.values(), ids=HARMLESS)
def test_harmless_output_is_shown_as_it_is(text: str) -> None:
    assert Harmless().feed(text.encode()) == text.encode()


@pytest.mark.parametrize("text", HARMFUL.values(), ids=HARMFUL)
def test_harmful_output_is_dropped(text: str) -> None:
    shown = Harmless().feed(f"a{text}z".encode())
    assert shown.startswith(b"a")
    assert shown.endswith(b"z")
    assert ESC.encode() not in shown
    assert not any(byte < 0x20 or 0x7F <= byte < 0xA0 for byte in shown)


@pytest.mark.parametrize("table", [HARMLESS, HARMFUL], ids=["harmless", "harmful"])
def test_pieces_are_judged_as_the_whole(table: dict[str, str]) -> None:
    data = "|".join(table.values()).encode()
    whole, piecewise = Harmless(), Harmless()
    pieces = [piecewise.feed(data[at : at + 1]) for at in range(len(data))]
    assert b"".join(pieces) == whole.feed(data)


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert Harmless().feed(b"a\x9b6n\xff\x90") == "a\ufffd6n\ufffd\ufffd".encode()


@pytest.mark.parametrize("end", ["\r\n", "\n", "\x18", f"{ESC}[1m", "\a"])
def test_a_string_without_an_end_hides_no_more_than_a_line(end: str) -> None:
    assert b"and on" in Harmless().feed(f"{ESC}]0;owned{end}and on".encode())


def test_nothing_harmful_is_put_together_from_what_is_left() -> None:
    inside = f"{ESC}{ESC}]0;x\a]0;owned\a{ESC}[{ESC}[6n6n"
    assert ESC.encode() not in Harmless().feed(inside.encode())


def test_what_was_changed_is_undone() -> None:
    shown = Harmless()
    shown.feed(f"{ESC}[?1049h{ESC}[?25l{ESC}[?1h{ESC}={ESC}[31m{ESC}[4h{ESC}[2;5r".encode())
    undone = shown.undo().decode()
    for sequence in ("[?1049l", "[?25h", "[?1l", ">", "[m", "[4l", "[r"):
        assert f"{ESC}{sequence}" in undone
    assert shown.undo() == b""


def test_what_was_changed_back_is_not_undone() -> None:
    shown = Harmless()
    shown.feed(f"text{ESC}[?1049h{ESC}[?25l{ESC}[?25h{ESC}[?1049l{ESC}={ESC}>".encode())
    assert shown.undo() == b""


@pytest.fixture(params=["sandbox", "no sandbox"])
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Confinement:
    sandbox: Sandbox | None = working_sandbox() if request.param == "sandbox" else None
    return Confinement(tmp_path, Supervision(watchdog_s=math.inf), sandbox=sandbox)


def shell(room: Confinement, script: str, *, size: Size = USUAL) -> LocalTerminal:
    return LocalTerminal(["sh", "-c", script], room, VisibleFiles(), size)


def output(terminal: LocalTerminal) -> Iterator[bytes]:
    while (data := terminal.read(60)) != b"":
        assert data is not None
        yield data


def until(terminal: LocalTerminal, text: bytes) -> None:
    said = b""
    while text not in said:
        data = terminal.read(60)
        assert data, said
        said += data


def test_a_program_owns_its_terminal(room: Confinement) -> None:
    with shell(room, "stty size; stty size </dev/tty; exit 3", size=Size(132, 50)) as terminal:
        assert b"".join(output(terminal)).split() == [b"50", b"132", b"50", b"132"]
        assert terminal.wait() == 3


def test_ctrl_c_is_for_the_program_alone(room: Confinement) -> None:
    with shell(
        room, "trap 'echo caught; exit 4' INT; echo ready; while :; do sleep 0.1; done"
    ) as terminal:
        until(terminal, b"ready")
        terminal.write(b"\x03")
        until(terminal, b"caught")
        assert b"".join(output(terminal)).strip() == b""
        assert terminal.wait() == 4


def test_the_size_follows(room: Confinement) -> None:
    script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done"
    with shell(room, script) as terminal:
        until(terminal, b"ready")
        terminal.resize(Size(100, 30))
        until(terminal, b"30 100")


def test_a_signal_is_told_as_a_negative_status(room: Confinement) -> None:
    with shell(room, "kill -SEGV $$") as terminal:
        assert b"".join(output(terminal)) == b""
        assert terminal.wait() == -signal.SIGSEGV


def test_closing_ends_everything_while_another_thread_reads(room: Confinement) -> None:
    needs("setsid")
    with shell(room, "setsid sleep 1000 & echo ready; sleep 1000") as terminal:
        until(terminal, b"ready")
        reader = threading.Thread(target=lambda: list(output(terminal)))
        reader.start()
        terminal.close()
        terminal.close()
        reader.join(60)
        assert not reader.is_alive()
        terminal.write(b"nobody reads this\n")
        # the shell may still see its own child being killed, and hand that on
        assert terminal.wait() in (-signal.SIGKILL, 128 + signal.SIGKILL)


def test_what_a_program_leaves_behind_does_not_keep_its_session_open(room: Confinement) -> None:
    with shell(room, "(trap '' HUP; sleep 1000) & echo done") as terminal:
        assert b"done" in b"".join(output(terminal))
        assert terminal.wait() == 0


def test_a_long_paste_into_a_program_that_reads_nothing_does_not_outlive_it(
    room: Confinement,
) -> None:
    with shell(room, "stty raw; echo ready; sleep 0.5") as terminal:
        until(terminal, b"ready")
        terminal.write(b"x" * (1 << 20))
        assert terminal.wait() == 0


def test_a_program_that_is_not_there_is_an_error(room: Confinement) -> None:
    with pytest.raises(EngineError, match="cannot start /nosuch: No such file"):
        LocalTerminal(["/nosuch"], room, VisibleFiles(), Size(80, 24))
