"""Write one small plan for each kind of step, for the fuzzer to begin with: `python tests/fuzz/seeds.py DIRECTORY`."""

import sys
from pathlib import Path

from cloison.plan.codec import encode
from cloison.plan.plan import Action, Plan
from cloison.plan.steps import KINDS, Step, Where, fields_of

SAMPLES: dict[str, object] = {
    "int": 7,
    "hex": 1 << 63,
    "oct": 0o755,
    "slot": -1,
    "out": 0,
    "text": "/a path",
    "texts": ("one", "", "three"),
    "blob": b"\x00\xff\x00",
}


def sample(kind: type[Step]) -> Step:
    """A step of this kind, with every field filled."""
    return kind(**{name: SAMPLES[field] for name, field in fields_of(kind)})


def main(directory: Path) -> None:
    """Fill `directory`: each kind alone on either side and as an undo step, and all of them together."""
    directory.mkdir(parents=True, exist_ok=True)
    steps = [sample(kind) for kind in KINDS]
    for step in steps:
        for where in Where:
            plan = Plan("seed", (Action(step, where),))
            (directory / f"{step.kind}-{where.name.lower()}").write_bytes(encode(plan))
        plan = Plan("seed", (), epilogue=(step,))
        (directory / f"{step.kind}-undo").write_bytes(encode(plan))
    every = Plan("seed", tuple(Action(step, Where.HOST, undo=(step,)) for step in steps))
    (directory / "every").write_bytes(encode(every))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
