"""Which crashes words mean: beginnings of ids, tickets, and what comes through standard input."""

from __future__ import annotations

import io
import sys

import pytest

from cas.archive.archive import Archive
from cas.archive.constraints import Garbage
from cas.archive.crash_directories import NotArchived
from cas.archive.record import Info
from cas.commands.crash_spec import AmbiguousSpec, chosen_crashes, leading_crashes
from cas.errors import UsageError

from installed import Site, answer

ONE, TWO, THREE = (f"{begin}{'0' * 28}" for begin in ("aaaa", "aaab", "cccc"))
JOBS = {
    ONE: ("T-1/2026.01.01.00.00.00", "T-2/2026.01.03.00.00.00"),
    TWO: ("T-1/2026.01.02.00.00.00",),
    THREE: ("T-10/2026.01.09.00.00.00",),
}


@pytest.fixture
def archive(archive: Archive) -> Archive:
    for number, (crash_id, jobs) in enumerate(JOBS.items()):
        blank = Info(id=crash_id, time_s=number, added_s=number, jobs=jobs)
        with archive.changing(crash_id, lambda blank=blank: blank):  # type: ignore[misc]
            pass
    return archive


def meant(site: Site, archive: Archive, *words: str) -> list[str]:
    chosen = chosen_crashes(words, site.world(), archive)
    return [line.id for line in archive.store.crashes.lines(chosen)]


def test_a_beginning_that_several_ids_have_lists_them(site: Site, archive: Archive) -> None:
    other = f"aaaa{'1' * 28}"
    with archive.changing(other, lambda: Info(id=other, time_s=-5, added_s=1)):
        pass
    for word in ("aaaa", "AAAA", "id=aaaa", "name=aaaa"):
        with pytest.raises(AmbiguousSpec, match="begins the ids of several crashes") as caught:
            meant(site, archive, word)
        assert caught.value.exit_code == 1
        _, *listed = str(caught.value.result).splitlines()
        assert [line.split()[0] for line in listed] == [other[:16], ONE[:16]]
    for word in (ONE, ONE[:5], f"id={ONE[:5].upper()}"):
        assert meant(site, archive, word) == [ONE]
    assert meant(site, archive, "id=aaa*") == [other, ONE, TWO]


def test_a_ticket_means_its_crashes_and_latest_the_newest_job_of_it(
    site: Site, archive: Archive
) -> None:
    assert meant(site, archive, "T-1") == [ONE, TWO]
    assert meant(site, archive, "T-1/latest") == [TWO]
    assert meant(site, archive, JOBS[ONE][0]) == [ONE]
    with pytest.raises(NotArchived):
        meant(site, archive, "T-1/2026.01.09.00.00.00")


def test_words_hold_together(site: Site, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    assert meant(site, archive, ONE[:5], "id=aaab") == []
    assert meant(site, archive, "T-1", "ticket=T-2") == [ONE]
    assert meant(site, archive, "T-1", "id=aaab") == [TWO]
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"NAME TYPE\n{TWO} crash\n{THREE[:6]}\n"))
    assert meant(site, archive, "T-1", "dump=stdin") == [TWO]
    # what stands behind constraints is no word of the specification
    assert leading_crashes(("type=crash", "T-1"), site.world(), archive).rest == ("T-1",)


def test_what_comes_through_standard_input_is_ids(
    site: Site, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("aaa\n"))
    with pytest.raises(Garbage, match="which is no id"):
        meant(site, archive, "dump=stdin")
    monkeypatch.setattr(sys, "stdin", io.StringIO("cccc\naaaa0\naaa0\n"))
    assert meant(site, archive, "dump=stdin") == [ONE, THREE]
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert meant(site, archive, "dump=stdin") == []


@pytest.mark.parametrize("words", ["set {} a b", "unset {} a", "hold {} audit", "unticket {} T-1"])
def test_a_verb_with_more_words_says_which_one_means_nothing(site: Site, words: str) -> None:
    verb, *rest = words.split()
    for word, error in (("T-404", NotArchived), ("abcd", NotArchived), ("no!", Garbage)):
        with pytest.raises(error, match=f"{word}'? is no ticket|meant by '{word}'"):
            answer(site.world(), "cas", verb, *(each.format(word) for each in rest))
    with pytest.raises(UsageError):
        answer(site.world(), "cas", verb, "T-404")
    nothing = answer(site.world(), "cas", verb, *(each.format("node=nobody") for each in rest))
    assert (nothing.lines, nothing.status) == ((), 2)
