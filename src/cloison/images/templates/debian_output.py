"""What mmdebstrap, debootstrap, apt and dpkg say: how far they are, and why they failed. Pure.

The stages, in this order: "lists", "base download", "base unpack", "base install", "download", "install". A package
counts twice in an installation: when it is unpacked, and when it is set up.
"""

import re
from collections.abc import Sequence

from cloison.base.disk import no_space
from cloison.base.errors import CloisonError, Host, Invalid, Remote
from cloison.images.templates.template import Progress

# mmdebstrap announces what it does now; the rest is apt's and dpkg's.
_ANNOUNCED = (
    ("I: running apt-get update", "lists"),
    ("I: downloading packages", "base"),
    ("I: installing essential", "base"),
    ("I: extracting archives", "base"),
    ("I: installing remaining", ""),
)
_TOTAL = re.compile(r"\b(\d+) newly installed|^ *Installing: (\d+)")  # apt 2, apt 3
_DEBOOTSTRAP = {"I: Retrieving ": "download", "I: Unpacking ": "unpack", "I: Configuring ": "install"}

_FULL = ("No space left on device", "Disk quota exceeded")
_UNREACHED = re.compile(
    r"Temporary failure resolving|Could not resolve|Could not connect|Unable to connect|Cannot initiate the connection"
    r"|Connection (failed|refused|timed out)|Failed to fetch|Failed getting release file|Couldn't download"
    r"|Release file .* expired"
)
_UNSIGNED = re.compile(r"repository '([^']+?)(?: InRelease| Release)' is not signed|Release signed by unknown key")
_NO_SUITE = re.compile(r"repository '(\S+) (\S+) Release' does not have a Release file")
_NO_PACKAGE = re.compile(r"Unable to locate package (\S+)|Package '(\S+)' has no installation|Couldn't find .*: (\S+)")
_TELLING = re.compile(r"^(E|Err|dpkg|tar|chroot)\b.*:|\berror\b|[Cc]annot|[Ff]ailed|Unable")
_SUMMARY = re.compile(r"mmdebstrap failed to run|^E: (/\S+/)?(apt-get|dpkg|env|chroot) .*failed$|Some index files")
_SHOWN_LINES = 2
_KEYS = {
    "Debian": "install the package debian-archive-keyring, as new as the release",
    "Ubuntu": "name the file with the keys that sign it: --option keyring=FILE",
}


class Hearer:
    """Turns lines of output into progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._part: str | None = None  # "lists", "base" or ""; None where nothing is counted
        self._total: int | None = None
        self._done: dict[str, int] = {}

    def hear(self, line: str) -> None:
        """One line, in the order in which they are written."""
        if line.startswith("I: "):
            self._announced(line)
        elif self._part == "lists":
            if line.startswith(("Get:", "Hit:")):
                self._count("lists", None)
        elif self._part is not None:
            self._counted(line)

    def _announced(self, line: str) -> None:
        for words, stage in _DEBOOTSTRAP.items():
            if line.startswith(words):
                self._count(stage, None)
                return
        part = next((part for words, part in _ANNOUNCED if line.startswith(words)), None)
        if part != self._part:
            self._part, self._total = part, self._total if part == "base" else None
        if line.startswith("I: extracting"):
            self._progress("base unpack", 0, self._total)  # some seconds in which nothing is said

    def _counted(self, line: str) -> None:
        if found := _TOTAL.search(line):
            self._total = int(found[1] or found[2])
        elif line.startswith("Get:"):
            self._count(f"{self._part} download".strip(), self._total)
        elif line.startswith(("Unpacking ", "Setting up ")):
            self._count(f"{self._part} install".strip(), 2 * self._total if self._total else None)

    def _count(self, stage: str, total: int | None) -> None:
        done = self._done[stage] = self._done.get(stage, 0) + 1
        self._progress(stage, done if total is None else min(done, total), total)


def failure(program: str, code: int, lines: Sequence[str], path: str, system: str = "the system") -> CloisonError:
    """Why `program`, which wrote to `path`, ended with `code`, after saying `lines` last."""
    if any(word in line for line in lines for word in _FULL):
        return no_space(path, what="images")
    for line in lines:
        if found := _NO_PACKAGE.search(line):
            name = next(filter(None, found.groups()))
            return Invalid(f"this release of {system} has no package {name!r}", option="packages", package=name)
    for line in lines:
        if found := _UNSIGNED.search(line):
            archive = f"the archive {found[1]}" if found[1] else "the archive"
            return Remote(
                f"{archive} is not signed by a key of {system}'s", hint=_KEYS.get(system, ""), program=program
            )
        if found := _NO_SUITE.search(line):
            return Remote(f"the archive {found[1]} has no release {found[2]!r}", program=program)
    if unreached := [line for line in lines if _UNREACHED.search(line)]:
        return Remote(f"the archive of {system}'s packages cannot be used: {unreached[0].strip()}", program=program)
    stripped = [line.strip() for line in lines if line.strip()]
    telling = [line for line in stripped if _TELLING.search(line)] or stripped
    said = "; ".join(dict.fromkeys([line for line in telling if not _SUMMARY.search(line)][-_SHOWN_LINES:]))
    how = f"failed ({code})" if code >= 0 else f"was ended by signal {-code}"
    return Host(f"{program} {how}: {said}" if said else f"{program} {how}", program=program)
