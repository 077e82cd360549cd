"""What drgn's process tells of the detectors, one by one, as values: pure functions."""

from __future__ import annotations

from typing import Any

import msgspec

from cas.choices import DetectorStatus
from cas.model.evidence import Detection


class Detections:
    """What is known so far of what the detectors found."""

    def __init__(self) -> None:
        self.done: list[Detection] = []
        self._running: tuple[str, str] | None = None
        """Name and title of the detector that runs."""

    @property
    def names(self) -> list[str]:
        """Those that have had their turn."""
        return [each.detector for each in self.done]

    def take_message(self, message: dict[str, Any]) -> None:
        """Add a message of the worker's."""
        if "detecting" in message:
            self._running = (message["detecting"], message["title"])
        elif "detection" in message:
            try:
                self.done.append(msgspec.convert(message["detection"], Detection))
            except msgspec.ValidationError as error:
                self.ended(f"its answer is none: {error}")
            self._running = None
        elif "problem" in message:
            self._note_failure("detectors", "Detectors", message["problem"], DetectorStatus.FAILED)

    def ended(self, why: str, *, is_late: bool = False) -> None:
        """A detector came to no end of its own."""
        name, title = self._running or ("detectors", "Detectors")
        status = DetectorStatus.TIMEOUT if is_late else DetectorStatus.FAILED
        self._note_failure(name, title, why, status)

    def _note_failure(self, name: str, title: str, why: str, status: DetectorStatus) -> None:
        self._running = None
        self.done.append(Detection(name, title, status, remark=why))
