"""Which detectors there are: the modules of this package that have a function ``detect``."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType

from cas import detectors
from cas.detectors.case import Case
from cas.detectors.needs import Needs
from cas.frozen import dataclass
from cas.model.evidence import Evidence

LIMIT_S = 0.3
"""Seconds for a detector that does not say how long it may take."""
LONGEST_S = 1.0
NOTHING = Needs()


@dataclass(frozen=True, slots=True)
class Detector:
    """One of them."""

    name: str
    """Name of its module."""
    title: str
    """First line of its docstring, without the full stop."""
    detect: Callable[[Case], Iterator[Evidence]]
    needs: Needs = NOTHING
    limit_s: float = LIMIT_S
    """Seconds of the processor."""


def detectors_of(package: ModuleType = detectors) -> Iterator[Detector]:
    """All detectors of a package, in the order of their names.

    One that cannot be imported is there, too, and fails when it is run.
    """
    for name in sorted(each.name for each in pkgutil.iter_modules(package.__path__)):
        try:
            module = import_module(f"{package.__name__}.{name}")
        except Exception as error:
            yield Detector(name, name, _failing(error))
            continue
        if hasattr(module, "detect"):
            yield Detector(
                name,
                (module.__doc__ or name).partition("\n")[0].rstrip("."),
                module.detect,
                getattr(module, "NEEDS", NOTHING),
                min(getattr(module, "LIMIT_S", LIMIT_S), LONGEST_S),
            )


def _failing(error: Exception) -> Callable[[Case], Iterator[Evidence]]:
    def detect(_: Case) -> Iterator[Evidence]:
        raise error

    return detect
