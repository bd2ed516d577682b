"""Signatures by GnuPG: only what a key of a keyring has signed is handed on. Source: gpgv(1).

What counts is what gpgv writes, never the file that came: a clear-signed file may have other text around it.
"""

import base64
import os
import re
import tempfile

from cloison.base.errors import Denied, Host
from cloison.kernel import process, programs

_ARMOUR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]+\r?\n)*\r?\n([A-Za-z0-9+/=\s]+?)(?:\r?\n=[^\n]*)?\r?\n---"
)


def opened(content: bytes, keyring: str, *, what: str, detached: bytes | None = None) -> bytes:
    """What is signed: of the clear-signed `content`, or `content` itself where the signature is `detached`.

    Raises Denied where no key of the keyring has signed it, Host without a keyring, Unsupported without gpgv."""
    gpgv = programs.needed("gpgv", package="gpgv")
    with tempfile.TemporaryDirectory(prefix="cloison-gpgv-") as directory:
        keys = _written(f"{directory}/keys.gpg", _keys(keyring))
        signed = _written(f"{directory}/content", content)
        argv = [gpgv, "--homedir", directory, "--keyring", keys]
        if detached is None:
            argv += ["--output", f"{directory}/opened", signed]
        else:
            argv += [_written(f"{directory}/signature", detached), signed]
        done = process.run(argv, env={"LC_ALL": "C", "PATH": os.defpath}, timeout_s=60.0)
        if done.code != 0:
            said = [line for line in done.stderr.decode(errors="replace").splitlines() if "gpgv:" in line]
            why = said[-1].removeprefix("gpgv: ").strip() if said else f"gpgv ended with {done.code}"
            raise Denied(
                f"{what} is not signed by a key of {keyring}: {why}",
                hint="nothing was taken over; look whether the keyring is that of this server",
                keyring=keyring,
            )
        if detached is not None:
            return content
        with open(f"{directory}/opened", "rb") as file:
            return file.read()


def _keys(keyring: str) -> bytes:
    """The keys of a file, without the armour of letters that gpgv does not read."""
    try:
        with open(keyring, "rb") as file:
            content = file.read()
    except OSError as problem:
        raise Host(f"the keyring {keyring} cannot be read: {problem.strerror}", path=keyring) from problem
    blocks = _ARMOUR.findall(content)
    return b"".join(base64.b64decode(block) for block in blocks) if blocks else content


def _written(path: str, content: bytes) -> str:
    with open(path, "wb") as file:
        file.write(content)
    return path
