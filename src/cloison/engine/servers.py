"""Registries and image servers, as the host's configuration has them."""

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cloison.base.errors import Invalid, NotFound
from cloison.engine import host_settings
from cloison.images.architecture import host_architecture
from cloison.images.servers.references import SCHEME, Reference, host_of, parse

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.engine.host_settings import HostSettings
    from cloison.images import Image
    from cloison.images.servers.platforms import Platform
    from cloison.images.servers.pushing import Pushed
    from cloison.images.servers.searching import Offer
    from cloison.images.servers.settings import Remote

Progress = Callable[[str, int, int | None], None]


def _in_silence(_stage: str, _done: int, _total: int | None) -> None:
    """Nobody listens."""


class Servers:
    """What an installation does with servers of images. Nothing is read or asked before it is needed."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    @functools.cached_property
    def settings(self) -> "HostSettings":
        """The host's configuration. Raises Invalid, Host."""
        return host_settings.load(self._engine.layout.settings)

    def image(
        self, text: str, *, options: Mapping[str, str] | None = None, progress: Progress | None = None
    ) -> "Image":
        """The image behind a name or digest of the store, `docker://…` or `REMOTE:NAME`, pulled where it is missing.

        Raises what `pull` raises; Invalid for options, which are those of templates."""
        if options:
            raise Invalid(f"{text} is not built by a template, so that it has no options", hint="leave --option away")
        known = self._engine.images.known(text) or self._engine.images.known(self._name(text))
        return known or self.pull(text, progress=progress)

    def pull(
        self,
        text: str,
        *,
        name: str = "",
        platform: str = "",
        is_insecure: bool = False,
        progress: Progress | None = None,
    ) -> "Image":
        """Bring an image from its server, where the store does not have it as it is there now; with one more `name`.

        `platform` is as in linux/arm64; by default it is this host's. Raises Invalid, NotFound, Denied, Remote,
        Unsupported, NoSpace, Host."""
        from cloison.images.changes import check_name
        from cloison.images.servers import platforms

        names = (self._name(text), *([name] if name else []))
        for one in names:
            check_name(one)
        wanted = platforms.parse(platform) if platform else platforms.platform_of(host_architecture())
        remote = self._remote(text)
        heard = progress or _in_silence
        if remote and remote.protocol == "simplestreams":
            return self._take(text, remote, wanted, names, heard, is_insecure=is_insecure)
        return self._pull(text, wanted, names, heard, is_insecure=is_insecure)

    def _pull(
        self,
        text: str,
        platform: "Platform",
        names: tuple[str, ...],
        heard: Progress,
        *,
        is_insecure: bool,
    ) -> "Image":
        """From a registry."""
        from cloison.images.servers import pulling
        from cloison.images.servers.session import open_session

        reference, remote = self._reference(text)
        insecure = (reference.host,) if is_insecure else ()
        proxy = remote.proxy if remote else ""
        with open_session(self.settings.registries, insecure=insecure, proxy=proxy) as session:
            sources = session.sources(reference.host, remote)
            order = pulling.Pull(reference, sources, platform, names)
            return pulling.pull(self._engine.images, order, heard)

    def _take(
        self,
        text: str,
        remote: "Remote",
        platform: "Platform",
        names: tuple[str, ...],
        heard: Progress,
        *,
        is_insecure: bool,
    ) -> "Image":
        """From a simplestreams server."""
        from cloison.images.archives.wish import Wish
        from cloison.images.servers import simplestreams, taking
        from cloison.images.servers.session import open_streams

        name, _, alias = text.partition(":")
        heard("ask" if remote.keyring else "unsigned", 0, None)
        with open_streams(self.settings.registries, name, remote, self._cache, is_insecure=is_insecure) as streams:
            choice = simplestreams.choose(
                streams.products(), alias, platform.debian, server=name, has_squashfs=taking.has_squashfs()
            )
            wish = Wish(platform, names=names, source=text, variant=choice.product.variant)
            return taking.take(self._engine.images, streams, choice, wish, heard)

    def search(self, text: str, *, architecture: str | None = None) -> "tuple[Offer, ...]":
        """What a server offers: `REMOTE:WORDS` of a simplestreams server, the tags of `docker://HOST/NAME`, or the
        repositories of `docker://HOST`. `architecture` is this host's by default, "" is all. Raises Invalid, NotFound,
        Denied, Remote."""
        from cloison.images.servers import searching
        from cloison.images.servers.session import open_session, open_streams

        remote = self._remote(text if text.partition(":")[2] else f"{text}:*")
        name, _, words = text.partition(":")
        if remote and remote.protocol == "simplestreams":
            wanted = host_architecture() if architecture is None else architecture
            with open_streams(self.settings.registries, name, remote, self._cache) as streams:
                return searching.of_streams(name, streams.products(), words, wanted)
        with open_session(self.settings.registries, proxy=remote.proxy if remote else "") as session:
            place = text.removeprefix(SCHEME).rstrip("/")
            if not remote and "/" not in place and ("." in place or ":" in place or place == "localhost"):
                return searching.catalog(session.sources(host_of(place))[-1], "")
            reference, _ = self._reference(text)
            return searching.tags(session.sources(reference.host, remote)[-1], reference.repository)

    @property
    def _cache(self) -> str:
        return f"{self._engine.layout.cache}/remotes"

    def push(
        self,
        name: str,
        target: str = "",
        *,
        is_docker: bool = False,
        compression: str = "",
        is_insecure: bool = False,
        progress: Progress | None = None,
    ) -> "Pushed":
        """Bring an image of the store into a registry: to `target`, or to where its name says that it belongs.

        `is_docker`: with Docker's manifest (schema 2). `compression` of layers that the registry lacks is gzip, zstd or
        none. Raises Invalid, NotFound, Denied, Remote, Host."""
        from cloison.images.servers import pushing
        from cloison.images.servers.session import open_session

        if compression not in ("", *pushing.COMPRESSIONS):
            known = ", ".join(pushing.COMPRESSIONS)
            raise Invalid(f"there is no compression {compression!r} for layers", hint=f"there is {known}")
        image = self._engine.images.find(name)
        reference, remote = self._reference(target or f"{SCHEME}{name.removeprefix(SCHEME)}")
        insecure = (reference.host,) if is_insecure else ()
        proxy = remote.proxy if remote else ""
        with open_session(self.settings.registries, insecure=insecure, proxy=proxy) as session:
            registry = session.sources(reference.host, remote)[-1]
            order = pushing.Push(image, reference, registry, is_docker, compression)
            return pushing.push(self._engine.images, order, progress or _in_silence)

    def _name(self, text: str) -> str:
        """The name under which the store has what is behind a reference. Raises Invalid."""
        return text if self._remote(text) else parse(text).name

    def _remote(self, text: str) -> "Remote | None":
        """The remote that a reference names; None for `docker://…`. Raises NotFound for one that there is not."""
        if text.startswith(SCHEME):
            return None
        name, _, rest = text.partition(":")
        remotes = self.settings.all_remotes
        if name not in remotes:
            known = ", ".join(sorted(remotes))
            raise NotFound(
                f"there is no remote {name!r}" if rest else f"{text!r} names no server",
                hint=f"write docker://… for a registry, or REMOTE:NAME; the remotes are {known}",
                remote=name,
            )
        if not rest:
            raise Invalid(f"{text!r} names a remote and no image", hint=f"as in {name}:debian/12", reference=text)
        return remotes[name]

    def _reference(self, text: str) -> "tuple[Reference, Remote | None]":
        """The image in a registry behind `docker://…` or the name of a remote that is a registry."""
        remote = self._remote(text)
        if remote is None:
            return parse(text), None
        place = urlsplit(remote.url)
        prefix = f"{place.path.strip('/')}/" if place.path.strip("/") else ""
        return parse(f"{SCHEME}{place.netloc}/{prefix}{text.partition(':')[2]}"), remote

    def login(self, host: str, user: str, password: str, *, is_insecure: bool = False) -> str:
        """Keep a user and password for a registry, after it has taken them; where they are kept, for people.

        Raises Invalid, Denied where it does not take them, Remote."""
        from cloison.images.servers.credentials import Credentials
        from cloison.images.servers.registry import Registry
        from cloison.images.servers.session import open_session

        name = host_of(host)
        credentials = Credentials(user, password)
        insecure = (name,) if is_insecure else ()
        with open_session(self.settings.registries, insecure=insecure) as session:
            is_open = session.http.is_insecure(name)
            Registry(session.http, name, credentials, is_insecure=is_open).ping()
            return session.keyring.put(name, credentials)

    def logout(self, host: str) -> bool:
        """Forget user and password for a registry; False where none were kept. Raises Invalid, Host."""
        from cloison.images.servers.credentials import Keyring

        return Keyring().remove(host_of(host))
