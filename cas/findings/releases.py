"""Which kernel releases are older than others, as far as their names tell it.

Two kinds of numbers are compared, each only with its own:

- upstream versions: ``6.1.90``, ``6.10-rc3``. A release tells the one it is at where its vendor
  follows the stable releases. Enterprise distributions keep the version they began with and
  take over fixes of later ones: it says nothing of what is in them;
- a distribution's own releases, in one series: what stands behind the first hyphen counts, number
  by number.

It is an order and no ancestry: 6.2 is later than 6.1.90, and need not have all fixes of that.
"""

from __future__ import annotations

import re

from cas.frozen import dataclass

_DOTTED = r"\d{1,7}(?:\.\d{1,7}){0,7}"
_VERSION = r"\d{1,4}(?:\.\d{1,7}){1,3}"
_ARCH = r"x86_64|aarch64|ppc64le|ppc64|s390x|i[3-6]86|riscv64|loongarch64|armv7hl"
_BARE = re.compile(rf"({_VERSION})(?:-rc(\d{{1,3}}))?")
_OWN_BUILD = re.compile(
    rf"({_VERSION})(?:-rc(\d{{1,3}}))?+(-\d{{1,6}}-g[0-9a-f]{{7,40}})?+(?:\+.*|-\D.*)?"
)
"""``scripts/setlocalversion``: what ``git describe`` says, then words of whoever built it."""
_RPM = re.compile(
    rf"({_VERSION})-({_DOTTED})\.([a-z]{{1,16}}\d{{1,8}}[a-z]{{0,8}})(?:_\d{{1,3}})?(\.elrepo)?"
    rf"(?:\.(?:{_ARCH}))?(?:\+[\w-]{{1,32}})?"
)
"""``%{VERSION}-%{RELEASE}.%{ARCH}``; ``_4`` of ``el9_4`` names the minor release of the build."""
_FLAVOURED = re.compile(rf"({_VERSION})-({_DOTTED})-([a-z][\w-]{{0,63}})")
"""Debian's and Ubuntu's number of the ABI, SUSE's of the package; then the flavour."""
_DEBIAN = re.compile(rf" Debian ({_VERSION})(?:~rc(\d{{1,3}}))?-\S{{1,40}} \(\d{{4}}-")
_UBUNTU = re.compile(rf"\(Ubuntu \S{{1,80}} ({_VERSION})\)")
_FOLLOWS = re.compile(r"(?:fc|amzn)\d+|.*\.elrepo")
"""Fedora, Amazon and ELRepo rebase on each stable release."""
_STAYS = re.compile(r"(?:el|oe|al|an|tl|ky)\d.*")
"""RHEL and its kin, Oracle's UEK, openEuler, Alibaba, Anolis, Tencent and Kylin keep the version
they began with, also where that is a stable release: 4.19.91-26.al7."""
_STABLE_FLAVOURS = frozenset({"lts", "virt"})
"""Alpine's, which follow the stable releases."""
_FINAL = 1 << 20
"""In the place of the number of a release candidate, which comes before it."""


@dataclass(frozen=True, slots=True)
class Release:
    """A number that is older or newer than others of its series."""

    series: str
    """Empty: upstream versions."""
    numbers: tuple[int, ...]


def bound(text: str) -> Release:
    """What a range begins or ends with: ``6.1.90``, ``5.14.0-427.13.1.el9_4``, ``6.1.0-21-amd64``.

    :raises ValueError: its order is not known
    """
    if found := _BARE.fullmatch(text):
        return _upstream(found[1], found[2])
    own = _own(text)
    if own is None:
        raise ValueError(
            f"{text!r} is neither an upstream version (6.1.90) nor a distribution's release with "
            "its tag (5.14.0-427.13.1.el9_4) or flavour (6.1.0-21-amd64)"
        )
    return own


def told_by(release: str, banner: str | None = None) -> tuple[Release, ...]:
    """What a kernel tells of itself.

    :param release: ``uname -r``
    :param banner: its ``Linux version …`` line: those of Debian and Ubuntu name the stable release
    """
    upstream = None
    if found := _RPM.fullmatch(release):
        version, _, tag, repository = found.groups()
        tag += repository or ""
        is_stable = len(version.split(".")) > 2 and not version.endswith(".0")
        if _FOLLOWS.fullmatch(tag) or (is_stable and not _STAYS.fullmatch(tag)):
            upstream = _upstream(version, None)
    elif found := _OWN_BUILD.fullmatch(release):
        # commits beyond the version named
        upstream = _upstream(found[1], found[2], *([1] if found[3] else []))
    elif (found := _FLAVOURED.fullmatch(release)) and found[3] in _STABLE_FLAVOURS:
        upstream = _upstream(found[1], None)
    if upstream is None and (found := _DEBIAN.search(banner or "")):
        upstream = _upstream(found[1], found[2])
    elif upstream is None and (found := _UBUNTU.search(banner or "")):
        upstream = _upstream(found[1], None)
    return tuple(filter(None, (upstream, _own(release))))


def order(told: tuple[Release, ...], limit: Release) -> int | None:
    """Whether a kernel is older than (-1), the same as (0) or newer than (1) a release.

    :return: ``None``: they cannot be compared
    """
    own = next((each for each in told if each.series == limit.series), None)
    if own is None:
        return None
    return (own.numbers > limit.numbers) - (own.numbers < limit.numbers)


def has(told: tuple[Release, ...], fix: Release) -> bool:
    """Whether a kernel surely descends from a release: a later one of its branch, or of all that
    came after a mainline release.
    """
    own = next((each for each in told if each.series == fix.series), None)
    if own is None or own.numbers < fix.numbers:
        return False
    if fix.series:  # the first number is the trunk's, those behind it are of a branch
        depth = 2 if _FOLLOWS.fullmatch(fix.series) else 1
        is_trunk = len(fix.numbers) == depth
    else:
        depth = 3 if fix.numbers[:2] == (2, 6) else 2
        is_trunk = not any(fix.numbers[depth:4])
    return is_trunk or own.numbers[:depth] == fix.numbers[:depth]


def _upstream(version: str, candidate: str | None, *beyond: int) -> Release:
    numbers = [int(number) for number in version.split(".")]
    rank = int(candidate) if candidate else _FINAL
    return Release("", (*numbers, *[0] * (4 - len(numbers)), rank, *beyond))


def _own(release: str) -> Release | None:
    """Its place in the distribution's series.

    Source: rpmvercmp() of rpm and Debian policy 5.6.12 agree on numbers between dots.
    """
    if found := _RPM.fullmatch(release):
        version, number, tag, repository = found.groups()
        tag += repository or ""
        follows = _FOLLOWS.fullmatch(tag)
        base = [int(part) for part in version.split(".")] if follows else []
        return Release(tag if follows else f"{version} {tag}", (*base, *_numbers(number)))
    found = _FLAVOURED.fullmatch(release)
    if found is None or re.fullmatch(r"g[0-9a-f]{7,40}.*", found[3]):
        return None
    return Release(f"{found[1]} {found[3]}", _numbers(found[2]))


def _numbers(dotted: str) -> tuple[int, ...]:
    return tuple(int(part) for part in dotted.split("."))
