"""Programs that make file systems and volumes: run to their end, their own words in the error."""

import errno
import os

from cloison.base.disk import no_space
from cloison.base.errors import Host
from cloison.kernel import programs

_FULL = ("no space left", "insufficient free space", "insufficient free extents", "out of space", "quota exceeded")


class Programs:
    """The programs of one Debian package, for the pool in `path`."""

    def __init__(self, package: str, path: str) -> None:
        self._package = package
        self._path = path

    def run(self, *argv: str, fine: tuple[int, ...] = (0,)) -> str:
        """Run a program; what it writes. Raises Unsupported where it is missing, NoSpace, and Host for its failure."""
        from cloison.kernel import process  # a pool is opened more often than it needs one of its programs

        program = programs.needed(argv[0], package=self._package)
        done = process.run([program, *argv[1:]], env={"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)})
        if done.code in fine:
            return done.stdout.decode(errors="replace")
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        if any(words in said.lower() for words in _FULL) or os.strerror(errno.ENOSPC) in said:
            raise no_space(self._path)
        raise Host(f"`{' '.join(argv)}` failed: {said or f'exit code {done.code}'}", code=done.code)

    def require(self, *names: str) -> None:
        """Raises Unsupported, naming the package, where a program is missing."""
        for name in names:
            programs.needed(name, package=self._package)
