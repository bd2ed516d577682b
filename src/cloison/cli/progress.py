"""How far the building of an image is: a bar on a terminal, a line for each stage elsewhere. On stderr."""

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cloison.base.units import format_size

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from cloison.engine.engine import Progress

WORDS = {
    "wait": "waiting for another command that builds it",
    "ask": "asking the server",
    "unsigned": "taking its list without a signature, as there is no keyring for it",
    "fetch": "downloading",
    "push": "uploading",
    "lists": "lists of packages",
    "base download": "downloading the base",
    "base unpack": "unpacking the base",
    "base install": "installing the base",
    "download": "downloading",
    "install": "installing",
    "tidy": "tidying up",
    "template": "running the template",
    "packages": "installing packages",
    "files": "copying files",
    "commands": "running commands",
    "measure": "measuring",
    "unpack": "unpacking",
    "verify": "reading everything",
    "store": "storing",
    "copy": "copying",
}
IN_BYTES = frozenset({"copy", "fetch", "push"})  # stages whose numbers are bytes


@contextlib.contextmanager
def shown(doing: str) -> "Iterator[Progress]":
    """A listener for one piece of work; `doing` says which. Nothing is imported or drawn before it hears something."""
    if not sys.stderr.isatty():
        yield _Lines(doing).hear
        return
    bar = _Bar(doing)
    try:
        yield bar.hear
    finally:
        bar.clear()


class _Lines:
    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._stage = ""

    def hear(self, stage: str, _done: int, total: int | None) -> None:
        if stage != self._stage:
            self._stage = stage
            size = f" {format_size(total)}" if stage in IN_BYTES and total else ""
            sys.stderr.write(f"{self._doing}: {WORDS.get(stage, stage)}{size}\n")
            sys.stderr.flush()


class _Bar:
    """Drawn while it hears; the terminal is left clean, so that an error below it can be read."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._stage = ""

    def hear(self, stage: str, done: int, total: int | None) -> None:
        bar = self._bar or self._begin()
        if stage != self._stage:
            if self._task is not None:
                bar.remove_task(self._task)
            self._stage = stage
            self._task = bar.add_task(f"{self._doing}: {WORDS.get(stage, stage)}", total=total, size="")
        assert self._task is not None
        bar.update(self._task, completed=done, total=total, size=_size(done, total) if stage in IN_BYTES else "")

    def clear(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()

    def _begin(self) -> "Bar":
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(show_speed=False),
            TextColumn("{task.fields[size]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.start()
        return self._bar


def _size(done: int, total: int | None) -> str:
    return f"{format_size(done)} of {format_size(total)}" if total else format_size(done)
