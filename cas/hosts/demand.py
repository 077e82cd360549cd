"""What is asked of a place for crash: to read this dump."""

from __future__ import annotations

from pathlib import Path

from cas.choices import EngineChoice
from cas.frozen import dataclass
from cas.hosts.crash_versions import is_new_enough, parsed
from cas.model.dump import Dump
from cas.model.host import CrashProgram


@dataclass(frozen=True, slots=True)
class CrashDemand:
    """A crash is looked for that reads a dump."""

    dump: Dump
    vmlinux: Path
    engine: EngineChoice = EngineChoice.AUTO
    host: str | None = None
    """The analysis host that was asked for: no other place will do."""
    options: tuple[str, ...] = ()
    """Options of crash without which it does not find the kernel in this dump."""
    newer_than: str | None = None
    """What a crash calls itself that has failed on it, e.g. ``crash 8.0.2``."""

    def accepts(self, program: CrashProgram) -> bool:
        """Whether a crash may read the dump."""
        failed = parsed((self.newer_than or "").removeprefix("crash "))
        if failed is not None and (parsed(program.version) or ()) <= failed:
            return False
        return is_new_enough(program.version, self.dump.osrelease)
