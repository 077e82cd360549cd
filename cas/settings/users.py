"""Who runs this: the configured user in root's place, and what to do about files of another."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path

from cas.errors import CasError, ConfigError, NotPermitted
from cas.files.permission import user_name
from cas.settings.config import Config

ROOT = 0
NAMED = 5
"""Files and directories of one part of an installation that a command names."""
_BESIDE_DATABASE = ("", "-wal", "-shm", "-journal", ".build.lock")
_ROOTS_OWN = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR")
"""Variables that lead to root's own directories."""


def account(name: str) -> pwd.struct_passwd:
    """A user by name or number.

    :raises ConfigError: there is none
    """
    try:
        return pwd.getpwnam(name)
    except KeyError:
        pass
    try:
        return pwd.getpwuid(int(name))
    except (KeyError, ValueError, OverflowError):
        raise ConfigError(
            f"casuser = {name}: there is no such user",
            hint=f"make it (useradd --system --create-home {shlex.quote(name)}), or name another "
            "one in cas.conf",
        ) from None


def successor(casuser: str | None) -> pwd.struct_passwd | None:
    """The user that root gives way to; ``None`` when this process goes on as it is.

    :raises ConfigError: ``casuser`` names nobody
    """
    if os.geteuid() != ROOT or not casuser:
        return None
    user = account(casuser)
    return user if user.pw_uid != ROOT else None


def become(user: pwd.struct_passwd, environment: MutableMapping[str, str]) -> None:
    """Give up being root, for good; files that are open stay open.

    :param environment: of the process; where temporary files lie is left to the system if this user
        may not write where root's do
    :raises ConfigError: that is not possible here, or this user may not run the program
    """
    try:
        os.initgroups(user.pw_name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    except OSError as error:
        raise ConfigError(
            f"casuser = {user.pw_name}: root cannot become this user here: {error.strerror}",
            hint=f"start it as {user.pw_name}: sudo -u {user.pw_name} …",
        ) from error
    for path, needed in ((Path(sys.executable), os.X_OK), (Path(__file__), os.R_OK)):
        if not os.access(path, needed):
            raise ConfigError(
                f"casuser = {user.pw_name}: this user may not run {path}",
                hint="install it where everybody may read and execute, such as /opt/cas",
            )
    if not os.access(environment.get("TMPDIR", "/"), os.W_OK | os.X_OK):
        environment.pop("TMPDIR", None)


def opened_uploads(paths: Iterable[Path]) -> dict[Path, int]:
    """Descriptors of the regular files among these; who reads the others says what they are."""
    held = {}
    for path in paths:
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                held[path] = descriptor
            else:
                os.close(descriptor)
    return held


def keep_needed(held: Mapping[Path, int]) -> dict[Path, int]:
    """Those that this user could not open himself; the others are closed."""
    # in full: from where root stands, a relative name leads past a directory that is closed to him
    needed = {path: file for path, file in held.items() if not os.access(path.absolute(), os.R_OK)}
    for path in held.keys() - needed.keys():
        os.close(held[path])
    return needed


def take_environment(user: pwd.struct_passwd, environment: MutableMapping[str, str]) -> None:
    """Let the variables be this user's, not root's."""
    for name in _ROOTS_OWN:
        environment.pop(name, None)
    environment.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)


def remedy(obstacle: Path, config: Config) -> str | None:
    """What to do about a file or directory that this user may not use.

    :return: ``None`` where nothing better is known than what the error itself says
    """
    try:
        owner = obstacle.lstat().st_uid
    except OSError:
        return None
    me, user = os.geteuid(), config.casuser or user_name(os.geteuid()).removeprefix("uid ")
    if owner == me:
        return None
    if config.casuser and user_name(owner) == config.casuser:
        return f"run it as {config.casuser}: sudo -u {config.casuser} …"
    if owner != ROOT:
        return f"have {user_name(owner)} do it, or see USERS in cas.conf(5)"
    return command_to_give(config, user, obstacle)


def through_sudo(error: NotPermitted, config: Config, argv: Sequence[str]) -> str | None:
    """The command that an engineer has to type instead of his own, which came to what is casuser's.

    :param argv: the command, with the program's name
    :return: ``None`` for anybody else, and for what is his own
    """
    if not config.casuser or not is_engineer(config):
        return None
    try:
        owner = error.obstacle.lstat().st_uid if error.obstacle else None
    except OSError:
        owner = None
    if owner == os.geteuid():
        return None
    program, *words = argv
    return f"type: sudo -u {shlex.quote(config.casuser)} {shlex.join([Path(program).name, *words])}"


def is_engineer(config: Config) -> bool:
    """Whether this user is in the group whose members may become ``casuser``, and is not he."""
    uid = os.geteuid()
    if not config.engineer_group or uid == ROOT or config.casuser in (user_name(uid), str(uid)):
        return False
    try:
        gid = grp.getgrnam(config.engineer_group).gr_gid
    except KeyError:
        gid = int(config.engineer_group) if config.engineer_group.isdigit() else -1
    return gid in (os.getegid(), *os.getgroups())


def roots_remedy(path: Path, config: Config) -> str | None:
    """What to do about something of root's that is in the way of another user."""
    try:
        is_roots = path.lstat().st_uid == ROOT
    except OSError:
        return None
    return remedy(path, config) if is_roots and os.geteuid() != ROOT else None


def advised(error: CasError, config: Config) -> str:
    """An error with what to do about it, in a line."""
    said = hint(error, config)
    return f"{error}; {said}" if said else str(error)


def hint(error: CasError, config: Config) -> str:
    """What to do about an error, in this installation."""
    obstacle = error.obstacle if isinstance(error, NotPermitted) else None
    return (obstacle and remedy(obstacle, config)) or error.hint


def command_to_give(config: Config, user: str, obstacle: Path) -> str:
    """The command by which root gives what is his of this installation to a user.

    :param obstacle: what has to change hands at least, if it is part of the installation
    """
    roots = [config.work_directory, config.debugs, *_database_files(config)]
    can_look = os.access(obstacle, os.X_OK)
    for root in roots[:2]:
        if can_look and not os.path.lexists(root) and obstacle in root.absolute().parents:
            return f"run as root: install -d -o {shlex.quote(user)} -m 700 {_quoted(root)}"
    is_ours = any(root == obstacle or root in obstacle.parents for root in roots)
    condition = ""
    if not is_ours and not _is_dedicated(obstacle, roots):
        # only root can tell that of a closed directory, as CAS makes it for a database
        homes = {Path(account.pw_dir) for account in pwd.getpwall()}
        may_be = not os.access(obstacle, os.R_OK) and obstacle not in homes
        if not may_be or all(root.parent != obstacle for root in roots):
            return f"let {user} use {obstacle}, or configure another place: see cas.conf(5)"
        condition = f"if nothing else is in {obstacle}, "
    # what is root's and in this user's way; where that is much, the part of the installation that
    # it lies in, but for a directory that root shares with its users
    places: list[Path] = []
    for root in roots:
        found = list(_unusable_below(root, depth=3))
        is_shared = bool(found) and root.lstat().st_uid == ROOT and root not in found
        places += found if is_shared or len(found) <= NAMED else [root]
    places = [*dict.fromkeys(places)]
    if not any(place == obstacle or place in obstacle.parents for place in places):
        places = [obstacle, *(place for place in places if obstacle not in place.parents)]
    named = " ".join(map(_quoted, places))
    whole = "" if all(map(os.path.isfile, places)) else "-R "
    return f"{condition}run as root: chown {whole}--from=root {shlex.quote(user)}: {named}"


def _unusable_below(path: Path, depth: int) -> Iterator[Path]:
    try:
        needed = os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
        if path.lstat().st_uid == ROOT and not os.access(path, needed):
            yield path
        elif depth and path.is_dir() and not path.is_symlink():
            for below in sorted(path.iterdir()):
                yield from _unusable_below(below, depth - 1)
    except OSError:
        return


def _is_dedicated(directory: Path, roots: list[Path]) -> bool:
    """Whether a directory is there for parts of the installation, and for nothing else."""
    if not any(root.parent == directory for root in roots):
        return False
    try:
        return all(path in roots for path in directory.iterdir())
    except OSError:
        return False


def _database_files(config: Config) -> list[Path]:
    path = config.database
    if "://" in path:
        kind, _, path = path.partition(":///")
        if not path or not kind.startswith("sqlite"):
            return []
    return [Path(path + end) for end in _BESIDE_DATABASE]


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
