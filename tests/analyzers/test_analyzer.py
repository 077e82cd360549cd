"""Analyzers as values: what runs them, and what they say of themselves and of a crash."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cas.analyzers.analyzer import Analyzer, WrongAnalyzer, checked_analyzer_name
from cas.analyzers.library import Library, NoAnalyzer
from cas.analyzers.sayings import MESSAGES_LIMIT, PIPE_LIMIT, SayingPipe, read_said
from cas.archive.archive import Archive
from cas.archive.record import Info
from cas.database.store import Store
from cas.errors import Refused

CRASH = Info(id="ab" * 16, time_s=5, added_s=6)


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a", "echo $CAS_NAME", "shell"),
        ("a", "exit", "shell"),
        ("a", "ls", "shell"),
        ("a", "import os", "shell"),
        ("a", "print(prog['jiffies'])", "python"),
        ("a", "ticket('T-1')", "python"),
        ("a", "#!/usr/bin/env drgn\nprint(1)", "python"),
        ("a", "#!/bin/sh\nprog = 1", "shell"),
        ("a.sh", "#!/usr/bin/python3\nprog", "shell"),
        ("a.py", "print(1)", "python"),
        ("a", "(" * 10000 + "prog", "shell"),
        ("a", "-" * 100_000 + "prog", "shell"),
    ],
)
def test_a_name_else_a_first_line_else_what_it_uses_tells_python(
    name: str, text: str, kind: str
) -> None:
    assert Analyzer(name, text.encode()).kind == kind


def test_comments_at_the_beginning_say_what_it_needs() -> None:
    text = b"#!/bin/sh\n# title: a  b\n# needs: one, two one\n# auto: Yes\n\n# needs: three\n"
    found = Analyzer("a", text)
    assert (found.title, found.needs, found.is_auto) == ("a b", ("one", "two"), True)
    assert not Analyzer("a", b"echo\n# auto: yes").is_auto


@pytest.mark.parametrize("name", ["", "a b", "../x", ".x", "-x", "a/b", "é", "a" * 65, "$(x)"])
def test_an_analyzer_has_a_plain_name(name: str) -> None:
    with pytest.raises(WrongAnalyzer):
        checked_analyzer_name(name)


def said(*fields: str | bytes) -> bytes:
    return b"".join((each if isinstance(each, bytes) else each.encode()) + b"\0" for each in fields)


def test_what_is_said_changes_a_crash() -> None:
    found = read_said(
        said("set", "a.b", "'\"$x\n") + said("read", "c", '{"d": 1}\n') + said("ticket", "T-1")
    )
    changed = found.applied(CRASH)
    assert changed.properties == {"a": {"b": "'\"$x\n"}, "c": {"d": 1}}
    assert read_said(said("read", "a", " mm\n")).applied(CRASH).properties == {"a": "mm"}
    assert changed.tickets == ("T-1",)
    assert (found.words, found.wrong) == ("set a.b, set c, ticket T-1", ())
    back = read_said(said("unset", "a") + said("unset", "c") + said("unticket", ""))
    assert back.applied(changed) == CRASH


@pytest.mark.parametrize(
    "content",
    [
        said("set", "a b", "x"),
        said("ticket", "type=crash"),
        said("set", "a", b"\xff"),
        said("set", b"\xff", "a"),
        said("drop", "tables"),
        b"garbage",
        said("set", "a"),
        b"set\0a\0half",
        b"\0\0\0",
    ],
)
def test_what_cannot_be_meant_is_told_and_changes_nothing(content: bytes) -> None:
    found = read_said(content)
    assert found.applied(CRASH) == CRASH
    assert len(found.wrong) == 1
    good = read_said(said("ticket", "T-1") + content)
    assert (good.applied(CRASH).tickets, len(good.wrong)) == (("T-1",), 1)


@pytest.mark.parametrize("content", [said("ticket", "T-1"), said("ticket", "type=crash")])
def test_who_says_too_many_things_is_not_heard_to_the_end(content: bytes) -> None:
    found = read_said(content * MESSAGES_LIMIT + said("set", "a", "x"))
    assert found.applied(CRASH).properties == {}
    assert len(found.changes) + len(found.wrong) == MESSAGES_LIMIT + 1
    assert found.wrong[-1] == f"it said more than {MESSAGES_LIMIT} things: the rest is left out"


def test_more_than_a_pipe_may_bring_is_lost_and_said() -> None:
    with SayingPipe() as pipe:
        block = said("ticket", "T-1") + said("set", "a", "x" * (1 << 20))
        for _ in range(PIPE_LIMIT // len(block) + 2):
            os.write(pipe.theirs, block)
        found = pipe.said()
    assert pipe.is_over
    assert found.wrong == ("it wrote too much into its pipe: the rest is left out",)
    assert found.applied(CRASH).tickets == ("T-1",)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    owners = frozenset({os.geteuid(), 0})
    return Library(Archive(tmp_path / "store", tmp_path, Store(str(tmp_path / "db")), owners))


def add(library: Library, name: str, text: str, owner: int | None = None) -> None:
    owner = os.geteuid() if owner is None else owner
    library.add(Analyzer(name, text.encode(), "bmc", 7), owner=owner)


def test_what_an_analyzer_needs_runs_before_it(library: Library) -> None:
    for name, needs in (("c", ""), ("b", "c"), ("a", "b c")):
        add(library, name, f"# needs: {needs}\necho")
    assert [each.name for each in library.in_order("a")] == ["c", "b", "a"]
    with pytest.raises(WrongAnalyzer, match="c → b → c"):
        add(library, "c", "# needs: b\necho")
    with pytest.raises(NoAnalyzer, match="d needs 'B', which is not there; there is: a"):
        add(library, "d", "# needs: B\necho")
    with pytest.raises(WrongAnalyzer, match="is needed by a, b"):
        library.remove("c")
    library.remove("a")
    with pytest.raises(NoAnalyzer):
        library.get("a")


def test_whose_an_analyzer_is_holds_for_the_text_that_he_added(library: Library) -> None:
    add(library, "a", "echo")
    assert (library.get("a").author, library.get("a").added_s) == ("bmc", 7)
    path = library.directory / "a"
    assert path.read_text() == "echo"
    path.write_text("echo more")
    again = Library(library.archive)
    assert again.get("a").author != "bmc"
    assert again.get("a").text == b"echo more"


def test_only_the_owner_adds_what_runs_by_itself(library: Library) -> None:
    with pytest.raises(Refused, match="would run by itself"):
        add(library, "a", "# auto: yes\necho", owner=os.geteuid() + 1)
    add(library, "b", "echo")
    add(library, "a", "# auto: yes\n# needs: b\necho")
    assert [each.name for each in library.autos()] == ["b", "a"]
    (library.directory / "a").chmod(0o620)
    assert Library(library.archive).autos() == ()


def test_a_stored_analyzer_takes_the_place_of_a_shipped_one(library: Library) -> None:
    assert library.get("signature").author is None
    with pytest.raises(NoAnalyzer, match="shipped"):
        library.remove("signature")
    add(library, "signature", "echo mine")
    assert library.get("signature").author == "bmc"
    library.remove("signature")
    assert library.get("signature").author is None


@pytest.mark.parametrize(
    ("word", "is_command"),
    [("bt", True), ("bt -a", True), ("no such", True), ("btt", False), ("a\nb c", False)],
)
def test_a_command_has_a_blank_or_is_crashs(library: Library, word: str, is_command: bool) -> None:
    if is_command:
        assert library.meant(word)[-1].is_command
    else:
        with pytest.raises(NoAnalyzer):
            library.meant(word)


def test_no_analyzer_is_called_like_a_command(library: Library) -> None:
    with pytest.raises(WrongAnalyzer, match="bt is a command of crash"):
        add(library, "bt", "echo")
