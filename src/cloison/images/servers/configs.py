"""The config document of somebody else's image: what it says about running it, as our facts.

Pure. Source: image-spec v1.1, config.md; Docker's images have the same document.
"""

from typing import Final

import msgspec

from cloison.base.errors import Remote
from cloison.images.image import Facts
from cloison.images.servers.platforms import Platform

_INITS: Final = ("/sbin/init", "/usr/sbin/init", "/bin/init", "/lib/systemd/systemd", "/usr/lib/systemd/systemd")


class _Execution(msgspec.Struct, frozen=True, rename="pascal"):
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: tuple[str, ...] | None = None
    user: str = ""
    working_dir: str = ""
    exposed_ports: dict[str, msgspec.Raw] | None = None
    volumes: dict[str, msgspec.Raw] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str = ""


class _Rootfs(msgspec.Struct, frozen=True):
    diff_ids: tuple[str, ...]


class Config(msgspec.Struct, frozen=True):
    """What of a config document is of use here."""

    rootfs: _Rootfs
    architecture: str = ""
    os: str = ""
    variant: str = ""
    created: str | None = None
    config: _Execution | None = None

    @property
    def platform(self) -> Platform:
        """What the image runs on."""
        return Platform(self.architecture, self.os or "linux", self.variant)

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The digests of its layers as tar streams, the lowest first."""
        return self.rootfs.diff_ids


def decoded(content: bytes, *, what: str) -> Config:
    """The config in a document. Raises Remote."""
    try:
        return msgspec.json.decode(content, type=Config)
    except msgspec.MsgspecError as problem:
        raise Remote(f"the config of {what} cannot be read: {problem}") from problem


def facts(config: Config, names: tuple[str, ...], *, source: str) -> Facts:
    """What the config says, as facts of an image of these names."""
    said = config.config or _Execution()
    labels = said.labels or {}
    entrypoint = said.entrypoint or ()
    command = (*entrypoint, *(said.cmd or ()))
    is_init = labels.get("cloison.system") == "true" or (bool(command) and command[0] in _INITS)
    return Facts(
        names=names,
        os=labels.get("cloison.os", ""),
        release=labels.get("cloison.release", ""),
        architecture=config.platform.debian,
        command=command or ("/bin/sh",),
        env=said.env or (),
        stop_signal=said.stop_signal or ("SIGRTMIN+3" if is_init else "SIGTERM"),
        template="",
        is_system=is_init,
        entrypoint=entrypoint,
        user=said.user,
        workdir=said.working_dir,
        ports=tuple(said.exposed_ports or ()),
        volumes=tuple(said.volumes or ()),
        labels=labels,
        source=source,
        variant=config.variant,
    )
