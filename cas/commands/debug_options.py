"""What ``cas debug`` does not know of its command line: crash's own options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cas.errors import UsageError
from cas.frozen import dataclass

WITH_A_VALUE = frozenset(
    {
        *("-d", "-e", "-m", "-o", "-p", "--cpus", "--hash", "--kaslr", "--kvmhost", "--kvmio"),
        *("--machdep", "--memory_device", "--memory_module", "--mod", "--offline", "--p2m_mfn"),
        *("--reloc", "--src", "--xen_phys_start"),
    }
)
"""crash's options that take the next word; ``-i`` does so as well."""
TELLING = frozenset({"-v", "--version", "--buildinfo", "-t"})
"""Options with which crash says something and ends, without a session."""


@dataclass(frozen=True, slots=True)
class ForCrash:
    """What goes on to crash."""

    words: tuple[str, ...] = ()
    """Options as they are."""
    scripts: tuple[Path, ...] = ()
    """Files behind ``-i``: what runs before the first prompt, or before what stdin brings."""
    is_silent: bool = False
    """Nothing introduces the session (``-s``)."""

    @property
    def is_question(self) -> bool:
        """crash only answers a question about itself, or the dump, and ends."""
        return not TELLING.isdisjoint(self.words)


def for_crash(words: Sequence[str]) -> ForCrash:
    """Sort the words that ``cas debug`` does not know.

    :raises UsageError: one is no option, or lacks its value
    """
    passed, scripts, is_silent = list[str](), list[Path](), False
    rest = iter(words)
    for word in rest:
        if word == "-s":
            is_silent = True
        elif word.startswith("-i") and not word.startswith("--"):
            scripts.append(Path(word[2:] or _value(word, rest)))
        elif not word.startswith("-") or word == "-":
            raise one_spec(word)
        else:
            passed.append(word)
            if word in WITH_A_VALUE:
                passed.append(_value(word, rest))
    return ForCrash(tuple(passed), tuple(scripts), is_silent)


def one_spec(word: str, hint: str = "") -> UsageError:
    """What to say of a word behind a SPEC that is no part of it.

    :param hint: what to type; without it, where the options of crash stand
    """
    from cas.commands.mistakes import without_secrets

    said = f"one SPEC at a time: {without_secrets(word)!a} is another"
    return UsageError(said, hint=hint or _BEHIND)


_BEHIND = "options of crash stand behind SPEC, as in: cas debug T-1234 -s -i FILE"


def _value(option: str, rest: Iterator[str]) -> str:
    for word in rest:
        return word
    alone = "a ticket needs no -i here: cas debug TICKET; " if option == "-i" else ""
    raise UsageError(f"{option} needs a value", hint=alone + _BEHIND)
