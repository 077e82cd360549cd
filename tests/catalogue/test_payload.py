import random
from pathlib import Path

import kernel_packages as kp
import pytest

from cas.catalogue.packages import payload
from cas.catalogue.packages.rpm_files import Header, read_file_list
from cas.errors import PackageError

CONTENT = b"".join(random.Random(7).randbytes(1000) * 500 for _ in range(3))  # noqa: S311
VMLINUX = f"/usr/lib/debug/lib/modules/{kp.RELEASE}/vmlinux"


def members(path: Path, header: Header | None = None) -> dict[str, bytes]:
    found = {}
    with payload.open_rpm_payload(path, header or read_file_list(path)) as stream:
        for member in stream:
            found[member.path] = b"".join(member.flow.rest())
            assert len(found[member.path]) == member.size_bytes
    return found


@pytest.mark.parametrize(
    "kind", ["w6.gzdio", "w6.bzdio", "w6.xzdio", "w6.lzdio", "w3.zstdio", "w.ufdio"]
)
def test_every_compression_of_rpm_is_read(kind: str, tmp_path: Path) -> None:
    files, links = kp.debuginfo("one", kmods={"x.ko.debug": CONTENT})
    found = members(kp.build(kp.Recipe(files, links, payload=kind), tmp_path))
    assert found == files  # and nothing of the links


@pytest.mark.parametrize("kind", ["w6.gzdio", "w6.bzdio", "w6.xzdio", "w3.zstdio", "w.ufdio"])
def test_a_damaged_payload_is_an_error_that_names_the_package(kind: str, tmp_path: Path) -> None:
    files, links = kp.debuginfo("one", kmods={"x.ko.debug": CONTENT})
    package = kp.build(kp.Recipe(files, links, payload=kind), tmp_path)
    original, intact = package.read_bytes(), read_file_list(package)
    start = intact.payload_offset
    chance = random.Random(3)  # noqa: S311
    failures = 0
    for _ in range(30):
        content = bytearray(original)
        for at in chance.choices(range(start, len(content)), k=4):
            content[at] ^= chance.randrange(1, 256)
        package.write_bytes(
            content[: chance.choice([len(content), chance.randrange(start, len(content))])]
        )
        try:
            members(package, intact)
        except PackageError as error:
            assert f"{package}: the payload is damaged" in str(error)
            failures += 1
    assert failures > 10
