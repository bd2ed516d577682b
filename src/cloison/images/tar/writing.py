"""Members of an archive, written: ustar headers, with PAX records for what does not fit there. Pure.

Source: POSIX.1-2001, pax; GNU tar manual, "Storing Sparse Files"; SCHILY.xattr.* as every engine writes them.
"""

import tarfile

import msgspec

from cloison.images.tar.member import Kind, Member

_TYPES = {
    Kind.FILE: tarfile.REGTYPE,
    Kind.HARD_LINK: tarfile.LNKTYPE,
    Kind.SYMLINK: tarfile.SYMTYPE,
    Kind.CHARACTER: tarfile.CHRTYPE,
    Kind.BLOCK: tarfile.BLKTYPE,
    Kind.DIRECTORY: tarfile.DIRTYPE,
    Kind.FIFO: tarfile.FIFOTYPE,
}
END = bytes(1024)


def header(member: Member, more: dict[str, str] | None = None) -> bytes:
    """The header of a member, after which its data come, then `padding`; `more` are PAX records besides its own."""
    info = tarfile.TarInfo(_text(member.name))
    info.type = _TYPES[member.kind]
    info.mode, info.uid, info.gid, info.size = member.mode, member.uid, member.gid, member.size
    info.linkname = _text(member.link)
    info.devmajor, info.devminor = member.device
    seconds, fraction = divmod(member.mtime_ns, 1_000_000_000)
    info.mtime = seconds
    records = {f"SCHILY.xattr.{key}": value.decode("utf-8", "surrogateescape") for key, value in member.xattrs.items()}
    records |= more or {}
    if fraction or seconds < 0:
        records["mtime"] = f"{seconds}.{fraction:09}" if seconds >= 0 else str(seconds)
    info.pax_headers = records
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def sparse_header(member: Member) -> bytes:
    """The header of a file with holes, in PAX's form 1.0, with the map of its pieces. Their data come next, `size`
    bytes together, then the padding of that."""
    assert member.segments is not None
    numbers = [len(member.segments), *(number for segment in member.segments for number in segment)]
    table = "".join(f"{number}\n" for number in numbers).encode()
    table += padding(len(table))
    above, _, last = member.name.rpartition(b"/")
    records = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": _text(member.name),
        "GNU.sparse.realsize": str(member.file_size),
    }
    whole = msgspec.structs.replace(
        member,
        name=(above + b"/" if above else b"") + b"GNUSparseFile.0/" + last,
        size=len(table) + member.size,
    )
    return header(whole, records) + table


def padding(size: int) -> bytes:
    """What fills the last block of data."""
    return bytes(-size % 512)


def whole(name: str, content: bytes) -> bytes:
    """A file of root's, 0644, of no time, with its content."""
    member = Member(name.encode(), Kind.FILE, 0o644, 0, 0, 0, len(content), len(content))
    return header(member) + content + padding(len(content))


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
