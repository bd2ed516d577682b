"""A plan as text: the exact one that the launcher prints as well, and the one for people.

`text` is the launcher's `--print` to the letter, so that a test can hold both to the same reading of the bytes.
`explain` is what `cloison explain` shows. Pure.
"""

from collections.abc import Iterator

from cloison.plan.codec import RECORD_FINAL, RECORD_OPTIONAL, decode
from cloison.plan.network_steps import Run
from cloison.plan.plan import Action, Plan
from cloison.plan.steps import NO_SLOT, Step, Where, fields_of

_OF_NFT = ("--json", "-f", "-")  # how packet rules are told: see cloison.plan.network
_WHERE = {Where.HOST: "host  ", Where.INSIDE: "inside"}


def text(encoded: bytes) -> str:
    """One line for each record of an encoded plan, undo steps below a line `undo`."""
    steps, undo = decode(encoded)
    lines = [_line(index, *record) for index, record in enumerate(steps)]
    lines += ["undo", *(_line(index, *record) for index, record in enumerate(undo))]
    return "\n".join(lines) + "\n"


def _line(index: int, step: Step, where: Where, flags: int) -> str:
    marks = (" optional" if flags & RECORD_OPTIONAL else "") + (" final" if flags & RECORD_FINAL else "")
    return f"{index:3} {_WHERE[where]} {call(step)}{marks}"


def call(step: Step) -> str:
    """The step with its arguments: `mkdir dir=- path="/run/x" mode=0700`."""
    words = [f"{name}={_value(kind, getattr(step, name))}" for name, kind in fields_of(type(step))]
    return " ".join([step.kind, *words])


def _value(kind: str, value: object) -> str:
    match kind, value:
        case "hex", int():
            return f"{value & (1 << 64) - 1:#x}"
        case "oct", int():
            return f"0{value & (1 << 64) - 1:o}"
        case (("slot" | "out"), int()):
            return "-" if value == NO_SLOT else f"#{value}"
        case "texts", tuple():
            return "[" + ", ".join(_quoted(item) for item in value) + "]"
        case "blob", bytes():
            return f"<{len(value)} bytes>"
        case "text", str():
            return _quoted(value)
        case _:
            return str(value)


def _quoted(value: str) -> str:
    raw = value.encode("utf-8", "surrogateescape")
    safe = (chr(byte) if 0x20 <= byte <= 0x7E and byte not in b'"\\' else f"\\x{byte:02x}" for byte in raw)
    return '"' + "".join(safe) + '"'


def explain(plan: Plan) -> str:
    """The plan for people: every step in its order, what it is for, and the page that documents it."""
    lines = [f"{plan.title}: {len(plan.actions)} steps"]
    if plan.inherited:
        lines.append("open from the start: " + ", ".join(f"#{n} {name}" for n, name in enumerate(plan.inherited)))
    chapter = ""
    for index, action in enumerate(plan.actions):
        if action.why and action.why != chapter:
            chapter = action.why
            lines += ["", f"  {chapter}"]
        lines += _explained(index, action)
    undo = list(plan.undo())
    if undo:
        lines += ["", "  afterwards, whatever happens, in this order"]
        lines += [line for step, _final in undo for line in _told(step, "    ")]
    return "\n".join(lines) + "\n"


def _explained(index: int, action: Action) -> list[str]:
    note = "  (a failure is only a warning)" if action.optional else ""
    head, *rules = _told(action.step, f"{index:5}  {_WHERE[action.where]}  ")
    return [f"{head}   [{action.step.source}]{note}", *rules]


def _told(step: Step, indent: str) -> Iterator[str]:
    """A step in a line; packet rules in one more each, in the language of nft(8) instead of JSON."""
    if not isinstance(step, Run) or step.argv[1:] != _OF_NFT:
        yield indent + call(step)
        return
    from cloison.plan.nft_text import commands

    yield f"{indent}run argv=[{', '.join(map(_quoted, step.argv))}], in one transaction"
    yield from (f"{' ' * len(indent)}  {command}" for command in commands(step.input))


def explain_values(plan: Plan) -> dict[str, object]:
    """The plan for programs: what `cloison explain --json` prints. Its keys are a public contract."""
    return {
        "title": plan.title,
        "inherited": list(plan.inherited),
        "steps": [
            {
                "where": action.where.name.lower(),
                "kind": action.step.kind,
                "arguments": _arguments(action.step),
                "why": action.why,
                "source": action.step.source,
                "optional": action.optional,
                "undo": [{"kind": step.kind, "arguments": _arguments(step)} for step in action.undo],
            }
            for action in plan.actions
        ],
        "epilogue": [{"kind": step.kind, "arguments": _arguments(step)} for step in plan.epilogue],
    }


def _arguments(step: Step) -> dict[str, object]:
    return {
        name: f"<{len(value)} bytes>" if isinstance(value := getattr(step, name), bytes) else value
        for name, _kind in fields_of(type(step))
    }
