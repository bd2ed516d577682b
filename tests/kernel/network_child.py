"""What a test does with a network, in a network namespace of its own: python -m tests.kernel.network_child DIR WORDS...

DIR is where the network has its files. Each word is done in order; what comes of it is a line of JSON."""

import json
import sys

import msgspec

from cloison.base.errors import CloisonError
from cloison.network import upkeep
from cloison.network.network import Network, table_of
from cloison.plan.plan import Plan
from cloison.runtime import host_steps


def network(directory: str, **options: object) -> Network:
    """The one that tests bring up and down, with options of their own."""
    name = str(options.pop("name", "lab"))
    given: dict[str, object] = {"bridge": name, "run": f"{directory}/run/{name}", "data": f"{directory}/lib/{name}"}
    given |= {"table": table_of(directory), "ipv4": "10.1.2.1/24", "ipv6": "fd01::1/64"}
    return Network(name=name, **given | options)  # type: ignore[arg-type]


def say(value: object) -> None:
    """A line for the test."""
    sys.stdout.write(json.dumps(value) + "\n")


def main(directory: str, *words: str) -> None:
    """`up`, `down`, `is_up`; `up:OPTIONS` with JSON; `until:N` does only the first N steps, and keeps what they did."""
    plans: list[str] = []
    for word in words:
        verb, _, rest = word.partition(":")
        most = int(rest) if verb == "until" else None
        of = network(directory, **(json.loads(rest) if rest and most is None else {}))

        def run(plan: Plan, most: int | None = most) -> None:
            plans.append(plan.title)
            actions = [msgspec.structs.replace(each, undo=()) for each in plan.actions[:most]]
            host_steps.run(msgspec.structs.replace(plan, actions=tuple(actions)) if most is not None else plan)
            if most is not None and most < len(plan.actions):
                raise InterruptedError

        try:
            if verb == "down":
                upkeep.down(of, run, is_last=True)
                say(None)
            elif verb == "is_up":
                say(upkeep.is_up(of))
            else:
                say(upkeep.ensure(of, run, tuple))
        except InterruptedError:
            say("interrupted")
        except CloisonError as problem:
            say(f"{type(problem).__name__}: {problem}")
    say(plans)


if __name__ == "__main__":
    main(*sys.argv[1:])
