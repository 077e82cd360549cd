"""Who is recorded for what was done."""

from __future__ import annotations

import os
import pwd
from dataclasses import replace
from pathlib import Path

from cas.settings.config import Config
from cas.settings.person import person

CONFIG = Config(Path(), Path(), Path(), "")
ME = pwd.getpwuid(os.getuid()).pw_name


def test_behind_sudo_it_is_who_called_that_where_we_are_casuser() -> None:
    as_casuser = replace(CONFIG, casuser=ME)
    daemon = str(pwd.getpwnam("daemon").pw_uid)
    assert person({"SUDO_UID": daemon}, as_casuser) == "daemon"
    assert person({"SUDO_UID": daemon}, replace(CONFIG, casuser=str(os.getuid()))) == "daemon"
    assert person({"SUDO_UID": "4000000000"}, as_casuser) == "user 4000000000"
    assert person({"SUDO_UID": "9" * 40}, as_casuser) == "user " + "9" * 40


def test_anybody_else_is_himself_whatever_his_variables_say() -> None:
    for config in (CONFIG, replace(CONFIG, casuser="nobody-of-this-name")):
        assert person({"SUDO_UID": "1", "USER": "x", "LOGNAME": "x"}, config) == ME
    assert person({"SUDO_UID": "-1"}, replace(CONFIG, casuser=ME)) == ME
