"""Which dumps of the archive go by rules, why each other one stays, and what that frees."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from stored_crashes import (
    CUT,
    DAY_S,
    FILTERED,
    WHOLE,
    files,
    keep_busy,
    opened,
    place,
    put,
)

from cas.archive.record import File, info_of
from cas.errors import Refused, UsageError

from installed import Site, answer

A, B, C, D = (f"{letter}" * 32 for letter in "abcd")


@pytest.fixture
def busy(site: Site) -> Site:
    """One where something was done every twenty days."""
    keep_busy(site)
    return site


def purged(site: Site, *words: str) -> dict[str, Any]:
    done = site.admin("purge", *words, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def reasons(site: Site, *words: str) -> dict[str, str]:
    """Why each crash stays, by its id."""
    return {one["id"]: one["reason"] for one in purged(site, *words)["stays"]}


def goes(site: Site, *words: str) -> list[str]:
    return [one["id"] for one in purged(site, *words)["goes"]]


def signed(name: str) -> Mapping[str, Any]:
    return {"signatures": {"title": f"t{name}", "top_3": name}}


def info(site: Site, crash_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(site.cas("info", crash_id).stdout)
    return found


def test_it_is_dry_unless_delete_is_said_and_leaves_the_row(busy: Site) -> None:
    put(busy, A, {b"old" * 5000: WHOLE}, days=200)
    put(busy, B, {b"new": WHOLE}, days=20)
    listed = busy.admin("purge", "--older", "90d")
    assert listed.returncode == 0, listed.stderr
    head, line, *rest = listed.stdout.splitlines()
    assert (head.split()[0], head.split()[-1]) == ("NAME", "FREES")
    assert line.startswith(A[:16])
    assert line.endswith("16.0 KiB")
    assert rest == [
        "1 crash stays: 1 not old enough",
        "1 crash would go, 16.0 KiB be freed; --delete removes them",
    ]
    assert len(files(busy, A)) == 1
    done = busy.admin("purge", "--older", "90d", "--delete")
    assert done.stdout.splitlines() == [
        f"removed files of the crash {A}  16.0 KiB",
        "1 crash stays: 1 not old enough",
        "16.0 KiB freed",
    ]
    assert (files(busy, A), len(files(busy, B))) == ([], 1)
    assert info(busy, A)["presence"] == "purged"
    debugged = busy.cas("debug", A, "-c", "bt")
    assert f"the best file of the crash {A} was purged on " in debugged.stderr
    assert busy.cas("ls", "presence=purged").stdout.splitlines()[1].startswith(A[:16])
    record = info_of((place(busy, A) / "info.json").read_bytes())
    assert record.files[0].purged_s
    assert [each.what for each in record.changes] == ["purge"]
    assert busy.admin("check").returncode == 0
    assert reasons(busy, "--older", "90d")[A] == "no_file"


@pytest.mark.parametrize(
    "words",
    [
        ("-d", "5", "--older", "1y"),
        ("--older", "1y", "-y"),
        ("-n", "--keep-exemplar"),
        ("--unfinished", "arch=x86_64"),
        ("--larger", "1G", "--dry-run"),
    ],
)
def test_both_forms_in_one_call_are_refused(site: Site, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="one at a time"):
        answer(site.world(), "cas-admin", "purge", *words)


def test_what_cannot_be_meant_is_told_and_nothing_goes(busy: Site) -> None:
    put(busy, A, {b"old": WHOLE}, days=200)
    for words, status, said in (
        (("-y", "--older", "1y", "--delete"), 2, "one at a time"),
        (("--delete",), 2, "no rule says what goes"),
        (("-v",), 2, "no rule says what goes"),
        (("--older", "10x", "--delete"), 1, "invalid time suffix 'x'"),
        (("--older", "", "--larger", "1", "--delete"), 1, "invalid time suffix ''"),
        (("--older", "90", "--delete"), 1, "--older 90d"),
        (("--larger", ""), 1, "must be a size"),
        (("--larger", "big", "--delete"), 1, "--larger big: must be a size"),
        (("nothing", "--delete"), 2, "nothing in the archive is meant"),
    ):
        done = busy.admin("purge", *words)
        assert (done.returncode, done.stdout) == (status, ""), words
        assert said in done.stderr
    done = busy.admin("-p", "--older", "1y")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(files(busy, A)) == 1


def test_nothing_goes_that_is_ticketed_held_or_in_use(busy: Site) -> None:
    for crash_id in (A, B, C, D):
        put(busy, crash_id, {crash_id.encode(): WHOLE}, days=200)
    assert busy.cas("ticket", A, "KEEP").returncode == 0
    assert busy.cas("hold", B, "for the audit").returncode == 0
    with opened(busy).using(C):
        done = busy.admin("purge", "--older", "1d", "--delete", "-v")
    assert done.returncode == 0, done.stderr
    assert f"{A} stays: the ticket KEEP was set\n" in done.stdout
    assert f"{C} stays: it is in use\n" in done.stdout
    assert ": for the audit\n" in done.stdout
    assert [len(files(busy, each)) for each in (A, B, C, D)] == [1, 1, 1, 0]
    assert busy.cas("unticket", A).returncode == busy.cas("unhold", B).returncode == 0
    assert goes(busy, "--older", "1d") == [A, B, C]


def test_an_upload_that_waits_for_its_kernel_stays(busy: Site) -> None:
    for crash_id, verdict in ((A, "waiting"), (B, "interrupted"), (C, "partial")):
        put(busy, crash_id, {crash_id.encode(): WHOLE}, days=200, facts={"verdict": verdict})
    done = busy.admin("purge", "--older", "1d", "--delete", "-v")
    assert done.returncode == 0, done.stderr
    awaited = "stays: its analysis waits for a kernel, or was stopped, and needs the dump\n"
    assert f"{A} {awaited}" in done.stdout
    assert f"{B} {awaited}" in done.stdout
    assert [len(files(busy, each)) for each in (A, B, C)] == [1, 1, 0]


def test_a_specification_age_and_size_hold_together(busy: Site) -> None:
    put(busy, A, {b"a" * 9000: WHOLE}, days=200, facts={"arch": "x86_64"})
    put(busy, B, {b"b" * 9000: WHOLE}, days=200, facts={"arch": "aarch64"})
    put(busy, C, {b"c": WHOLE}, days=200, facts={"arch": "x86_64"})
    put(busy, D, {b"d" * 5000: WHOLE, b"e" * 5000: CUT}, days=100, facts={"arch": "x86_64"})
    assert goes(busy, "arch=x86_64", "--larger", "8K") == [A, D]
    assert goes(busy, "arch=x86_64", "--larger", "8K", "--older", "4month") == [A]
    assert reasons(busy, "arch=x86_64", "--larger", "8K", "--older", "4month") == {
        C: "small",
        D: "young",
    }
    assert goes(busy, "otime=5month", "arch=aarch64") == [B]
    assert goes(busy, A[:6]) == [A]


def test_the_newest_file_of_a_crash_tells_its_age(busy: Site) -> None:
    later = File(**{**{k: getattr(CUT, k) for k in CUT.__struct_fields__}, "added_s": 150 * DAY_S})
    put(busy, A, {b"old": WHOLE, b"new": later}, days=200)
    assert reasons(busy, "--older", "90d") == {A: "young"}


def test_the_best_file_of_every_signature_stays(busy: Site) -> None:
    put(busy, A, {b"cut, and newer": CUT}, days=100, facts=signed("x"))
    put(busy, B, {b"whole": WHOLE}, days=300, facts=signed("x"))
    put(busy, C, {b"filtered": FILTERED}, days=200, facts=signed("x"))
    put(busy, D, {b"of no signature": WHOLE}, days=200)
    words = ("--older", "30d", "--keep-exemplar")
    assert reasons(busy, *words) == {B: "exemplar"}
    assert goes(busy, *words) == [C, D, A]
    (best,) = files(busy, B)
    best.rename(best.with_name("elsewhere"))  # what is not there is nobody's exemplar
    assert reasons(busy, *words) == {C: "exemplar"}
    best.with_name("elsewhere").rename(best)
    assert busy.admin("purge", *words, "--delete").returncode == 0
    assert [len(files(busy, each)) for each in (A, B, C, D)] == [0, 1, 0, 0]
    assert goes(busy, *words) == []


def test_of_equally_good_files_one_that_stays_anyway_is_the_exemplar(busy: Site) -> None:
    put(busy, A, {b"old": WHOLE}, days=200, facts=signed("x"))
    put(busy, B, {b"older": WHOLE}, days=250, facts=signed("x"))
    put(busy, C, {b"young": WHOLE}, days=2, facts=signed("x"))
    words = ("--older", "30d", "--keep-exemplar")
    assert goes(busy, *words) == [B, A]
    # only some are asked about: the others count all the same
    assert goes(busy, *words, f"id={A}") == [A]
    place(busy, C).rename(place(busy, C).with_name("e" * 32))
    assert (goes(busy, *words), reasons(busy, *words)[A]) == ([B], "exemplar")


def test_what_is_in_a_store_stays_and_is_no_exemplar_here(busy: Site) -> None:
    put(busy, A, {b"whole": WHOLE}, days=200, facts=signed("x"))
    put(busy, B, {b"cut": CUT}, days=200, facts=signed("x"))
    with opened(busy).changing(A) as draft:
        (file,) = draft.info.files
        moved = msgspec.structs.replace(file, at="s3://cold/dump")
        draft.info = msgspec.structs.replace(draft.info, files=(moved,))
    words = ("--older", "30d", "--delete")
    assert reasons(busy, *words, "--keep-exemplar") == {A: "no_file", B: "exemplar"}
    done = purged(busy, *words)
    assert ([one["id"] for one in done["goes"]], done["stays"][0]["reason"]) == ([B], "no_file")
    record = info_of((place(busy, A) / "info.json").read_bytes())
    assert (record.files[0].at, record.files[0].purged_s) == ("s3://cold/dump", None)
    assert record.changes == ()


def test_a_file_with_another_name_frees_nothing(busy: Site) -> None:
    put(busy, A, {b"x" * 9000: WHOLE}, days=200)
    (path,) = files(busy, A)
    second = busy.directory / "second"
    os.link(path, second)
    assert purged(busy, "--older", "1d")["freed_bytes"] == 0
    done = purged(busy, "--older", "1d", "--delete")
    assert (done["freed_bytes"], done["is_dry"]) == (0, False)
    assert second.exists()
    assert not path.exists()


def test_a_clock_that_is_wrong_makes_nothing_old(site: Site) -> None:
    site.settings["database"] = str(site.directory / "cas.db")
    put(site, A, {b"old": WHOLE}, days=300)
    assert reasons(site, "--older", "1d") == {A: "doubted"}
    done = site.admin("purge", "--older", "1d", "--delete")
    assert (done.returncode, len(files(site, A))) == (5, 1)
    assert "so that the clock may be wrong" in done.stderr
    # no age is asked for
    assert goes(site, "--larger", "1") == [A]


def test_who_is_asked_and_says_that_the_clock_is_right_decides(site: Site) -> None:
    site.settings["database"] = str(site.directory / "cas.db")
    put(site, A, {b"old": WHOLE}, days=300)
    words = ("purge", "--older", "1d", "--delete")
    asked = list[str]()
    for reply, goes_then in (("n", False), ("y", True)):
        world = replace(
            site.world(), is_interactive=True, ask=lambda text, r=reply: asked.append(text) or r
        )
        if goes_then:
            assert answer(world, "cas-admin", *words).status == 0
        else:
            with pytest.raises(Refused, match="the clock may be wrong"):
                answer(world, "cas-admin", *words)
        assert len(files(site, A)) == (0 if goes_then else 1)
    assert [text.startswith("Is the clock right") for text in asked] == [True, True]
    # the answer stands for later ones
    put(site, B, {b"older": WHOLE}, days=310)
    assert goes(site, "--older", "1d") == [B]


def test_while_something_is_of_later_than_now_nothing_goes_by_age(busy: Site) -> None:
    put(busy, A, {b"old": WHOLE}, days=200)
    put(busy, B, {b"of tomorrow": WHOLE}, days=-1)
    done = busy.admin("purge", "--older", "1d", "--delete")
    assert (done.returncode, len(files(busy, A))) == (5, 1)
    assert f"but the crash {B} is of " in done.stderr
    assert busy.cas("ticket", B, "KEEP").returncode == 0  # it would be there for ever
    assert goes(busy, "--older", "1d") == [A]


def test_one_purge_by_rules_at_a_time(busy: Site) -> None:
    from cas_admin.retaining import alone_in

    put(busy, A, {b"old": WHOLE}, days=200)
    with alone_in(opened(busy)):
        done = busy.admin("purge", "--older", "1d", "--delete")
    assert (done.returncode, len(files(busy, A))) == (75, 1)
    assert "another purge of the archive is at work" in done.stderr


@pytest.mark.long
def test_a_database_that_is_of_no_use_purges_nothing(busy: Site) -> None:
    put(busy, A, {b"old": WHOLE}, days=200)
    Path(busy.settings["database"]).unlink()
    done = busy.admin("purge", "--older", "1d", "--delete")
    assert (done.returncode, len(files(busy, A))) == (0, 1)
    assert "the database is a new one, which does not know every crash" in done.stderr
    assert busy.admin("index").returncode == 0
