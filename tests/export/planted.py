"""Secrets that are planted, each in every encoding, and how they are found again by other means."""

from __future__ import annotations

import json
import quopri
from base64 import b64encode
from urllib.parse import quote

HOST, SHORT = "pluto7.berlin.example.com", "pluto7"
USER = "amelie"
SECRETS = {
    "host": HOST,
    "short": SHORT,
    "nfs": "filer3.example.com",
    "user": USER,
    "home": "/home/amelie",
    "colleague": "konrad",
    "ipv4": "10.27.133.8",
    "other ipv4": "172.19.4.77",
    "ipv6": "2a02:810c:52:1f00::7e1",
    "link": "fe80::21a:4aff:fe16:1b2c",
    "mac": "52:54:00:c3:9e:17",
    "wwn": "0x5000c500a1b2c3d4",
    "serial": "WX41A7H9K2PT",
    "uuid": "6f2b7a54-0d3c-4c1e-9a57-2f8e1b6d4c90",
    "initiator": "iqn.1994-05.com.example:9c3f21ab77",
    "mail": "k.lang@mail.example.org",
    "ticket": "SUP-48213",
    "word": "zephyrcorp",
    "other word": "Projekt Nordlicht",
    "umlaut": "müllerwerk",
}
WORDS = [SECRETS[name] for name in ("word", "other word", "umlaut")]
TELLING = f"""\
[    1.000000] systemd[1]: Hostname set to <{HOST}>.
[    1.100000] nfs: server {SECRETS["nfs"]} not responding, still trying
[    1.200000] audit: acct="{SECRETS["colleague"]}" exe="/usr/sbin/sshd" addr={SECRETS["ipv4"]}
[    1.300000] sh[4711]: cd {SECRETS["home"]}/work
[    1.400000] IPv4: martian source {SECRETS["other ipv4"]} from 10.27.133.8, on dev eth0
[    1.500000] IPv6: eth0: {SECRETS["link"]}%eth0 and {SECRETS["ipv6"]}
[    1.600000] e1000 0000:00:03.0 eth0: (PCI:33MHz:32-bit) {SECRETS["mac"]}
[    1.700000] scsi 2:0:0:0: wwn-{SECRETS["wwn"]}
[    1.800000] usb 1-1: SerialNumber: {SECRETS["serial"]}
[    1.900000] Command line: root=UUID={SECRETS["uuid"]} ro console=ttyS0
[    2.000000] scsi host2: iscsi: {SECRETS["initiator"]}
[    2.100000] cron: mail to {SECRETS["mail"]}
"""
"""A line for each of which it is known from its text alone that it is one."""
SURVIVORS = (
    "Linux version 6.1.0-17-amd64",
    "gcc-12 (Debian 12.2.0-14) 12.2.0",
    "cas_sum_entries+0x18/0x38 [cas_oops]",
    "ffff888003c8d000",
    "RIP: 0010:vp_modern_probe+0x1b2/0x430 [virtio_pci]",
    "RAX: 0000000000000000 RBX: ffff9a3c41a0b800",
    "Code: 48 8b 45 00 48 85 c0 74 0c 48 8b 40 18",
    "81561b88fc316209f6d1adc62e3e31a14f1760c3",
    "Dell Inc. PowerEdge R640/0W23H8, BIOS 2.1.3 05/01/2021",
    "0000:3b:00.0",
    "8086:1572",
    "firmware version 8.3.0.11 loaded",
    "i40e driver version 2.8.20.1-k",
    "12:34:56",
    "2026-12-01 15:09:11 UTC",
    "[ 7300.123456]",
    "sd 2:0:0:0: [sda] 4096-byte physical blocks",
    "127.0.0.1",
    "netmask 255.255.255.0",
    "systemd[1]: getty@tty1.service: Succeeded",
    "nvme0n1",
    "Tainted: G           OE",
    "mockbuild@x86-64-05.build.eng.rdu2.redhat.com",
)
"""What a vendor reads a report by."""


def encoded(text: str) -> dict[str, str]:
    """A text in each encoding, as a line or several."""
    raw = text.encode()
    return {
        "plain": text,
        "upper": text.upper(),
        "json": json.dumps("".join(f"\\u{ord(char):04x}" for char in text)).replace("\\\\", "\\"),
        "html": "".join(f"&#x{ord(char):x};" for char in text),
        "url": "".join(f"%{byte:02X}" for byte in raw),
        "partly url": quote(text, safe=""),
        "quoted": "".join(f"={byte:02X}" for byte in raw),
        "soft breaks": quopri.encodestring((raw + b" ") * 4).decode(),
        "base64": b64encode(b"a login of " + raw + b" now").decode(),
        "shifted": "key=" + b64encode(b"x=" + raw + b"; y").decode(),
        "utf-16": "\0".join(text) + "\0",
        "escaped utf-16": "".join(f"{char}\\x00" for char in text),
        "hex": raw.hex(),
        "dump": hex_dump(raw),
        "words": words_of_memory(raw),
        "utf-16 words": words_of_memory(text.encode("utf-16-le")),
        "json in url": quote(json.dumps({"a": "".join(f"\\u{ord(c):04x}" for c in text)})),
    }


def hex_dump(raw: bytes) -> str:
    """As print_hex_dump() has it."""
    return "\n".join(
        f"{at:08x}: {' '.join(f'{byte:02x}' for byte in raw[at : at + 16])}  "
        f"{_letters(raw[at : at + 16])}"
        for at in range(0, len(raw), 16)
    )


def words_of_memory(raw: bytes) -> str:
    """As crash's ``rd`` has it on a little-endian machine."""
    raw += bytes(-len(raw) % 16)
    lines = []
    for at in range(0, len(raw), 16):
        words = (int.from_bytes(raw[at + each : at + each + 8], "little") for each in (0, 8))
        shown = " ".join(f"{word:016x}" for word in words)
        lines.append(f"ffff888003c8d{at:03x}:  {shown}   {_letters(raw[at : at + 16])}")
    return "\n".join(lines)


def leaks(text: str, secret: str) -> list[str]:
    """In which forms a secret is in a text; of each form only the bytes of the secret itself."""
    raw, lowered = secret.encode(), text.lower()
    forms = {
        "plain": secret.lower(),
        "json": "".join(f"\\u{ord(char):04x}" for char in secret),
        "html": "".join(f"&#x{ord(char):x};" for char in secret),
        "url": "".join(f"%{byte:02x}" for byte in raw),
        "quoted": "".join(f"={byte:02x}" for byte in raw),
        "utf-16": "\0".join(secret.lower()),
        "escaped utf-16": "\\x00".join(secret.lower()),
        "hex": raw.hex(),
        "nested json": "".join(f"\\\\u{ord(char):04x}" for char in secret).replace("\\", "%5c"),
        "spaced": " ".join(f"{byte:02x}" for byte in raw),
    }
    found = [name for name, form in forms.items() if form in lowered]
    for shift in range(3):
        code = b64encode(b"a" * shift + raw).decode().rstrip("=")
        inner = code[(shift * 8 + 5) // 6 : -1]
        if inner in text:
            found.append(f"base64 {shift}")
    for at in range(8):  # of words as they are turned, any whole one that has eight of its letters
        word = raw[at : at + 8]
        if len(word) == 8 and f"{int.from_bytes(word, 'little'):016x}" in lowered:
            found.append("words")
    return found


def _letters(raw: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in raw)
