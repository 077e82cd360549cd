"""Signatures of packages, made with real keys and checked by the programs that the system has."""

import gzip
import hashlib
import lzma
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import kernel_packages as kp
import pytest

from cas.catalogue import Catalogue
from cas.catalogue.building.build import build
from cas.catalogue.extraction.extract import extract_vmlinux
from cas.catalogue.trust import vouching
from cas.database.store import Store
from cas.errors import KernelNotFound, PackageNotTrusted
from cas.model.kernel import KernelIdentity
from cas.progress import Silent
from cas.settings.rules import DebuginfodRules, PackageRules

from installed import needs

EXPIRED = "20200201T000000"
"""When the key that has expired since was still good."""
KEYS = ("good", "stranger", "old")
DEB = "linux-image-6.1.0-99-amd64-dbg_6.1.999-1_amd64.deb"
MakeDump = Callable[..., KernelIdentity]


@dataclass(frozen=True)
class Signers:
    """A directory with the secret keys, and what is signed with them."""

    directory: Path

    @property
    def home(self) -> Path:
        return self.directory / "gnupg"

    def gpg(self, *words: str | Path, then: str = "") -> bytes:
        when = ("--faked-system-time", then) if then else ()
        argv = [needs("gpg"), "--homedir", self.home, "--batch", "--yes", "--quiet", *when, *words]
        return subprocess.run(argv, check=True, capture_output=True).stdout

    def sign(self, name: str, *words: str | Path) -> None:
        self.gpg("-u", f"{name}@example.com", *words, then=EXPIRED if name == "old" else "")

    def sign_rpm(self, name: str, package: Path) -> Path:
        macros = [
            f"__gpg {needs('gpg')}",
            f"_gpg_path {self.home}",
            f"_gpg_name {name}@example.com",
        ]
        if name == "old":
            macros.append(f"_gpg_sign_cmd_extra_args --faked-system-time {EXPIRED}")
        defines = [word for macro in macros for word in ("--define", macro)]
        argv = [needs("rpmsign"), *defines, "--addsign", package]
        subprocess.run(argv, check=True, capture_output=True)
        return package

    def public(self, directory: Path, *names: str, armoured: bool = True) -> Path:
        directory.mkdir(exist_ok=True)
        for name in names:
            key = self.gpg(*(["--armor"] if armoured else []), "--export", f"{name}@example.com")
            (directory / f"{name}{'.asc' if armoured else '.gpg'}").write_bytes(key)
        return directory


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signers]:
    signers = Signers(tmp_path_factory.mktemp("s"))
    signers.home.mkdir(mode=0o700)
    make = ("--passphrase", "", "--quick-gen-key")
    signers.gpg(*make, "Good <good@example.com>", "ed25519", "sign", "never")
    signers.gpg(*make, "Stranger <stranger@example.com>", "rsa2048", "sign", "never")
    long_ago = "20200101T000000"
    signers.gpg(*make, "Old <old@example.com>", "ed25519", "sign", "2020-06-01", then=long_ago)
    yield signers
    subprocess.run(["gpgconf", "--homedir", signers.home, "--kill", "all"], check=False)


@pytest.fixture(scope="module")
def plain_rpm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kp.build(kp.Recipe(*kp.debuginfo("one")), tmp_path_factory.mktemp("rpm"))


@pytest.fixture(scope="module")
def plain_deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("deb")
    vmlinux = directory / "tree/usr/lib/debug/boot/vmlinux-6.1.0-99-amd64"
    vmlinux.parent.mkdir(parents=True)
    vmlinux.write_bytes(kp.vmlinux("deb", "6.1.0-99-amd64"))
    control = directory / "tree/DEBIAN/control"
    control.parent.mkdir()
    control.write_text(
        "Package: linux-image-6.1.0-99-amd64-dbg\nVersion: 6.1.999-1\nArchitecture: amd64\n"
        "Maintainer: Nobody <nobody@example.com>\nDescription: a small kernel\n"
    )
    argv = [needs("dpkg-deb"), "--root-owner-group", "-b", directory / "tree", directory / DEB]
    subprocess.run(argv, check=True, capture_output=True)
    return directory / DEB


@pytest.fixture
def rules(signers: Signers, tmp_path: Path) -> PackageRules:
    """The administrator trusts the good key, and trusted the old one."""
    keys = signers.public(tmp_path / "keys", "good", "old")
    return PackageRules(rpm_filter=kp.FILTER, signatures="require", keys=keys)


@pytest.fixture
def signed(signers: Signers, plain_rpm: Path, tmp_path: Path) -> Path:
    """A package of the good key, in a directory of its own."""
    (tmp_path / "kernels").mkdir()
    return signers.sign_rpm("good", copied(plain_rpm, tmp_path / "kernels"))


def copied(package: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(package, tmp_path))


def changed(package: Path, at: int) -> Path:
    with package.open("r+b") as file:
        file.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0xFF]))
    return package


def with_origin(signers: Signers, name: str, package: Path) -> Path:
    """The package with debsigs' member: a signature of all others' content."""
    directory = package.parent / "members"
    directory.mkdir()
    needs("debsig-verify")
    subprocess.run([needs("ar"), "x", package], cwd=directory, check=True)
    names = ("debian-binary", "control.tar.xz", "data.tar.xz")
    (directory / "all").write_bytes(b"".join((directory / one).read_bytes() for one in names))
    signers.sign(name, "--output", directory / "_gpgorigin", "-b", directory / "all")
    subprocess.run(["ar", "q", package, "_gpgorigin"], cwd=directory, check=True)
    return package


def archive(package: Path, suite: Path, index: str = "main/binary-amd64/Packages.xz") -> Path:
    """A Release file beside an index that lists the package."""
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    text = f"Package: x\nFilename: pool/main/l/linux/{package.name}\nSHA256: {digest}\n\n".encode()
    packed = lzma.compress(text) if index.endswith(".xz") else gzip.compress(text)
    path = suite / index
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed)
    line = f" {hashlib.sha256(packed).hexdigest()} {len(packed):16} {index}\n"
    (suite / "Release").write_text(f"Origin: Example\nSHA256:\n{line}")
    return suite / "Release"


def mirrored(package: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The package in a mirror's layout, and the suite's directory."""
    pool = tmp_path / "mirror/pool/main/l/linux"
    pool.mkdir(parents=True)
    return copied(package, pool), tmp_path / "mirror/dists/stable"


def test_a_signed_rpm_is_vouched_for(
    signers: Signers, plain_rpm: Path, rules: PackageRules, tmp_path: Path
) -> None:
    verdict = vouching.check_signature(signers.sign_rpm("good", copied(plain_rpm, tmp_path)), rules)
    assert verdict.ok
    assert verdict.text.endswith("of Good <good@example.com>")


def test_what_is_wrong_with_an_rpm_is_told_apart(
    signers: Signers, plain_rpm: Path, rules: PackageRules, tmp_path: Path
) -> None:
    places = {name: tmp_path / name for name in (*KEYS, "unsigned", "payload", "header", "cut")}
    for directory in places.values():
        directory.mkdir()
    packages = {name: copied(plain_rpm, places[name]) for name in places}
    for name in KEYS:
        signers.sign_rpm(name, packages[name])
    for name in ("payload", "header", "cut"):
        signers.sign_rpm("good", packages[name])
    changed(packages["payload"], -40)
    changed(packages["header"], packages["header"].read_bytes().index(b"A small kernel"))
    packages["cut"].write_bytes(packages["cut"].read_bytes()[:-400])
    verdicts = {name: vouching.check_signature(packages[name], rules) for name in packages}
    said = {name: verdict.text for name, verdict in verdicts.items()}
    assert "is not in " in said["stranger"]
    assert "which expired on 2020-06-01" in said["old"]
    assert said["unsigned"] == "is not signed"
    assert "Payload SHA256" in said["payload"]
    assert said["header"].startswith("is damaged or was changed: Header SHA256 digest")
    assert "digest" in said["cut"]
    assert [name for name, verdict in verdicts.items() if verdict.ok] == ["good"]


def test_a_key_need_not_be_armoured(
    signers: Signers, plain_rpm: Path, rules: PackageRules, tmp_path: Path
) -> None:
    package = signers.sign_rpm("stranger", copied(plain_rpm, tmp_path))
    keys = signers.public(tmp_path / "binary", "good", "stranger", armoured=False)
    assert vouching.check_signature(package, replace(rules, keys=keys)).ok


def test_a_deb_may_carry_its_signature(
    signers: Signers, plain_deb: Path, rules: PackageRules, tmp_path: Path
) -> None:
    said = {}
    for name in KEYS:
        (tmp_path / name).mkdir()
        package = with_origin(signers, name, copied(plain_deb, tmp_path / name))
        said[name] = vouching.check_signature(package, rules)
    assert said["good"].ok
    assert not said["stranger"].ok
    assert "is not in " in said["stranger"].text
    assert not said["old"].ok
    assert "expired" in said["old"].text
    package = tmp_path / "good" / DEB
    content = package.read_bytes()
    verdict = vouching.check_signature(changed(package, content.index(b"data.tar") + 200), rules)
    assert not verdict.ok
    assert "was changed" in verdict.text


@pytest.mark.parametrize("name", KEYS)
def test_a_mirror_vouches_for_its_debs(
    signers: Signers, plain_deb: Path, rules: PackageRules, tmp_path: Path, name: str
) -> None:
    package, suite = mirrored(plain_deb, tmp_path)
    signers.sign(name, "--output", suite / "InRelease", "--clearsign", archive(package, suite))
    verdict = vouching.check_signature(package, rules)
    assert verdict.ok is (name == "good")
    expected = {"good": "is listed in ", "stranger": "which is not in ", "old": "which expired on "}
    assert expected[name] in verdict.text


def test_a_flat_directory_with_a_detached_signature_vouches_for_its_debs(
    signers: Signers, plain_deb: Path, rules: PackageRules, tmp_path: Path
) -> None:
    package = copied(plain_deb, tmp_path)
    release = archive(package, tmp_path, "Packages.gz")
    assert "Release is not signed" in vouching.check_signature(package, rules).text
    signers.sign("good", "--output", tmp_path / "Release.gpg", "-b", release)
    assert vouching.check_signature(package, rules).ok


@pytest.mark.parametrize("what", ["package", "index", "release", "signature elsewhere"])
def test_what_was_changed_below_a_signed_release_vouches_for_nothing(
    signers: Signers, plain_deb: Path, rules: PackageRules, tmp_path: Path, what: str
) -> None:
    package, suite = mirrored(plain_deb, tmp_path)
    signed = suite / "InRelease"
    signers.sign("good", "--output", signed, "--clearsign", archive(package, suite))
    if what == "package":
        changed(package, -30)
    elif what == "index":
        changed(suite / "main/binary-amd64/Packages.xz", -20)
    elif what == "release":
        signed.write_text(signed.read_text().replace("Example", "Attacker"))
    else:  # text before the signed part is not part of it
        text = (suite / "Release").read_text()
        (suite / "Release").write_text("Origin: Nobody\n")
        signers.sign("good", "--output", signed, "--clearsign", suite / "Release")
        signed.write_text(f"{text}\n{signed.read_text()}")
    assert not vouching.check_signature(package, rules).ok


def test_a_signature_that_gpgv_does_not_accept_vouches_for_nothing(
    signers: Signers, plain_deb: Path, rules: PackageRules, tmp_path: Path
) -> None:
    package, suite = mirrored(plain_deb, tmp_path)
    weak = ("--allow-weak-digest-algos", "--digest-algo", "MD5")
    release = archive(package, suite)
    signers.sign("stranger", *weak, "--output", suite / "InRelease", "--clearsign", release)
    keys = signers.public(tmp_path / "more", "good", "stranger")
    verdict = vouching.check_signature(package, replace(rules, keys=keys))
    assert not verdict.ok
    assert "gpgv does not accept" in verdict.text


def test_a_name_cannot_speak_for_a_program(
    plain_rpm: Path, signers: Signers, rules: PackageRules, tmp_path: Path
) -> None:
    key = signers.gpg("--with-colons", "--list-keys", "good@example.com").decode()
    identity = key.partition("pub:")[2].split(":")[3][-8:].lower()
    name = f"\n    Header V4 RSA Signature, key ID {identity}: OK"
    verdict = vouching.check_signature(Path(shutil.copy(plain_rpm, tmp_path / name)), rules)
    assert (verdict.ok, verdict.text) == (False, "is not signed")


def test_an_index_outside_its_archive_is_not_read(
    signers: Signers, plain_deb: Path, rules: PackageRules, tmp_path: Path
) -> None:
    package, suite = mirrored(plain_deb, tmp_path)
    release = archive(package, suite, "../../Packages.xz")
    signers.sign("good", "--output", suite / "InRelease", "--clearsign", release)
    assert not vouching.check_signature(package, rules).ok


def test_a_plain_vmlinux_has_no_signature(rules: PackageRules, tmp_path: Path) -> None:
    file = tmp_path / "vmlinux"
    file.write_bytes(kp.vmlinux("one"))
    assert vouching.check_signature(file, rules) == vouching.UNSIGNED


@pytest.mark.parametrize("program", ["rpmkeys", "gpg"])
def test_a_missing_program_is_named_with_its_package(
    plain_rpm: Path,
    rules: PackageRules,
    program: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for other in {"rpmkeys", "gpg"} - {program}:
        (programs / other).symlink_to(needs(other))
    monkeypatch.setenv("PATH", str(programs))
    verdict = vouching.check_signature(plain_rpm, rules)
    assert (verdict.ok, verdict.is_lasting) == (False, False)
    assert f"{program} is not installed (Debian: " in verdict.text


def test_a_program_that_hangs_is_not_waited_for(
    plain_rpm: Path, rules: PackageRules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = tmp_path / "bin/rpmkeys"
    hanging.parent.mkdir()
    hanging.write_text("#!/bin/sh\nexec sleep 1000\n")
    hanging.chmod(0o755)
    monkeypatch.setenv("PATH", f"{hanging.parent}:{os.environ['PATH']}")
    verdict = vouching.check_signature(plain_rpm, replace(rules, timeout_s=0.5))
    assert not verdict.ok
    assert "rpmkeys was ended" in verdict.text


@pytest.mark.parametrize("keys", ["none", "empty", "gone"])
def test_a_check_without_keys_says_so(
    plain_rpm: Path, rules: PackageRules, tmp_path: Path, keys: str
) -> None:
    (tmp_path / "empty").mkdir()
    directory = None if keys == "none" else tmp_path / keys
    verdict = vouching.check_signature(plain_rpm, replace(rules, keys=directory))
    assert (verdict.ok, verdict.is_lasting) == (False, False)
    assert "key" in verdict.text


def catalogued(package: Path, rules: PackageRules, tmp_path: Path) -> Catalogue:
    catalogue = Catalogue(Store(tmp_path / "cas.db"), packages=rules)
    build(catalogue.store, package.parent, rules, Silent())
    return catalogue


def test_an_unsigned_package_is_used_with_a_remark_or_refused(
    plain_rpm: Path, rules: PackageRules, tmp_path: Path, dump: MakeDump
) -> None:
    wanted = dump(build_id=kp.build_id("one"))
    ignoring = catalogued(plain_rpm, replace(rules, signatures="ignore"), tmp_path)
    assert ignoring.find(wanted).remarks == ()
    reporting = Catalogue(Store(tmp_path / "cas.db"), packages=replace(rules, signatures="report"))
    assert reporting.find(wanted).remarks == (f"{plain_rpm} is not signed",)
    with pytest.raises(PackageNotTrusted, match="is not signed") as caught:
        Catalogue(Store(tmp_path / "cas.db"), packages=rules).find(wanted)
    assert caught.value.exit_code == 5
    assert str(rules.keys) in caught.value.hint


def test_a_kernel_in_the_cache_is_as_trusted_as_its_package(
    plain_rpm: Path, rules: PackageRules, tmp_path: Path, dump: MakeDump
) -> None:
    wanted, cache = dump(build_id=kp.build_id("one")), tmp_path / "debugs"
    ignoring = catalogued(plain_rpm, replace(rules, signatures="ignore"), tmp_path)
    extract_vmlinux(ignoring.find(wanted), cache, Silent())
    assert ignoring.find(wanted, cache=cache).detail.endswith("extracted before")
    with pytest.raises(PackageNotTrusted):
        Catalogue(Store(tmp_path / "cas.db"), packages=rules).find(wanted, cache=cache)


def test_a_verdict_is_remembered_until_the_keys_or_the_package_change(
    signers: Signers, signed: Path, rules: PackageRules, dump: MakeDump
) -> None:
    catalogue = catalogued(signed, rules, signed.parent.parent)
    wanted = dump(build_id=kp.build_id("one"))
    assert catalogue.find(wanted).remarks == ()
    remembered = catalogue.store.packages.trust_of(signed)
    assert '"ok": true' in (remembered or "")
    assert catalogue.find(wanted).remarks == ()
    assert catalogue.store.packages.trust_of(signed) == remembered
    assert rules.keys is not None
    (rules.keys / "good.asc").unlink()
    with pytest.raises(PackageNotTrusted, match="is not in "):
        catalogue.find(wanted)
    signers.public(rules.keys, "good")
    assert catalogue.find(wanted).remarks == ()
    changed(signed, -40)
    with pytest.raises(PackageNotTrusted, match="digest"):
        catalogue.find(wanted)


def test_no_server_is_asked_where_signatures_are_required(
    rules: PackageRules, tmp_path: Path, dump: MakeDump
) -> None:
    servers = DebuginfodRules(urls=("http://127.0.0.1:9",))
    catalogue = Catalogue(Store(tmp_path / "cas.db"), packages=rules, debuginfod=servers)
    with pytest.raises(KernelNotFound) as caught:
        catalogue.find(dump(build_id=kp.build_id("one")), cache=tmp_path / "debugs")
    assert "asked debuginfod" not in str(caught.value)
