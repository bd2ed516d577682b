"""Device rules: the eBPF program, run by a small interpreter of its instructions, and the words of v1, as its kernel
keeps them, both against the rules read one by one."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloison.base.errors import Unsupported
from cloison.engine.specification import PRIVILEGED_DEVICES
from cloison.plan import device_filter as under_test
from cloison.plan.steps import DeviceFilter, Write
from cloison.spec.oci import DeviceRule
from tests.unit.plan import worlds

NUMBERS = st.integers(0, 3)
RULES = st.lists(
    st.builds(
        DeviceRule,
        st.booleans(),
        st.sampled_from(["a", "b", "c"]),
        st.none() | NUMBERS,
        st.none() | NUMBERS,
        st.sets(st.sampled_from("rwm"), min_size=1).map("".join),
    )
    | st.builds(DeviceRule, st.booleans()),
    max_size=8,
).map(tuple)
ASKED = st.tuples(
    st.sampled_from(["b", "c"]), NUMBERS, NUMBERS, st.sets(st.sampled_from("rwm"), min_size=1).map("".join)
)
Rules = tuple[DeviceRule, ...]
Asked = tuple[str, int, int, str]


def is_allowed(rules: Rules, asked: Asked) -> bool:
    """The rules as they are meant: for each access, the last one that speaks of it decides."""
    kind, major, minor, access = asked

    def matches(rule: DeviceRule) -> bool:
        return rule.type in ("a", kind) and rule.major in (None, major) and rule.minor in (None, minor)

    said = [[rule.allow for rule in rules if matches(rule) and letter in rule.access] for letter in access]
    return all(verdicts[-1] if verdicts else True for verdicts in said)


def run(program: bytes, asked: Asked) -> bool:
    """What the kernel's interpreter would answer; only the instructions of bpf.h that the programs use."""
    kind, major, minor, access = asked
    bits = sum(under_test.ACCESS_BITS[letter] for letter in access)
    context = struct.pack("=III", bits << 16 | under_test.TYPE_NUMBERS[kind], major, minor)
    code = list(struct.iter_unpack("=BBhi", program))
    registers, at = [0] * 11, 0
    while at < len(code):
        operation, both, offset, constant = code[at]
        to, source = both & 15, both >> 4
        at += 1
        match operation:
            case 0x61:
                assert source == 1
                registers[to] = struct.unpack_from("=I", context, offset)[0]
            case 0xBC:
                registers[to] = registers[source] & 0xFFFFFFFF
            case 0xB7:
                registers[to] = constant
            case 0x54:
                registers[to] &= constant & 0xFFFFFFFF
            case 0x74:
                registers[to] = (registers[to] & 0xFFFFFFFF) >> constant
            case 0x15 | 0x55:
                assert offset >= 0
                at += offset if (registers[to] == constant) == (operation == 0x15) else 0
            case 0x95:
                return bool(registers[0])
            case _:
                raise AssertionError(f"the program has an instruction {operation:#x}")
    raise AssertionError("the program ran past its end")


def keep(words: list[tuple[str, str]]) -> tuple[bool, list[tuple[str, str, str, str]]]:
    """What security/device_cgroup.c keeps after these writes to a new group."""
    allows, kept = True, dict[tuple[str, str, str], str]()
    for file, text in words:
        is_allow = file == "devices.allow"
        if text == "a":
            allows, kept = is_allow, {}
            continue
        kind, numbers, access = text.split()
        major, minor = numbers.split(":")
        key = (kind, major, minor)
        if is_allow == allows:
            kept[key] = "".join(letter for letter in kept.get(key, "") if letter not in access)
        else:
            kept[key] = kept.get(key, "") + access
    return allows, [(*key, access) for key, access in kept.items() if access]


def v1_allows(words: list[tuple[str, str]], asked: Asked) -> bool:
    """What it then answers: one exception has to allow all that is asked for, and one is enough to deny it."""
    kind, major, minor, access = asked
    allows, kept = keep(words)
    hit = [
        set(exception[3])
        for exception in kept
        if exception[0] == kind and exception[1] in ("*", str(major)) and exception[2] in ("*", str(minor))
    ]
    if allows:
        return not any(bits & set(access) for bits in hit)
    return any(bits >= set(access) for bits in hit)


def v1_words(rules: Rules) -> list[tuple[str, str]]:
    steps = under_test.restrict(worlds.v1(("devices",)), rules)
    assert all(isinstance(step, Write) for step in steps)
    return [(step.path.rsplit("/", 1)[1], step.data) for step in steps if isinstance(step, Write)]


@given(RULES, ASKED)
def test_the_program_answers_as_the_rules_are_meant(rules: Rules, asked: Asked) -> None:
    program = under_test.program(rules)
    assert (run(program, asked) if program else True) == is_allowed(rules, asked)


@given(RULES)
def test_every_instruction_of_a_program_can_be_reached(rules: Rules) -> None:
    found = under_test.instructions(rules)
    reached, ahead = set[int](), [0] if found else []
    while ahead:
        at = ahead.pop()
        if at not in reached:
            reached.add(at)
            instruction = found[at]
            if instruction.code != 0x95:
                ahead.append(at + 1)
            if instruction.code in (0x15, 0x55):
                ahead.append(at + 1 + instruction.offset)
    assert reached == set(range(len(found)))  # the kernel's verifier refuses any other program


@given(RULES, ASKED)
def test_v1_answers_as_the_rules_are_meant_or_says_that_it_cannot(rules: Rules, asked: Asked) -> None:
    try:
        words = v1_words(rules)
    except Unsupported:
        return
    assert v1_allows(words, asked) == is_allowed(rules, asked)


@given(RULES, RULES, ASKED)
def test_a_change_on_v1_comes_to_the_same_as_a_start(before: Rules, after: Rules, asked: Asked) -> None:
    place = worlds.v1(("devices",))
    try:
        found = under_test.exchange(place, before, after, ())
        words = v1_words(before)
    except Unsupported:
        return
    writes = [step for step, _undo in found if isinstance(step, Write)]
    changed = words + [(step.path.rsplit("/", 1)[1], step.data) for step in writes]
    assert v1_allows(changed, asked) == is_allowed(after, asked)


def test_a_hole_in_what_is_allowed_is_refused_by_name_on_v1() -> None:
    rules = (DeviceRule(False), DeviceRule(True, "c", 1), DeviceRule(False, "c", 1, 3, "w"))
    with pytest.raises(Unsupported, match=r"cgroup v1 cannot deny c 1:3 w where c 1:\* rwm is allowed"):
        under_test.restrict(worlds.v1(("devices",)), rules)
    assert isinstance(under_test.restrict(worlds.ALL_V2[0], rules)[0], DeviceFilter)


def test_the_default_of_v1_cannot_be_changed_while_it_runs() -> None:
    with pytest.raises(Unsupported, match="not listed are allowed, and cgroup v1 cannot have them denied"):
        under_test.exchange(worlds.v1(("devices",)), (), (DeviceRule(False),), ())


def test_a_host_without_either_kind_says_so() -> None:
    with pytest.raises(Unsupported, match="neither the devices controller of cgroup v1 nor a cgroup v2 tree"):
        worlds.start_plan("security.privileged=true", places=(worlds.v1(("memory",)),))


def test_a_host_without_either_kind_can_do_without() -> None:
    plan = worlds.start_plan("security.privileged=true", "limits.devices=allow a", places=(worlds.v1(("memory",)),))
    assert not any("devices" in action.why for action in plan.actions)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (("c", 1, 3, "rw"), True),  # null
        (("c", 136, 7, "rw"), True),  # a terminal
        (("b", 8, 0, "m"), True),  # a node may be made
        (("b", 8, 0, "r"), False),  # and not used: the host's disk
        (("c", 1, 1, "r"), False),  # its memory
        (("c", 5, 1, "w"), False),  # its console
        (("c", 10, 229, "rw"), False),  # fuse
    ],
)
def test_what_a_privileged_container_may_do_with_devices(asked: Asked, expected: bool) -> None:  # noqa: FBT001
    assert run(under_test.program(PRIVILEGED_DEVICES), asked) is expected
    assert v1_allows(v1_words(PRIVILEGED_DEVICES), asked) is expected


def test_the_rules_are_said_as_they_were_written() -> None:
    assert under_test.said((DeviceRule(False), DeviceRule(True, "b", 7, None, "rw"))) == "deny a, allow b 7:* rw"
