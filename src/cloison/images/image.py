"""An image, as its users see it."""

import msgspec


class FileTemplate(msgspec.Struct, frozen=True):
    """A file that is written anew for each instance, from a text with variables: see `file_templates`."""

    path: str  # in the instance: "/etc/hostname"
    when: tuple[str, ...]  # of file_templates.TRIGGERS
    text: str
    create_only: bool = False  # not where the file is there already
    properties: dict[str, str] = {}
    uid: int = 0
    gid: int = 0
    mode: int = 0o644


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
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
    entrypoint: tuple[str, ...] = ()  # the part of `command` that words after an image's name do not replace
    user: str = ""  # whose the command is, as the OCI writes it: "1000:1000", "nobody"; "" for root
    workdir: str = ""  # where it is run; "" for /
    ports: tuple[str, ...] = ()  # "80/tcp"
    volumes: tuple[str, ...] = ()  # directories of data that outlive an instance
    labels: dict[str, str] = {}
    source: str = ""  # where it came from: "docker://…", the name of an archive
    variant: str = ""  # of the architecture: "v7"
    properties: dict[str, str] = {}  # what else it says of itself: "description", "serial"; "warning"
    templates: tuple[FileTemplate, ...] = ()


class Image(Facts, frozen=True, kw_only=True):
    """A root filesystem ready for use. It is immutable, and known by the digest of its manifest."""

    digest: str  # "sha256:…"
    id: str = ""  # the digest of its config document: what Docker calls the image's id
    created: str  # when it came into this store; RFC 3339, UTC
    size_bytes: int  # of its layers as tar streams
    layers: tuple[str, ...]  # absolute directories, the uppermost first
