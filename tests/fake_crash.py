"""Shell scripts that talk as crash does, with what a test makes of its commands."""

from __future__ import annotations

RELEASE = "6.1.192-1.cas1.x86_64"
"""Of the shipped x86_64 kernels."""
SUM = (
    "s=$((${x%% *} + ${x##* })); printf 'hexadecimal: %x  \\n    decimal: %d  \\n"
    "      octal: %o\\n     binary: 0101\\n' $s $s $s"
)
"""Answers ``eval A + B``, with the words behind the first in ``$x``."""


def banner(release: str = RELEASE) -> str:
    """A script's line that answers ``rd -a linux_banner``."""
    return f'echo "ffffffff81e00180:  Linux version {release} (cas@fixtures) #1 SMP"'


def loop(script: str, release: str = RELEASE) -> str:
    """A crash that does what a script says with any other command: ``$w``, with the rest in ``$x``.

    :param release: of the kernel that it says the dump is of
    """
    return (
        f"while read -r w x; do case $w in\nrd) {banner(release)};;\n"
        f'echo) echo "$x ";;\neval) {SUM};;\n*) {script};;\nesac; done\n'
    )


def opened(release: str = RELEASE) -> str:
    """A shell function ``opened "$@"``: up to where crash would have read the dump.

    The commands stand in the file behind ``-i`` or, without one, come on stdin.
    """
    return (
        f"answers() {{ while read -r w x; do case $w in\nrd) {banner(release)};;\n"
        f'echo) echo "$x ";;\neval) {SUM}; return;;\nesac; done; }}\n'
        'opened() { if [ "$3" = -i ]; then answers < "$4"; else answers; fi; }\n'
    )
