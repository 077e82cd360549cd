#!/usr/bin/env python3
"""Write one part's entries of fixtures.json: describe.py FIXTURES PART KEY=VALUE ...

The values are what the files of a part share: osrelease, build_id, arch, banner.
"""

import json
import sys
from pathlib import Path

WHAT = {
    "a/kernel-debuginfo": "vmlinux and four kmods; xz payload",
    "a/vmcore.elf.xz": "oops in cas_oops, busy guest; ELF, makedumpfile -E -d 31, xz",
    "b/kernel-debuginfo": "the osrelease of a with another build-id and banner; zstd payload",
    "b/vmcore.kdump": "oops in cas_oops, lean guest; KDUMP with zlib, makedumpfile -c -d 31",
    "arm64/kernel-debuginfo": "another architecture; xz payload",
    "arm64/vmcore.elf.xz": "oops in cas_oops, lean guest; ELF as QEMU wrote it, unfiltered, xz",
    "i686/kernel-debuginfo": "32-bit x86; xz payload",
    "arm64-16k/kernel-debuginfo": "pages of 16 KiB; xz payload",
    "arm64-16k/vmcore": "oops in cas_oops, lean guest; as QEMU wrote it, unfiltered",
    "i686/vmcore-moved": "the same, moved by KASLR",
    "i686/vmcore.elf.xz": "oops in cas_oops, lean guest; ELF with 32-bit headers, unfiltered, xz",
}


def main(fixtures: Path, part: str, facts: dict[str, str]) -> None:
    index = fixtures / "fixtures.json"
    entries = json.loads(index.read_text()) if index.exists() else []
    entries = [entry for entry in entries if not entry["file"].startswith(f"{part}/")]
    for path in sorted((fixtures / part).iterdir()):
        entries.append(entry_of(f"{part}/{path.name}", facts))
    index.write_text(json.dumps(entries, indent=2) + "\n")


def entry_of(file: str, facts: dict[str, str]) -> dict[str, str]:
    kind = "debuginfo" if file.endswith(".rpm") else "vmcore"
    what = next(text for start, text in WHAT.items() if file.startswith(start))
    return {"file": file, "kind": kind, **facts, "what": what}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], dict(fact.split("=", 1) for fact in sys.argv[3:]))
