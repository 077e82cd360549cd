"""A sweep as its administrator sees it, and the first answers on what it has brought."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence

from cas.archive.archive import Archive
from cas.commands import Done, Output, World
from cas.commands.answers import VERSION
from cas.errors import CasError, TryAgain
from cas.frozen import dataclass
from cas.hosts.registry import HostRegistry
from cas.model.host import Host
from cas.sweep.sweep import AlreadySwept, only_sweep, sweep_hosts
from cas.sweep.swept import Swept, summary_of
from cas.text import count, json_text, one_line
from cas.triage.uploading import finish_uploads
from cas.units import human_size
from cas_admin.hosts import HostNotRegistered, host_address
from cas_admin.waiting_uploads import complete

FAILED = 1
SHOWN = 20
"""Files that are left of a host, and told one by one."""
ADD = "cas-admin host add --sweep NAME"


@dataclass(frozen=True, slots=True)
class Sweeping:
    """One call of the verb."""

    world: World
    fetches: bool
    as_json: bool

    def run(self, names: Sequence[str]) -> Output:
        """Sweep these hosts, or all.

        :return: status 1 when one could not be swept to its end, 75 when the database
            cannot be used
        :raises HostNotRegistered: a name is none of a host that is swept
        """
        world, progress = self.world, self.world.progress
        hosts = _swept_hosts(names, HostRegistry.of(world.config).swept())
        self._warn_of_strange_sections()
        if not hosts:
            progress.say(f"no host is registered to be swept; to register one: {ADD}")
        archive = Archive.of(world.config)
        try:
            with only_sweep(archive):
                if self.fetches:
                    finish_uploads(archive, world.config, world.now, progress)
                told = yield from self._told(hosts, archive)
                if self.fetches and not any(each.is_index_behind for each in told):
                    self._answer(told, archive)
        except AlreadySwept as error:
            progress.say(f"{error}: nothing was done")
            told = []
        if self.as_json:
            yield json_text({"version": VERSION, "hosts": list(map(_as_json, told))}, indent=1)
        if any(each.is_index_behind for each in told):
            return TryAgain.exit_code
        return FAILED if any(each.problem for each in told) else 0

    def _warn_of_strange_sections(self) -> None:
        config = self.world.config
        known = {name for host in HostRegistry.of(config).all() for name in (host.name, str(host))}
        for name in sorted(config.sweeps.keys() - known - {""}):
            said = f"cas.conf has a section [sweep {name}], but no such host is registered"
            self.world.progress.warn(said)

    def _told(self, hosts: Sequence[Host], archive: Archive) -> Generator[str, None, list[Swept]]:
        """What came of each host, which is printed."""
        world, told = self.world, list[Swept]()
        swept = sweep_hosts(hosts, archive, world.config, world.progress, fetches=self.fetches)
        for each in swept:
            told.append(each)
            self._tell_left(each)
            if not self.as_json:
                yield from map(Done, _lines_of(each))
        lacking = sum(not each.is_fetched for swept in told for each in swept.missing)
        if lacking and not self.fetches:
            self.world.progress.say("to fetch what is missing: cas-admin sweep --fetch")
        return told

    def _tell_left(self, swept: Swept) -> None:
        progress = self.world.progress
        for left in swept.left[:SHOWN]:
            progress.say(f"{swept.host}: {left.path} is left: {left.why}")
        if len(swept.left) > SHOWN:
            more = count(len(swept.left) - SHOWN, "more file")
            where = f"they are in {swept.log}" if swept.log else "--json has all"
            progress.say(f"{swept.host}: {more} left; {where}")
        if swept.problem:
            progress.warn(f"{swept.host}: {one_line(swept.problem)}")

    def _answer(self, told: Sequence[Swept], archive: Archive) -> None:
        """First answers, as far as the time for them goes; the rest come with the next build."""
        world = self.world
        crashes = list(
            dict.fromkeys(one.crash for each in told for one in each.missing if one.is_fetched)
        )
        limit_s, begun = world.config.sweep_rules().answer_s, time.monotonic()
        for number, crash in enumerate(crashes):
            if time.monotonic() - begun > limit_s:
                rest = count(len(crashes) - number, "fetched dump")
                world.progress.say(f"{rest} without an answer yet: cas-admin -b gives them")
                return
            try:
                info = archive.read(crash)
                if info.best_file and archive.answer_of(info) is None and not info.jobs:
                    world.progress.say(f"{crash}, the first answer:")
                    complete(info, info.best_file, archive, world, world.progress)
            except CasError as error:
                world.progress.warn(f"{crash}: {error}; {error.hint}".removesuffix("; "))


def _swept_hosts(names: Sequence[str], registered: Sequence[Host]) -> list[Host]:
    """The hosts of these names; none: all that are enabled.

    :raises HostNotRegistered: a name is none of a host that is swept
    """
    chosen = list[Host]()
    for name in names:
        wanted = host_address(name)
        found = [host for host in registered if wanted.means(host)]
        if not found:
            add = ADD.replace("NAME", name)
            raise HostNotRegistered(
                f"{name} is not registered to be swept", hint=f"register it: {add}"
            )
        chosen += found
    chosen = chosen or [host for host in registered if host.is_enabled and not names]
    return list(dict.fromkeys(chosen))


def _lines_of(swept: Swept) -> Iterator[str]:
    """A line for each file that is or was missing, then one for the host."""
    for each in swept.missing:
        verb = "fetched" if each.is_fetched else "missing"
        yield f"{swept.host}  {each.crash}  {human_size(each.size_bytes)}  {verb}  {each.path}"
    yield summary_of(swept)


def _as_json(swept: Swept) -> dict[str, object]:
    return {
        "host": str(swept.host),
        "problem": swept.problem,
        "files": swept.files,
        "known": swept.known,
        "missing": [
            {
                "path": each.path,
                "size_bytes": each.size_bytes,
                "crash": each.crash,
                "is_fetched": each.is_fetched,
            }
            for each in swept.missing
        ],
        "left": [{"path": each.path, "why": each.why} for each in swept.left],
        "read_bytes": swept.read_bytes,
        "fetched_bytes": swept.fetched_bytes,
        "fetch_seconds": round(swept.fetch_s, 3),
        "seconds": round(swept.seconds, 3),
    }
