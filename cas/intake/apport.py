"""Ubuntu's crash reports, ``*.crash`` of apport: fields of text, and files packed in some of them.

A field is its name, a colon and a value, on whose further lines a blank comes first. The value
``base64`` says that a gzip file follows, in lines that are encoded each for itself; a whole file
may stand on one line. Source: apport 2.28, problem_report.py (ProblemReport.write, load).
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

from cas.streams.budget import UploadLayer
from cas.streams.flow import Damaged, Flow
from cas.streams.member import Member

_FIELD = re.compile(rb"([A-Za-z0-9._-]{1,128}):[ \t]*")
_FIELD_BYTES = 256
_NEXT_FIELD = re.compile(rb"\n(?=[^ ])")
_PACKED = re.compile(rb"base64\r?(?:\n|$)")
_TEXTS = "VmCore"
"""Fields about a kernel's dump that are texts are kept beside it."""


def apport_members(flow: Flow, layer: UploadLayer) -> Iterator[Member]:
    """The files in a report, and the texts about its dump."""
    while head := flow.peek(_FIELD_BYTES):
        if head.startswith(b"\n"):
            flow.read(1)
            continue
        field = _FIELD.match(head)
        if field is None:
            raise Damaged("a line that is no field")
        flow.read(field.end())
        name = field[1].decode("ascii")
        if packed := _PACKED.match(head, field.end()):
            flow.read(packed.end() - field.end())
            # the value begins on a line of its own; there may be none
            lines = _field_value(flow) if flow.peek(1) == b" " else iter(())
            contents = Flow(layer.spent(_from_base64(lines)), flow)
            yield Member(name, contents)
        elif name.startswith(_TEXTS):
            contents = Flow(layer.spent(_unfolded(_field_value(flow))), flow)
            yield Member(f"{name}.txt", contents)
        else:
            contents = Flow(_field_value(flow), flow)
        contents.drain()


def _field_value(flow: Flow) -> Iterator[bytes]:
    """The rest of a value, up to the line that begins with no blank; blanks still before lines."""
    while block := flow.block():
        if found := _NEXT_FIELD.search(block):
            flow.put_back(block[found.end() :])
            yield block[: found.end()]
            return
        is_last = block.endswith(b"\n") and flow.peek(1) != b" "
        yield block
        if is_last:
            return


def _unfolded(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """A text without the blank before each of its lines but the first."""
    end = b""
    for block in blocks:
        yield (end + block).replace(b"\n ", b"\n")[len(end) :]
        end = block[-1:]


def _from_base64(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The bytes of a value in base64, of which every line ends for itself.

    Of a line that the end of the file cuts as much is given as there is: what is packed tells.
    """
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield _bytes_of(line.strip(b" \r"))
        whole = len(rest.lstrip(b" ")) & -4
        text, rest = rest.lstrip(b" ")[:whole], rest.lstrip(b" ")[whole:]
        yield _bytes_of(text)


def _bytes_of(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True) if text else b""
    except binascii.Error as error:
        raise Damaged("what is no base64") from error
