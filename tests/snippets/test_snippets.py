"""Snippet files become commands: chosen, rendered, checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cas.model.snippet import Need, Snippet
from cas.snippets.snippets import Facts, Loaded, fitting, load, load_prelude, outside, walks_tasks
from cas.supervise import Confinement

FACTS = Facts(
    arch="x86_64",
    release="6.1.0-test",
    kmods=("ext4", "nf_conntrack"),
    size_bytes=4096,
)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    directory = tmp_path / "site"
    directory.mkdir()
    return directory


@pytest.fixture
def room(tmp_path: Path) -> Confinement:
    directory = tmp_path / "room"
    directory.mkdir()
    return Confinement(directory)


def put(directory: Path, name: str, text: str, mode: int = 0o644) -> Path:
    path = directory / name
    path.write_bytes(text.encode())
    path.chmod(mode)
    return path


def commands(loaded: Loaded) -> dict[str, tuple[str, ...]]:
    return {snippet.name: snippet.commands for snippet in loaded.snippets}


def reason(loaded: Loaded) -> str:
    (broken,) = loaded.unusable
    return broken.reason


def test_a_file_is_a_snippet_of_its_name_and_title(site: Path, room: Confinement) -> None:
    put(site, "blocked", "# title: Blocked tasks\n\nforeach UN bt\nps -m\n")
    loaded = load([site], FACTS, room)
    assert loaded.snippets == (Snippet("blocked", "Blocked tasks", ("foreach UN bt", "ps -m")),)


def test_without_a_title_the_name_stands_for_it(site: Path, room: Confinement) -> None:
    put(site, "sys", "sys\n")
    assert load([site], FACTS, room).snippets[0].title == "sys"


def test_a_title_is_read_only_before_the_first_command(site: Path, room: Confinement) -> None:
    put(site, "sys", "sys\n# title: late\n")
    assert load([site], FACTS, room).snippets[0].title == "sys"


def test_snippets_come_in_name_order(site: Path, room: Confinement) -> None:
    for name in ("b", "a.2", "a", "c-1"):
        put(site, name, "sys\n")
    assert list(commands(load([site], FACTS, room))) == ["a", "a.2", "b", "c-1"]


def test_comments_blank_lines_and_endings_are_no_commands(site: Path, room: Confinement) -> None:
    put(site, "sys", "# crash\n\r\n  sys  \r\n# no\nexit\nquit\nq\nlog\n")
    assert commands(load([site], FACTS, room)) == {"sys": ("sys", "log")}


@pytest.mark.parametrize(
    "name",
    [
        *("sys~", "sys.bak", "sys.orig", "sys.rpmsave", "sys.rpmnew", "sys.dpkg-dist", "#sys#"),
        *(".sys", ".sys.swp", "sys.swp", "two words", "naïve", "-x", "a\nb"),
    ],
)
def test_backups_hidden_files_and_odd_names_are_skipped(
    site: Path, room: Confinement, name: str
) -> None:
    put(site, name, "sys\n")
    loaded = load([site], FACTS, room)
    assert loaded.snippets == ()
    assert "skipped" in loaded.remarks[0]
    assert loaded.remarks[0].isprintable()


@pytest.mark.parametrize(
    "name", ["crash", "crash.in", "crash.out", "report.txt", "report.html", "result.json"]
)
def test_names_of_the_jobs_own_files_are_refused(site: Path, room: Confinement, name: str) -> None:
    put(site, name, "sys\n")
    assert "the job directory has another file of this name" in load([site], FACTS, room).remarks[0]


@pytest.mark.parametrize(
    "name", ["T-1.log", "vmcore", "vmcore.elf", "job.json", "mail.eml", "crash.12.1.trc", "usr"]
)
def test_names_of_the_log_and_the_dump_are_refused(
    site: Path, room: Confinement, name: str
) -> None:
    put(site, name, "sys\n")
    assert load([site], FACTS, room).snippets == ()


def test_directories_and_broken_links_are_skipped(site: Path, room: Confinement) -> None:
    (site / "directory").mkdir()
    (site / "link").symlink_to("nowhere")
    loaded = load([site], FACTS, room)
    assert [remark.rpartition(": ")[2] for remark in loaded.remarks] == [
        "not a regular file",
        "No such file or directory",
    ]


def test_a_missing_directory_is_said(tmp_path: Path, room: Confinement) -> None:
    assert "No such file" in load([tmp_path / "none"], FACTS, room).remarks[0]


def test_what_everybody_may_change_is_not_run(site: Path, room: Confinement) -> None:
    put(site, "sys", "sys\n", 0o666)
    assert "everybody may change it" in load([site], FACTS, room).remarks[0]


def test_the_sites_snippet_replaces_the_shipped_one(
    site: Path, room: Confinement, tmp_path: Path
) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    put(shipped, "sys", "sys\n")
    put(shipped, "log", "log\n")
    put(site, "sys", "sys -t\n")
    loaded = load([shipped, site], FACTS, room)
    assert commands(loaded) == {"log": ("log",), "sys": ("sys -t",)}


def test_an_empty_file_switches_a_shipped_snippet_off(
    site: Path, room: Confinement, tmp_path: Path
) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    put(shipped, "sys", "sys\n")
    put(site, "sys", "")
    loaded = load([shipped, site], FACTS, room)
    assert (loaded.snippets, loaded.unusable) == ((), ())
    assert loaded.remarks == ("snippet sys skipped: it has no commands for this dump",)


def test_a_snippet_for_another_architecture_is_skipped(site: Path, room: Confinement) -> None:
    put(site, "pci", "# arch: ppc64le aarch64\ndev -p\n")
    put(site, "ours", "# arch: aarch64 x86_64\nsys\n")
    loaded = load([site], FACTS, room)
    assert list(commands(loaded)) == ["ours"]
    assert loaded.remarks == ("snippet pci skipped: it is for ppc64le, aarch64",)


def test_a_snippet_for_a_module_needs_it_loaded(site: Path, room: Confinement) -> None:
    put(site, "nfs", "# module: nfsd nfs\nsys\n")
    put(site, "netfilter", "# module: nf-conntrack\nsys\n")
    loaded = load([site], FACTS, room)
    assert list(commands(loaded)) == ["netfilter"]
    assert loaded.remarks == ("snippet nfs skipped: module nfsd or nfs was not loaded",)


def test_a_template_sees_the_dump(site: Path, room: Confinement) -> None:
    text = "{% for name in modules %}\nmod -s {{ name }}\n{% endfor %}\nsys\n"
    put(site, "each", text)
    put(site, "facts", "eval {{ size }}\n!{{ arch }} {{ kernel }} {{ release }}\n")
    assert commands(load([site], FACTS, room)) == {
        "each": ("mod -s ext4", "mod -s nf_conntrack", "sys"),
        "facts": ("eval 4096", "!x86_64 6.1.0-test 6.1.0-test"),
    }


@pytest.mark.parametrize(
    "text",
    [
        "{{ nothing }}",
        "{% if %}",
        "{{ 1 / 0 }}",
        "{{ ().__class__.__bases__ }}",
        "{{ 'x' * 99999999999999 }}",
        "{% include 'x' %}",
    ],
)
def test_a_template_that_fails_is_one_unusable_snippet(
    site: Path, room: Confinement, text: str
) -> None:
    put(site, "broken", f"# title: Broken\n{text}\n")
    put(site, "sys", "sys\n")
    loaded = load([site], FACTS, room)
    assert list(commands(loaded)) == ["sys"]
    assert [(broken.name, broken.title) for broken in loaded.unusable] == [("broken", "Broken")]


def test_names_from_the_dump_bring_no_commands(site: Path, room: Confinement) -> None:
    put(site, "each", "sys\n{% for name in modules %}mod -s {{ name }}\n{% endfor %}")
    facts = replace(FACTS, kmods=("good", "x\n!touch /tmp/x", "y;z"))
    assert commands(load([site], facts, room)) == {"each": ("sys", "mod -s good")}


def test_a_release_that_is_none_is_undefined(site: Path, room: Confinement) -> None:
    put(site, "each", "mod -S /lib/modules/{{ release }}\n")
    facts = replace(FACTS, release="6.1\n!touch /tmp/x")
    assert "'release' is undefined" in reason(load([site], facts, room))


def test_control_characters_are_refused(site: Path, room: Confinement) -> None:
    put(site, "odd", "sys\rlog\n")
    assert "control character" in reason(load([site], FACTS, room))


def test_lines_that_crash_would_split_are_refused(site: Path, room: Confinement) -> None:
    put(site, "long", "p " + "1+" * 1000 + "1\n")
    assert "longer than 1000 bytes" in reason(load([site], FACTS, room))


def test_text_in_another_encoding_is_refused(site: Path, room: Confinement) -> None:
    (site / "latin").write_bytes(b"# title: caf\xe9\nsys\n")
    assert "not UTF-8" in reason(load([site], FACTS, room))


def test_a_huge_file_is_refused(site: Path, room: Confinement) -> None:
    put(site, "huge", "sys\n" * 300_000)
    assert "larger than" in reason(load([site], FACTS, room))


def test_an_executable_prints_the_commands(site: Path, room: Confinement) -> None:
    script = '#!/bin/sh\n# title: Made\necho "eval $CAS_SIZE"\necho "sym $CAS_ARCH"\nexit 0\n'
    put(site, "made", script + 'echo "no $CAS_KERNEL"\n', 0o755)
    assert load([site], FACTS, room).snippets == (
        Snippet("made", "Made", ("eval 4096", "sym x86_64")),
    )


def test_an_executable_gets_a_clean_environment_and_an_empty_room(
    site: Path, room: Confinement, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "value")
    put(site, "env", '#!/bin/sh\necho "eval ${SECRET-none} $CAS_KERNEL"\nls -A\n', 0o755)
    assert commands(load([site], FACTS, room)) == {"env": ("eval none 6.1.0-test",)}


def test_what_an_executable_prints_is_no_template(site: Path, room: Confinement) -> None:
    put(site, "made", "#!/bin/sh\necho 'p {{ arch }}'\n", 0o755)
    assert commands(load([site], FACTS, room)) == {"made": ("p {{ arch }}",)}


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("#!/bin/sh\necho sys\necho no luck >&2\nexit 3\n", "exit status 3: no luck"),
        ("#!/bin/sh\nkill -SEGV $$\n", "killed by SIGSEGV"),
        ("#!/no/such/shell\n", "No such file or directory"),
        ("#!/bin/sh\nyes sys\n", "it wrote too much"),
    ],
)
def test_an_executable_that_fails_is_one_unusable_snippet(
    site: Path, room: Confinement, script: str, why: str
) -> None:
    put(site, "broken", script, 0o755)
    put(site, "sys", "sys\n")
    loaded = load([site], FACTS, room)
    assert list(commands(loaded)) == ["sys"]
    assert why in reason(loaded)


def test_a_script_that_lost_its_x_bit_is_not_taken_for_commands(
    site: Path, room: Confinement
) -> None:
    put(site, "made", "#!/bin/sh\n!rm -rf nothing\n")
    assert "not executable" in reason(load([site], FACTS, room))


def test_the_originals_own_redirections_are_understood(site: Path, room: Confinement) -> None:
    put(site, "traceback", "bt >> traceback\nbt -a >>traceback\nsys > traceback\n")
    put(site, "memory", "kmem -i | head >> memory\n")
    assert commands(load([site], FACTS, room)) == {
        "memory": ("kmem -i | head",),
        "traceback": ("bt", "bt -a", "sys"),
    }


def test_a_redirection_names_the_result_file(site: Path, room: Confinement) -> None:
    put(site, "all", "sys >> sys\nlog >> log\nmod\n")
    put(site, "sys", "# title: System\nsys -t\n")
    loaded = load([site], FACTS, room)
    assert commands(loaded) == {"all": ("mod",), "log": ("log",), "sys": ("sys", "sys -t")}
    assert loaded.snippets[2].title == "System"


@pytest.mark.parametrize("target", ["/tmp/x", "../x", "crash.in", "vmcore", ".profile"])
def test_a_redirection_cannot_leave_the_results(site: Path, room: Confinement, target: str) -> None:
    put(site, "mine", f"sys >> {target}\n")
    loaded = load([site], FACTS, room)
    assert commands(loaded) == {"mine": ("sys",)}
    assert loaded.remarks == (f"snippet mine: the output of 'sys >> {target}' goes to mine",)


@pytest.mark.parametrize(
    "line",
    ["p (jiffies >> 3)", "p jiffies->x", "ps | awk '$1 > 5'", "!ls > sys", 'foreach "a > b" bt'],
)
def test_other_greater_signs_are_left_alone(site: Path, room: Confinement, line: str) -> None:
    put(site, "mine", f"{line}\n")
    assert commands(load([site], FACTS, room)) == {"mine": (line,)}


def test_snippets_that_need_every_task_are_known() -> None:
    assert walks_tasks(Snippet("blocked", "", ("sys", "foreach UN bt")))
    assert not walks_tasks(Snippet("traceback", "", ("bt", "bt -a")))


def test_preludes_of_all_directories_come_in_their_order(tmp_path: Path, room: Confinement) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for directory, text in ((one, "# mine\nalias a bt\n"), (other, "alias r set {{ release }}")):
        directory.mkdir()
        put(directory, "prelude", text)
    loaded = load([one, other], FACTS, room)
    assert loaded.prelude == ("alias a bt", "alias r set 6.1.0-test")
    assert loaded.snippets == ()


def test_a_prelude_may_be_for_other_dumps(site: Path, room: Confinement) -> None:
    put(site, "prelude", "# arch: s390x\nalias a bt\n")
    loaded = load_prelude([site, site / "nosuch"], FACTS, room)
    assert loaded.prelude == ()
    assert "it is for s390x" in loaded.remarks[0]


def test_a_prelude_that_everybody_may_change_is_skipped(site: Path, room: Confinement) -> None:
    put(site, "prelude", "!rm -r /\n", 0o666)
    loaded = load([site], FACTS, room)
    assert loaded.prelude == ()
    assert "everybody may change it" in loaded.remarks[0]


def test_a_broken_prelude_says_why_and_stops_no_other(tmp_path: Path, room: Confinement) -> None:
    for name, text in (("one", "alias a {{ nosuch }}"), ("other", "alias b bt")):
        (tmp_path / name).mkdir()
        put(tmp_path / name, "prelude", text)
    loaded = load([tmp_path / "one", tmp_path / "other"], FACTS, room)
    assert loaded.prelude == ("alias b bt",)
    assert "one/prelude, as a template" in reason(loaded)


SWAP = Need("symbol", ("swap_info", "nr_swapfiles"))
SMP = Need("config", ("SMP",))


def test_needs_above_the_first_command_go_for_all_and_others_for_the_next(
    site: Path, room: Confinement
) -> None:
    text = "# needs: symbol=swap_info|nr_swapfiles\nswap\n# needs: config=SMP\n# why\nirq -a\nsys\n"
    put(site, "mine", text)
    (snippet,) = load([site], FACTS, room).snippets
    assert snippet.commands == ("swap", "irq -a", "sys")
    assert snippet.needs == ((SWAP,), (SWAP, SMP), (SWAP,))


def test_an_executable_may_print_needs(site: Path, room: Confinement) -> None:
    put(site, "mine", "#!/bin/sh\necho '# needs: type=rq.clock'; echo runq; echo sys\n", 0o755)
    (snippet,) = load([site], FACTS, room).snippets
    assert snippet.needs == ((Need("type", ("rq.clock",)),), ())


@pytest.mark.parametrize("word", ["swap", "symbol=", "symbol=a|", "crash=8", "config=A-B"])
def test_a_need_that_is_none_makes_the_snippet_unusable(
    site: Path, room: Confinement, word: str
) -> None:
    put(site, "mine", f"# needs: {word}\nswap\n")
    assert f"'{word}' is no need" in reason(load([site], FACTS, room))


def test_commands_that_a_kernel_has_nothing_for_are_left_out() -> None:
    snippet = Snippet("s", "S", ("irq -s", "irq -a", "swap"), ((), (SMP,), (SWAP, SMP)))
    rest, why = fitting(snippet, lambda need: need != SWAP)
    assert rest.commands == ("irq -s", "irq -a")
    assert why == {2: "this kernel has no symbol swap_info or nr_swapfiles"}


def test_what_the_site_has_written_is_known_by_where_it_lies(
    site: Path, room: Confinement, tmp_path: Path
) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    for directory, name in ((shipped, "sys"), (shipped, "log"), (site, "log"), (site, "mine")):
        put(directory, name, "sys\n")
    put(site, "broken", "{{ nosuch }}\n")
    assert outside(shipped, load([shipped, site], FACTS, room)) == {"log", "mine", "broken"}
