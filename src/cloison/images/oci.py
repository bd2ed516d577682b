"""What an image's config says, written by whichever program, as the facts that cloison goes by. Pure.

Unknown keys mean nothing here: the document itself is kept as it is. Source: image-spec v1.1, config.md; keys that
Docker alone has (Healthcheck, OnBuild, ArgsEscaped) stay in the document.
"""

import contextlib
import signal
from typing import TypeVar

import msgspec

from cloison.base.errors import Invalid
from cloison.images.image import Facts
from cloison.images.servers.platforms import Platform

_T = TypeVar("_T")
_STOP = "SIGTERM"  # what Docker sends where an image says nothing
_SHELL = ("/bin/sh",)  # where it does not say what to run
_INITS = ("/sbin/init", "/usr/sbin/init", "/bin/init", "/lib/systemd/systemd", "/usr/lib/systemd/systemd")
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class _Execution(msgspec.Struct, frozen=True, rename="pascal"):
    """`config.config`. Docker writes null for what is missing."""

    cmd: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] | None = None
    user: str | None = None
    working_dir: str | None = None
    exposed_ports: dict[str, msgspec.Raw] | None = None
    volumes: dict[str, msgspec.Raw] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | None = None


class _Config(msgspec.Struct, frozen=True):
    architecture: str = ""
    os: str = ""
    variant: str | None = None
    config: _Execution | None = None


class _Rootfs(msgspec.Struct, frozen=True):
    type: str
    diff_ids: tuple[str, ...]


class _Layers(msgspec.Struct, frozen=True):
    rootfs: _Rootfs


def diff_ids_of(config: bytes) -> tuple[str, ...]:
    """The digests of an image's layers, the lowest first. Raises Invalid."""
    return _decoded(config, _Layers).rootfs.diff_ids


def platform_of(config: bytes) -> Platform:
    """What the image runs on. Raises Invalid."""
    known = _decoded(config, _Config)
    return Platform(known.architecture, known.os or "linux", known.variant or "")


def facts_of(config: bytes, *, names: tuple[str, ...] = (), source: str = "") -> Facts:
    """The facts in a config document. `os` and `release` are empty where only the image's own files say them: see
    `Incoming.finish`, which reads them there. Raises Invalid for a document that is none."""
    known = _decoded(config, _Config)
    run = known.config or _Execution()
    labels = run.labels or {}
    entrypoint = run.entrypoint or ()
    command = (*entrypoint, *(run.cmd or ())) or _SHELL
    is_system = labels.get("cloison.system") == "true" or command[0] in _INITS
    return Facts(
        names=names,
        os=labels.get("cloison.os", ""),
        release=labels.get("cloison.release", ""),
        architecture=platform_of(config).debian,
        variant=known.variant or "",
        command=command,
        entrypoint=entrypoint,
        env=run.env or (_PATH,),
        stop_signal=signal_name(run.stop_signal or ("SIGRTMIN+3" if is_system else _STOP)),
        template=labels.get("cloison.template", ""),
        is_system=is_system,
        user=run.user or "",
        workdir=run.working_dir or "",
        ports=tuple(sorted(run.exposed_ports or ())),
        volumes=tuple(sorted(run.volumes or ())),
        labels=labels,
        source=source,
    )


def signal_name(text: str) -> str:
    """A signal as images write it, "SIGINT", "int", "2", "SIGRTMIN+3", by its whole name; SIGTERM for one that is
    unknown here, as Docker does."""
    if text.isdigit():
        with contextlib.suppress(ValueError):
            return signal.Signals(int(text)).name
        return _STOP
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    base, _, more = name.partition("+")
    known = base in signal.Signals.__members__ and (not more or (base == "SIGRTMIN" and more.isdigit()))
    return name if known else _STOP


def _decoded(content: bytes, shape: type[_T]) -> _T:
    try:
        return msgspec.json.decode(content, type=shape)
    except msgspec.MsgspecError as problem:
        raise Invalid(f"the image's config is damaged: {problem}", hint="get the image again") from problem
