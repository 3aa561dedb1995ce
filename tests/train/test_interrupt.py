"""Signals: the first asks, the second insists, and none before anybody listens is lost."""

import signal

import pytest

from train.interrupt import stop_on_signal


def test_first_signal_is_remembered_and_second_interrupts() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stop_on_signal() as stop:
        assert not stop()
        signal.raise_signal(signal.SIGTERM)
        assert stop()
        assert stop.exit_code == 143
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert stop.exit_code == 130
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_no_signal_interrupts_what_is_shielded() -> None:
    with stop_on_signal() as stop:
        with stop.shielded():
            for _ in range(3):
                signal.raise_signal(signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_signal_before_training_interrupts_at_once() -> None:
    with stop_on_signal() as stop:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert stop.exit_code == 130
