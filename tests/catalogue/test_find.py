import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import kernel_packages as kp
import pytest

from cas.catalogue import Catalogue
from cas.catalogue.building.build import build
from cas.catalogue.extraction.extract import extract_vmlinux
from cas.catalogue.match import differing
from cas.errors import AmbiguousKernel, KernelNotFound
from cas.model.kernel import Kernel, KernelIdentity
from cas.progress import Silent
from cas.settings.rules import PackageRules

MakeDump = Callable[..., KernelIdentity]
MakeCatalogue = Callable[..., Catalogue]

OLD_STAMP = "#1 SMP PREEMPT_DYNAMIC Thu Jan  2 03:04:05 UTC 2025"


def recipe(word: str, *, linked: bool = True, stamp: str = kp.STAMP) -> kp.Recipe:
    files, links = kp.debuginfo(word, linked=linked)
    files = {path: kp.vmlinux(word, stamp=stamp) for path in files}
    return kp.Recipe(files, links)


def nameless(stamp: str = kp.STAMP) -> kp.Recipe:
    """A kernel that was linked without a build-id."""
    files, _ = kp.debuginfo("any", linked=False)
    return kp.Recipe(
        {path: kp.elf(None, kp.banner(stamp=stamp), extra_section=".debug_info") for path in files}
    )


def test_of_two_builds_of_a_release_the_build_id_decides(
    built: MakeCatalogue, dump: MakeDump, kernels: Path
) -> None:
    catalogue = built(recipe("one"), recipe("two"))
    match = catalogue.find(dump(build_id=kp.build_id("two")))
    assert match.evidence == "build-id"
    assert match.kernel.build_id == kp.build_id("two")
    assert match.kernel.source.parent == kernels / "1"
    assert kp.build_id("two") in match.detail


def test_of_two_builds_of_a_release_the_banner_decides(
    built: MakeCatalogue, dump: MakeDump
) -> None:
    catalogue = built(recipe("one"), recipe("two", stamp=OLD_STAMP))
    match = catalogue.find(dump(banner=kp.banner(stamp=OLD_STAMP)))
    assert (match.evidence, match.kernel.build_id) == ("banner", kp.build_id("two"))


def test_the_build_time_decides_where_the_dump_has_no_whole_banner(
    built: MakeCatalogue, dump: MakeDump
) -> None:
    catalogue = built(recipe("one"), recipe("two", stamp=OLD_STAMP))
    match = catalogue.find(dump(banner=f"Linux version {kp.RELEASE} {OLD_STAMP}"))
    assert match.evidence == "release and build time"
    assert match.kernel.build_id == kp.build_id("two")
    assert OLD_STAMP in match.detail


def test_the_banner_gives_the_release_where_nothing_else_does(
    built: MakeCatalogue, dump: MakeDump
) -> None:
    match = built(recipe("one")).find(dump(osrelease=None, banner=kp.banner()))
    assert match.evidence == "banner"


def test_a_release_alone_is_taken_from_a_dump_that_tells_nothing_else(
    built: MakeCatalogue, dump: MakeDump
) -> None:
    match = built(recipe("one")).find(dump())
    assert (match.evidence, match.kernel.build_id) == ("release", kp.build_id("one"))
    assert "tells nothing else" in match.detail


def test_a_release_alone_does_not_decide_between_two(built: MakeCatalogue, dump: MakeDump) -> None:
    with pytest.raises(AmbiguousKernel) as caught:
        built(recipe("one"), recipe("two")).find(dump())
    assert kp.build_id("one") in str(caught.value)
    assert kp.build_id("two") in str(caught.value)


def test_a_tie_of_banners_names_both_candidates(
    built: MakeCatalogue, dump: MakeDump, kernels: Path
) -> None:
    with pytest.raises(AmbiguousKernel) as caught:
        built(recipe("one"), recipe("two")).find(dump(banner=kp.banner()))
    for word, place in (("one", "0"), ("two", "1")):
        assert f"{kernels / place}/" in str(caught.value)
        assert kp.build_id(word) in str(caught.value)
    assert kp.banner() in str(caught.value)


def test_other_builds_of_the_release_are_named_and_not_taken(
    built: MakeCatalogue, dump: MakeDump
) -> None:
    with pytest.raises(KernelNotFound) as caught:
        built(recipe("one")).find(dump(build_id=kp.build_id("other"), banner=kp.banner()))
    assert str(caught.value).startswith(
        f"no debuginfo for {kp.RELEASE} (x86_64), build-id {kp.build_id('other')}"
    )
    assert kp.build_id("one") in str(caught.value)
    assert f"kernel-debuginfo-{kp.RELEASE}.rpm" in caught.value.hint
    assert f"kernel-debuginfo-{kp.RELEASE}.rpm stays)" in caught.value.hint


def test_another_banner_of_the_same_release_is_not_taken(
    built: MakeCatalogue, dump: MakeDump
) -> None:
    with pytest.raises(KernelNotFound, match="another build"):
        built(recipe("one")).find(dump(banner=kp.banner(stamp=OLD_STAMP)))


def test_a_build_id_that_only_the_vmlinux_knows_is_found(
    built: MakeCatalogue, dump: MakeDump
) -> None:
    catalogue = built(recipe("one", linked=False), recipe("two", linked=False))
    match = catalogue.find(dump(build_id=kp.build_id("two")))
    assert (match.evidence, match.kernel.build_id) == ("build-id", kp.build_id("two"))


def test_a_vmlinux_is_examined_only_once(
    built: MakeCatalogue, dump: MakeDump, kernels: Path
) -> None:
    catalogue = built(recipe("one", linked=False))
    catalogue.find(dump(banner=kp.banner()))
    (package,) = (kernels / "0").iterdir()
    state = package.stat()
    package.write_bytes(bytes(state.st_size))
    os.utime(package, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert catalogue.find(dump(banner=kp.banner())).evidence == "banner"


def test_a_kernel_without_build_id_is_found_by_its_banner(
    built: MakeCatalogue, dump: MakeDump
) -> None:
    catalogue = built(nameless(), nameless(OLD_STAMP))
    match = catalogue.find(dump(banner=kp.banner(stamp=OLD_STAMP)))
    assert (match.evidence, match.kernel.build_id) == ("banner", None)


def cut_payload(package: Path) -> None:
    content = package.read_bytes()
    package.write_bytes(content[: content.index(b"\xfd7zXZ") + 64])


def test_a_damaged_candidate_does_not_hide_a_good_one(
    built: MakeCatalogue, dump: MakeDump, kernels: Path
) -> None:
    catalogue = built(recipe("one"), recipe("two", stamp=OLD_STAMP))
    (package,) = (kernels / "0").iterdir()
    cut_payload(package)
    match = catalogue.find(dump(banner=kp.banner(stamp=OLD_STAMP)))
    assert match.kernel.build_id == kp.build_id("two")


def test_a_damaged_candidate_is_named_when_nothing_matches(
    built: MakeCatalogue, dump: MakeDump, kernels: Path
) -> None:
    catalogue = built(recipe("one"))
    (package,) = (kernels / "0").iterdir()
    cut_payload(package)
    with pytest.raises(KernelNotFound, match=r"not usable: .*\.rpm"):
        catalogue.find(dump(banner=kp.banner()))


def test_the_same_kernel_in_two_packages_is_no_tie(
    built: MakeCatalogue, dump: MakeDump, kernels: Path
) -> None:
    catalogue = built(recipe("one"), recipe("one"))
    assert catalogue.find(dump(build_id=kp.build_id("one"))).kernel.source.parent == kernels / "0"


def larger(word: str) -> kp.Recipe:
    """A package that claims the build-id of another kernel."""
    files, links = kp.debuginfo(word)
    return kp.Recipe({path: content + bytes(64) for path, content in files.items()}, links)


def altered(word: str) -> kp.Recipe:
    """The same with as many bytes: only the digest in the package's header tells."""
    files, links = kp.debuginfo(word)
    return kp.Recipe({path: content[:-1] + b"!" for path, content in files.items()}, links)


@pytest.mark.parametrize(
    ("other", "told"), [(larger, r"\([\d,]+ bytes"), (altered, "digest sha256:[0-9a-f]{64}")]
)
def test_different_kernels_with_one_build_id_are_both_named_and_neither_taken(
    built: MakeCatalogue,
    dump: MakeDump,
    kernels: Path,
    other: Callable[[str], kp.Recipe],
    told: str,
) -> None:
    catalogue = built(recipe("one"), other("one"))
    with pytest.raises(AmbiguousKernel, match=told) as caught:
        catalogue.find(dump(build_id=kp.build_id("one")))
    for place in ("0", "1"):
        assert f"{kernels / place}/" in str(caught.value)
    assert "keep only the distribution's own" in caught.value.hint
    (contest,) = catalogue.store.kernels.contested()
    assert contest.build_id == kp.build_id("one")


def test_a_cached_kernel_does_not_hide_that_packages_contradict_one_another(
    built: MakeCatalogue, dump: MakeDump, kernels: Path, tmp_path: Path
) -> None:
    catalogue, cache = built(recipe("one")), tmp_path / "debugs"
    wanted = dump(build_id=kp.build_id("one"))
    extract_vmlinux(catalogue.find(wanted), cache, Silent())
    assert "extracted before" in catalogue.find(wanted, cache=cache).detail
    package = kp.build(altered("one"), kernels / "1")
    build(catalogue.store, kernels, PackageRules(kp.FILTER), Silent())
    with pytest.raises(AmbiguousKernel):
        catalogue.find(wanted, cache=cache)
    package.unlink()
    assert "extracted before" in catalogue.find(wanted, cache=cache).detail


def test_a_cached_kernel_that_its_package_contradicts_is_not_taken(
    built: MakeCatalogue, dump: MakeDump, kernels: Path, tmp_path: Path
) -> None:
    catalogue, cache = built(recipe("one")), tmp_path / "debugs"
    wanted = dump(build_id=kp.build_id("one"))
    extract_vmlinux(catalogue.find(wanted), cache, Silent())
    (package,) = (kernels / "0").iterdir()
    package.unlink()
    other = kp.build(larger("one"), kernels / "1")
    build(catalogue.store, kernels, PackageRules(kp.FILTER), Silent())
    assert catalogue.find(wanted, cache=cache).kernel.source == other


def test_what_is_not_known_of_one_package_contradicts_nothing() -> None:
    one = Kernel("6.1", "x86_64", Path("a.rpm"), "/v", size_bytes=1, digest="sha256:00")
    same = (replace(one, digest="md5:11"), replace(one, size_bytes=None, digest=None))
    assert differing([one, *same]) == ()
    assert differing([one, replace(one, digest="sha256:01")]) == ("digest",)
    assert differing([one, *same, replace(one, digest="md5:12", arch="i686")]) == ("arch", "digest")


def test_another_architecture_of_the_release_is_not_taken(
    built: MakeCatalogue, dump: MakeDump
) -> None:
    with pytest.raises(KernelNotFound):
        built(replace(recipe("one"), arch="aarch64")).find(dump())


def test_a_dump_that_names_nothing_matches_nothing(built: MakeCatalogue, dump: MakeDump) -> None:
    with pytest.raises(KernelNotFound, match="no debuginfo for an unnamed kernel"):
        built(recipe("one")).find(dump(osrelease=None))


def test_a_release_that_is_no_text_matches_nothing(built: MakeCatalogue, dump: MakeDump) -> None:
    with pytest.raises(KernelNotFound):
        built(recipe("one")).find(dump(osrelease="\udcff\0", build_id="\udcff"))


def test_an_installed_vmlinux_is_taken_when_its_build_id_is_equal(
    catalogue: Catalogue, dump: MakeDump, tmp_path: Path
) -> None:
    vmlinux = tmp_path / f"usr/lib/debug/lib/modules/{kp.RELEASE}/vmlinux"
    vmlinux.parent.mkdir(parents=True)
    vmlinux.write_bytes(kp.vmlinux("one"))
    match = catalogue.find(dump(build_id=kp.build_id("one")), root=tmp_path)
    assert (match.kernel.source, match.kernel.member) == (vmlinux, None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_source_tree_that_is_closed_to_the_user_has_no_installed_vmlinux(tmp_path: Path) -> None:
    """``build`` of a release that root has built leads to where nobody else may look."""
    closed, modules = tmp_path / "root" / "linux", tmp_path / "lib/modules" / kp.RELEASE
    closed.mkdir(parents=True)
    (closed / "vmlinux").write_bytes(kp.vmlinux("one"))
    closed.parent.chmod(0o700)
    modules.mkdir(parents=True)
    (modules / "build").symlink_to(closed)
    script = (
        "import os, sys; from pathlib import Path\n"
        "from cas.catalogue.extraction.installed import find_installed\n"
        "from cas.model.kernel import KernelIdentity\n"
        "release, build_id = sys.argv[1:]\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "print(find_installed(KernelIdentity('x86_64', release, build_id, None), Path()))"
    )
    argv = [sys.executable, "-c", script, kp.RELEASE, kp.build_id("one")]
    found = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr) == ("None\n", "")


@pytest.mark.parametrize(
    "content", [kp.vmlinux("other"), kp.elf(kp.build_id("one"), kp.banner())], ids=["", "stripped"]
)
def test_an_installed_vmlinux_of_another_build_or_without_debug_information_is_not_taken(
    catalogue: Catalogue, dump: MakeDump, tmp_path: Path, content: bytes
) -> None:
    vmlinux = tmp_path / f"usr/lib/debug/boot/vmlinux-{kp.RELEASE}"
    vmlinux.parent.mkdir(parents=True)
    vmlinux.write_bytes(content)
    for facts in ({"build_id": kp.build_id("one")}, {}):
        with pytest.raises(KernelNotFound):
            catalogue.find(dump(**facts), root=tmp_path)


def test_a_release_that_is_a_path_reads_nothing_outside(
    catalogue: Catalogue, dump: MakeDump, tmp_path: Path
) -> None:
    (tmp_path / "vmlinux").write_bytes(kp.vmlinux("one"))
    (tmp_path / "usr/lib/debug/lib/modules").mkdir(parents=True)
    with pytest.raises(KernelNotFound):
        catalogue.find(dump(osrelease="../../../../..", build_id=kp.build_id("one")), root=tmp_path)


def test_a_copy_of_a_package_elsewhere_serves_when_the_first_is_gone(
    catalogue: Catalogue, dump: MakeDump, kernels: Path
) -> None:
    package = kp.build(recipe("one"), kernels / "a")
    (kernels / "b").mkdir()
    copy = Path(shutil.copy(package, kernels / "b"))
    build(catalogue.store, kernels, PackageRules(kp.FILTER), Silent())
    package.unlink()
    assert catalogue.find(dump(build_id=kp.build_id("one"))).kernel.source == copy
