"""What the processes of an instance may do with device nodes: the rules as an eBPF program (v2), or in the words of the
devices controller (v1). Pure.

Each of the accesses r, w and m that is asked for is decided by the last rule that speaks of it and matches the device;
where none does, it is allowed. Opening for reading and writing is allowed only where both are.

The program (BPF_PROG_TYPE_CGROUP_DEVICE) tests the rules from the last to the first, and strikes out what is allowed:

    r2, r4, r5   type (1 block, 2 character), major, minor         struct bpf_cgroup_dev_ctx
    r3           the accesses that are not decided yet (1 m, 2 r, 4 w)
    r0           1 to allow, 0 to deny with EPERM

v1 keeps a default and a list of exceptions, each for an exact or any number. What it cannot say, such as all of a major
number but one minor, is refused by name.

Source: Documentation/bpf/standardization/instruction-set.rst, include/uapi/linux/bpf.h; cgroup-v1/devices.rst,
security/device_cgroup.c; the order of rules is that of config-linux.md, "Device allowlist".
"""

import struct
import sys
from typing import Final, NamedTuple

from cloison.base.errors import Unsupported
from cloison.plan.inputs import CgroupPlace
from cloison.plan.limit_lines import place_of, world
from cloison.plan.steps import NO_SLOT, DeviceFilter, Step, Write
from cloison.spec.oci import DeviceRule

ACCESS_BITS: Final = {"m": 1, "r": 2, "w": 4}
TYPE_NUMBERS: Final = {"b": 1, "c": 2}
EVERYTHING: Final = 7
_TYPES: Final = ("b", "c")

# bpf.h: the classes ALU (32 bits), ALU64, JMP and LDX; the source is a constant (K) or a register (X).
_LOAD_U32: Final = 0x61  # LDX | MEM | W
_MOV_REGISTER: Final = 0xBC  # ALU | MOV | X
_MOV: Final = 0xB7  # ALU64 | MOV | K
_AND: Final = 0x54  # ALU | AND | K
_SHIFT_RIGHT: Final = 0x74  # ALU | RSH | K
_IF_EQUAL: Final = 0x15  # JMP | JEQ | K
_IF_NOT_EQUAL: Final = 0x55  # JMP | JNE | K
_EXIT: Final = 0x95  # JMP | EXIT
_RESULT, _CONTEXT, _TYPE, _ASKED, _MAJOR, _MINOR = range(6)


class Instruction(NamedTuple):
    """One `struct bpf_insn`."""

    code: int
    to: int = 0
    source: int = 0
    offset: int = 0
    constant: int = 0

    def encode(self) -> bytes:
        """Eight bytes; the two registers share one, in the order of the machine's bit fields."""
        low, high = (self.to, self.source) if sys.byteorder == "little" else (self.source, self.to)
        return struct.pack("=BBhi", self.code, low | high << 4, self.offset, self.constant)


def program(rules: tuple[DeviceRule, ...]) -> bytes:
    """The eBPF program for `rules`; nothing where all is allowed."""
    return b"".join(instruction.encode() for instruction in instructions(rules))


def instructions(rules: tuple[DeviceRule, ...]) -> list[Instruction]:
    """The same, to be read."""
    if is_free(rules):
        return []
    found = [
        Instruction(_LOAD_U32, _TYPE, _CONTEXT, 0),
        Instruction(_MOV_REGISTER, _ASKED, _TYPE),
        Instruction(_SHIFT_RIGHT, _ASKED, constant=16),
        Instruction(_AND, _TYPE, constant=0xFFFF),
        Instruction(_LOAD_U32, _MAJOR, _CONTEXT, 4),
        Instruction(_LOAD_U32, _MINOR, _CONTEXT, 8),
    ]
    for rule in reversed(rules):
        if _is_everything(rule):
            return [*found, *_answer(is_allowed=rule.allow)]
        found += _tested(rule)
    return [*found, *_answer(is_allowed=True)]


def is_free(rules: tuple[DeviceRule, ...]) -> bool:
    """Whether the rules end with all devices allowed, so that nothing needs to be done."""
    return not rules or (rules[-1].allow and _is_everything(rules[-1]))


def _tested(rule: DeviceRule) -> list[Instruction]:
    bits = _bits(rule)
    verdict = _answer(is_allowed=rule.allow)
    if rule.allow:
        end = [
            Instruction(_AND, _ASKED, constant=EVERYTHING & ~bits),
            Instruction(_IF_NOT_EQUAL, _ASKED, offset=len(verdict)),
        ]
    else:
        end = [
            Instruction(_MOV_REGISTER, _RESULT, _ASKED),
            Instruction(_AND, _RESULT, constant=bits),
            Instruction(_IF_EQUAL, _RESULT, offset=len(verdict)),
        ]
    end += verdict
    tests = [(_MAJOR, rule.major), (_MINOR, rule.minor)]
    if rule.type != "a":
        tests.insert(0, (_TYPE, TYPE_NUMBERS[rule.type]))
    for register, number in reversed(tests):
        if number is not None:
            end.insert(0, Instruction(_IF_NOT_EQUAL, register, offset=len(end), constant=number))
    return end


def _answer(*, is_allowed: bool) -> list[Instruction]:
    return [Instruction(_MOV, _RESULT, constant=int(is_allowed)), Instruction(_EXIT)]


def _bits(rule: DeviceRule) -> int:
    return sum(ACCESS_BITS[letter] for letter in set(rule.access))


def _is_everything(rule: DeviceRule) -> bool:
    return rule.type == "a" and rule.major is rule.minor is None and _bits(rule) == EVERYTHING


# --- v1 ------------------------------------------------------------------------------------------------------

Key = tuple[str, int | None, int | None]  # type, major, minor


class Exceptions(NamedTuple):
    """What v1 keeps: whether the rest is allowed, and the accesses for which it is not so."""

    is_allowed: bool
    bits: dict[Key, int]


def exceptions(rules: tuple[DeviceRule, ...]) -> Exceptions:
    """The rules as v1 keeps them. Raises Unsupported for what it cannot keep."""
    last = max((n for n, rule in enumerate(rules) if _is_everything(rule)), default=-1)
    found = Exceptions(last < 0 or rules[last].allow, {})
    for rule in rules[last + 1 :]:
        for kind in _TYPES if rule.type == "a" else (rule.type,):
            _add(found, rule, (kind, rule.major, rule.minor))
    kept = {key: bits for key, bits in found.bits.items() if bits}
    return Exceptions(found.is_allowed, kept if found.is_allowed else _closed(kept))


def _add(found: Exceptions, rule: DeviceRule, key: Key) -> None:
    if rule.allow != found.is_allowed:
        found.bits[key] = found.bits.get(key, 0) | _bits(rule)
        return
    for other, bits in found.bits.items():
        common = _common(key, other)
        if common == other:
            found.bits[other] = bits & ~_bits(rule)
        elif common is not None and bits & _bits(rule):
            verb, opposite = ("allow", "denied") if rule.allow else ("deny", "allowed")
            raise Unsupported(
                f"cgroup v1 cannot {verb} {_words(key, _bits(rule))} where {_words(other, bits)} is {opposite}",
                hint="name what remains, device by device; with cgroup v2 the list may be written as it is",
            )


def _closed(bits: dict[Key, int]) -> dict[Key, int]:
    """With an exception for everything that two of them have in common: v1 looks for one that allows all that is asked
    for, and does not put two together."""
    found = dict(bits)
    while True:
        fresh = dict(found)
        for one, its in found.items():
            for other, others in found.items():
                common = _common(one, other)
                if common is not None:
                    fresh[common] = fresh.get(common, 0) | its | others
        if fresh == found:
            return {key: found[key] for key in sorted(found, key=lambda key: (key not in bits,))}
        found = fresh


def _common(one: Key, other: Key) -> Key | None:
    """The devices that both speak of; None where there are none."""
    if one[0] != other[0]:
        return None
    numbers = []
    for ours, theirs in ((one[1], other[1]), (one[2], other[2])):
        if ours is not None and theirs is not None and ours != theirs:
            return None
        numbers.append(theirs if ours is None else ours)
    return one[0], numbers[0], numbers[1]


def _words(key: Key, bits: int) -> str:
    kind, major, minor = key
    letters = "".join(letter for letter in "rwm" if bits & ACCESS_BITS[letter])
    return f"{kind} {'*' if major is None else major}:{'*' if minor is None else minor} {letters}"


# --- steps ---------------------------------------------------------------------------------------------------


def place_of_rules(places: tuple[CgroupPlace, ...], rules: tuple[DeviceRule, ...]) -> CgroupPlace | None:
    """Where `rules` have to be in force; None where they allow everything. Raises Unsupported."""
    return None if is_free(rules) else require_place(places)


def require_place(places: tuple[CgroupPlace, ...]) -> CgroupPlace:
    """The hierarchy that decides over devices: that of the v1 controller, else the v2 tree, through eBPF.

    Raises Unsupported where there is neither."""
    place = place_of(places, "devices") or next((place for place in places if place.version == 2), None)
    if place is None:
        raise Unsupported(
            f"this host has neither the devices controller of cgroup v1 nor a cgroup v2 tree ({world(places)}), so"
            " the use of devices cannot be limited",
            hint='mount one of them, or allow all of them with limits.devices="allow a"',
            controller="devices",
        )
    return place


def said(rules: tuple[DeviceRule, ...]) -> str:
    """The rules for people: "deny a, allow c 1:3 rwm"."""
    entries = []
    for rule in rules:
        words = "a" if _is_everything(rule) else _words((rule.type, rule.major, rule.minor), _bits(rule))
        entries.append(f"{'allow' if rule.allow else 'deny'} {words}")
    return ", ".join(entries)


def restrict(place: CgroupPlace, rules: tuple[DeviceRule, ...]) -> tuple[Step, ...]:
    """The steps for a new outer group that has none below it yet: those inherit."""
    if place.version == 2:
        return (DeviceFilter(place.outer, program(rules)),)
    wanted = exceptions(rules)
    default, exception = ("devices.allow", "devices.deny") if wanted.is_allowed else ("devices.deny", "devices.allow")
    steps = [] if wanted.is_allowed else [Write(NO_SLOT, f"{place.outer}/{default}", "a")]
    steps += [Write(NO_SLOT, f"{place.outer}/{exception}", _words(key, bits)) for key, bits in wanted.bits.items()]
    return tuple(steps)


class Exchange(NamedTuple):
    """A change of rules in a running instance, and what takes it back, in its order."""

    step: Step
    undo: tuple[Step, ...]


def exchange(
    place: CgroupPlace, before: tuple[DeviceRule, ...], after: tuple[DeviceRule, ...], below: tuple[str, ...]
) -> tuple[Exchange, ...]:
    """The steps from one list to another while processes are at work; `below` are the groups under the outer one.

    v1 hands down what is denied, and not what is allowed: that is said to each group, from the top. Raises Unsupported
    where the default would have to change, which v1 refuses while there are groups below."""
    if place.version == 2:
        return (Exchange(DeviceFilter(place.outer, program(after)), (DeviceFilter(place.outer, program(before)),)),)
    old, new = exceptions(before), exceptions(after)
    if old.is_allowed != new.is_allowed:
        now, then = ("allowed", "denied") if old.is_allowed else ("denied", "allowed")
        raise Unsupported(
            f"all devices that are not listed are {now}, and cgroup v1 cannot have them {then} while the instance runs",
            hint="use --next-start, and start it again",
            key="limits.devices",
        )
    found: list[Exchange] = []
    for key in dict.fromkeys((*old.bits, *new.bits)):
        was, will = old.bits.get(key, 0), new.bits.get(key, 0)
        for bits, is_allowed in ((was & ~will, old.is_allowed), (will & ~was, not old.is_allowed)):
            if bits:
                found += _said(place, _words(key, bits), below, is_allowed=is_allowed)
    return tuple(found)


def _said(place: CgroupPlace, words: str, below: tuple[str, ...], *, is_allowed: bool) -> list[Exchange]:
    deny = Write(NO_SLOT, f"{place.outer}/devices.deny", words)
    allow = tuple(Write(NO_SLOT, f"{directory}/devices.allow", words) for directory in (place.outer, *below))
    if is_allowed:
        return [Exchange(allow[0], (deny,)), *(Exchange(step, ()) for step in allow[1:])]
    return [Exchange(deny, allow)]
