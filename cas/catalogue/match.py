"""Which of the catalogued kernels crashed: build-id, else banner, else release and build time."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from cas.choices import MatchEvidence
from cas.database.records import Candidate, CataloguedKernel
from cas.errors import AmbiguousKernel, KernelNotFound, PackageError
from cas.frozen import dataclass
from cas.model.kernel import Kernel, KernelIdentity, Match
from cas.text import one_line

Examine = Callable[[Candidate], Candidate]
"""Looks into a vmlinux for banner and build-id; raises `PackageError`."""

_FACTS = ("release", "arch", "size_bytes", "digest", "banner")
"""Attributes in which kernels of one build-id must agree, as far as they are known."""
_BUILD_STAMP = re.compile(r"#\d.*$")
_RELEASE = re.compile(r"Linux version (\S+)")
_SHOWN = 8
"""How many candidates an error lists."""


@dataclass(frozen=True, slots=True)
class Lack:
    """The answer of a place that has no kernel of a dump."""

    error: KernelNotFound | None = None
    """What to say where nobody has it."""
    asked: tuple[str, ...] = ()
    """What debuginfod servers answered, a phrase each that begins with the host."""


@dataclass(frozen=True, slots=True)
class Promise:
    """The answer that a kernel may be the dump's, which only its package tells."""


def by_vmlinux(kernel: Kernel, where: str) -> Match:
    """A kernel whose vmlinux is there already, and has the dump's build-id."""
    detail = (
        f"build-id {kernel.build_id} in the dump and in the vmlinux of {kernel.source}, {where}"
    )
    return Match(kernel, MatchEvidence.BUILD_ID, detail)


def by_build_id(identity: KernelIdentity, candidates: Sequence[Candidate]) -> Match | None:
    """The kernel with the dump's build-id; ``None`` when there is none.

    :raises AmbiguousKernel: kernels that cannot be the same one share the build-id
    """
    equal = [
        c.kernel for c in candidates if identity.build_id and c.kernel.build_id == identity.build_id
    ]
    if not equal:
        return None
    require_agreement(identity, equal)
    kernel = _first_kernel(equal)
    where = "the package" if kernel.member else "the vmlinux"
    return Match(
        kernel, MatchEvidence.BUILD_ID, f"build-id {identity.build_id} in the dump and in {where}"
    )


def require_agreement(identity: KernelIdentity, kernels: Sequence[Kernel]) -> None:
    """Let kernels of the dump's build-id pass that may be the same one.

    :raises AmbiguousKernel: they differ, and nothing tells which of them is the right one
    """
    facts = differing(kernels)
    if not facts:
        return
    # of packages that claim one build-id, all but one are wrong
    shown = [
        f"{kernel.source} ({', '.join(_shown_fact(fact, kernel) for fact in facts)})"
        for kernel in sorted(kernels, key=_kernel_order)
    ]
    raise AmbiguousKernel(
        f"{len(kernels)} packages claim build-id {identity.build_id} and hold different kernels: "
        + _first_few(shown),
        rivals=_rivals(kernels),
        hint="keep only the distribution's own of the packages that claim this build-id (none of "
        "them is used before) and run: cas-admin -b",
    )


def by_release(
    identity: KernelIdentity,
    candidates: Sequence[Candidate],
    examine: Examine | None,
    unusable: Sequence[str] = (),
) -> Match | Promise | Lack:
    """The kernel of the dump's release that the dump's other words confirm.

    :param candidates: kernels of the dump's release and architecture
    :param examine: ``None``: no package is opened, and where that would be needed it is a promise
    :param unusable: why others were left out
    :raises AmbiguousKernel: several are confirmed
    """
    open_ones, excluded = _split_by_build_id(identity, candidates)
    is_comparable = identity.build_id is not None or identity.banner is not None
    examined, damaged = list[Candidate](), list[str]()
    for candidate in open_ones:
        if candidate.examined or not is_comparable:
            examined.append(candidate)
        elif examine is None:
            return Promise()
        else:
            try:
                examined.append(examine(candidate))
            except PackageError as error:
                damaged.append(str(error))
    match = by_build_id(identity, examined)
    if match is not None:
        return match
    remaining, also_excluded = _split_by_build_id(identity, examined)
    kernels = [candidate.kernel for candidate in remaining]
    match = (
        _match_by_banner(identity, kernels)
        or _match_by_build_time(identity, kernels)
        or _match_by_release_alone(identity, kernels)
    )
    if match is None:
        others = [c.kernel for c in (*excluded, *also_excluded, *remaining)]
        return Lack(not_found(identity, others, [*unusable, *damaged]))
    return match


def not_found(
    identity: KernelIdentity, others: Sequence[Kernel] = (), unusable: Sequence[str] = ()
) -> KernelNotFound:
    """The error that names what to get.

    :param others: kernels of the same release that are not the dump's
    :param unusable: why packages were left out
    """
    release = release_of(identity)
    facts = [f"no debuginfo for {release or 'an unnamed kernel'} ({identity.arch})"]
    facts.append(
        f"build-id {identity.build_id}" if identity.build_id else "no build-id in the dump"
    )
    message = ", ".join(facts)
    if others:
        message += "; catalogued with that release, but another build: " + _listed_kernels(others)
    if unusable:
        message += "; not usable: " + "; ".join(unusable[:_SHOWN])
    from cas.catalogue.advice import package_hint  # most are found

    hint = package_hint(release, identity.arch, identity.banner) if release else None
    alike = [each for each in others if hint and each.source.name in hint.split()]
    if alike:  # or it is copied over the package of another kernel
        hint = f"{hint} (into a directory of its own: {one_line(str(alike[0].source))} stays)"
    return KernelNotFound(message, hint=hint)


def differing(kernels: Sequence[Kernel | CataloguedKernel]) -> tuple[str, ...]:
    """In what kernels of one build-id do not agree, which tells that they are not the same one.

    What is not known of one of them contradicts nothing, and digests are compared with those of
    the same algorithm: a kernel that is there as RPM and as DEB is no conflict.

    :return: of ``release``, ``arch``, ``size_bytes``, ``digest`` and ``banner``
    """
    found = []
    for fact in _FACTS:
        known = {getattr(kernel, fact) for kernel in kernels} - {None, ""}
        alike = len({str(value).partition(":")[0] for value in known}) if fact == "digest" else 1
        if len(known) > alike:
            found.append(fact)
    return tuple(found)


def release_of(identity: KernelIdentity) -> str | None:
    """The dump's osrelease, from its banner where nothing else tells."""
    found = (
        _RELEASE.match(identity.banner) if identity.banner and identity.osrelease is None else None
    )
    return found[1] if found else identity.osrelease


def _split_by_build_id(
    identity: KernelIdentity, candidates: Sequence[Candidate]
) -> tuple[list[Candidate], list[Candidate]]:
    """Those that may be the dump's kernel, and those whose build-id says that they are not."""
    excluded = [
        c
        for c in candidates
        if identity.build_id and c.kernel.build_id and c.kernel.build_id != identity.build_id
    ]
    return [c for c in candidates if c not in excluded], excluded


def _match_by_banner(identity: KernelIdentity, kernels: Sequence[Kernel]) -> Match | None:
    equal = [kernel for kernel in kernels if identity.banner and kernel.banner == identity.banner]
    if not equal:
        return None
    _one_build(identity, "have the same banner", equal)
    return Match(
        _first_kernel(equal),
        MatchEvidence.BANNER,
        f"the same banner in dump and package: {identity.banner}",
    )


def _match_by_build_time(identity: KernelIdentity, kernels: Sequence[Kernel]) -> Match | None:
    stamp = _build_time(identity.banner)
    equal = [kernel for kernel in kernels if stamp and _build_time(kernel.banner) == stamp]
    if not equal:
        return None
    _one_build(identity, f"have the build time {stamp!r}", equal)
    detail = f"release {release_of(identity)} and build time {stamp!r} in dump and package"
    return Match(_first_kernel(equal), MatchEvidence.RELEASE_AND_TIME, detail)


def _match_by_release_alone(identity: KernelIdentity, kernels: Sequence[Kernel]) -> Match | None:
    """Only where the dump offers nothing that could contradict."""
    if identity.build_id or _build_time(identity.banner) or not kernels:
        return None
    if len({(kernel.build_id, kernel.banner, kernel.size_bytes) for kernel in kernels}) > 1:
        raise _ambiguous(identity, "have that release, and the dump tells no more", kernels)
    detail = (
        f"release {release_of(identity)}: the dump tells nothing else, and no other is catalogued"
    )
    return Match(_first_kernel(kernels), MatchEvidence.RELEASE, detail)


def _one_build(identity: KernelIdentity, what: str, kernels: Sequence[Kernel]) -> None:
    if len({kernel.build_id for kernel in kernels}) > 1 or differing(kernels):
        raise _ambiguous(identity, what, kernels)


def _shown_fact(fact: str, kernel: Kernel) -> str:
    value = getattr(kernel, fact)
    if fact == "size_bytes" and value is not None:
        return f"{value:,} bytes"
    return one_line(f"{fact} {value}") if value else f"{fact} not known"


def _ambiguous(identity: KernelIdentity, what: str, kernels: Sequence[Kernel]) -> AmbiguousKernel:
    return AmbiguousKernel(
        f"{len(kernels)} catalogued kernels for {release_of(identity)} ({identity.arch}) {what}: "
        + _listed_kernels(kernels),
        rivals=_rivals(kernels),
    )


def _rivals(kernels: Sequence[Kernel]) -> tuple[str, ...]:
    facts = ((k.source, k.build_id, k.digest, k.size_bytes, k.banner) for k in kernels)
    return tuple(sorted("\t".join(map(str, row)) for row in facts))


def _listed_kernels(kernels: Sequence[Kernel]) -> str:
    return _first_few(
        [
            f"{kernel.source} (build-id {kernel.build_id or 'unknown'}, "
            f"banner {kernel.banner or 'not read'})"
            for kernel in sorted(kernels, key=_kernel_order)
        ]
    )


def _first_few(shown: Sequence[str]) -> str:
    more = len(shown) - _SHOWN
    return "; ".join(shown[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _first_kernel(kernels: Sequence[Kernel]) -> Kernel:
    """The same one on every run."""
    return min(kernels, key=_kernel_order)


def _kernel_order(kernel: Kernel) -> tuple[str, str]:
    return str(kernel.source), kernel.member or ""


def _build_time(banner: str | None) -> str | None:
    """``#1 SMP PREEMPT_DYNAMIC Mon Mar  3 10:15:00 UTC 2025``: utsname's version."""
    found = _BUILD_STAMP.search(banner) if banner else None
    return found[0] if found else None
