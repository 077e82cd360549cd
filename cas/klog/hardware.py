"""On what hardware a kernel ran, as its log says.

``drivers/firmware/dmi_scan.c`` puts vendor, product, board and BIOS into one line, at the boot
(``DMI: …``) and in every report (``Hardware name: …``, ``dump_stack_print_info()`` in
``lib/dump_stack.c``); where vendor ends and product begins it does not tell. Other architectures
have the second line only.
"""

from __future__ import annotations

import re
from itertools import islice

from cas.klog.lines import Log
from cas.model.finding import Machine

LENGTH_LIMIT = 200
"""Characters of a model, and of a version."""
_LINES = 50
"""With the words, that are looked at."""
_DMI = re.compile(r"DMI: (.{1,400}, BIOS .*)")
_NAME = re.compile(r".{0,80}?Hardware name: (.{1,600})")
_BIOS = re.compile(r"(.{1,400}?), BIOS (.{0,200}?)(?: (\d\d/\d\d/\d{2,4}))?$")
_FIRMWARE = re.compile(r"(.{1,200}?) (?:\(raw\) |0x|of:).{0,300}?\bof:(\S{1,80})")
"""powerpc's line, ``arch/powerpc/kernel/setup-common.c``: the processor, then the firmware."""


def machine_of(log: Log) -> Machine | None:
    """Model and firmware of the machine; ``None``: the log does not tell."""
    names = []
    for key, pattern in (("DMI: ", _DMI), ("Hardware name: ", _NAME)):
        for number in islice(log.having(key), _LINES):
            if name := pattern.match(log[number].text.strip()):
                names.append(name[1])
    # the longest form first: kernels before 3.10 have the product alone in their warnings
    text = next((name for name in names if ", BIOS " in name), names[0] if names else "")
    if not text:
        return None
    found = _BIOS.match(text)
    if found is None:
        other = _FIRMWARE.match(text)
        return Machine(*(_tidy(part) for part in (other.groups() if other else (text,))))
    return Machine(_tidy(found[1]), _tidy(found[2]) or None, found[3])


def _tidy(text: str) -> str:
    return " ".join(text.split())[:LENGTH_LIMIT]
