"""Intake: from what arrived to a plain vmcore in the job directory."""

from cas.intake.storing import Storing
from cas.intake.unpack import plan

__all__ = ["Storing", "plan"]
