"""The files and directories that texts name are there, and those of the code are in the tables."""

from __future__ import annotations

import re
from pathlib import Path

TOP = Path(__file__).parents[2]
CODE = [
    path
    for place in ("cas", "cas_admin", "tests", "bench")
    for path in (TOP / place).rglob("*.py")
    if ".cache" not in path.parts
]
TEXTS = [*TOP.glob("*.md"), *(TOP / "docs").glob("*.md"), *TOP.glob("[tb]e*/**/README.md")]


def rows(text: Path) -> list[list[str]]:
    """The cells of a text's tables."""
    lines = text.read_text().splitlines()
    return [line.strip("| ").split(" | ") for line in lines if line.startswith("| `")]


def in_code_marks(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_modules_that_texts_name_are_there() -> None:
    assert len(TEXTS) > 10
    gone = [
        (text.name, named)
        for text in TEXTS
        for named in re.findall(r"(?<![\w./-])[\w./-]+\.py\b", text.read_text())
        # NAME in a name is a placeholder
        if "NAME" not in named
        and not any(path.as_posix().endswith(f"/{named.removeprefix('./')}") for path in CODE)
    ]
    assert gone == []


def test_each_room_has_its_row_and_what_it_says_to_begin_with() -> None:
    rooms = set[str]()
    for cells in rows(TOP / "docs/architecture.md"):
        here = [name.rstrip("/") for name in in_code_marks(cells[0])]
        rooms |= {*here}
        if here[0].startswith("cas"):
            for named in in_code_marks(cells[-1]):
                assert any((TOP / room / named).is_file() for room in here), f"{here}: {named}"
    for path in (TOP / "cas").glob("[a-z]*"):
        is_told = {path.name, path.stem} & rooms or any(
            f"{room}/".startswith(f"cas/{path.name}/") for room in rooms
        )
        assert is_told, f"{path.name} has no row"


def test_each_directory_of_tests_has_its_row() -> None:
    cells = (row[0] for row in rows(TOP / "tests/README.md"))
    named = {found[1] for cell in cells if (found := re.fullmatch(r"`(\w+)/`", cell))}
    there = {path.relative_to(TOP / "tests").parts[0] for path in (TOP / "tests").glob("*/*")}
    assert named == there - {"__pycache__"}
