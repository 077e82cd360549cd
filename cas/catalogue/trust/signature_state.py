"""What came of the check of a package's signature."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Self

from cas.catalogue.trust.keys import Keys
from cas.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether somebody whom the administrator trusts vouches for a file."""

    ok: bool
    text: str
    """What a sentence says of the file after its name, e.g. ``is not signed``."""
    until_s: int | None = None
    """When the key expires, in seconds since 1970; ``None``: never, or nobody vouches."""
    is_lasting: bool = True
    """Whether it stays so while the file and the keys stay as they are."""

    def remembered(self, keys_stamp: str) -> str:
        """For the catalogue, with what it depends on."""
        facts = {"ok": self.ok, "text": self.text, "until": self.until_s, "keys": keys_stamp}
        return json.dumps(facts)

    @classmethod
    def recalled(cls, text: str | None, keys_stamp: str) -> Self | None:
        """What was remembered, unless keys came or went or expired since."""
        try:
            facts = json.loads(text or "")
            verdict = cls(facts["ok"] is True, str(facts["text"]), facts["until"])
            is_over = verdict.until_s is not None and verdict.until_s < time.time()
            return None if is_over or facts["keys"] != keys_stamp else verdict
        except (ValueError, TypeError, LookupError):
            return None


def by_key(keys: Keys, identity: str, what: str = "is signed") -> Verdict:
    """For a file with a good signature: whether its key still counts.

    A key that has expired vouches for nothing: who has it by now can set back the clock.
    """
    key = keys.key_named(identity)
    if key is None:
        return Verdict(
            ok=False, text=f"{what} with key {identity}, which is not in {keys.directory}"
        )
    whose = f"{what} with key {key.identity} of {key.owner}"
    if key.is_revoked:
        return Verdict(ok=False, text=f"{whose}, which is revoked")
    if key.expires_s is not None and key.expires_s < time.time():
        day = datetime.fromtimestamp(key.expires_s, UTC).date().isoformat()
        return Verdict(ok=False, text=f"{whose}, which expired on {day}")
    return Verdict(ok=True, text=whose, until_s=key.expires_s)
