"""What looks like a name, an address or a number of one machine, in any text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

from cas.choices import SecretKind
from cas.export.kernel_words import (
    BUILDERS,
    KEPT_DOMAINS,
    KEPT_HOSTS,
    KEPT_USERS,
    NO_MAIL,
)

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62})"
_HOST = rf"{_NAME}(?:\.{_NAME}){{0,10}}"
_OWN_TLDS = "com|org|edu|gov|mil|biz|example|local|localdomain|lan|corp|internal|intranet|invalid"

IPV4 = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\d)(?!\.\d{1,3}\.\d{1,3}\.\d)")
IPV6 = re.compile(
    r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9A-Fa-f]{1,4}|(?<=::))"
    r"(?![\w:])"
)
MAC = re.compile(
    r"(?<![\w:-])[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}(?:[0-9A-Fa-f]{2}\1){0,14}[0-9A-Fa-f]{2}(?![\w:-])"
)
SPACED_MAC = re.compile(r"(?<!\w)[0-9A-Fa-f]{2}(?: [0-9A-Fa-f]{2}){5}(?!\w)")
"""As ``%*ph`` of the kernel prints it: only of a known address is it one."""
PTR4 = re.compile(r"((?:\d{1,3}\.){4})(?=in-addr\.arpa)", re.IGNORECASE)
PTR6 = re.compile(r"((?:[0-9A-Fa-f]\.){32})(?=ip6\.arpa)", re.IGNORECASE)
MAIL = re.compile(
    r"(?<![\w.+-])[\w.+%-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}([A-Za-z]{2,24})(?![\w-])"
)
UUID = re.compile(
    r"[0-9A-Fa-f]{8}(?:(?<![0-9A-Fa-f]{9})|(?<=pod[0-9A-Fa-f]{8}))([_-])(?:[0-9A-Fa-f]{4}\1){3}[0-9A-Fa-f]{12}(?![0-9A-Fa-f])"
)
_LINKS = (
    re.compile(r"(?<![\w.])((?=[\d.]*[A-Fa-f])[0-9A-Fa-f]{4}(?:\.[0-9A-Fa-f]{4}){2})(?![\w.])"),
    re.compile(
        r"(?:[Mm]ac|MAC|hwaddr|HWaddr|ether|lladdr)(?:[ _]?[Aa]ddr(?:ess)?)?[\"']?[=: ]{1,2}[\"']?"
        r"([0-9A-Fa-f]{12})(?![\w.])"
    ),
    re.compile(
        r"(?i:guid|sas[ _]addr(?:ess)?)[\"']?(?: is)?[ =:(]{1,3}[\"']?(?:0x)?"
        r"([0-9A-Fa-f]{4}(?::?[0-9A-Fa-f]{4}){3})(?![\w:-])"
    ),
)
"""Addresses of links without a colon or dash between two digits, as switches, InfiniBand and SAS
write them."""
_OF_BOOTIF = 7
_MAC_OCTETS = frozenset({6, 8, 20})
"""Of Ethernet, of EUI-64 and worldwide names, of InfiniBand."""
_VERSION_BEFORE = re.compile(
    r"(?:\bv(?:er(?:sion|s)?)?|\bversions?|\bfirmware|\bfw|\bbios|\brev(?:ision)?|\bdriver|\brelease"
    r"|\bnvm|\bapi|\blibrary)[\w ]{0,16}[ :=.v-]{0,3}$",
    re.IGNORECASE,
)
_TELLING = r"(?=[\w.-]*[\d.-])"
"""A word without a digit, dot or dash may be any word where a name could stand."""
_HOSTS = (
    re.compile(
        rf"(?i:\bNODENAME|\bhost ?name)[\"']?\s*:\s*[\"']?({_HOST})(?=[\"',;)>]|[ \t]*$)",
        re.MULTILINE,
    ),
    re.compile(rf"(?i:\bNODENAME|\bhost ?name)[\"']?\s*=\s*[\"']?({_HOST})"),
    re.compile(rf"(?:Set hostname to|Hostname set to) <({_HOST})>"),
    re.compile(rf"\bserver ({_HOST})(?: not responding| OK\b| is not)"),
    re.compile(rf"\b[a-z][a-z0-9+.-]{{1,15}}://(?:[^/@\s\"'<>]{{1,200}}@)?({_HOST})"),
    re.compile(rf"(?:^|[\s\"'=,]){_TELLING}({_HOST}):/(?=[\w.-]+)", re.MULTILINE),
    re.compile(rf"\b(?:nfs4?|ceph|glusterfs|lustre) +(?:\S+ +)?({_HOST}):/"),
    re.compile(rf"(?<!\\)\\\\({_HOST})\\[\w$]"),
    re.compile(rf"(?:^|[\s\"'=,])//({_HOST})/[\w$.-]+", re.MULTILINE),
    re.compile(
        rf"^(?:<\d{{1,3}}>)?[A-Z][a-z]{{2}} [ \d]\d [\d:]{{8}}(?:\.\d+)? ({_HOST}) "
        r"\w[\w.-]*(?:\[\d+\])?: ",
        re.MULTILINE,
    ),
    re.compile(rf"\bip=(?:(?:\[[^\]\s]{{0,45}}\]|[^:\s\[]{{0,64}}):){{4}}({_HOST}):"),
    re.compile(rf"nfsroot=({_HOST}):/"),
    re.compile(rf"\brhost=({_HOST})"),
    re.compile(rf"^\d{{4}}-\d\d-\d\dT[\d:.]{{8,18}}(?:Z|[+-]\d\d:\d\d) ({_HOST}) \w", re.MULTILINE),
    re.compile(rf"^Linux ({_HOST}) \d+\.\d+\S* #\d", re.MULTILINE),
    re.compile(rf"\[[A-Za-z_][\w.-]{{0,31}}@({_HOST}) [^\]\n]{{1,80}}\][$#]"),
    re.compile(rf"^[A-Za-z_][\w.-]{{0,31}}@({_HOST}):[~/][^\s$#]{{0,80}}[$#]", re.MULTILINE),
    re.compile(rf"\bLinux version \S+ \((?!{BUILDERS.pattern})[\w.-]{{1,64}}@({_HOST})\)"),
    re.compile(rf"\b(?:ssh|scp|rsync)\b[^\n]{{0,80}}?\b[\w.-]{{1,32}}@({_HOST})(?![\w.])"),
    re.compile(
        rf"(?<![\w.@/-])((?:{_NAME}\.){{1,10}}(?:{_OWN_TLDS}))(?![\w-]|\.\w)", re.IGNORECASE
    ),
)
_USERS = (
    re.compile(
        r"/(?:home\d{0,3}|homes|Users|var/(?:spool/)?mail|var/spool/cron/crontabs|run/media)"
        r"/([\w.-]{2,32})"
    ),
    re.compile(r"\\Users\\([\w.-]{2,32})"),
    re.compile(
        r"(?:\b(?:USER|LOGNAME|USERNAME|SUDO_USER|RUSER|ruser|acct|log(?:in|name)|user(?:name)?"
        r"|[AEFLOS]?UID|AUID)\s?=\s?[\"']?)"
        r"([A-Za-z_][\w.-]{1,31})"
    ),
    re.compile(rf"\bLinux version \S+ \((?!{BUILDERS.pattern})([A-Za-z_][\w.-]{{1,31}})@"),
    re.compile(r"\b(?:ssh|scp|rsync)\b[^\n]{0,80}?\b([A-Za-z_][\w.-]{1,31})@"),
    re.compile(r"\bsu\b[^\n]{0,20}\(to \S+\) ([A-Za-z_][\w.-]{1,31}) on "),
    re.compile(r"session (?:opened|closed) for user ([A-Za-z_][\w.-]{1,31})"),
    re.compile(r"session opened for user \S{1,64} by ([A-Za-z_][\w.-]{1,31})\("),
    re.compile(r"(?i:session) \w{1,16} of (?i:user) ([A-Za-z_][\w.-]{1,31})"),
    re.compile(r"(?:Accepted|Failed) \w+ for (?:invalid user )?([A-Za-z_][\w.-]{1,31}) from "),
    re.compile(r"(?:Invalid|authenticating|invalid) user ([A-Za-z_][\w.-]{1,31}) (?:from |\d)"),
    re.compile(r"sudo(?:\[\d+\])?: +([A-Za-z_][\w.-]{1,31}) : "),
    re.compile(r"\(([A-Za-z_][\w.-]{1,31})\) (?:CMD|LIST|EDIT|RELOAD) "),
    re.compile(r"\[([A-Za-z_][\w.-]{1,31})@[\w.-]{1,63} [^\]\n]{1,80}\][$#]"),
    re.compile(r"://([A-Za-z_][\w.-]{1,31}):[^/@\s]{1,200}@"),
)
_PASSWORDS = (
    re.compile(
        r"(?:[Pp]assw(?:or)?d|PASSW(?:OR)?D|[Pp]assphrase|(?<!\w)pass|client_secret"
        r"|(?:api|access|secret)_key|(?:API|ACCESS|SECRET)_KEY|(?:auth|access)_token)(?:=|[\"']\s?:\s?)[\"']?([^\s\"',;&]{3,200})"
    ),
    re.compile(r"--(?:password|passwd|passphrase|token|secret) +[\"']?([^\s\"'-][^\s\"']{2,200})"),
    re.compile(r"://[^/:@\s]{1,64}:([^/@\s]{3,200})@"),
    re.compile(r"(\$(?:1|2[abxy]|5|6|7|g?y)\$[./A-Za-z0-9$=,]{20,200})"),
    re.compile(r"(?i:authorization: ?(?:bearer|basic) )([A-Za-z0-9._~+/=-]{8,4000})"),
)
"""Passwords, also hashed as in crypt(5), in arguments, options of mounts, URLs and headers."""
_NUMBER_BEHIND = re.compile(
    r"(?:serial(?:[ _-]?(?:number|no|num))?(?:_short)?|(?:service|asset)[ _-]?tag|machine[-_]id"
    r"|imei|iccid|s/?n(?<![a-z]sn)(?<![a-z]s/n)|wwid|ww[np]n)"
    r"[\"']?(?:\s*[:=#]\s*[\"']?|(?<=ww[np]n) (?=0x|[0-9a-f]{16}\b))"
    r"(?!8250|tty|uart)([a-z0-9][\w.:/+-]{3,63})"
)
"""In small letters; the kernel calls serial lines so, too."""
_SERIALS = (
    re.compile(r"\bwwn-(0x[0-9A-Fa-f]{16,32})"),
    re.compile(r"\bUUID=([0-9A-F]{4}-[0-9A-F]{4}|[0-9A-F]{16})\b"),
    re.compile(r"machine ID from [^\n]{0,40}?([0-9a-f]{32})\b"),
    re.compile(r"\bSN ([A-Z0-9]{8,20})(?!\w)"),
    re.compile(r"iSerial +\d+ (\w{4,64})"),
    re.compile(
        r"(?:docker|containerd|crio|libpod|kubepods)\S{0,200}?[/:-]([0-9a-f]{64})(?![0-9A-Za-z])"
    ),
    re.compile(r"SHA256:([A-Za-z0-9+/]{43})(?![A-Za-z0-9+/])"),
    re.compile(r"MD5:((?:[0-9a-f]{2}:){15}[0-9a-f]{2})"),
    re.compile(r"\b((?:eui|naa|t10)\.[\w-]{6,64})"),
    re.compile(r"\b(iqn\.\d{4}-\d{2}\.[\w.:-]{4,200}|nqn\.\d{4}-\d{2}\.[\w.:-]{4,200})"),
    re.compile(
        r"/by-id/(?:ata|scsi|nvme|usb|virtio|mmc)-\w*?_?([A-Za-z0-9]{6,40})(?![A-Za-z0-9_])"
    ),
)
_DIGIT = re.compile(r"\d")
_SMALL = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_SERIAL = 4
"""Characters of a number that tells machines apart."""


class Found(NamedTuple):
    """Something secret in a text."""

    kind: SecretKind
    value: str


def found_in(text: str) -> Iterator[Found]:
    """What looks secret by itself, or by what stands before it."""
    yield from _addresses(text)
    for match in MAIL.finditer(text):
        if match[1].lower() not in NO_MAIL and not BUILDERS.fullmatch(match[0]):
            yield Found(SecretKind.MAIL, match[0])
    for match in UUID.finditer(text):
        yield Found(SecretKind.SERIAL, match[0].replace("_", "-"))
    for password in _behind(_PASSWORDS, text):
        yield Found(SecretKind.PASSWORD, password)
    for name in _behind(_HOSTS, text):
        yield from named_host(name)
    for name in filter(is_user, _behind(_USERS, text)):
        yield Found(SecretKind.USER, name.rstrip(".-"))
    for value in (*_behind(_SERIALS, text), *_numbers(text)):
        number = value.rstrip(".:/-")
        if len(number) >= _SERIAL and _DIGIT.search(number):
            yield Found(SecretKind.SERIAL, number)


def _numbers(text: str) -> Iterator[str]:
    lowered = in_small(text)
    return (text[slice(*found.span(1))] for found in _NUMBER_BEHIND.finditer(lowered))


def in_small(text: str) -> str:
    """A text in small letters, in which each stands where it stood."""
    lowered = text.lower()
    # of a few letters the small form is two
    return lowered if len(lowered) == len(text) else text.translate(_SMALL)


def _behind(all_patterns: Iterable[re.Pattern[str]], text: str) -> Iterator[str]:
    return (match[1] for pattern in all_patterns for match in pattern.finditer(text))


def _addresses(text: str) -> Iterator[Found]:
    for match in PTR4.finditer(text):
        octets = match[1].rstrip(".").split(".")
        yield from _address(".".join(reversed(octets)))
    for match in PTR6.finditer(text):
        yield from _address(of_nibbles(match[1]))
    for match in MAC.finditer(text):
        if key := link_key(match[0]):
            yield Found(SecretKind.ADDRESS, key)
    for digits in (found.replace(".", "").replace(":", "") for found in _behind(_LINKS, text)):
        link = ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))
        if key := link_key(link):
            yield Found(SecretKind.ADDRESS, key)
    for match in IPV6.finditer(text):
        yield from _address(match[0])
    for match in IPV4.finditer(text):
        if not _is_version(text, match):
            yield from _address(match[0])


def named_host(name: str) -> Iterator[Found]:
    """A machine, where something is called by its name or address; nothing of what all have."""
    name = name.rstrip(".")
    if _is_ipv4(name):
        yield from _address(name)
        return
    lowered = name.lower()
    if lowered.startswith(("iqn.", "nqn.")):  # of iSCSI and NVMe, which are numbers of one machine
        return
    is_kept = lowered.partition(".")[0] in KEPT_HOSTS or lowered in KEPT_HOSTS
    is_public = any(lowered == each or lowered.endswith(f".{each}") for each in KEPT_DOMAINS)
    if len(name) > 1 and not name.isdigit() and not is_kept and not is_public:
        yield Found(SecretKind.HOST, name)


def is_user(name: str) -> bool:
    """Whether a name is a person's, and none that every system has."""
    name = name.rstrip(".-")
    return len(name) > 1 and not name.isdigit() and name.lower() not in KEPT_USERS


def link_key(text: str) -> str | None:
    """The digits of a link's address, with colons or dashes between them; ``None``: it is none.

    What boots over a network says ``01-`` before it, the type of Ethernet.
    """
    octets = re.split("[:-]", text.lower())
    if len(octets) == _OF_BOOTIF and octets[0] == "01":
        octets = octets[1:]
    is_any = len(octets) in _MAC_OCTETS and {*octets} - {"00", "ff"}
    return "".join(octets) if is_any else None


def address_key(text: str) -> str | None:
    """An IP address in one form, however it is written; ``None``: it is none, or nobody's own."""
    try:
        if ":" not in text:
            four = IPv4Address(".".join(str(int(each)) for each in text.split(".")))
            return None if _is_common(four) else str(four)
        six = IPv6Address(text)
    except (AddressValueError, ValueError):
        return None
    if six.ipv4_mapped:
        return None if _is_common(six.ipv4_mapped) else str(six.ipv4_mapped)
    is_common = six.is_unspecified or six.is_loopback or six.is_multicast
    return None if is_common else str(six)


def _is_common(four: IPv4Address) -> bool:
    number = int(four)
    is_mask = number >> 31 == 1 and (number ^ 0xFFFFFFFF) & ((number ^ 0xFFFFFFFF) + 1) == 0
    return four.is_loopback or four.is_multicast or number >> 24 == 0 or is_mask


def _address(text: str) -> Iterator[Found]:
    key = address_key(text)
    # `dead::beef` may be a path of Rust: one of these has a digit, or many parts
    if key and (_DIGIT.search(text) or text.count(":") > 3):
        yield Found(SecretKind.ADDRESS, key)


def of_nibbles(text: str) -> str:
    """The address of a name below ``ip6.arpa``."""
    digits = text.replace(".", "")[::-1]
    return ":".join(digits[at : at + 4] for at in range(0, 32, 4))


def _is_ipv4(text: str) -> bool:
    return IPV4.fullmatch(text) is not None


def _is_version(text: str, match: re.Match[str]) -> bool:
    """Whether four numbers with dots are rather a version of something."""
    behind = text[match.end() : match.end() + 2]
    if re.match(r"-\w|\.[A-Za-z]|~|\+", behind):
        is_thread = "-manager".startswith(text[match.end() : match.end() + 4])  # of NFS
        return re.match(r"-\d", behind) is None and not is_thread
    before = text[max(0, match.start() - 40) : match.start()].rpartition("\n")[2]
    return before.endswith(("-", "_", "+", "~", "v", "V")) or bool(_VERSION_BEFORE.search(before))
