"""A dump's headers and memory, by whichever reader knows its format."""

from __future__ import annotations

from cas.dump.memory import Image, Source


def open_image(source: Source, *, checked: bool = True, is_far: bool = False) -> Image:
    """The image of an ELF or a KDUMP.

    :param checked: whether it is looked for damage
    :param is_far: each read costs time: only damage is looked for that a few of them tell
    :raises NotADump: its headers make no sense
    """
    # Each reader is imported only for its format: it is a share of the whole identification.
    if source.read(0, 4) == b"\x7fELF":
        from cas.dump.elf_core import open_core

        return open_core(source, checked=checked)
    from cas.dump.kdump import open_kdump

    return open_kdump(source, checked=checked, is_far=is_far)
