"""crash's own options on the command line of ``cas debug``."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.commands.debug_options import ForCrash, for_crash
from cas.errors import UsageError


def test_what_we_do_ourselves_is_told_from_what_crash_is_given() -> None:
    words = ["-s", "-d", "8", "-i", "one", "--no_kmem_cache", "-itwo", "--machdep", "vm=5level"]
    passed = ("-d", "8", "--no_kmem_cache", "--machdep", "vm=5level")
    assert for_crash(words) == ForCrash(passed, (Path("one"), Path("two")), is_silent=True)


def test_a_word_that_is_no_option_is_another_spec() -> None:
    with pytest.raises(UsageError, match="one SPEC at a time: 'T-2'"):
        for_crash(["--no_panic", "T-2"])


def test_an_option_needs_its_value() -> None:
    with pytest.raises(UsageError, match="-i needs a value") as error:
        for_crash(["-i"])
    assert error.value.hint.startswith("a ticket needs no -i here: cas debug TICKET")
