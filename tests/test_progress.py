"""The progress bar of long measurements: when it appears, and that no number depends on it."""

import io
import re
from contextlib import redirect_stderr

import pytest
import torch
from draws import module_of, noise

from pipeline import fixed_points, lyapunov_spectrum, slow_points
from pipeline.core import progress


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self):
        return True

    def percentages(self, label):
        return [int(number) for number in re.findall(rf"{label}: +(\d+) %", self.getvalue())]

    def is_empty(self):
        """Whether the last thing that was written is a line of spaces, from its beginning to its beginning."""
        *_, last, end = self.getvalue().split("\r")
        return not last.strip() and not end


@pytest.fixture
def _at_once(monkeypatch):
    """Bars appear at once and are drawn after each block."""
    real = progress.tqdm
    monkeypatch.setattr(progress, "DELAY", 1e-9)
    monkeypatch.setattr(progress, "tqdm", lambda **options: real(mininterval=0, **options))


def spectrum(**options):
    return lyapunov_spectrum(module_of(torch.nn.LSTM, 3, 8), noise(100, 4, 3), **options)


def search(find, **options):
    return find(lambda s, x: (2 * s).tanh() + x, torch.zeros(5, 20, 2), state=noise(20, 2), seeds=20, **options)


@pytest.mark.usefixtures("_at_once")
def test_a_bar_counts_the_steps_of_a_spectrum_and_leaves_an_empty_line():
    with redirect_stderr(Terminal()) as screen:
        spectrum()
    shown = screen.percentages("Lyapunov exponents")
    assert shown == sorted(shown)
    assert len({*shown}) > 5
    assert shown[-1] == 100
    assert screen.is_empty()


@pytest.mark.usefixtures("_at_once")
def test_chunks_of_sequences_share_one_bar():
    with redirect_stderr(Terminal()) as screen:
        lyapunov_spectrum(module_of(torch.nn.RNN, 3, 64), noise(40, 300, 3))  # 300 bases of 32 KiB are more than a chunk, 4 MiB
    shown = screen.percentages("Lyapunov exponents")
    assert shown == sorted(shown)
    assert shown[-1] == 100
    assert shown.count(100) == 1


@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize("find", [fixed_points, slow_points])
def test_a_bar_counts_the_iterations_of_a_search(find):
    with redirect_stderr(Terminal()) as screen:
        search(find, iterations=50)
    shown = screen.percentages(find.__name__.replace("_", " "))
    assert shown == sorted(shown)
    assert len({*shown}) > 5
    assert shown[-1] <= 100
    assert screen.is_empty()


@pytest.mark.usefixtures("_at_once")
def test_numbers_are_the_same_to_the_last_bit_with_a_bar():
    with redirect_stderr(Terminal()) as screen:
        seen = spectrum(tolerance=1e-3), search(fixed_points)
    assert screen.getvalue()
    plain = spectrum(tolerance=1e-3), search(fixed_points)
    for name in ("per_sequence", "history", "rounding_error"):
        assert torch.equal(getattr(seen[0], name), getattr(plain[0], name))
    for name in ("states", "q", "recurrent"):
        assert torch.equal(getattr(seen[1], name), getattr(plain[1], name))


def test_nothing_is_shown_within_the_first_seconds(monkeypatch):
    monkeypatch.setattr(progress, "DELAY", 1000.0)
    with redirect_stderr(Terminal()) as screen:
        spectrum()
    assert not screen.getvalue()


@pytest.mark.usefixtures("_at_once")
def test_nothing_is_shown_where_stderr_is_no_terminal(capsys):
    with redirect_stderr(io.StringIO()) as pipe:
        spectrum()
    with redirect_stderr(None):
        spectrum()
    assert not pipe.getvalue() + capsys.readouterr().out


@pytest.mark.usefixtures("_at_once")
def test_nothing_is_shown_by_worker_processes(monkeypatch):
    monkeypatch.setattr(progress.multiprocessing.current_process(), "name", "LokyProcess-1")
    with redirect_stderr(Terminal()) as screen:
        spectrum()
    assert not screen.getvalue()


@pytest.mark.usefixtures("_at_once")
def test_a_bar_is_removed_if_the_measurement_is_interrupted():
    def interrupted():
        with progress.progress("work", 10) as advanced:
            advanced(5)
            raise KeyboardInterrupt

    with redirect_stderr(Terminal()) as screen, pytest.raises(KeyboardInterrupt):
        interrupted()
    assert screen.percentages("work") == [50]
    assert screen.is_empty()
