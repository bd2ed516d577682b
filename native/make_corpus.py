#!/usr/bin/env python3
"""Write the seeds for fuzz_decode.c: `PYTHONPATH=src python native/make_corpus.py native/corpus`.

A plan without steps, and one that has them all: from these the fuzzer finds the others by itself.
"""

import sys
from pathlib import Path

from cloison.plan.codec import encode
from cloison.plan.plan import Action, Plan
from cloison.plan.steps import KINDS, NO_SLOT, Step, Where, fields_of

VALUES: dict[str, object] = {
    "int": 1,
    "hex": 0x2000,
    "oct": 0o755,
    "slot": NO_SLOT,
    "out": 0,
    "text": "a",
    "texts": ("a", "b=c"),
    "blob": b"12345678",
}
OWN_PLACE = {
    "detach",
    "clone",
    "send_fd",
    "recv_fd",
    "exec",
    "monitor",
    "monitor_of_old",
    "wait",
}  # kinds that may not stand anywhere


def example(kind: str) -> Step:
    """A step of this kind, with one value for each type of field."""
    cls = next(cls for cls in KINDS if cls.kind == kind)
    return cls(*(VALUES[field] for _name, field in fields_of(cls)))


def every_kind() -> Plan:
    """A plan that the launcher accepts, with every kind of step but `wait`, of which it has the other end."""
    anywhere = [cls.kind for cls in KINDS if cls.kind not in OWN_PLACE]
    undo = (example("unlink"), example("rmdir_cgroup"))
    actions = (
        Action(step=example("detach"), where=Where.HOST, undo=undo),
        Action(step=example("clone"), where=Where.HOST),
        *(Action(step=example(kind), where=Where.HOST, optional=True) for kind in anywhere),
        *(Action(step=example(kind), where=Where.INSIDE) for kind in (*anywhere, "send_fd")),
        Action(step=example("recv_fd"), where=Where.HOST),
        Action(step=example("exec"), where=Where.INSIDE),
        Action(step=example("monitor"), where=Where.HOST),
    )
    return Plan(title="every", actions=actions, inherited=("run",), epilogue=(example("rmdir"),))


def main(target: Path) -> None:
    """Write both into the directory `target`."""
    target.mkdir(exist_ok=True)
    (target / "empty.bin").write_bytes(encode(Plan(title="", actions=())))
    (target / "every.bin").write_bytes(encode(every_kind(), verbose=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
