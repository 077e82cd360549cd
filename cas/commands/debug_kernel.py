"""The vmlinux for a debugger: the one with the dump's build-id, or another that the user wants."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from cas import elf
from cas.catalogue import Catalogue
from cas.catalogue.cache import lease
from cas.catalogue.cache.entry import is_sound
from cas.catalogue.extraction import extract
from cas.catalogue.extraction.kmod_search import Found, in_cache
from cas.catalogue.packages import debug_info
from cas.catalogue.suppliers import Sought
from cas.commands.debug_dump import record_force
from cas.commands.invocation import World
from cas.commands.meant_job import Subject
from cas.errors import CasError, NotADump, Refused
from cas.jobs.job import Job
from cas.jobs.layout import LINKED
from cas.klog.log_text import kmods_of_places
from cas.model.dump import Dump
from cas.model.kernel import Kernel, Match
from cas.report.result import load as load_result

NO_VMLINUX = (
    "give the vmlinux of the debuginfo package, or leave --kernel away to have the right one found"
)


class WrongKernel(Refused):
    """A vmlinux is not the one that crashed."""

    hint = "leave --kernel away to have the right one found, or add --force"


def right_kernel(
    job: Job | None, dump: Dump, catalogue: Catalogue, world: World, session: ExitStack
) -> tuple[Path, Match | None]:
    """The vmlinux that the job used, if it still is the dump's; else the catalogue's, as a match.

    :param session: as long as it lasts, the cache keeps the vmlinux
    :raises KernelNotFound: there is none
    """
    config, progress = world.config, world.progress
    vmlinux = _vmlinux_of_job(job, dump) if job else None
    if vmlinux is not None:
        session.enter_context(lease.on_file(config.debugs, vmlinux))
        if is_sound(config.debugs, vmlinux):
            return vmlinux, None
    match = catalogue.find(dump.identity, cache=config.debugs, progress=progress)
    for remark in match.remarks:
        progress.warn(remark)
    sought = Sought(dump.identity, config.debugs, progress)
    match, found = catalogue.extract(sought, match, (), session)
    return found.vmlinux, match


def was_read_otherwise(job: Job, dump: Dump) -> bool:
    """Whether the job found in memory that the dump's headers are another kernel's."""
    try:
        told = load_result(job.directory).dump
    except CasError:  # it has not come to its end
        return False
    return (
        told is not None
        and None not in (told.build_id, dump.build_id)
        and (told.build_id != dump.build_id)
    )


def loaded_kmods(job: Job, dump: Dump, vmlinux: Path, match: Match | None, world: World) -> Found:
    """Files of the kernel modules that were loaded, as far as the cache or the job has them.

    :param match: the kernel, if its vmlinux had to be looked up again: then its modules' files may
        be gone from the cache, too
    """
    try:
        answer = load_result(job.directory).answer
    except CasError:  # it has not come to its end
        return Found()
    kmods = answer.kmods if answer else ()
    wanted = {kmod.name: kmod.build_id for kmod in kmods if kmod.build_id}
    if not wanted or dump.build_id is None or dump.osrelease is None:
        return Found()
    used = {kmod.name: kmod.build_id for kmod in kmods if kmod.has_debuginfo and kmod.build_id}
    if match is not None and used:
        try:
            extract.extract_kmods(match, used, world.config.debugs, world.progress)
        except CasError as error:
            world.progress.warn(f"the kernel modules cannot be extracted: {error}")
    kernel = Kernel(dump.osrelease, dump.arch, vmlinux, member=None, build_id=dump.build_id)
    found = in_cache(kernel, wanted, world.config.debugs)
    lacking = {name: each for name, each in wanted.items() if name not in found.debuginfo}
    # a job with -m has debug files, whatever the cache has let go of
    own: dict[str, Path] = {}
    for path in sorted((job.directory / LINKED).rglob("*.ko.debug")):
        name = path.name.removesuffix(".ko.debug").replace("-", "_")
        with suppress(NotADump):
            if name in lacking and elf.build_id(path) == lacking[name]:
                own[name] = path
    return replace(found, files={**found.files, **own}, debuginfo=found.debuginfo | own.keys())


def kmods_of_log(dump: Dump, match: Match | None, catalogue: Catalogue, world: World) -> Found:
    """Files of the kernel modules in whose code the kernel log has a place.

    :param match: the kernel, if its vmlinux had to be looked up again
    """
    wanted, cache = kmods_of_places(dump.dmesg or ""), world.config.debugs
    if not wanted:
        return Found()
    try:
        match = match or catalogue.find(dump.identity, cache=cache, progress=world.progress)
        found = catalogue.kmods(match, wanted, cache=cache, progress=world.progress)
        guess = catalogue.guessed_kmods(match, wanted, found, cache=cache, progress=world.progress)
        return Found({**found.files, **guess.files}, found.debuginfo | guess.debuginfo)
    except CasError as error:
        world.progress.warn(f"there are no files of kernel modules: {error}")
        return Found()


def given_kernel(
    vmlinux: Path, subject: Subject, dump: Dump, world: World, *, is_forced: bool
) -> Path:
    """A vmlinux of the user's own; one that is not the dump's only by force, which is recorded.

    :raises NotADump: it is no ELF file, cannot be read, or has no debug information
    :raises WrongKernel: it is not the dump's
    :raises TryAgain: what was forced cannot be recorded
    """
    vmlinux = vmlinux.absolute()
    try:
        difference, wrong = _difference(vmlinux, dump), debug_info.flaw(vmlinux)
    except NotADump as error:
        is_named = str(vmlinux) in str(error)
        said = str(error) if is_named else f"{vmlinux} is no vmlinux: {error}"
        raise NotADump(said, hint=NO_VMLINUX) from error
    if wrong:
        raise NotADump(f"{vmlinux} {wrong}", hint=NO_VMLINUX)
    if difference is None:
        return vmlinux
    if not is_forced:
        raise WrongKernel(difference)
    record_force(subject, f"debugs with a wrong kernel by --force: {difference}", world)
    return vmlinux


def _vmlinux_of_job(job: Job, dump: Dump) -> Path | None:
    try:
        kernel = load_result(job.directory).kernel
        if kernel is None or kernel.vmlinux is None:
            return None
        vmlinux = Path(kernel.vmlinux)
        # without a build-id in the dump it was the job that found out which one it must be
        wanted = dump.build_id or kernel.build_id
        is_it = bool(wanted) and elf.build_id(vmlinux) == wanted
        return vmlinux if is_it and debug_info.flaw(vmlinux) is None else None
    except CasError:  # the job did not come so far, or the file is gone
        return None


def _difference(vmlinux: Path, dump: Dump) -> str | None:
    """Why a vmlinux is not the one that crashed, as far as that can be told."""
    build_id = elf.build_id(vmlinux)
    if dump.build_id:
        if build_id == dump.build_id:
            return None
        return f"{vmlinux} has build-id {build_id or 'none'}, the dump's kernel has {dump.build_id}"
    banner = elf.linux_banner(vmlinux)
    if dump.banner and banner and banner != dump.banner:
        return f"{vmlinux} is of {banner!r}, the dump of {dump.banner!r}"
    return None
