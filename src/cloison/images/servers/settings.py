"""What the host's configuration says about servers of images.

    [registries]
    insecure = ["registry.lan:5000"]               # plain HTTP, or a certificate that nobody has signed
    certificates = ["/etc/docker/certs.d"]         # below it HOST[:PORT]/ca.crt, and client.cert with client.key
    proxy = "http://proxy.lan:3128"                # for all registries; else HTTP_PROXY, HTTPS_PROXY and NO_PROXY
    [registries.mirrors]
    "docker.io" = ["https://mirror.lan"]           # asked first, in this order; never pushed to

    [remotes.images]
    url = "https://images.example.org"
    protocol = "simplestreams"                     # or "oci": images of a registry, as in NAME:tools/web
    mirrors = ["https://mirror.lan/images"]        # asked first
    proxy = ""
    keyring = "/etc/cloison/images.gpg"            # then only what is signed by one of its keys is taken
    max_age_s = 3600                               # so long the list of images is not asked for again

Pure.
"""

import re
from typing import Final, Literal

import msgspec

from cloison.base.errors import Invalid

_ADDRESS = re.compile(r"https?://[^/\s@]+(/[^\s]*)?")
_PROXY = re.compile(r"(https?|socks5h?)://\S+")
_REMOTE = re.compile(r"[a-z][a-z0-9-]*")
_ON_LOOPBACK = re.compile(r"(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?")


class Registries(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How registries are reached."""

    insecure: tuple[str, ...] = ()
    mirrors: dict[str, tuple[str, ...]] = {}
    certificates: tuple[str, ...] = ("/etc/docker/certs.d", "/etc/containers/certs.d")
    proxy: str = ""

    def is_insecure(self, host: str) -> bool:
        """Whether plain HTTP and any certificate will do for `host`: also where it is this machine, as for Docker."""
        return host in self.insecure or bool(_ON_LOOPBACK.fullmatch(host))


class Remote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A server under a name."""

    url: str
    protocol: Literal["simplestreams", "oci"] = "simplestreams"
    mirrors: tuple[str, ...] = ()
    proxy: str = ""
    keyring: str = ""
    max_age_s: int = 3600


DEFAULT_REMOTES: Final = {"images": Remote("https://images.linuxcontainers.org")}


def check(registries: Registries, remotes: dict[str, Remote]) -> None:
    """Raises Invalid for what cannot be, naming its key."""
    for host in registries.insecure:
        if "/" in host:
            raise Invalid(f"registries.insecure: {host!r} is no host; write HOST or HOST:PORT, without https://")
    for host, mirrors in registries.mirrors.items():
        for mirror in mirrors:
            _check_address(f'registries.mirrors."{host}"', mirror)
    _check_proxy("registries.proxy", registries.proxy)
    for name, remote in remotes.items():
        if not _REMOTE.fullmatch(name):
            raise Invalid(f"remotes.{name}: the name of a remote is made of lower-case letters, digits and -")
        for address in (remote.url, *remote.mirrors):
            _check_address(f"remotes.{name}", address)
        _check_proxy(f"remotes.{name}.proxy", remote.proxy)
        if remote.max_age_s < 0:
            raise Invalid(f"remotes.{name}.max_age_s: {remote.max_age_s} is less than nothing; 0 asks every time")


def _check_address(key: str, address: str) -> None:
    if not _ADDRESS.fullmatch(address):
        raise Invalid(f"{key}: {address!r} is no address of a server; write https://HOST, without user and password")


def _check_proxy(key: str, address: str) -> None:
    if address and not _PROXY.fullmatch(address):
        raise Invalid(f"{key}: {address!r} is no proxy; write http://HOST:PORT")
