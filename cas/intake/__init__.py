"""Intake: from what arrived to a plain vmcore in the job directory."""

from cas.intake import taking
from cas.intake.copy import take_over
from cas.intake.selection import Intake, is_plain
from cas.intake.storing import Storing, state_of_upload
from cas.intake.upload_file import check_upload
from cas.intake.vmware import is_memory, require_one_file
from cas.streams.wrapping import PEEK_BYTES, is_wrapped, wrapping

__all__ = [
    "PEEK_BYTES",
    "Intake",
    "Storing",
    "check_upload",
    "is_memory",
    "is_plain",
    "is_wrapped",
    "require_one_file",
    "state_of_upload",
    "take_over",
    "taking",
    "wrapping",
]
