"""The hosts that the administrator has registered: to analyse dumps, or to be swept for them."""

from __future__ import annotations

from cas.database.store import Store
from cas.model.host import Host
from cas.settings.config import Config


class HostRegistry:
    """Which hosts there are, and what was known of each when it was last asked."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @classmethod
    def of(cls, config: Config) -> HostRegistry:
        """That of the configured database."""
        return cls(Store.of(config))

    def all(self) -> tuple[Host, ...]:
        """The hosts, by name and port."""
        return self._store.registered_hosts()

    def for_analysis(self) -> tuple[Host, ...]:
        """Those that may run crash for us."""
        return tuple(host for host in self.all() if not host.is_swept)

    def swept(self) -> tuple[Host, ...]:
        """Those that are swept for dumps."""
        return tuple(host for host in self.all() if host.is_swept)

    def put(self, host: Host) -> None:
        """Register a host, or replace all that is known of it."""
        self._store.hosts.put_host(host)

    def renew(self, host: Host) -> bool:
        """Replace a host's facts, whether it is enabled stays; ``False``: it is not registered."""
        return self._store.hosts.renew_host(host)

    def enable(self, host: Host, *, is_enabled: bool) -> bool:
        """Let jobs use a host, or not; ``False``: it is not registered."""
        return self._store.hosts.enable_host(host.name, host.port, is_enabled=is_enabled)

    def remove(self, host: Host) -> bool:
        """Forget a host; ``False``: it was not registered."""
        return self._store.hosts.remove_host(host.name, host.port)
