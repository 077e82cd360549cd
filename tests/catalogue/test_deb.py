"""Debian packages: what they hold, read as far as needed, and every way in which one can be odd."""

import gzip
import lzma
import random
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import deb_packages as dp
import kernel_packages as kp
import pytest

from cas.catalogue.extraction.extract import extract
from cas.catalogue.packages import deb, package_kinds
from cas.database.records import Package, PackagedKernel
from cas.errors import PackageError
from cas.model.kernel import Kernel, Match
from cas.progress import Silent

from installed import needs

FILES = dp.debuginfo("one", kmods=3)
KERNEL = FILES[dp.VMLINUX]


@pytest.fixture(scope="module", autouse=True)
def dpkg() -> None:
    needs("dpkg-deb")


@pytest.fixture
def written(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(package: bytes) -> Path:
        path = tmp_path / f"{dp.NAME}_{dp.VERSION}_amd64.deb"
        path.write_bytes(package)
        return path

    return write


def md5(data: bytes) -> str:
    return dp.md5sums({"/x": data}).split()[0].decode()


def kernel(path: Path) -> PackagedKernel:
    (found,) = package_kinds.read_package(path).kernels
    return found


@pytest.mark.parametrize("packed", ["none", "gzip", "xz", "zstd"])
def test_dpkgs_packages_are_known_by_build_id_and_banner(tmp_path: Path, packed: str) -> None:
    package = package_kinds.read_package(dp.build(tmp_path, FILES, packed))
    assert package == Package(
        name=dp.NAME,
        arch="x86_64",
        build_time_s=package.build_time_s,
        kernels=(
            PackagedKernel(
                release=dp.RELEASE,
                flavour="cloud",
                member=dp.VMLINUX,
                build_id=kp.build_id("one"),
                size_bytes=len(KERNEL),
                digest=f"md5:{md5(KERNEL)}",
                banner=kp.banner(dp.RELEASE),
                is_examined=True,
            ),
        ),
        kind="deb",
        version=dp.VERSION,
        kmods={dp.RELEASE: 3},
    )
    assert package.build_time_s is not None


@pytest.mark.parametrize("packed", dp.PACKED)
def test_every_compression_of_the_data_archive_is_read(
    written: Callable[[bytes], Path], packed: str
) -> None:
    assert kernel(written(dp.package(FILES, packed))).build_id == kp.build_id("one")


@pytest.mark.parametrize("packed", dp.PACKED)
def test_every_compression_of_the_control_archive_is_read(
    written: Callable[[bytes], Path], packed: str
) -> None:
    control = dp.PACKED[packed](dp.tar_of(dp.control_files(FILES)))
    package = dp.ar(
        dp.member("debian-binary", b"2.0\n"),
        dp.member(f"control.tar{packed}", control),
        dp.member("data.tar", dp.tar_of(FILES)),
    )
    assert package_kinds.read_package(written(package)).version == dp.VERSION


def spelled(name: str, content: bytes, spelling: str) -> bytes:
    if spelling == "slash":
        return dp.member(f"{name}/", content)
    return dp.member(f"#1/{len(name) + 1}", name.encode() + b"\0" + content)


@pytest.mark.parametrize("spelling", ["slash", "bsd"])
def test_every_spelling_of_a_members_name_is_read(
    written: Callable[[bytes], Path], spelling: str
) -> None:
    control = gzip.compress(dp.tar_of(dp.control_files(FILES)))
    package = dp.ar(
        spelled("debian-binary", b"2.0\n", spelling),
        spelled("control.tar.gz", control, spelling),
        spelled("data.tar", dp.tar_of(FILES), spelling),
    )
    assert kernel(written(package)).build_id == kp.build_id("one")


def test_names_in_a_table_and_members_of_others_are_read(written: Callable[[bytes], Path]) -> None:
    control = gzip.compress(dp.tar_of(dp.control_files(FILES)))
    package = dp.ar(
        dp.member("//", b"debian-binary/\ncontrol.tar.gz/\ndata.tar/\n"),
        dp.member("/0", b"2.0\n"),
        dp.member("/15", control),
        dp.member("/31", dp.tar_of(FILES)),
        dp.member("_gpgorigin", b"a signature"),
    )
    assert kernel(written(package)).build_id == kp.build_id("one")


@pytest.mark.parametrize(
    ("path", "release"),
    [
        ("/usr/lib/debug/boot/vmlinux-6.8.0-31-generic", "6.8.0-31-generic"),
        ("/usr/lib/debug/boot/vmlinux-6.8.0-31-generic.debug", "6.8.0-31-generic"),
        ("/usr/lib/debug/lib/modules/6.12.43+deb13-amd64/vmlinux", "6.12.43+deb13-amd64"),
        ("/usr/lib/debug/usr/lib/modules/6.12.43+deb13-amd64/vmlinux", "6.12.43+deb13-amd64"),
    ],
)
def test_every_place_of_a_vmlinux_is_known(
    written: Callable[[bytes], Path], path: str, release: str
) -> None:
    found = kernel(written(dp.package({path: kp.vmlinux("one", release)})))
    assert (found.release, found.member) == (release, path)


@pytest.mark.parametrize(
    ("release", "arch", "flavour"),
    [
        ("6.1.0-56-amd64", "amd64", ""),
        ("6.1.0-56-cloud-amd64", "amd64", "cloud"),
        ("6.1.0-56-rt-arm64", "arm64", "rt"),
        ("6.12.43+deb13-amd64", "amd64", ""),
        ("5.10.0-30-686-pae", "i386", "686-pae"),
        ("6.8.0-31-generic", "amd64", "generic"),
        ("6.8.0-1010-nvidia-64k", "arm64", "nvidia-64k"),
        ("6.5.0", "amd64", ""),
    ],
)
def test_the_flavour_is_what_the_release_adds(release: str, arch: str, flavour: str) -> None:
    assert deb.deb_flavour(release, arch) == flavour


def test_a_package_without_a_vmlinux_has_no_kernels(written: Callable[[bytes], Path]) -> None:
    assert package_kinds.read_package(written(dp.package({"/usr/share/doc/x": b"x"}))).kernels == ()


def test_the_vmlinux_itself_tells_the_architecture(written: Callable[[bytes], Path]) -> None:
    control = dp.tar_of({"/control": dp.control(arch="i386"), "/md5sums": dp.md5sums(FILES)})
    package = dp.ar(
        dp.member("debian-binary", b"2.0\n"),
        dp.member("control.tar", control),
        dp.member("data.tar", dp.tar_of(FILES)),
    )
    assert package_kinds.read_package(written(package)).arch == "x86_64"


def test_without_md5sums_the_payload_itself_is_listed(written: Callable[[bytes], Path]) -> None:
    path = written(dp.package(FILES, ".xz", listed=False))
    package = package_kinds.read_package(path)
    assert (package.kernels[0].build_id, package.kernels[0].digest) == (kp.build_id("one"), None)
    assert package.kmods == {dp.RELEASE: 3}
    assert set(deb.deb_listing(path).files) == set(FILES)


def test_nothing_behind_the_notes_is_read(written: Callable[[bytes], Path]) -> None:
    files = {dp.VMLINUX: kp.vmlinux("one", dp.RELEASE, padding=500_000)}
    data = dp.tar_of(files)[:250_000] + b"garbage"
    assert kernel(written(dp.package(files, "", data=data))).banner == kp.banner(dp.RELEASE)


def test_a_hard_link_to_the_vmlinux_is_no_second_kernel(written: Callable[[bytes], Path]) -> None:
    alias = f"/usr/lib/debug/lib/modules/{dp.RELEASE}/vmlinux"
    link = dp.entry(alias, type=tarfile.LNKTYPE, linkname="." + dp.VMLINUX)
    data = dp.tar([dp.entry(dp.VMLINUX, KERNEL), link])
    path = written(dp.package({alias: KERNEL, dp.VMLINUX: KERNEL}, data=data))
    assert kernel(path).member == dp.VMLINUX


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_paths_are_read(written: Callable[[bytes], Path], format: int) -> None:
    long = "/usr/lib/debug/lib/modules/" + "6." + "1" * 80 + "/kernel/" + "long/" * 8 + "x.ko"
    vmlinux = "/usr/lib/debug/lib/modules/" + "6." + "1" * 80 + "/vmlinux"
    files = {long: b"kmod", vmlinux: kp.vmlinux("one")}
    data = dp.tar([dp.entry(path, content) for path, content in files.items()], format)
    path = written(dp.package(files, data=data, listed=False))
    assert kernel(path).build_id == kp.build_id("one")
    assert set(deb.deb_listing(path).files) == set(files)


def test_the_listing_gives_digests_and_streams_members(written: Callable[[bytes], Path]) -> None:
    listing = deb.deb_listing(written(dp.package(FILES)))
    assert {path: listed.digest for path, listed in listing.files.items()} == {
        path: ("md5", md5(content)) for path, content in FILES.items()
    }
    read: list[int] = []
    with listing.opened(read.append) as members:
        found = {member.path: b"".join(member.flow.rest()) for member in members}
    assert found == FILES
    assert sum(read) == listing.payload_bytes


def match(path: Path) -> Match:
    found = kernel(path)
    known = Kernel(
        found.release,
        "x86_64",
        source=path,
        member=found.member,
        build_id=found.build_id,
        banner=found.banner,
        size_bytes=found.size_bytes,
    )
    return Match(known, "build-id", "")


def test_vmlinux_and_kmods_are_extracted(written: Callable[[bytes], Path], tmp_path: Path) -> None:
    done = extract(match(written(dp.package(FILES))), ["ext4"], tmp_path / "debugs", Silent())
    assert done.vmlinux.read_bytes() == KERNEL
    assert done.kmods["ext4"].read_bytes() == FILES[dp.KMOD]


def test_a_member_with_another_checksum_is_not_extracted(
    written: Callable[[bytes], Path], tmp_path: Path
) -> None:
    other = kp.vmlinux("one", dp.RELEASE, padding=1)
    data = dp.tar_of(FILES | {dp.VMLINUX: other})
    found = match(written(dp.package(FILES, data=data)))
    with pytest.raises(PackageError, match="damaged"):
        extract(found, [], tmp_path / "debugs", Silent())


def test_xz_of_many_blocks_is_read_by_two_threads(
    written: Callable[[bytes], Path], tmp_path: Path
) -> None:
    tail = random.Random(1).randbytes(200_000)  # noqa: S311
    files = FILES | {"/usr/lib/debug/tail": tail}
    (tmp_path / "data").write_bytes(dp.tar_of(files))
    argv = [needs("xz"), "-T2", "--block-size=8192", "-c", tmp_path / "data"]
    packed = subprocess.run(argv, check=True, capture_output=True).stdout
    control = dp.member("control.tar", dp.tar_of(dp.control_files(files)))
    head = (dp.member("debian-binary", b"2.0\n"), control)
    path = written(dp.ar(*head, dp.member("data.tar.xz", packed)))
    with deb.deb_listing(path).opened(lambda _: None) as members:
        found = {member.path: b"".join(member.flow.rest()) for member in members}
    assert found == files
    broken = packed[:100_000] + b"broken" + packed[100_006:]
    listing = deb.deb_listing(written(dp.ar(*head, dp.member("data.tar.xz", broken))))
    with (
        pytest.raises(PackageError, match="payload is damaged"),
        listing.opened(lambda _: None) as members,
    ):
        for _ in members:
            pass


def test_a_vmlinux_without_contents_is_known_by_its_section_headers(
    written: Callable[[bytes], Path],
) -> None:
    bare = bytearray(kp.elf(kp.build_id("bare")))
    for header in (64, 64 + 56):  # segments that point nowhere, as eu-strip leaves them
        bare[header + 8 : header + 16] = (1 << 40).to_bytes(8, "little")
    found = kernel(written(dp.package({dp.VMLINUX: bytes(bare)})))
    assert (found.build_id, found.banner) == (kp.build_id("bare"), None)


def test_a_vmlinux_without_a_build_id_is_known_by_its_banner(
    written: Callable[[bytes], Path],
) -> None:
    old = kp.elf(None, kp.banner(dp.RELEASE))
    found = kernel(written(dp.package({dp.VMLINUX: old})))
    assert (found.build_id, found.banner) == (None, kp.banner(dp.RELEASE))


@pytest.mark.parametrize("tenths", range(10))
def test_a_package_cut_anywhere_is_refused(written: Callable[[bytes], Path], tenths: int) -> None:
    package = dp.package(FILES, ".xz")
    with pytest.raises(PackageError, match=r"is no intact DEB|is damaged"):
        package_kinds.read_package(written(package[: len(package) * tenths // 10]))


def control_of(files: Mapping[str, bytes], **odd: bytes) -> bytes:
    return dp.member("control.tar", dp.tar_of(dp.control_files(files) | odd))


FORMAT = dp.member("debian-binary", b"2.0\n")
CONTROL = control_of(FILES)
DATA = dp.member("data.tar", dp.tar_of(FILES))


def with_data(*entries: tuple[tarfile.TarInfo, bytes], listed: bool = True) -> bytes:
    return dp.package(FILES, "", data=dp.tar(entries), listed=listed)


def with_number(number: bytes) -> bytes:
    """A data archive whose first header claims a size in these bytes."""
    block = bytearray(dp.tar([dp.entry(dp.VMLINUX, KERNEL)]))
    block[124:136] = number
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    return dp.package(FILES, "", data=bytes(block))


HUGE = dp.entry(dp.VMLINUX, size=5 << 30)
ODD = {
    "empty": (b"", "the file is empty"),
    "text": (b"not a package at all\n", "does not begin like one"),
    "no members": (dp.ar(), "first member is not debian-binary"),
    "other first member": (dp.ar(CONTROL, DATA), "first member is not debian-binary"),
    "other version": (dp.ar(dp.member("debian-binary", b"3.0\n"), CONTROL, DATA), "not 2.x"),
    "no control": (dp.ar(FORMAT, DATA), "0 members control.tar"),
    "no data": (dp.ar(FORMAT, CONTROL), "0 members data.tar"),
    "two data": (dp.ar(FORMAT, CONTROL, DATA, DATA), "2 members data.tar"),
    "two kinds of data": (
        dp.ar(FORMAT, CONTROL, DATA, dp.member("data.tar.gz", gzip.compress(b""))),
        "2 members data.tar",
    ),
    "unknown compression": (
        dp.ar(FORMAT, CONTROL, dp.member("data.tar.br", b"x")),
        "data.tar.br is compressed in a way that is not known",
    ),
    "xz called gz": (
        dp.ar(FORMAT, CONTROL, dp.member("data.tar.gz", lzma.compress(dp.tar_of(FILES)))),
        "data.tar.gz is not what its name says: .xz",
    ),
    "gz called plain": (
        dp.ar(FORMAT, CONTROL, dp.member("data.tar", gzip.compress(dp.tar_of(FILES)))),
        "data.tar is not what its name says: .gz",
    ),
    "garbage called xz": (
        dp.ar(FORMAT, CONTROL, dp.member("data.tar.xz", b"garbage")),
        "data.tar.xz is not what its name says: no compression",
    ),
    "lying size": (
        dp.ar(FORMAT, CONTROL, dp.member("data.tar", b"x", size=1 << 30)),
        "the file ends inside data.tar",
    ),
    "no number": (b"!<arch>\n" + b"debian-binary   x" + b" " * 60, "no member's header at byte 8"),
    "many members": (dp.ar(*[dp.member("x", b"")] * 70), "more than 64 members"),
    "long name": (dp.ar(dp.member("#1/900", bytes(900))), "a member's name of 900 bytes"),
    "no control file": (
        dp.ar(FORMAT, dp.member("control.tar", dp.tar_of({})), DATA),
        "no file control",
    ),
    "huge control file": (
        dp.ar(FORMAT, control_of(FILES, **{"/control": bytes(2 << 20)}), DATA),
        "a control file of 2097152 bytes",
    ),
    "many files": (
        dp.ar(
            FORMAT,
            control_of(
                FILES,
                **{"/md5sums": b"".join(b"%032x  a/%d\n" % (n, n) for n in range(70_000))},
            ),
            DATA,
        ),
        "more than 65536 files",
    ),
    "vmlinux left out": (with_data(dp.entry("/x", b"x")), "no regular file .*vmlinux"),
    "vmlinux elsewhere": (
        with_data(dp.entry("/../.." + dp.VMLINUX, KERNEL)),
        "no regular file .*vmlinux",
    ),
    "vmlinux a device": (
        with_data(dp.entry(dp.VMLINUX, type=tarfile.CHRTYPE, devmajor=1)),
        "no regular file .*vmlinux",
    ),
    "vmlinux a link": (
        with_data(dp.entry(dp.VMLINUX, type=tarfile.LNKTYPE, linkname="/etc/passwd")),
        "no regular file .*vmlinux",
    ),
    "vmlinux no ELF": (with_data(dp.entry(dp.VMLINUX, b"x" * 5000)), "is no vmlinux: no ELF"),
    "vmlinux cut": (with_data(dp.entry(dp.VMLINUX, KERNEL[:100])), "is cut"),
    "vmlinux too large": (with_data(HUGE), "claims to be 5.0 GiB large"),
    "sparse": (with_data(dp.entry(dp.VMLINUX, KERNEL, type=tarfile.GNUTYPE_SPARSE)), "sparse"),
    "sparse in pax": (
        dp.package(
            FILES,
            "",
            data=dp.tar(
                [dp.entry("/x", b"x", pax_headers={"GNU.sparse.major": "1"})], tarfile.PAX_FORMAT
            ),
        ),
        "a sparse file",
    ),
    "bomb": (
        with_number(b"\x80" + bytes(5) + b"\xff" * 6),
        r"more content than is listed, or than 16\.0 GiB",
    ),
    "negative size": (with_number(b"\xff" * 12), "a file of impossible size"),
    "no octal size": (with_number(b"99999999999\0"), "no header where one is due, at byte 512"),
    "huge pax header": (
        with_data(dp.entry("/x", bytes(1 << 17), type=tarfile.XHDTYPE)),
        "an extended header of 131072 bytes",
    ),
    "huge name": (
        with_data(dp.entry("/x", bytes(1 << 14), type=tarfile.GNUTYPE_LONGNAME)),
        "an extended header of 16384 bytes",
    ),
    "broken pax header": (
        with_data(dp.entry("/x", b"99 path=x\n", type=tarfile.XHDTYPE)),
        "out of order",
    ),
    "no end": (dp.package(FILES, "", data=b"", listed=False), "it is cut off, at byte 0"),
    "garbage in tar": (
        dp.package(FILES, "", data=b"x" * 4096),
        "no header where one is due, at byte 512",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_package_is_refused_with_its_reason(
    written: Callable[[bytes], Path], name: str
) -> None:
    package, reason = ODD[name]
    with pytest.raises(PackageError, match=reason):
        package_kinds.read_package(written(package))


def test_names_that_lead_elsewhere_are_only_compared(
    written: Callable[[bytes], Path], tmp_path: Path
) -> None:
    files = {"/../../../../tmp/cas-deb-escape": b"x"} | FILES
    path = written(dp.package(files))
    assert kernel(path).member == dp.VMLINUX
    extract(match(path), ["ext4"], tmp_path / "debugs", Silent())
    assert not Path("/tmp/cas-deb-escape").exists()


def test_control_characters_of_a_package_are_never_shown(
    written: Callable[[bytes], Path],
) -> None:
    with pytest.raises(PackageError) as told:
        package_kinds.read_package(
            written(dp.ar(FORMAT, CONTROL, dp.member("data.tar.\x1b[2J", b"x")))
        )
    assert "\x1b" not in str(told.value)
    control = dp.member("control.tar", dp.tar_of({"/control": dp.control(version="1\x1b[2J")}))
    assert "\x1b" not in package_kinds.read_package(written(dp.ar(FORMAT, control, DATA))).version


def test_a_damaged_package_is_never_more_than_an_error(written: Callable[[bytes], Path]) -> None:
    chance = random.Random(5)  # noqa: S311
    for packed in ("", ".gz", ".xz"):
        whole = dp.package(FILES, packed)
        for _ in range(60):
            mutant = bytearray(whole)
            for _ in range(chance.randint(1, 4)):
                mutant[chance.randrange(len(mutant))] = chance.randrange(256)
            try:
                package_kinds.read_package(written(bytes(mutant)))
            except PackageError:
                continue


def test_a_package_that_is_gone_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        package_kinds.read_package(tmp_path / "gone.deb")
