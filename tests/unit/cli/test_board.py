"""`top`: what is drawn, and what the keys do."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloison.cli.board import BAR_WIDTH, Board, Host, Line, Style, bar
from cloison.cli.gauges import COLUMNS
from cloison.engine.results import Stats
from cloison.spec.driver import State

from .conftest import DB_STATS, SECOND_NS, WEB_STATS, Said

HOST = Host(cpus=2, memory_bytes=4 << 30)


def stats(name: str, *, cpu: float = 0.0, memory_mib: int = 1) -> Stats:
    usage = msgspec.structs.replace(WEB_STATS.usage, memory_bytes=memory_mib << 20)
    return msgspec.structs.replace(WEB_STATS, id=name, name=name, cpu_percent=cpu, usage=usage)


THREE = (stats("a", cpu=5, memory_mib=30), stats("b", cpu=90, memory_mib=10), stats("c", cpu=40, memory_mib=20))


@pytest.fixture
def board() -> Board:
    return Board(HOST).seen((*THREE, DB_STATS))


def pressed(board: Board, *keys: str) -> Board:
    for key in keys:
        after = board.pressed(key, page=10)
        assert after is not None
        board = after
    return board


def names(board: Board) -> list[str]:
    return [reading.stats.name for reading in board.rows()]


def text(line: Line) -> str:
    return "".join(piece.text for piece in line)


def shown(board: Board, height: int = 12, width: int = 160) -> list[str]:
    return [text(line) for line in board.lines(height, width)]


def test_the_busiest_is_on_top(board: Board) -> None:
    assert names(board) == ["b", "c", "a"]


@pytest.mark.parametrize(("key", "expected"), [("n", "abc"), ("m", "acb"), ("c", "acb")])
def test_a_column_is_chosen_by_its_key(board: Board, key: str, expected: str) -> None:
    assert "".join(names(pressed(board, key))) == expected


@pytest.mark.parametrize("index", range(len(COLUMNS)))
def test_every_column_can_be_sorted_by_both_ways(board: Board, index: int) -> None:
    there = pressed(msgspec.structs.replace(board, sort=-1), COLUMNS[index].key)
    ranks = [COLUMNS[index].rank(reading) for reading in there.rows()]
    other_way = [COLUMNS[index].rank(reading) for reading in pressed(there, "r").rows()]
    assert ranks == sorted(ranks, key=lambda rank: rank, reverse=COLUMNS[index].is_right)
    assert other_way == ranks[::-1]


def test_the_same_key_again_turns_the_order(board: Board) -> None:
    assert names(pressed(board, "n", "n")) == ["c", "b", "a"]


def test_the_arrows_walk_through_the_columns_and_around(board: Board) -> None:
    assert pressed(board, ">").sort == board.sort + 1
    assert pressed(board, *["left"] * len(COLUMNS)).sort == board.sort


def test_a_filter_is_typed_and_dropped(board: Board) -> None:
    typed = pressed(board, "/", "q")  # a letter now, and not the end
    assert (typed.filter, names(typed)) == ("q", [])
    assert names(pressed(typed, "backspace", "c", "enter")) == ["c"]
    assert names(pressed(typed, "escape")) == ["b", "c", "a"]


def test_what_is_stopped_is_shown_on_demand(board: Board) -> None:
    assert "db" in names(pressed(board, "a"))


def test_q_leaves(board: Board) -> None:
    assert board.pressed("q", 10) is None


def test_the_pace_has_limits(board: Board) -> None:
    assert pressed(board, *["+"] * 20).pace_s == 0.5
    assert pressed(board, *["-"] * 20).pace_s == 30.0


def test_the_keys_are_shown_at_the_bottom(board: Board) -> None:
    letters, others = shown(board, width=80)[-2:]
    assert all(f"{column.key}={column.word}" in letters for column in COLUMNS)
    assert others == "q quit  < > sort  r reverse  / filter  a all  + - pace  arrows scroll"


def test_each_line_has_its_bars_and_the_column_that_is_sorted_by_its_mark(board: Board) -> None:
    summary, header, first, *_ = shown(board)
    assert summary.startswith("cloison top   3 up, 1 stopped   CPU 135% of 2 CPUs")
    assert "CPU v" in header
    assert first.startswith("b     running  [||||||    ]   90%")  # 90 of the 150 that it may have
    assert "  [|         ] 10M/256M 3.9%  " in first


def test_a_second_look_shows_what_happened_since() -> None:
    later = msgspec.structs.replace(WEB_STATS, monotonic_ns=WEB_STATS.monotonic_ns + SECOND_NS)
    board = Board(HOST).seen((WEB_STATS,)).seen((later,))
    assert board.rows()[0].rates.cpu_percent == 0.0


def test_more_than_fit_are_scrolled_to() -> None:
    board = Board(HOST).seen(tuple(stats(f"i{number:02}") for number in range(30)))
    board = pressed(board, "n", "page down", "down")
    assert shown(board, height=14)[2].startswith("i11")
    assert shown(pressed(board, "end"), height=14)[-3].startswith("i29")
    assert shown(pressed(board, "home"), height=14)[2].startswith("i00")


@given(st.integers(0, 40), st.integers(0, 200))
def test_no_screen_is_too_small(height: int, width: int) -> None:
    lines = Board(HOST).seen(THREE).lines(height, width)
    assert len(lines) <= height
    assert all(len(text(line)) <= width for line in lines)


@given(st.none() | st.floats(allow_nan=False))
def test_a_bar_is_never_longer_than_it_is(filled: float | None) -> None:
    assert len(text(tuple(bar(filled)))) == BAR_WIDTH + 3


def test_a_bar_warns_when_little_is_left() -> None:
    assert [bar(percent)[1].style for percent in (10, 70, 95)] == [Style.LOW, Style.MIDDLE, Style.HIGH]


def test_frozen_ones_are_up() -> None:
    frozen = msgspec.structs.replace(WEB_STATS, state=State.FROZEN)
    assert names(Board(HOST).seen((frozen,))) == ["web"]


def test_without_a_terminal_there_is_no_screen(cloison: Callable[[str], Said]) -> None:
    said = cloison("top")
    assert said.code == 2
    assert said.err.startswith("cloison: top: this needs a terminal\n")
