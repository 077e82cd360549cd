"""Known issues: how files are read, and which crashes they match."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from cas.files.shipped import shipped
from cas.findings import find
from cas.findings.crash import crash_of
from cas.findings.known import FOLDER, Issue, load_known, parse_known
from cas.findings.recognise import clues_of, recognise
from cas.findings.searching import BadPattern, Budget, OutOfTime, Pattern
from cas.model.answer import FirstAnswer
from cas.model.code import Frame
from cas.model.dump import Dump
from cas.model.finding import Finding
from cas.text import known_issue

LOG = """\
[    0.000000] Linux version 6.1.90 (a@b) #1 SMP
[    7.000000] vnd 0000:01:00.0: firmware asserted, code 17
[    9.000000] BUG: kernel NULL pointer dereference, address: 0000000000000018
[    9.000001] Oops: 0000 [#1] SMP
[    9.000003] RIP: 0010:vnd_poll+0x13/0x2a [vnd]
[    9.000004] Call Trace:
[    9.000005]  vnd_probe+0x18/0x2c [vnd]
[    9.000011] Kernel panic - not syncing: Fatal exception
"""
DUMP = Dump(Path("vmcore"), "ELF", 1, "x86_64", osrelease="6.1.90", dmesg=LOG)
FILE = Path("vendor.toml")


def issues(when: str, above: str = 'advice = "update"') -> list[Issue]:
    """One issue with these conditions."""
    found, faults = parse_known(f'[[issue]]\nname = "it"\n{above}\n[issue.when]\n{when}\n', FILE)
    assert faults == []
    return found


def judged(when: str, dump: Dump = DUMP, answer: FirstAnswer | None = None) -> Finding:
    return find(dump, answer, None, issues=issues(when))


def faults(text: str) -> list[str]:
    return parse_known(text, FILE)[1]


SIGNATURES = find(DUMP, None, None).signatures


@pytest.mark.parametrize(
    ("when", "why"),
    [
        ('title = "NULL pointer dereference in vnd_poll [vnd]"', "title NULL pointer dereferen"),
        ('title = "NULL pointer * [vnd]"', "title NULL pointer dereference in vnd_poll [vnd]"),
        ("title_pattern = '^NULL .*vnd_(poll|read)'", "title: NULL pointer dereference in "),
        ('function = ["vnd_read", "vnd_po??"]', "function vnd_poll"),
        ('module = "vnd"', "module vnd"),
        ("log = '^vnd .*firmware asserted'", "log: vnd 0000:01:00.0: firmware asserted, code 17"),
        ("log = ['nothing', 'asserted.*\\d$']", "log: vnd 0000:01:00.0: firmware asserted, c"),
        ('kernel = ">= 6.1, < 6.1.91"', "kernel 6.1.90: >= 6.1, < 6.1.91"),
        ('kernel = ["< 5.15.100", "6.1.*"]', "kernel 6.1.90: 6.1.*"),
        ('arch = ["aarch64", "x86_64"]', "arch x86_64"),
        (f'signature = "{find(DUMP, None, None).signature}"', "signature "),
        *((f'signature = "{one.value}"', f"signature {one.value}") for one in SIGNATURES),
    ],
)
def test_a_crash_is_a_known_issue_where_a_condition_holds(when: str, why: str) -> None:
    (known,) = judged(when).known
    assert (known.name, known.advice, known.file) == ("it", "update", FILE)
    assert len(known.why) == 1
    assert known.why[0].startswith(why)


@pytest.mark.parametrize(
    "when",
    [
        'title = "NULL pointer dereference in vnd_poll v"',
        'title = "null pointer*"',
        'function = "vnd_probe"',
        'function = "poll"',
        'module = "vn"',
        "log = '^firmware'",
        'kernel = "> 6.1.90"',
        'kernel = "5.14.0-*"',
        'arch = "aarch64"',
        'signature = "0123456789abcdef"',
    ],
)
def test_a_crash_is_none_where_the_condition_does_not_hold(when: str) -> None:
    finding = judged(when)
    assert (finding.known, finding.undecided) == ((), ())


def test_all_conditions_must_hold() -> None:
    assert judged('module = "vnd"\nfunction = "vnd_poll"').known
    assert not judged('module = "vnd"\nfunction = "vnd_read"').known


def test_a_title_is_known_by_the_log_alone_and_by_what_is_inlined() -> None:
    inner = Frame("vnd_peek", kmod="vnd", inlined=True)
    answer = FirstAnswer(backtrace=(inner, Frame("vnd_poll", 0x13, kmod="vnd")), dmesg=LOG)
    for name in ("vnd_peek", "vnd_poll"):
        when = f'title = "NULL pointer dereference in {name} [vnd]"\nfunction = "{name}"'
        assert judged(when, answer=answer).known, name


def test_a_kernel_that_cannot_be_compared_does_not_match_and_says_so() -> None:
    rhel = replace(DUMP, osrelease="5.14.0-427.el9.x86_64")
    finding = judged('module = "vnd"\nkernel = "< 6.1.91"', rhel)
    assert finding.known == ()
    assert finding.undecided == (
        "known issue 'it' (vendor.toml): it cannot be told whether this is it: "
        "the kernel 5.14.0-427.el9.x86_64 cannot be compared with < 6.1.91",
    )
    # where another condition fails, or a range of its own kind tells, there is nothing to say
    assert judged('module = "other"\nkernel = "< 6.1.91"', rhel).undecided == ()
    assert judged('kernel = ["< 6.1.91", "< 5.14.0-70.el9"]', rhel).undecided == ()
    assert judged('kernel = ["< 6.1.91", "< 5.14.0-500.el9"]', rhel).known
    nameless = judged('kernel = "< 6.1.91"', replace(DUMP, osrelease=None))
    assert "it is not known which kernel this is" in nameless.undecided[0]


def test_where_there_is_no_kernel_log_it_is_not_told_that_nothing_is_found_in_it() -> None:
    no_log = replace(DUMP, dmesg=None)
    finding = judged("kernel = '6.1.*'\nlog = 'asserted'", no_log)
    (said,) = finding.undecided
    assert said == "1 known issue not looked for: there is no kernel log to look in"
    assert finding.known == ()
    assert judged("kernel = '5.*'\nlog = 'asserted'", no_log).undecided == ()


def test_that_the_kernel_has_the_fix_already_is_told() -> None:
    above = 'fixed_in = ["firmware 4.2", "5.15.12", "6.1.88"]'
    (known,) = find(DUMP, None, None, issues=issues('module = "vnd"', above)).known
    assert known.doubt == "but 6.1.90 has the fix of 6.1.88, so that it may be another bug"
    assert known_issue(known) == f"it: fixed in firmware 4.2, 5.15.12, 6.1.88; {known.doubt}"
    (known,) = find(
        replace(DUMP, osrelease="6.1.87"), None, None, issues=issues('module = "vnd"', above)
    ).known
    assert known.doubt is None


SLOW = "(a|aa)+$"
"""A pattern that takes longer than anybody waits, on this log."""
HOSTILE = replace(DUMP, dmesg=f"{'a' * 4000}b\n{LOG}")


def within(budget: Budget, many: list[Issue]) -> tuple[list[str], tuple[str, ...]]:
    """Names of the known issues that the hostile crash is, and what cannot be told."""
    finding, crash = find(HOSTILE, None, None), crash_of(HOSTILE, None)
    known, undecided = recognise(many, clues_of(crash, finding, HOSTILE, None), budget)
    return [issue.name for issue in known], undecided


def test_a_pattern_that_takes_too_long_costs_itself_and_says_so() -> None:
    finding = find(
        HOSTILE, None, None, issues=[*issues(f"log = '{SLOW}'"), *issues('arch="x86_64"')]
    )
    assert len(finding.known) == 1
    assert finding.undecided == (
        "known issue 'it' (vendor.toml): it cannot be told whether this is it: "
        f"{SLOW!r} takes too long to search for",
    )


def test_a_slow_pattern_does_not_keep_its_alternative_from_being_found() -> None:
    known, undecided = within(Budget(9, 0.05), issues(f"log = ['{SLOW}', 'asserted']"))
    assert (known, undecided) == (["it"], ())


def test_all_patterns_together_have_a_limit() -> None:
    slow, quick = issues(f"log = '{SLOW}'"), issues("log = 'asserted'")
    known, undecided = within(Budget(0.1, 0.04), [*slow * 9, *quick, *issues('module = "vnd"')])
    assert known == ["it"]
    assert undecided[0].endswith("takes too long to search for")
    assert undecided[-1].endswith("not looked for to the end: all patterns together take too long")
    assert len(undecided) <= 4


def test_a_pattern_that_is_not_searched_to_its_end_is_not_found() -> None:
    with pytest.raises(OutOfTime):
        Pattern("(a|aa)+$").search("a" * 4000 + "b", 0.01)


@pytest.mark.parametrize("text", ["(", "a*", "", "(?R)", "x" * 5000, "(" * 5000 + ")" * 5000])
def test_what_is_no_pattern_or_found_everywhere_is_refused(text: str) -> None:
    with pytest.raises(BadPattern):
        Pattern(text)


HEAD = '[[issue]]\nname = "a"\nadvice = "b"\n'


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[issue]\n", "vendor.toml is no TOML: "),
        ("x = " + "[" * 9999, "vendor.toml is no TOML that can be read: it is nested too deeply"),
        ("", "vendor.toml has no [[issue]]"),
        ("[[isue]]\n", "vendor.toml: unknown key `isue`; did you mean `issue`?"),
        ("[issue]\n", "vendor.toml: an issue begins with [[issue]], in two brackets"),
        ("issue = [1]\n", "vendor.toml, issue 1: it is no table of keys and values"),
        (HEAD, "vendor.toml, line 1, issue 1 (a): it has no [issue.when]"),
        (HEAD + "[issue.when]\n", "vendor.toml, line 1, issue 1 (a): it has no condition below "),
        (HEAD + "when.title = []\n", "vendor.toml, line 1, issue 1 (a): it has no condition "),
        (
            HEAD + 'advise = "c"\n',
            "vendor.toml, line 4, issue 1 (a): unknown key `advise`; did you mean `advice`?",
        ),
        (
            HEAD + '[issue.when]\nkernels = "6.1.*"\n',
            "vendor.toml, line 5, issue 1 (a): unknown key `kernels`; did you mean `kernel`?",
        ),
        (
            HEAD + 'kernel = "6.1.*"\n',
            "vendor.toml, line 4, issue 1 (a): `kernel` is a condition: it belongs below "
            "[issue.when]",
        ),
        (
            HEAD + '[issue.when]\ntitle = "x"\nlink = "https://a"\n',
            "vendor.toml, line 6, issue 1 (a): `link` is no condition: it belongs above "
            "[issue.when]",
        ),
        (
            HEAD + "when.title = 1\n",
            "vendor.toml, line 1, issue 1 (a): `when.title`: expected `str | array`, got `int`",
        ),
        (HEAD + 'when.title = " "\n', "vendor.toml, line 1, issue 1 (a): `title`: it is empty"),
        (HEAD + 'when.log = "("\n', "vendor.toml, line 1, issue 1 (a): `log`: '(' is no regular "),
        (
            HEAD + '[issue.when]\nsignature = "12"\n',
            "vendor.toml, line 5, issue 1 (a): `signature`",
        ),
        (HEAD + '[issue.when]\nkernel = "5.15"\n', "vendor.toml, line 5, issue 1 (a): `kernel`: "),
        (HEAD + '[issue.when]\nkernel = "< 5.15.x"\n', "vendor.toml, line 5, issue 1 (a): `kern"),
        (
            HEAD + '[issue.when]\nkernel = "!= 5.15.1"\n',
            "vendor.toml, line 5, issue 1 (a): `kernel`: '!=",
        ),
        (HEAD + '[issue.when]\nkernel = "<5, 6"\n', "vendor.toml, line 5, issue 1 (a): `kernel`: "),
        ('[[issue]]\nname = ""\nwhen.title = "x"\n', "vendor.toml, line 2, issue 1 (): `name`: it"),
        ('[[issue]]\nwhen.title = "x"\n', "vendor.toml, line 1, issue 1: it has no `name`"),
        (
            '[[issue]]\nname = "a"\nwhen.title = "x"\n',
            "vendor.toml, line 1, issue 1 (a): it says nothing: give it `advice`, `link` or ",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, fault: str) -> None:
    (told,) = faults(text)
    assert told.startswith(fault)


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "ftp://a/b", "https://", "https://a/\x1b[31m", "http://a b/"]
)
def test_only_an_address_of_the_web_is_a_link(link: str) -> None:
    text = HEAD + f"link = {link!a}\n".replace("'", '"').replace("\\x", "\\u00")
    (told,) = faults(text + 'when.title = "x"\n')
    assert told.startswith("vendor.toml, line 4, issue 1 (a): `link`: ")
    assert told.endswith(" is no http or https URL")


def test_a_broken_issue_costs_itself_and_not_its_neighbours() -> None:
    good = '[[issue]]\nname = "good"\nadvice = "b"\nwhen.module = "vnd"\n'
    found, told = parse_known(good + HEAD + good, FILE)
    assert [issue.name for issue in found] == ["good", "good"]
    assert told == ["vendor.toml, line 5, issue 2 (a): it has no [issue.when]"]


def test_files_and_directories_are_read_and_what_cannot_be_is_named(tmp_path: Path) -> None:
    good = HEAD + 'when.module = "vnd"\n'
    site = tmp_path / "known"
    site.mkdir()
    for name in ("b.toml", "a.toml", ".#a.toml", "a.toml~", "README"):
        (site / name).write_text(good)
    (site / "bom.toml").write_text(good, "utf-8-sig")
    (site / "big.toml").write_bytes(b"#" * (1 << 20) + b"\n")
    (site / "latin.toml").write_bytes(b"# \xe9\n")
    (site / "link.toml").symlink_to("/etc/hosts")
    os.mkfifo(site / "fifo.toml")
    alone = tmp_path / "alone"
    alone.write_text(good)
    (tmp_path / "away").symlink_to(site)
    known = load_known([site, alone, tmp_path / "away", tmp_path / "nothing"])
    assert [issue.file.name for issue in known.issues] == ["a.toml", "b.toml", "bom.toml", "alone"]
    assert known.files == tuple(issue.file for issue in known.issues)
    assert known.faults == (
        f"{site}/big.toml cannot be read: it has more than 1.0 MiB",
        f"{site}/fifo.toml cannot be read: it is no regular file",
        f"{site}/latin.toml is no UTF-8 text, from byte 2 on",
        f"{site}/link.toml is a symbolic link and not followed: name the file that it leads to",
        f"{tmp_path}/away is a symbolic link and not followed: name the file that it leads to",
        f"{tmp_path}/nothing cannot be read: No such file or directory",
    )


def test_the_shipped_examples_load_and_are_about_a_module_of_these_tests() -> None:
    known = load_known([shipped(FOLDER)])
    assert known.faults == ()
    assert len(known.issues) >= 2
    assert {issue.kmods for issue in known.issues} == {("cas_oops",)}
