"""Which kernel releases compare, and how."""

from __future__ import annotations

import pytest

from cas.findings.releases import bound, has, order, told_by

DEBIAN = "Linux version 6.1.0-21-amd64 (…) #1 SMP PREEMPT_DYNAMIC Debian 6.1.90-1 (2024-05-03)"
UBUNTU = (
    "Linux version 5.15.0-105-generic (…) #115-Ubuntu SMP (Ubuntu 5.15.0-105.115-generic 5.15.148)"
)
OLDER, SAME, NEWER, NEVER = -1, 0, 1, None


@pytest.mark.parametrize(
    ("release", "limit", "told"),
    [
        # upstream
        ("6.1.90", "6.1.91", OLDER),
        ("6.1.90", "6.1.9", NEWER),
        ("6.1.0", "6.1", SAME),
        ("6.2.0", "6.1.90", NEWER),
        ("6.10.0-rc3", "6.10", OLDER),
        ("6.10.0-rc3", "6.10-rc10", OLDER),
        ("6.10.0-rc3+", "6.10", OLDER),
        ("6.10.0-rc3-00123-gabcdef0", "6.10-rc3", NEWER),
        ("6.10.0-rc3-00123-gabcdef0", "6.10-rc4", OLDER),
        ("2.6.32.71", "2.6.32.9", NEWER),
        ("6.6.30-custom", "6.6.30", SAME),
        ("6.9.1-arch1-1", "6.9.2", OLDER),
        # vendors that follow the stable releases
        ("6.8.5-301.fc40.x86_64", "6.8.5", SAME),
        ("5.10.215-203.850.amzn2.x86_64", "5.10.216", OLDER),
        ("6.8.7-1.el9.elrepo.x86_64", "6.8.6", NEWER),
        ("6.12.43+deb13-amd64", "6.12.43", SAME),
        ("6.6.30-0-lts", "6.6.31", OLDER),
        ("6.1.192-1.cas1.x86_64", "6.1.193", OLDER),
        # vendors that keep the version they began with
        ("5.14.0-427.13.1.el9_4.x86_64", "6.1", NEVER),
        ("5.4.17-2136.330.7.el8uek.x86_64", "5.4.200", NEVER),
        ("6.1.0-21-amd64", "6.1.90", NEVER),
        ("5.15.0-105-generic", "5.15.148", NEVER),
        ("5.14.21-150500.55.19-default", "5.14.21", NEVER),
        ("4.19.90-2312.1.0.oe1.x86_64", "4.19.91", NEVER),
        ("4.19.91-26.al7.x86_64", "4.19.92", NEVER),
        # a distribution's own releases
        ("5.14.0-427.13.1.el9_4.x86_64", "5.14.0-427.el9", NEWER),
        ("5.14.0-427.el9.x86_64+debug", "5.14.0-427.13.1.el9_4", OLDER),
        ("5.14.0-427.13.1.el9_4.aarch64", "5.14.0-427.13.1.el9_4.x86_64", SAME),
        ("5.14.0-70.el9.x86_64", "5.14.0-284.el9", OLDER),
        ("4.18.0-553.el8_10.x86_64", "5.14.0-70.el9", NEVER),
        ("5.15.0-200.131.27.el8uek.x86_64", "5.4.17-2136.330.7.el8uek", NEVER),
        ("6.1.0-9-amd64", "6.1.0-21-amd64", OLDER),
        ("6.1.0-21-cloud-amd64", "6.1.0-22-amd64", NEVER),
        ("5.15.0-1056-aws", "5.15.0-105-generic", NEVER),
        ("5.4.0-42-generic", "5.15.0-105-generic", NEVER),
        ("5.14.21-150500.55.19-default", "5.14.21-150500.55.7-default", NEWER),
        ("6.8.5-301.fc40.x86_64", "6.8.4-999.fc40", NEWER),
        ("6.8.5-301.fc40.x86_64", "6.8.5-201.fc39", NEVER),
        # numbers that nobody can place
        ("5.14.0-284.11.1.rt14.296.el9_2.x86_64", "5.14.0-284.12.1.el9_2", NEVER),
        ("unknown", "6.1", NEVER),
        ("", "6.1", NEVER),
    ],
)
def test_releases_compare_where_their_numbers_have_one_meaning(
    release: str, limit: str, told: int | None
) -> None:
    assert order(told_by(release), bound(limit)) == told


@pytest.mark.parametrize(
    ("release", "banner", "limit", "told"),
    [
        ("6.1.0-21-amd64", DEBIAN, "6.1.91", OLDER),
        ("6.1.0-21-amd64", DEBIAN, "6.1.90", SAME),
        ("5.15.0-105-generic", UBUNTU, "5.15.149", OLDER),
        ("5.14.0-427.el9.x86_64", "Linux version 5.14.0-427.el9.x86_64 (…)", "6.1", NEVER),
    ],
)
def test_banners_of_debian_and_ubuntu_tell_the_stable_release(
    release: str, banner: str, limit: str, told: int | None
) -> None:
    assert order(told_by(release, banner), bound(limit)) == told


@pytest.mark.parametrize(
    ("release", "fix", "told"),
    [
        ("6.1.95", "6.1.91", True),
        ("6.1.91", "6.1.91", True),
        ("6.1.90", "6.1.91", False),
        ("6.2.0", "6.1.91", False),  # another branch
        ("6.12.3", "6.9", True),
        ("6.12.3", "6.9-rc2", True),
        ("2.6.33.1", "2.6.32.9", False),
        ("2.6.33.1", "2.6.32", True),
        ("5.14.0-427.20.1.el9_4.x86_64", "5.14.0-427.13.1.el9_4", True),
        ("5.14.0-503.el9.x86_64", "5.14.0-427.13.1.el9_4", False),
        ("5.14.0-503.el9.x86_64", "5.14.0-435.el9", True),
        ("6.8.5-301.fc40.x86_64", "6.8.4-301.fc40", True),
        ("6.1.0-22-amd64", "6.1.0-21-amd64", True),
        ("5.14.0-503.el9.x86_64", "5.13", False),  # nothing is known of it
    ],
)
def test_a_kernel_has_a_fix_where_it_surely_descends_from_it(
    release: str, fix: str, told: bool
) -> None:
    assert has(told_by(release), bound(fix)) is told


@pytest.mark.parametrize("text", ["", "el9", "6.1.x", "5.14.0-427", "6.1.90rc1"])
def test_what_has_no_order_is_no_bound(text: str) -> None:
    with pytest.raises(ValueError, match="is neither an upstream version"):
        bound(text)
