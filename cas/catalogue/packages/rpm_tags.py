"""The tags of an RPM's header that CAS uses, and what their values mean.

Source: rpm's docs/manual/tags.md.
"""

from __future__ import annotations

import re

NAME, VERSION, RELEASE, EPOCH = 1000, 1001, 1002, 1003
BUILDTIME, BUILDHOST, ARCH, SOURCERPM = 1006, 1007, 1022, 1044
OLDFILENAMES, FILESIZES, FILEMODES, FILEDIGESTS, FILELINKTOS = 1027, 1028, 1030, 1035, 1036
DEVICES, INODES = 1095, 1096
DIRINDEXES, BASENAMES, DIRNAMES = 1116, 1117, 1118
LONGFILESIZES, FILEDIGESTALGO = 5008, 5011

S_IFMT, S_IFREG, S_IFLNK = 0o170000, 0o100000, 0o120000

_DIGESTS = {1: "md5", 2: "sha1", 8: "sha256", 9: "sha384", 10: "sha512"}
"""hashlib's names of rpm's FILEDIGESTALGO numbers (those of OpenPGP); 1 where there is none."""
_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64, "sha384": 96, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+")


def digest_name(number: int | None, digits: str) -> tuple[str, str] | None:
    """hashlib's name of an algorithm, and the digest in hex.

    :param number: FILEDIGESTALGO
    :return: ``None`` where there is no digest, or none of an algorithm that is known
    """
    name = _DIGESTS.get(1 if number is None else number)
    if name is None or len(digits) != _DIGITS[name] or not _HEX.fullmatch(digits):
        return None
    return name, digits


def is_regular(mode: int) -> bool:
    """Whether a FILEMODES entry is a regular file's."""
    return mode & S_IFMT == S_IFREG
