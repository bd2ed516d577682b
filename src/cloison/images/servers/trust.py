"""Whom a connection by TLS trusts: the system's authorities, and those that were put down for one host.

    <certificates>/<host>[:<port>]/*.crt          authorities besides the system's, PEM
    <certificates>/<host>[:<port>]/NAME.cert      with NAME.key: what we show of ourselves

This is Docker's and Podman's layout. Source: docker's "Verify repository client with certificates".
"""

import os
import ssl
from collections.abc import Iterable

from cloison.base.errors import Host


def context(host: str, directories: Iterable[str], *, is_insecure: bool) -> ssl.SSLContext:
    """The settings for connections to `host` ("name:port", the port missing where it is 443). Raises Host."""
    made = ssl.create_default_context()
    if is_insecure:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    for directory in directories:
        for name in _names(f"{directory}/{host}"):
            path = f"{directory}/{host}/{name}"
            try:
                if name.endswith(".crt"):
                    made.load_verify_locations(cafile=path)
                elif name.endswith(".cert"):
                    made.load_cert_chain(path, path.removesuffix(".cert") + ".key")
            except (OSError, ssl.SSLError) as problem:
                raise Host(
                    f"the certificate {path} cannot be used: {problem}",
                    hint="it has to be PEM; a NAME.cert has its key beside it, in NAME.key",
                    path=path,
                ) from problem
    return made


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
