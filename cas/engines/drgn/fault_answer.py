"""From what drgn's process tells of a fault to a value."""

from __future__ import annotations

from typing import Any

import msgspec

from cas.errors import EngineError
from cas.fault_reading import Reading


def reading_of(told: dict[str, Any] | None, problem: str | None) -> Reading:
    """What was read of a fault.

    :param problem: what kept it from being read, or from being read whole
    :raises EngineError: nothing was read
    """
    if not told:
        raise EngineError(f"drgn reads nothing of the fault: {problem or 'it is not there'}")
    problems = [f"the fault: {problem}"] if problem else []
    try:
        return msgspec.convert(
            {"origin": "", "registers": {}, **told, "problems": problems}, Reading
        )
    except msgspec.ValidationError as error:
        raise EngineError(f"drgn's process tells nonsense of the fault: {error}") from error
