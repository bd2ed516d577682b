"""Registries and image servers, as the host's configuration has them."""

import functools
from typing import TYPE_CHECKING

from cloison.engine import host_settings
from cloison.images.servers.references import host_of

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.engine.host_settings import HostSettings


class Servers:
    """What an installation does with servers of images. Nothing is read or asked before it is needed."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    @functools.cached_property
    def settings(self) -> "HostSettings":
        """The host's configuration. Raises Invalid, Host."""
        return host_settings.load(self._engine.layout.settings)

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
