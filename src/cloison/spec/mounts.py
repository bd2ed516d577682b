"""What is mounted in an instance besides its own: volumes, directories of the host, memory. Pure.

How these values are read and written is in `cloison.spec.mount_keys`; what becomes of them is a `Mount` of
`cloison.spec.oci`.
"""

import msgspec

BIND, TMPFS = "bind", "tmpfs"
PRIVATE, SLAVE, SHARED = "private", "slave", "shared"
PROPAGATIONS = (PRIVATE, SLAVE, SHARED)


class HostUser(msgspec.Struct, frozen=True):
    """One user of the host, uid and gid, and who that is inside."""

    uid: int
    gid: int
    inside_uid: int = 0
    inside_gid: int = 0


class MountPoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """A mount as it is configured. `source` is an absolute path of the host, or [POOL/]VOLUME.

    `idmap`: whether ids on disk are those inside (None: for volumes), or the one user for whom they are. `create` makes
    a directory of the host that is missing; `recursive` shows what is mounted in it, too."""

    type: str = BIND
    source: str = ""
    target: str = ""
    ro: bool = False
    idmap: bool | HostUser | None = None
    propagation: str = PRIVATE
    create: bool = False
    recursive: bool = False
    size_bytes: int | None = None

    @property
    def is_volume(self) -> bool:
        """Whether its source is a volume."""
        return self.type == BIND and not self.source.startswith("/")

    @property
    def volume(self) -> tuple[str, str]:
        """The pool ("" for the default one) and the name of the volume."""
        pool, _slash, name = self.source.rpartition("/")
        return pool, name

    @property
    def is_mapped(self) -> bool:
        """Whether ids on disk are not those that the host sees."""
        return self.is_volume if self.idmap is None else self.idmap is not False
