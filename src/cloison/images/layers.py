"""Layers: directories whose name is the digest of the tar stream that they unpack from (the OCI's "diff id").

The stream is never stored. Of a layer that is made here it is made by Debian's tar in one canonical form (names sorted,
owners as numbers, extended attributes included, no access and change times), so that the same files give the same bytes
again on every host: ACLs are attributes, too, with ids in them, and not in tar's own form for them, with names of
the host. A layer that came from elsewhere keeps what else its stream held (see `skeleton`).

Source: image-spec v1.1, layer.md and config.md, "Layer DiffID".
"""

import hashlib
import os
from collections.abc import Callable, Iterator

from cloison.base.disk import full_disk_named
from cloison.base.errors import Host
from cloison.images.layout import Layer
from cloison.kernel import files, process, programs

_FORM = (
    "--format=pax",
    "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
    "--sort=name",
    "--numeric-owner",
    "--xattrs",
    "--xattrs-include=*",
)


def pack(directory: str) -> Iterator[bytes]:
    """The tar stream of a layer, in chunks. Raises Unsupported without tar, Host when tar fails.

    Without root all files belong to whoever unpacked them, and are said to belong to root, as they do inside."""
    owner = () if os.geteuid() == 0 else ("--owner=0", "--group=0")
    tar = programs.needed("tar", package="tar")
    argv = [tar, "--create", "--file=-", f"--directory={directory}", *_FORM, *owner, "."]
    env = {"LC_ALL": "C", "PATH": os.defpath}
    with (
        open(os.memfd_create("complaints"), "w+b") as complaints,
        process.started(process.dying_with_caller(argv), stderr=complaints.fileno(), env=env) as program,
    ):
        yield from program.chunks()
        if program.wait() != 0:
            complaints.seek(0)
            said = complaints.read().decode(errors="replace").strip()
            raise Host(f"cannot read the files of a layer in {directory}: {said}", path=directory)


def stream(directory: str) -> Iterator[bytes]:
    """The tar stream of a layer of the store: as it came, or in the canonical form where it was made here."""
    skeleton = f"{directory}.skeleton"
    if not os.path.exists(skeleton):
        return pack(directory)
    from cloison.images.skeleton import assemble

    return assemble(skeleton, directory, f"{directory}.kept")


def measure(directory: str, progress: Callable[[int], None]) -> Layer:
    """The digest and length of the layer in `directory`; `progress` hears the bytes so far."""
    digest = hashlib.sha256()
    size_bytes = 0
    for chunk in pack(directory):
        digest.update(chunk)
        size_bytes += len(chunk)
        progress(size_bytes)
    return Layer(f"sha256:{digest.hexdigest()}", size_bytes)


def settle(directory: str) -> None:
    """Bring everything below `directory` to the disk, before a name is given to it. Raises NoSpace, Host."""
    try:
        with full_disk_named(directory, what="images"):
            files.settle_at(directory)
    except OSError as problem:
        raise Host(
            f"the disk does not take what was written to {directory}: {problem.strerror}",
            hint="look at the kernel's log, and at the disk",
            path=directory,
        ) from problem
