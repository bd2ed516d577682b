"""An image, as its users see it."""

import msgspec


class Facts(msgspec.Struct, frozen=True):
    """What a template, or whoever else brings a root filesystem, says about it."""

    names: tuple[str, ...]  # "debian/12"; the first is the one that is shown
    os: str  # the distribution: "debian"
    release: str  # "12"
    architecture: str  # as Debian writes it: "amd64"
    command: tuple[str, ...]  # what is run when nothing else is asked for
    env: tuple[str, ...]  # "NAME=value"
    stop_signal: str  # asks the command to end: "SIGTERM", "SIGRTMIN+3"
    template: str  # the name of the template that built it; "" for none
    is_system: bool  # the command is an init that boots a system


class Image(Facts, frozen=True):
    """A root filesystem ready for use. It is immutable, and known by the digest of its manifest."""

    digest: str  # "sha256:…"
    created: str  # when it came into this store; RFC 3339, UTC
    size_bytes: int  # of its layers as tar streams
    layers: tuple[str, ...]  # absolute directories, the uppermost first
