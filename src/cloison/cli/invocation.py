"""One call of the command line: the options that all commands share, the engine, and how a command is heard."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from cloison.engine.engine import Engine, Progress
    from cloison.engine.instance import Instance
    from cloison.spec.driver import StepDone, Watch


Thing = TypeVar("Thing")


def for_each(things: Iterable[Thing], act: Callable[[Thing], object]) -> int:
    """Do it to each; one that fails does not keep the others from their turn. Gives the exit code of the first failure,
    or 0."""
    from cloison.cli.complaints import complain

    codes = []
    for thing in things:
        try:
            act(thing)
        except Exception as problem:
            codes.append(complain(problem))
    return codes[0] if codes else 0


class Invocation:
    """What a command gets to know besides its own words."""

    def __init__(self, root: str | None = None, *, is_verbose: bool = False, is_quiet: bool = False) -> None:
        self.root = root
        self.is_verbose = is_verbose
        self.is_quiet = is_quiet
        self._engine: Engine | None = None

    @property
    def engine(self) -> "Engine":
        """The installation, opened when it is first asked for."""
        if self._engine is None:
            from cloison.engine.engine import open_engine

            self._engine = open_engine(self.root)
        return self._engine

    def get(self, name: str) -> "Instance":
        """The instance called `name`. Raises NotFound."""
        return self.engine.get(name)

    def each(self, names: Sequence[str], act: "Callable[[Instance], object]") -> int:
        """Do it to each instance, as `for_each` does."""
        return for_each(names, lambda name: act(self.get(name)))

    def each_at_once(self, names: Sequence[str], act: "Callable[[Instance], object]") -> int:
        """Like `each`, all of them at the same time: for what mostly waits."""
        if len(names) == 1:
            return self.each(names, act)
        from threading import Thread

        codes: dict[str, int] = {}
        threads = [
            Thread(target=lambda name=name: codes.update({name: self.each([name], act)}), daemon=True) for name in names
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return next((codes[name] for name in names if codes[name]), 0)

    def note(self, text: str) -> None:
        """Tell the user something that is not the result; not heard with -q."""
        if not self.is_quiet:
            sys.stderr.write(f"{text}\n")

    def watch(self) -> "Watch | None":
        """With -v, what shows each step as it is carried out, with the milliseconds since now."""
        if not self.is_verbose:
            return None
        begin_ns = time.monotonic_ns()

        def show(step: "StepDone") -> None:
            since_ms = (step.monotonic_ns - begin_ns) / 1e6
            warning = f"  (warning: {step.warning})" if step.warning else ""
            sys.stderr.write(f"{since_ms:8.2f} ms {step.index:4}  {step.text}{warning}\n")

        return show

    def progress(self, doing: str) -> "AbstractContextManager[Progress | None]":
        """What shows how far a long work is, while it lasts; `doing` says which, such as "building debian/12"."""
        if self.is_quiet:
            return contextlib.nullcontext()
        from cloison.cli.progress import shown

        return shown(doing)
