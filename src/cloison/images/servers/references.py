"""References to images in registries, as people write them.

    docker://[HOST[:PORT]/]NAME[:TAG][@sha256:DIGEST]

A first part without a dot or a port is no host: it is a name on Docker's own registry, where a name without a slash is
below `library/`. Without a tag it is `latest`; where there is a digest, that decides.

Pure. Source: distribution-spec v1.1, "Pulling manifests"; the short forms are Docker's.
"""

import re
from typing import Final

import msgspec

from cloison.base.errors import Invalid, Unsupported

SCHEME: Final = "docker://"
DOCKER: Final = "docker.io"
_DOCKER_NAMES: Final = ("docker.io", "index.docker.io", "registry-1.docker.io")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST_REPOSITORY: Final = 255


class Reference(msgspec.Struct, frozen=True):
    """One image in a registry. Either `tag` or `digest` is empty."""

    host: str  # "docker.io", "localhost:5000"
    repository: str  # "library/debian"
    tag: str
    digest: str  # "sha256:…"

    @property
    def wanted(self) -> str:
        """What a registry is asked for: the digest, else the tag."""
        return self.digest or self.tag

    @property
    def name(self) -> str:
        """The name of the image in the store: "docker.io/library/debian:12"."""
        return f"{self.host}/{self.repository}" + (f"@{self.digest}" if self.digest else f":{self.tag}")

    def __str__(self) -> str:
        return f"{SCHEME}{self.name}"


def parse(text: str) -> Reference:
    """The reference in `text`, with or without `docker://`. Raises Invalid, and Unsupported for another hash."""
    words = text.removeprefix(SCHEME)
    _expect_no_secret(words)
    rest, at, digest = words.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        if re.fullmatch(r"[a-z0-9]+:[0-9a-f]{32,}", digest) and not digest.startswith("sha256:"):
            raise Unsupported(f"{text!r} names a digest of another kind than sha256", reference=text)
        raise _no_reference(text, f"{digest!r} is no digest; write @sha256: and 64 hexadecimal digits")
    first, slash, others = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        host, rest = host_of(first), others
    else:
        host = DOCKER
    repository, colon, tag = rest.partition(":")
    if host == DOCKER and "/" not in repository:
        repository = f"library/{repository}"
    if not _REPOSITORY.fullmatch(repository) or len(repository) > _LONGEST_REPOSITORY:
        raise _no_reference(
            text, f"{repository!r} is no name: lower-case letters and digits, with . _ - / between them"
        )
    if colon and not _TAG.fullmatch(tag):
        raise _no_reference(text, f"{tag!r} is no tag: at most 128 letters, digits and . _ -")
    return Reference(host, repository, "" if digest else tag or "latest", digest)


def _expect_no_secret(words: str) -> None:
    """`user:password@host/name` is refused without being shown: what is before the last @ may be a password."""
    _user, at, after = re.sub("@(sha[0-9]+|md5):[^@/]*$", "", words).rpartition("@")
    if at:
        host = after.partition("/")[0]
        raise Invalid(
            f"'{SCHEME}***@{after}' has a user in it, who does not belong into the name of an image",
            hint=f"cloison login {host if _HOST.fullmatch(host) else 'HOST'}",
            reference=f"{SCHEME}***@{after}",
        )


def host_of(text: str) -> str:
    """A registry's `host[:port]`, in one spelling; "https://HOST/" is understood as well. Raises Invalid."""
    host = re.sub(r"^https?://", "", text).rstrip("/")
    if host.startswith("index.docker.io/v1"):
        host = DOCKER
    if "@" in host:
        host = host.rpartition("@")[2]
        raise Invalid(f"'***@{host}' has a user in it: a registry is expected", hint=f"cloison login {host}", host=host)
    if not _HOST.fullmatch(host) or int(host.rpartition(":")[2] or 0 if _has_port(host) else 0) > 65535:
        raise Invalid(f"{text!r} is no registry", hint="write HOST or HOST:PORT, as in registry.example.org", host=text)
    host = host.lower()
    return DOCKER if host in _DOCKER_NAMES else host


def _has_port(host: str) -> bool:
    return bool(re.search(r":[0-9]+$", host)) and not host.endswith("]")


def _no_reference(text: str, why: str) -> Invalid:
    return Invalid(
        f"{text!r} is no reference to an image: {why}",
        hint="docker://[HOST[:PORT]/]NAME[:TAG], as in docker://registry.example.org/tools/web:1.2",
        reference=text,
    )
