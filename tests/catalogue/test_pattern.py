import subprocess
from pathlib import Path

import pytest

from cas.catalogue.building.pattern import compile_filter
from cas.errors import ConfigError
from cas.settings.rules import PackageRules

NAMES = (
    "kernel-debuginfo-5.14.0-427.el9.x86_64.rpm",
    "kernel-debuginfo-common-x86_64-5.14.0-427.el9.x86_64.rpm",
    "kernel-PAE-debuginfo-2.6.18-398.el5.i686.rpm",
    "kernel-rt-debuginfo-4.18.0.rpm.old",
    "abab",
    "ab",
    "aab+",
    "a{2}",
    "a|b",
    "x(y)",
    "c]d",
    "e-f",
    "g^h$",
    "*star",
    "back\\slash",
    "new\nline",
    "word_two words",
)
EXPRESSIONS = (
    r".*kerne.+-debuginfo-[0-9].*\.rpm",
    r".*/kernel\(-PAE\)?-debuginfo-[0-9].*\.rpm",
    r".*\(common\|PAE\).*",
    r".*/\(ab\)+",
    r".*/a?ab",
    r".*/\(a\)\1b+.",
    r".*/a{2}",
    r".*/a|b",
    r".*/x(y)",
    r".*/[]c]]d",
    r".*/[^]a-z]*star",
    r".*/[a-e-]-f",
    r".*/g^h$",
    r"^.*/g.*\$$",
    r".*/\*star",
    r".*/\(*star\)",
    r".*/\(^ab\|e-f\)$",
    r".*/[\]*back.*",
    r".*/back[\\]slash",
    r".*/new.line",
    r".*/new[^x]line",
    r".*\bwords\b.*",
    r".*\<two.*",
    r".*/\w+ \w+",
    r".*/[[:alpha:]]b",
    r".*/[z-a]b",
    r".*/a**b",
    r".*/a+?b",
    r".*/\{2\}",
    r"",
    r".*/\(\)ab",
    r".*/ab\|.*/e-f",
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("names")
    for name in NAMES:
        (directory / name).touch()
    return directory


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_filter_matches_what_find_matches(expression: str, tree: Path) -> None:
    listed = subprocess.run(
        ["find", tree, "-type", "f", "-regex", expression, "-print0"],
        capture_output=True,
        check=True,
        text=True,
    )
    pattern = compile_filter(expression)
    ours = {str(path) for path in tree.iterdir() if pattern.fullmatch(str(path))}
    assert ours == set(listed.stdout.split("\0")) - {""}


@pytest.mark.parametrize("expression", [r"a\(b", r"a\)b", "[abc", "a\\", r"\(a\)\2", "[[.a.]]"])
def test_an_invalid_filter_names_the_directive(expression: str) -> None:
    with pytest.raises(ConfigError, match=r"rpmFilter: .*" + "is not a regular expression"):
        compile_filter(expression)


def test_a_deeply_nested_filter_is_an_error_not_a_crash() -> None:
    with pytest.raises(ConfigError):
        compile_filter(r"\(" * 1500 + r"\)" * 1500)


@pytest.mark.parametrize(
    ("name", "is_taken"),
    [
        ("kernel-debuginfo-5.14.0-427.el9.x86_64.rpm", True),
        ("kernel-rt-debuginfo-5.14.0-427.el9.x86_64.rpm", True),
        ("linux-debuginfo-4.9.118-2.ph2.x86_64.rpm", True),
        ("linux-esx-debuginfo-6.1.10-1.ph5.x86_64.rpm", True),
        ("util-linux-debuginfo-2.37.4-15.el9.x86_64.rpm", False),
        ("libselinux-debuginfo-3.6-1.el9.x86_64.rpm", False),
        ("kernel-debuginfo-common-x86_64-5.14.0-427.el9.x86_64.rpm", False),
        ("linux-image-6.1.0-18-amd64-dbg_6.1.76-1_amd64.deb", True),
        ("linux-image-unsigned-5.15.0-91-generic-dbgsym_5.15.0-91.101_amd64.ddeb", True),
        ("proxmox-kernel-6.8.12-4-pve-dbgsym_6.8.12-4_amd64.deb", True),
        ("pve-kernel-5.15.158-1-pve-dbgsym_5.15.158-1_amd64.deb", True),
        ("proxmox-kernel-6.8.12-4-pve-signed_6.8.12-4_amd64.deb", False),
        ("linux-image-6.1.0-18-amd64_6.1.76-1_amd64.deb", False),
    ],
)
def test_the_default_filters_take_the_kernels_of_all_distributions(
    name: str, is_taken: bool
) -> None:
    rules = PackageRules()
    expressions = (rules.rpm_filter, rules.deb_filter)
    path = f"/srv/debuginfo/my linux/{name}"
    taken = [bool(compile_filter(each).fullmatch(path)) for each in expressions]
    assert any(taken) == is_taken
