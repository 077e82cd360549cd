"""Which build of a kernel module was loaded: the build-id in the module's notes, in the dump.

The kernel keeps the notes of each module for ``/sys/module/NAME/notes``. Reading them there takes
a tenth of a millisecond; drgn's own way, which knows newer kernels' layout too, many times that.

Source: kernel/module/sysfs.c, ``add_notes_attrs``; elf(5), "Notes (Nhdr)".
"""

from __future__ import annotations

import struct

from drgn import FaultError, Object, PlatformFlags

MAX_NOTES = 64
NOTE_BYTES = 4096
BUILD_ID_BYTES = 64
"""The longest that a build-id is believed to be; SHA-1 has 20."""
NAME = b"GNU\0"
NT_GNU_BUILD_ID = 3


def build_id(module: Object) -> str | None:
    """The build-id in hex; ``None`` when the module has none, or its notes are not in the dump.

    :param module: ``struct module *``
    """
    try:
        return _build_id_in_notes(module)
    except (FaultError, LookupError, ValueError, OverflowError):
        return None
    except AttributeError:
        # CONFIG_KALLSYMS is off, or the members have other names, since Linux 6.14 (4723f16de64e)
        try:
            known = module.prog_.linux_kernel_loadable_module(module, create=True)
        except (FaultError, LookupError, ValueError):
            return None
        found = known.build_id
        return found.hex() if found and len(found) <= BUILD_ID_BYTES else None


def _build_id_in_notes(module: Object) -> str | None:
    if not module.notes_attrs:
        return None
    notes = module.notes_attrs.read_()
    platform = module.prog_.platform
    is_little = platform is None or PlatformFlags.IS_LITTLE_ENDIAN in platform.flags
    head = struct.Struct("<III" if is_little else ">III")
    for index in range(min(int(notes.notes), MAX_NOTES)):
        attribute = notes.attrs[index]
        size = min(int(attribute.size), NOTE_BYTES)
        data = module.prog_.read(attribute.private.value_(), size)
        if len(data) < head.size:
            continue
        name_size, size, kind = head.unpack_from(data)
        is_build_id = (name_size, kind) == (len(NAME), NT_GNU_BUILD_ID) and data[12:16] == NAME
        if is_build_id and 0 < size <= BUILD_ID_BYTES:
            found: str = data[16 : 16 + size].hex()
            return found
    return None
