"""What is needed to talk to servers, from the host's configuration: one for a command, closed at its end."""

import contextlib
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import msgspec

from cloison.images.servers.credentials import Keyring
from cloison.images.servers.registry import Registry
from cloison.images.servers.settings import Registries, Remote
from cloison.images.servers.streams import Streams
from cloison.images.servers.transport import Http, Patience, host


class Session(msgspec.Struct, frozen=True):
    """The settings, with `http` for registries; `open_session` makes it."""

    registries: Registries
    keyring: Keyring
    http: Http

    def registry(self, name: str, *, address: str = "") -> Registry:
        """The registry called `name`, with the credentials that there are for it."""
        return Registry(
            self.http, name, self.keyring.get(name), address=address, is_insecure=self.http.is_insecure(name)
        )

    def sources(self, name: str, remote: Remote | None = None) -> tuple[Registry, ...]:
        """Where images of the registry `name` can be pulled from: its mirrors, then itself."""
        mirrors = remote.mirrors if remote else self.registries.mirrors.get(name, ())
        itself = self.registry(name, address=_address(remote) if remote else "")
        return (*(self.registry(host(mirror), address=mirror) for mirror in mirrors), itself)


def _address(remote: Remote) -> str:
    """Scheme and host of a remote that is a registry; where its path leads is a part of the names."""
    parts = urlsplit(remote.url)
    return f"{parts.scheme}://{parts.netloc}"


@contextlib.contextmanager
def open_session(
    registries: Registries, *, insecure: tuple[str, ...] = (), proxy: str = "", patience: Patience | None = None
) -> Iterator[Session]:
    """Talk to registries; `insecure` are hosts that are so for this once."""
    http = _http(registries, proxy or registries.proxy, patience, insecure)
    try:
        yield Session(registries, Keyring(), http)
    finally:
        http.close()


@contextlib.contextmanager
def open_streams(
    registries: Registries,
    name: str,
    remote: Remote,
    cache: str,
    *,
    is_insecure: bool = False,
    patience: Patience | None = None,
) -> Iterator[Streams]:
    """Talk to a simplestreams server; what is cached of it is in a directory of its own below `cache`. `is_insecure`:
    any certificate will do, this once."""
    addresses = {urlsplit(address).netloc for address in (remote.url, *remote.mirrors)}
    http = _http(registries, remote.proxy, patience, tuple(addresses) if is_insecure else ())
    try:
        yield Streams(http, name, remote, f"{cache}/{'+'.join(sorted(addresses)).replace('/', '_')}")
    finally:
        http.close()


def _http(registries: Registries, proxy: str, patience: Patience | None, insecure: tuple[str, ...]) -> Http:
    is_insecure: Callable[[str], bool] = lambda name: name in insecure or registries.is_insecure(name)  # noqa: E731
    return Http(certificates=registries.certificates, proxy=proxy, is_insecure=is_insecure, patience=patience)
