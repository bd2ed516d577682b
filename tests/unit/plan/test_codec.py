"""The wire format: what goes in comes out, and nothing else is taken."""

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloison.base.errors import Bug, Invalid
from cloison.plan.codec import MAX_SIZE, RECORD_FINAL, RECORD_OPTIONAL, decode, encode
from cloison.plan.plan import Action, Plan
from cloison.plan.steps import (
    KINDS,
    MAX_SLOTS,
    NO_SLOT,
    Mkdir,
    Open,
    Rmdir,
    Step,
    Unlink,
    Where,
    fields_of,
)
from cloison.plan.text import text
from tests.unit.plan import worlds

PLANS = [
    worlds.start_plan(),
    worlds.start_plan("security.privileged=true", places=worlds.V1),
    worlds.start_plan("boot.own_clock=true", "nics.eth0.type=host", places=worlds.V2),
]
BEFORE_ALARMS = Path(__file__).resolve().parents[2] / "golden" / "journal-before-alarms.bin"
_number = st.integers(-(1 << 63), (1 << 63) - 1)
_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
_VALUES: dict[str, st.SearchStrategy[object]] = {
    "int": _number,
    "hex": _number,
    "oct": _number,
    "slot": st.integers(NO_SLOT, MAX_SLOTS - 1),
    "out": st.integers(0, MAX_SLOTS - 1),
    "text": _text,
    "texts": st.lists(_text, max_size=5).map(tuple),
    "blob": st.binary(max_size=40),
}


@st.composite
def steps(draw: st.DrawFn) -> Step:
    kind = draw(st.sampled_from(KINDS))
    return kind(*(draw(_VALUES[type_]) for _name, type_ in fields_of(kind)))


@given(st.lists(st.tuples(steps(), st.sampled_from(Where), st.booleans()), max_size=8), st.lists(steps(), max_size=4))
def test_every_step_survives_the_way_there_and_back(actions: list[tuple[Step, Where, bool]], undo: list[Step]) -> None:
    plan = Plan(
        "any",
        tuple(Action(step, where, optional=optional) for step, where, optional in actions),
        epilogue=tuple(undo),
    )
    there, back = decode(encode(plan))
    assert there == [(step, where, RECORD_OPTIONAL if optional else 0) for step, where, optional in actions]
    assert back == [(step, Where.HOST, RECORD_FINAL) for step in undo]


def test_undo_steps_run_in_reverse_and_the_epilogue_last() -> None:
    actions = (
        Action(Mkdir(-1, "/a", 0o700), Where.HOST, undo=(Unlink("/a/x"), Rmdir("/a"))),
        Action(Mkdir(-1, "/b", 0o700), Where.HOST, undo=(Rmdir("/b"),)),
    )
    _steps, undo = decode(encode(Plan("two", actions, epilogue=(Unlink("/journal"),))))
    assert [(step.path, flags) for step, _where, flags in undo if isinstance(step, Unlink | Rmdir)] == [
        ("/b", 0),
        ("/a/x", 0),
        ("/a", 0),
        ("/journal", RECORD_FINAL),
    ]


@given(st.data())
def test_a_damaged_plan_is_refused_and_never_misread(data: st.DataObject) -> None:
    whole = encode(PLANS[0])
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(Invalid):
        decode(whole[:cut])


def test_a_plan_with_bytes_behind_it_is_refused() -> None:
    whole = encode(PLANS[0]) + b"\0" * 8
    with pytest.raises(Invalid):
        decode(whole)
    longer = whole[:8] + struct.pack("<I", len(whole)) + whole[12:]
    with pytest.raises(Invalid, match="follow the last record"):
        decode(longer)


def test_a_nul_byte_in_a_path_is_refused_before_it_can_cut_it_short() -> None:
    with pytest.raises(Invalid, match="NUL"):
        encode(Plan("nul", (Action(Unlink("/etc\0/passwd"), Where.HOST),)))


def test_a_slot_that_the_launcher_does_not_have_is_a_bug() -> None:
    with pytest.raises(Bug, match="slot 64"):
        encode(Plan("slots", (Action(Open(MAX_SLOTS, NO_SLOT, "/", 0, 0), Where.HOST),)))


def test_a_plan_larger_than_the_launcher_maps_is_a_bug() -> None:
    with pytest.raises(Bug, match="bytes"):
        encode(Plan("large", (Action(Unlink("x" * MAX_SIZE), Where.HOST),)))


@pytest.mark.parametrize("plan", PLANS, ids=["debian", "privileged-v1", "clock-v2"])
def test_the_launcher_reads_a_plan_as_python_does(plan: Plan, launcher_test: Path, tmp_path: Path) -> None:
    encoded = encode(plan)
    (tmp_path / "plan").write_bytes(encoded)
    with (tmp_path / "plan").open("rb") as file:
        printed = subprocess.run([launcher_test, "--print"], stdin=file, capture_output=True, text=True, check=True)
    assert printed.stdout == text(encoded)


@given(st.lists(steps(), max_size=6))
def test_any_undo_list_prints_the_same_on_both_sides(undo: list[Step]) -> None:
    assert text(encode(Plan("any", (), epilogue=tuple(undo)))).startswith("undo\n")


# --- what older versions have written --------------------------------------------------------------------------------


def test_a_step_has_the_number_and_the_fields_that_it_has_always_had(golden: Callable[[str], object]) -> None:
    """Journals hold them: lines of this file may be added and never changed."""
    lines = [
        " ".join([f"{cls.number:3}", cls.kind, *(f"{name}:{type_}" for name, type_ in fields_of(cls))]) for cls in KINDS
    ]
    assert "\n".join(lines) + "\n" == golden("step-numbers")


def test_a_journal_from_before_alarms_is_read_as_it_was_written(golden: Callable[[str], object]) -> None:
    assert text(BEFORE_ALARMS.read_bytes()) == golden("journal-before-alarms")


def test_the_launcher_reads_a_journal_from_before_alarms(launcher_test: Path) -> None:
    with BEFORE_ALARMS.open("rb") as file:
        printed = subprocess.run([launcher_test, "--print"], stdin=file, capture_output=True, text=True, check=True)
    assert printed.stdout == text(BEFORE_ALARMS.read_bytes())
