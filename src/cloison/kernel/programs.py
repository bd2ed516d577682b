"""Where the programs of the host are. How they are run is in `cloison.kernel.process`."""

import os

from cloison.base.errors import Unsupported

# Daemons and administrators' tools live in sbin, which is missing from the PATH of ordinary users.
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def which(name: str) -> str | None:
    """The absolute path of the program `name`, from PATH and the sbin directories; None where it is missing."""
    for directory in (*os.get_exec_path(), *_SBIN):
        path = os.path.join(directory, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def needed(name: str, *, package: str) -> str:
    """The path of `name`; raises Unsupported with the Debian package that holds it where it is missing."""
    path = which(name)
    if path is None:
        raise Unsupported(
            f"the program {name!r} is not installed",
            hint=f"apt-get install --no-install-recommends {package}",
            program=name,
            package=package,
        )
    return path
