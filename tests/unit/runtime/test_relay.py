"""Signals for a command that has not been reported as started yet."""

import signal

import pytest

from cloison.runtime.relay import _Signals


def test_what_comes_early_is_kept_for_the_command() -> None:
    told: list[int] = []
    signals = _Signals()
    signals(signal.SIGTERM)
    signals.reach(told.append)
    signals(signal.SIGINT)
    assert told == [signal.SIGTERM, signal.SIGINT]


def test_an_early_interrupt_gives_up_the_start() -> None:
    with pytest.raises(KeyboardInterrupt):
        _Signals()(signal.SIGINT)
