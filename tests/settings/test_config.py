"""cas.conf: the manual's file as it is, and errors that name line and key."""

from __future__ import annotations

import traceback
from dataclasses import replace
from pathlib import Path

import pytest

from cas.errors import ConfigError
from cas.model.host import Host
from cas.settings.config import Config, override, read_config
from cas.settings.rules import StoreRules, SweepRules

from installed import Site

MANUAL = r"""
[settings]
casuser=root
kernels=/mnt/kernels
rpmFilter=.*kerne.+-debuginfo-[0-9].*\.rpm
debugs=/cores/debugs
debugLevel=DEBUG
workDirectory=/cores/processed
smtphost=mail.example.com
database=/var/db/cas/cas.db
[maintenance]
purgeLimit=90
autoPurge=Yes
[advanced]
# crash_32=/usr/local/i386/crash
# buffersize=None
"""


@pytest.fixture
def defaults(tmp_path: Path) -> Config:
    return Config(tmp_path / "k", tmp_path / "d", tmp_path / "w", str(tmp_path / "db"))


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cas.conf"
    path.write_text(text)
    return path


def test_the_manuals_file_is_read_as_it_is(tmp_path: Path, defaults: Config) -> None:
    config = read_config(write(tmp_path, MANUAL), defaults)
    assert config.casuser == "root"
    assert config.kernels == Path("/mnt/kernels")
    assert config.packages.rpm_filter == r".*kerne.+-debuginfo-[0-9].*\.rpm"
    assert config.debugs == Path("/cores/debugs")
    assert config.debug_level == "DEBUG"
    assert config.work_directory == Path("/cores/processed")
    assert config.mail.host == "mail.example.com"
    assert config.database == "/var/db/cas/cas.db"
    assert (config.purge_limit_days, config.auto_purge) == (90, True)
    assert config.warnings == ()


def test_every_directive_of_the_manual_is_known(tmp_path: Path, defaults: Config) -> None:
    text = MANUAL.replace("# crash_32", "crash_32").replace("# buffersize", "buffersize")
    config = read_config(write(tmp_path, f"{text}sshkey=/home/cas/.ssh/id\n"), defaults)
    assert config.crash_for_arch == {"i686": Path("/usr/local/i386/crash")}
    assert config.buffer_size_bytes is None
    assert config.sshkey == Path("/home/cas/.ssh/id")


@pytest.mark.parametrize(
    ("wrong", "right", "value"),
    [
        ("stmphost", "smtphost", "mail"),
        ("rpmFilters", "rpmFilter", ".*"),
        ("buffer", "buffersize", "None"),
    ],
)
def test_misspellings_of_the_original_are_read_with_a_warning(
    tmp_path: Path, defaults: Config, wrong: str, right: str, value: str
) -> None:
    config = read_config(write(tmp_path, f"[settings]\n{wrong}={value}\n"), defaults)
    assert len(config.warnings) == 1
    assert "line 2" in config.warnings[0]
    assert f"`{right}`" in config.warnings[0]


def test_an_unknown_key_names_its_line_and_the_nearest_key(
    tmp_path: Path, defaults: Config
) -> None:
    path = write(tmp_path, "[settings]\n# a comment\nworkDir = /x\n")
    with pytest.raises(ConfigError, match=r"line 3: unknown key `workDir`.*`workDirectory`"):
        read_config(path, defaults)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("purgeLimit = soon", "a whole number"),
        ("autoPurge = perhaps", "Yes or No"),
        ("debugLevel = LOUD", "DEBUG, INFO"),
        ("kernels = relative/path", "an absolute path"),
        ("sectionLimit = lots", "a size"),
        ("smtpSecurity = rot13", "starttls"),
    ],
)
def test_an_unusable_value_names_its_line_and_what_is_needed(
    tmp_path: Path, defaults: Config, line: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=rf"line 2: .*{reason}"):
        read_config(write(tmp_path, f"[settings]\n{line}\n"), defaults)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[settings]\nengine = drgn\n[advanced]\nengine = gdb\n", "line 4: `engine = gdb`"),
        ("[settings]\nengine = drgn\nengine = crash\n", "line 3: `engine` stands twice"),
        ("[settings]\nengine = drgn\nENGINE = crash\n", "line 3: `ENGINE` stands twice"),
        ("[settings]\n[settings]\n", "line 2: the section"),
    ],
)
def test_what_stands_twice_is_told_with_its_own_line(
    tmp_path: Path, defaults: Config, text: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        read_config(write(tmp_path, text), defaults)


def test_a_comment_may_stand_behind_a_value(tmp_path: Path, defaults: Config) -> None:
    text = "[settings]\nkernels = /srv/kernels  # the mount\nsmtphost = ; none\nsnippets = /a#b\n"
    config = read_config(write(tmp_path, text), defaults)
    assert (config.kernels, config.mail.host) == (Path("/srv/kernels"), None)
    assert config.snippets == (Path("/a#b"),)


def test_what_a_bucket_leaves_out_is_as_for_all_and_of_others_nothing(
    tmp_path: Path, defaults: Config
) -> None:
    path = tmp_path / "cas.conf"
    path.write_text(
        "[stores one]\nregion = eu-central-1\n"
        "[stores]\nregion = eu-west-3\nendpoint = https://objects.example.com\n"
    )
    stores = read_config(path, defaults).stores
    every = StoreRules("https://objects.example.com", "eu-west-3")
    assert stores == {"": every, "one": replace(every, region="eu-central-1")}


def test_what_a_swept_host_leaves_out_is_as_for_all(tmp_path: Path, defaults: Config) -> None:
    path = tmp_path / "cas.conf"
    path.write_text(
        "[sweep db01:2222]\ntime = 60\n[sweep db02]\ndirectories = /srv/crash : /a\n"
        "[sweep]\nbytes = 1G\nsftpServer = sudo -n /usr/lib/openssh/sftp-server -R\n"
    )
    config = read_config(path, defaults)
    every = SweepRules(size_bytes=1 << 30, server="sudo -n /usr/lib/openssh/sftp-server -R")
    assert config.sweep_rules() == config.sweep_rules(Host("db01")) == every
    assert config.sweep_rules(Host("db01", 2222)) == replace(every, time_s=60.0)
    own = replace(every, directories=("/srv/crash", "/a"))
    assert config.sweep_rules(Host("db02", 22)) == own
    path.write_text("[sweep db01]\ndirectories = crash\n")
    with pytest.raises(ConfigError, match=r"line 2: `directories = crash`: absolute paths"):
        read_config(path, defaults)
    path.write_text("[sweep]\ntimes = 5\n")
    with pytest.raises(ConfigError, match="did you mean `time`"):
        read_config(path, defaults)


def test_stores_of_each_protocol_have_sections_of_their_own(
    tmp_path: Path, defaults: Config
) -> None:
    path = tmp_path / "cas.conf"
    path.write_text(
        "[stores s3://one]\nregion = eu-central-1\n[stores gs://]\ncredentials = /key\n"
        "[stores gs://one]\nendpoint = https://objects.example.com\n[stores az://]\nendpoint =\n"
    )
    key = Path("/key")
    assert read_config(path, defaults).stores == {
        "one": StoreRules(region="eu-central-1"),
        "gs://": StoreRules(credentials=key),
        "gs://one": StoreRules("https://objects.example.com", credentials=key),
        "az://": StoreRules(),
    }
    path.write_text("[stores az://one]\nregion = eu-central-1\n")
    with pytest.raises(ConfigError, match=r"line 2: `region` is of stores of Amazon's protocol"):
        read_config(path, defaults)
    path.write_text("[stores ftp://one]\nendpoint =\n")
    with pytest.raises(ConfigError, match=r"cas\.conf: the section \[stores ftp://one\] is on no"):
        read_config(path, defaults)


def test_sizes_take_binary_units(tmp_path: Path, defaults: Config) -> None:
    config = read_config(write(tmp_path, "[advanced]\nsectionLimit = 3M\n"), defaults)
    assert config.supervision.section_bytes == 3 << 20


def test_an_interval_comes_from_the_command_line_then_the_environment_then_the_file(
    tmp_path: Path, defaults: Config
) -> None:
    text = "[advanced]\nwatchdog = 3\nstopInterval = 3\nstartTimeout = 3\n"
    config = read_config(write(tmp_path, text), defaults)
    environment = {"CAS_WATCHDOG": "2", "CAS_STOP_INTERVAL": "2"}
    config = override(config, environment, {"watchdog": "0.5"})
    times = config.supervision
    assert (times.watchdog_s, times.stop_s, times.start_s) == (0.5, 2, 3)


def test_an_interval_that_is_no_time_names_where_it_came_from(defaults: Config) -> None:
    with pytest.raises(ConfigError, match=r"the variable CAS_WATCHDOG: .*number of seconds"):
        override(defaults, {"CAS_WATCHDOG": "soon"}, {})
    with pytest.raises(ConfigError, match=r"the option --watchdog: .*number of seconds"):
        override(defaults, {}, {"watchdog": "-1"})


def test_a_wrong_file_is_a_usage_error_without_traceback(site: Site) -> None:
    site.settings["colour"] = "red"
    done = site.cas("-i", "T-1", "-f", "vmcore")
    assert done.returncode == 2
    assert "unknown key `colour`" in done.stderr
    assert "Traceback" not in done.stderr
    assert not site.jobs.exists()


def test_a_missing_configuration_file_is_named(site: Site) -> None:
    done = site.cas("--config", "/nonexistent/cas.conf", "-i", "T-1", "-f", "vmcore")
    assert done.returncode == 2
    assert "/nonexistent/cas.conf: No such file" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "[settings]\ndatabase = postgresql:/cas:s3cret@host/cas\n",
        "[settings]\ndebuginfod = https://user:s3cret@host/\n",
        "[settings]\ndatabase postgresql://cas:s3cret@host/cas\n",
        "database postgresql://cas:s3cret@host/cas\n",
    ],
)
def test_no_password_is_in_a_complaint(tmp_path: Path, defaults: Config, text: str) -> None:
    with pytest.raises(ConfigError, match=r"line [12]") as caught:
        read_config(write(tmp_path, text), defaults)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
