"""What the administrator decided: cas.conf, read once into a frozen value.

The format is that of the original's manual: three sections of ``key = value`` lines. Only this
module sees :mod:`configparser`. Keys are compared without regard to case, as the original did.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from cas.choices import EngineChoice, Fetch, Storage
from cas.errors import ConfigError
from cas.frozen import dataclass
from cas.model.host import Host
from cas.settings.rules import (
    STORE_PREFIX,
    CacheRules,
    DebuginfodRules,
    HostRules,
    IntakeLimits,
    Mail,
    PackageRules,
    RetentionRules,
    StoreRules,
    Supervision,
    SweepRules,
    TierRules,
    WaterMark,
)
from cas.units import bytes_of, seconds_of_age

SECRET = frozenset({"database", "debuginfod"})
"""Directives whose value may hold a password."""
SYSTEM_FILE = Path("/etc/cas.conf")
SECTIONS = ("settings", "maintenance", "advanced")
STORES = "stores"
"""The section on all buckets; ``stores BUCKET`` is on one of them. Those of other protocols than
Amazon's have its scheme: ``stores gs://`` is on all of Google's, ``stores gs://BUCKET`` on one."""
SWEEP = "sweep"
"""The section on how all hosts are swept; ``sweep HOST`` is on one of them."""
_BUCKET = re.compile(r"(?:s3://)?((?:(gs|az)://)?[A-Za-z0-9._-]*)")
_OF_AMAZON = frozenset({"region", "instanceMetadata"})
MISSPELLINGS = {"stmphost": "smtphost", "rpmfilters": "rpmFilter", "buffer": "buffersize"}
"""Wrong names that the original's own manual and releases used."""


@dataclass(frozen=True, slots=True)
class Config:
    """Every directive of cas.conf(5), with its default."""

    kernels: Path
    debugs: Path
    """Cache of extracted vmlinux files and kernel modules, by build-id."""
    work_directory: Path
    database: str
    """A path or a SQLAlchemy URL."""
    casuser: str | None = None
    result_group: str | None = None
    """The group that may read the results of new jobs; ``None``: their owner alone."""
    engineer_group: str | None = None
    """The group whose members may become ``casuser`` by sudo(8); ``None``: there is none."""
    packages: PackageRules = field(default_factory=PackageRules)
    cache: CacheRules = field(default_factory=CacheRules)
    debuginfod: DebuginfodRules = field(default_factory=DebuginfodRules)
    debug_level: str = "INFO"
    sshkey: Path | None = None
    mail: Mail = field(default_factory=Mail)
    purge_limit_days: int = 90
    auto_purge: bool = False
    retention: RetentionRules = field(default_factory=RetentionRules)
    crash: str = "crash"
    """The crash program for this machine's architecture: a path, or a name looked up in PATH."""
    crash_for_arch: Mapping[str, Path] = field(default_factory=dict)
    """crash programs that read dumps of another architecture, by ``uname -m`` name."""
    buffer_size_bytes: int | None = None
    """How much of a dump without VMCOREINFO is searched for the banner; ``None``: 4 GiB."""
    engine: EngineChoice = EngineChoice.AUTO
    """``auto``, ``crash`` or ``drgn``."""
    snippets: tuple[Path, ...] = ()
    """The site's snippet directories, after the shipped one."""
    glide: tuple[Path, ...] = ()
    """The site's directories of modules of the deep trace, after the shipped one."""
    deep_trace: bool = True
    """Whether a job has a deep trace of what panicked and ran."""
    functions: Path | None = None
    """A file of patterns: which kernel functions are everybody's here, besides those we know."""
    known_issues: tuple[Path, ...] = ()
    """Files of known issues, and directories of such."""
    sources: tuple[Path, ...] = ()
    """Directories with a source tree for each kernel release, named by it."""
    supervision: Supervision = field(default_factory=Supervision)
    extensions: tuple[Path, ...] = ()
    """crash extensions that are loaded first, as paths on the machine where crash runs."""
    hosts: HostRules = field(default_factory=HostRules)
    intake: IntakeLimits = field(default_factory=IntakeLimits)
    storage: Storage = Storage.COPY
    """What becomes of a plain dump: `COPY` or `REFERENCE`."""
    store: Path | None = None
    """Where the archive is; ``None``: below the work directory."""
    tier: TierRules = field(default_factory=TierRules)
    private_addresses: bool = False
    """Whether a URL may lead to loopback, link-local and private networks."""
    stores: Mapping[str, StoreRules] = field(default_factory=dict)
    """Where buckets are, by their names; ``""`` stands for all others."""
    sweeps: Mapping[str, SweepRules] = field(default_factory=dict)
    """How hosts are swept, by their names; ``""`` stands for all others."""
    fetch: Fetch = Fetch.ALL
    """How much of a dump on a server is fetched: ``all`` or ``answer``."""
    fetch_timeout_s: float = 60.0
    """Without a byte from a server, after which it counts as gone."""
    file: Path | None = None
    """The file that was read; ``None`` when there is none."""
    warnings: tuple[str, ...] = ()

    def sweep_rules(self, host: Host | None = None) -> SweepRules:
        """How a host is swept: as its section says, else that of its name, else that of all."""
        names = (str(host), host.name, "") if host else ("",)
        found = (self.sweeps[name] for name in names if name in self.sweeps)
        return next(found, SweepRules())


def read_config(path: Path | None, defaults: Config) -> Config:
    """Read the configuration file over the defaults.

    :param path: ``None``: there is no file, the defaults hold
    :raises ConfigError: unreadable, malformed, unknown key or unusable value, with its line
    """
    if path is None:
        return defaults
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read {path}: {reason}") from error
    parsed = configparser.RawConfigParser(inline_comment_prefixes=("#", ";"))
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parsed.read_string(text, source=str(path))
    except configparser.ParsingError as error:
        # no `from`: the library's message quotes the line, with a password perhaps
        first = error.lineno if hasattr(error, "lineno") else error.errors[0][0]
        is_outside = isinstance(error, configparser.MissingSectionHeaderError)
        why = "it stands before the first [section]" if is_outside else "it is no `key = value`"
        raise ConfigError(f"{path}, line {first} cannot be read: {why}") from None
    except configparser.DuplicateOptionError as error:
        raise _twice(f"{path}, line {error.lineno}", error.option, str(error.section)) from None
    except configparser.DuplicateSectionError as error:
        said = f"{path}, line {error.lineno}: the section [{error.section}] begins a second time"
        raise ConfigError(said, hint="put its keys into the first one") from None
    config, warnings = replace(defaults, file=path), []
    seen = set()
    own: dict[str, dict[str, dict[str, Any]]] = {STORES: {}, SWEEP: {}}
    entries = [(name, *item) for name in parsed.sections() for item in parsed.items(name)]
    for section, key, value in entries:
        head = re.search(rf"^\[{re.escape(section)}\]", text, re.MULTILINE)
        pattern = re.compile(rf"^\s*{re.escape(key)}\s*([=:]|$)", re.MULTILINE)
        found = pattern.search(text, head.end() if head else 0)
        line = text.count("\n", 0, found.end()) + 1 if found else 0
        where = f"{path}, line {line}"
        kind = section.partition(" ")[0]
        known, warning = _known_key(section, key, where)
        if (section, known) in seen:  # in other letters
            raise _twice(where, key, section)
        seen.add((section, known))
        warnings += [warning] if warning else []
        if kind in own:
            is_sweep = kind == SWEEP
            name = _host_of(section) if is_sweep else _bucket_of(section, path)[0]
            table = _SWEEP_DIRECTIVES if is_sweep else _STORE_DIRECTIVES
            own[kind].setdefault(name, {}).update(_of_section(table, known, value.strip(), where))
        else:
            config = _apply(config, known, value.strip(), where)
    _require_order(config.retention, path)
    return replace(
        config,
        stores=_stores_of(parsed, own[STORES], path),
        sweeps=_sweeps_of(own[SWEEP]),
        warnings=tuple(warnings),
    )


def _require_order(rules: RetentionRules, path: Path) -> None:
    """:raises ConfigError: the low water mark is above the high one, or alone"""
    high, low = rules.high, rules.low
    if low is None:
        return
    if high is None:
        said = f"{path}: `archiveLowWater` says nothing without `archiveHighWater`"
        raise ConfigError(said, hint="for example: archiveHighWater = 90%")
    if (high.percent is None) != (low.percent is None):
        return  # which is the lower one the file system decides
    if low.free_of(100) < high.free_of(100):
        raise ConfigError(
            f"{path}: at `archiveLowWater` the disk is fuller than at `archiveHighWater`",
            hint="for example: archiveHighWater = 90%, archiveLowWater = 80%",
        )


def store_directives() -> tuple[str, ...]:
    """Every key that a section on stores may hold."""
    return tuple(_STORE_DIRECTIVES)


def sweep_directives() -> tuple[str, ...]:
    """Every key that a section on sweeps may hold."""
    return tuple(_SWEEP_DIRECTIVES)


def _sweeps_of(said: Mapping[str, Mapping[str, Any]]) -> dict[str, SweepRules]:
    """The rules of each host: its own, before those of all."""
    return {each: SweepRules(**{**said.get("", {}), **said[each]}) for each in said}


def _host_of(section: str) -> str:
    """What host a section is on; ``""``: all."""
    return section.removeprefix(SWEEP).strip()


def _stores_of(
    parsed: configparser.RawConfigParser, said: Mapping[str, Mapping[str, Any]], path: Path
) -> dict[str, StoreRules]:
    """The rules of each bucket: its own, before those of all."""
    buckets = (_bucket_of(name, path) for name in parsed.sections() if _is_of_store(name))
    return {
        each: StoreRules(**{**said.get(of_all, {}), **said.get(each, {})})
        for each, of_all in buckets
    }


def _bucket_of(section: str, path: Path) -> tuple[str, str]:
    """What bucket a section is on, and what stands for all buckets like it.

    :raises ConfigError: its name is none
    """
    found = _BUCKET.fullmatch(section.removeprefix(STORES).strip())
    if found is None:
        raise ConfigError(
            f"{path}: the section [{section}] is on no bucket",
            hint="call it [stores], [stores BUCKET], [stores gs://BUCKET] or [stores az://CONTAINER]",
        )
    return found[1], f"{found[2]}://" if found[2] else ""


def _known_of_store(section: str, key: str, where: str) -> str:
    """A key of a section on stores.

    :raises ConfigError: it has none of that name
    """
    known = _known_name(key, _STORE_DIRECTIVES, where)
    if re.match(rf"{STORES}\s+(gs|az)://", section) and known in _OF_AMAZON:
        raise ConfigError(f"{where}: `{known}` is of stores of Amazon's protocol alone (s3://)")
    return known


def _is_of_store(section: str) -> bool:
    return section == STORES or section.startswith(f"{STORES} ")


def _of_section(
    directives: Mapping[str, tuple[str, Callable[[str], Any]]], key: str, value: str, where: str
) -> dict[str, Any]:
    """What a line says of a store or a sweep; an empty one says nothing."""
    name, convert = directives[key]
    try:
        return {name: convert(value)} if value else {}
    except ValueError as error:
        raise ConfigError(f"{where}: `{key} = {value}`: {error}") from None


def directives() -> tuple[str, ...]:
    """Every key that cas.conf may hold, spelled as in the manual."""
    return tuple(_DIRECTIVES)


def _twice(where: str, key: str, section: str) -> ConfigError:
    return ConfigError(f"{where}: `{key}` stands twice in [{section}]", hint="leave one of the two")


def _known_key(section: str, key: str, where: str) -> tuple[str, str | None]:
    """A key as the manual spells it, and what is to be said of it."""
    if _is_of_store(section):
        return _known_of_store(section, key, where), None
    if section.partition(" ")[0] == SWEEP:
        return _known_name(key, _SWEEP_DIRECTIVES, where), None
    return _known_directive(section, key, where)


def _known_directive(section: str, key: str, where: str) -> tuple[str, str | None]:
    if section not in SECTIONS:
        raise ConfigError(
            f"{where}: unknown section [{section}]; the sections are"
            f" {', '.join((*SECTIONS, STORES, SWEEP))}"
        )
    right = MISSPELLINGS.get(key.lower())
    if right:
        return right, f"{where}: `{key}` is read as `{right}`; please correct it"
    if re.fullmatch(r"crash_[a-z0-9_]+", key) and key not in _DIRECTIVES:
        return key, None
    return _known_name(key, _DIRECTIVES, where), None


def _known_name(key: str, directives: Mapping[str, Any], where: str) -> str:
    """A key as the manual spells it."""
    lowered = {name.lower(): name for name in directives}
    if key.lower() in lowered:
        return lowered[key.lower()]
    import difflib  # few files have mistakes

    nearest = difflib.get_close_matches(key.lower(), lowered, n=1, cutoff=0.0)[0]
    raise ConfigError(f"{where}: unknown key `{key}`; did you mean `{lowered[nearest]}`?")


def _apply(config: Config, key: str, value: str, where: str) -> Config:
    try:
        if value == "":
            return config
        if key.startswith("crash_"):
            arch = key.removeprefix("crash_")
            arches = {**config.crash_for_arch, "i686" if arch == "32" else arch: _absolute(value)}
            return replace(config, crash_for_arch=arches)
        target, convert = _DIRECTIVES[key]
        group, dot, name = target.rpartition(".")
        change: dict[str, Any] = {name: convert(value)}
        if dot:
            change = {group: replace(getattr(config, group), **change)}
        return replace(config, **change)
    except ValueError as error:
        shown = "…" if key in SECRET else value
        raise ConfigError(f"{where}: `{key} = {shown}`: {error}") from None


def _absolute(value: str) -> Path:
    path = Path(value).expanduser()
    if not path.is_absolute():
        raise ValueError("an absolute path is needed")
    return path


def _on_host(value: str) -> str:
    if not value.startswith(("/", "~/")):
        raise ValueError("must begin with / or ~/")
    return value


def _directories_there(value: str) -> tuple[str, ...]:
    """Directories of another machine, with colons between."""
    found = tuple(part.strip() for part in value.split(":") if part.strip())
    if not found or not all(part.startswith("/") for part in found):
        raise ValueError("absolute paths are needed")
    return found


def _paths(value: str) -> tuple[Path, ...]:
    return tuple(_absolute(part) for part in value.split(":") if part)


def _list_of_words(value: str) -> tuple[str, ...]:
    return () if value.lower() == "none" else tuple(value.replace(",", " ").split())


def _urls(value: str) -> tuple[str, ...]:
    urls = _list_of_words(value)
    for url in urls:
        if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s?#]*)?", url):
            raise ValueError("only http and https URLs are taken, without user and query")
    return urls


def _one_of(*choices: str) -> Callable[[str], str]:
    def convert(value: str) -> str:
        for choice in choices:
            if value.lower() == choice.lower():
                return choice
        raise ValueError(f"must be one of {', '.join(choices)}")

    return convert


def _yes_no(value: str) -> bool:
    states = configparser.RawConfigParser.BOOLEAN_STATES
    if value.lower() not in states:
        raise ValueError("must be Yes or No")
    return states[value.lower()]


def _word(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", value):
        raise ValueError("must be a word")
    return value


def _positive(value: str) -> int:
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise ValueError("must be a whole number above 0")
    return int(value)


def _seconds(value: str) -> float:
    if not re.fullmatch(r"\d{1,9}(\.\d{1,3})?", value, re.ASCII) or float(value) <= 0:
        raise ValueError("must be a number of seconds above 0")
    return float(value)


def _age(value: str) -> int:
    """Seconds of an age as in a specification; the unit may stand apart, and be of several."""
    found = re.fullmatch(r"(\d+)\s*([a-z]+)", value, re.ASCII)
    if not found or int(found[1]) < 1:
        raise ValueError("must be an age such as 30 days")
    number, unit = found.groups()
    try:
        return seconds_of_age(
            number + (unit[:-1] if unit.endswith("s") and len(unit) > 1 else unit)
        )
    except ValueError:
        raise ValueError(f"ends with no unit of time: {unit!r}") from None


def _store_and_prefix(value: str) -> str:
    if not STORE_PREFIX.fullmatch(value):
        raise ValueError("must be a store and a prefix in it, s3://BUCKET/PREFIX")
    return value.rstrip("/")


def _water_mark(value: str) -> WaterMark:
    """A percentage that is taken, or a size that is free."""
    if found := re.fullmatch(r"(\d{1,2})\s*%", value, re.ASCII):
        return WaterMark(percent=int(found[1]))
    try:
        return WaterMark(free_bytes=bytes_of(value))
    except ValueError:
        raise ValueError("must be a percentage that is taken, 90%, or what is free, 50G") from None


def _endpoint(value: str) -> str:
    (url,) = _urls(value) or ("",)
    if not url:
        raise ValueError("must be the URL of a server")
    return url


_STORE_DIRECTIVES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "endpoint": ("endpoint", _endpoint),
    "region": ("region", _word),
    "credentials": ("credentials", _absolute),
    "instanceMetadata": ("has_instance_metadata", _yes_no),
}
_SWEEP_DIRECTIVES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "directories": ("directories", _directories_there),
    "sftpServer": ("server", str),
    "time": ("time_s", _seconds),
    "bytes": ("size_bytes", bytes_of),
    "settle": ("settle_s", _seconds),
    "answerTime": ("answer_s", _seconds),
}
_DIRECTIVES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "casuser": ("casuser", str),
    "resultGroup": ("result_group", str),
    "engineerGroup": ("engineer_group", str),
    "kernels": ("kernels", _absolute),
    "rpmFilter": ("packages.rpm_filter", str),
    "debFilter": ("packages.deb_filter", str),
    "packageReaders": ("packages.readers", _positive),
    "packageTimeout": ("packages.timeout_s", _seconds),
    "signatures": ("packages.signatures", _one_of("ignore", "report", "require")),
    "keys": ("packages.keys", _absolute),
    "cacheLimit": ("cache.limit_bytes", bytes_of),
    "cacheTarget": ("cache.target_bytes", bytes_of),
    "cacheDays": ("cache.days", _positive),
    "debuginfod": ("debuginfod.urls", _urls),
    "debuginfodLimit": ("debuginfod.file_bytes", bytes_of),
    "debuginfodTimeout": ("debuginfod.timeout_s", _seconds),
    "debugs": ("debugs", _absolute),
    "debugLevel": ("debug_level", _one_of("DEBUG", "INFO")),
    "workDirectory": ("work_directory", _absolute),
    "smtphost": ("mail.host", str),
    "smtpPort": ("mail.port", _positive),
    "smtpSecurity": ("mail.security", _one_of("none", "starttls", "tls")),
    "smtpUser": ("mail.user", str),
    "smtpPasswordFile": ("mail.password_file", _absolute),
    "smtpTimeout": ("mail.timeout_s", _seconds),
    "smtpRetry": ("mail.retry_s", _seconds),
    "mailFrom": ("mail.sender", str),
    "mailSections": ("mail.sections", _list_of_words),
    "mailReport": ("mail.attaches_report", _yes_no),
    "mailReportLimit": ("mail.attachment_bytes", bytes_of),
    "database": ("database", lambda value: value if "://" in value else str(_absolute(value))),
    "sshkey": ("sshkey", _absolute),
    "store": ("store", _absolute),
    "storage": ("storage", lambda value: Storage(_one_of("copy", "reference")(value))),
    "tierAfter": ("tier.after_s", _age),
    "tierStore": ("tier.store", _store_and_prefix),
    "purgeLimit": ("purge_limit_days", _positive),
    "autoPurge": ("auto_purge", _yes_no),
    "purgeOlder": ("retention.older_s", _age),
    "purgeLarger": ("retention.larger_bytes", bytes_of),
    "archiveHighWater": ("retention.high", _water_mark),
    "archiveLowWater": ("retention.low", _water_mark),
    "engine": ("engine", _one_of(*EngineChoice)),
    "snippets": ("snippets", _paths),
    "glide": ("glide", _paths),
    "deepTrace": ("deep_trace", _yes_no),
    "functions": ("functions", _absolute),
    "knownIssues": ("known_issues", _paths),
    "sources": ("sources", _paths),
    "extensions": ("extensions", _paths),
    "hosts": ("hosts.use", _one_of("auto", "first", "never")),
    "hostJobs": ("hosts.jobs", _positive),
    "hostWait": ("hosts.wait_s", _seconds),
    "hostKeepalive": ("hosts.keepalive_s", _seconds),
    "hostDirectory": ("hosts.directory", _on_host),
    "hostCacheLimit": ("hosts.cache_bytes", bytes_of),
    "crash": ("crash", str),
    "crash_32": ("crash_for_arch", _absolute),
    "buffersize": (
        "buffer_size_bytes",
        lambda value: None if value.lower() == "none" else bytes_of(value),
    ),
    "sandbox": ("supervision.sandbox", _one_of("auto", "bwrap", "none")),
    "commandTimeout": ("supervision.command_s", _seconds),
    "startTimeout": ("supervision.start_s", _seconds),
    "watchdog": ("supervision.watchdog_s", _seconds),
    "stopInterval": ("supervision.stop_s", _seconds),
    "respawnInterval": ("supervision.respawn_s", _seconds),
    "attempts": ("supervision.attempts", _positive),
    "sectionLimit": ("supervision.section_bytes", bytes_of),
    "memoryLimit": ("supervision.memory_bytes", bytes_of),
    "cpuLimit": ("supervision.cpu_s", _seconds),
    "fileLimit": ("supervision.file_bytes", bytes_of),
    "processLimit": ("supervision.processes", _positive),
    "unpackLimit": ("intake.unpack_bytes", bytes_of),
    "diskReserve": ("intake.reserve_bytes", bytes_of),
    "memberLimit": ("intake.members", _positive),
    "depthLimit": ("intake.depth", _positive),
    "sidecarLimit": ("intake.sidecar_bytes", bytes_of),
    "privateAddresses": ("private_addresses", _yes_no),
    "fetch": ("fetch", lambda value: Fetch(_one_of(*Fetch)(value))),
    "fetchTimeout": ("fetch_timeout_s", _seconds),
}

INTERVALS = {
    "commandTimeout": "one debugger command",
    "startTimeout": "a debugger to open the dump",
    "watchdog": "no output and no use of the processor, then a program is hung",
    "stopInterval": "a program to end when asked to, then it is killed",
    "respawnInterval": "between two starts of a program",
    "fetchTimeout": "a server to send something",
    "smtpTimeout": "a mail server to take all mails of a run",
    "hostKeepalive": "an analysis host to give a sign of life",
}
"""Directives that the environment and the command line may set too, and what the time is for."""


def option_of(key: str) -> str:
    """The command line option of an interval.

    >>> option_of("stopInterval")
    '--stop-interval'
    """
    return "--" + re.sub("([A-Z])", r"-\1", key).lower()


def variable_of(key: str) -> str:
    """The environment variable of an interval.

    >>> variable_of("stopInterval")
    'CAS_STOP_INTERVAL'
    """
    return "CAS" + option_of(key)[1:].replace("-", "_").upper()


def override(config: Config, environment: Mapping[str, str], options: Mapping[str, str]) -> Config:
    """Set intervals: the command line counts before the environment, that before the file.

    :param options: from the command line, by directive
    :raises ConfigError: not a number of seconds
    """
    for key in INTERVALS:
        variable = variable_of(key)
        if environment.get(variable):
            config = _apply(config, key, environment[variable], f"the variable {variable}")
        if options.get(key):
            config = _apply(config, key, options[key], f"the option {option_of(key)}")
    return config
