"""Documents that are known by the digest of their bytes: `blobs/sha256/<hex>`."""

import hashlib
import os

from cloison.base.errors import Host, NotFound
from cloison.images.files import write_beside
from cloison.images.layout import hex_of


def put(blobs_dir: str, content: bytes) -> str:
    """Keep `content`; its digest, "sha256:…". What is there already is written again: it may have been damaged."""
    digest = hashlib.sha256(content).hexdigest()
    write_beside(os.path.join(blobs_dir, digest), content)
    return f"sha256:{digest}"


def get(blobs_dir: str, digest: str) -> bytes:
    """The content behind `digest`. Raises NotFound, and Host where the bytes are not those that were written."""
    path = os.path.join(blobs_dir, hex_of(digest))
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError as missing:
        raise NotFound(f"the document {digest} is missing from the image store", path=path) from missing
    if hashlib.sha256(content).hexdigest() != hex_of(digest):
        raise Host(
            f"the document {digest} of the image store is damaged",
            hint="remove the image that it belongs to, and build it again",
            path=path,
        )
    return content
