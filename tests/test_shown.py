"""Spectra and fixed points as plain numbers, tables and figures."""

import json
import math
import sys

import numpy as np
import pytest
import torch
from draws import exact, noise
from matplotlib._pylab_helpers import Gcf
from matplotlib.figure import Figure

from pipeline import FixedPoints, Spectrum, fixed_points, slow_points
from pipeline.core.errors import ModuleError

CORNER = 0.9575040240772687  # tanh(2 h) = h
COLUMNS = ["exponent", "standard_error", "low", "high", "rounding_error", "alignment_error"]
SPECTRA = {
    "complete": lambda: Spectrum.from_growth(noise(200, 4, 40) - 1, transient=20),
    "truncated": lambda: Spectrum.from_growth(noise(200, 4, 3) - 1, transient=20, state_size=9),
    "single": lambda: Spectrum.from_growth(noise(50, 2, 1)),
    "one step": lambda: Spectrum.from_growth(noise(1, 1, 2), transient=0),
    "lost": lambda: Spectrum.from_growth(torch.cat([noise(50, 2, 3), torch.full((50, 2, 2), -math.inf)], -1), transient=5),
    "all lost": lambda: Spectrum.from_growth(torch.full((50, 2, 20), -math.inf).double(), transient=5),
    "diverged": lambda: Spectrum.from_growth(torch.full((50, 2, 20), math.nan).double(), transient=5),
    "equal": lambda: Spectrum.from_growth(torch.zeros(50, 2, 20).double(), transient=5),
    "far": lambda: Spectrum.from_growth(noise(50, 2, 20) - 600, transient=5),
    "float32": lambda: Spectrum.from_growth(noise(50, 2, 20).float(), transient=5),
}


def corners(count=2, **options):
    """The points of `count` units h' = tanh(2 h): 0 and +-CORNER of each."""
    return fixed_points(lambda s, x: (2 * s).tanh() + x, torch.zeros(5, 60, count), state=noise(60, count), seeds=60, **options)


def none_of(count=1):
    return fixed_points(lambda s, x: s + 1 + x, torch.zeros(5, 4, count), state=noise(4, count), seeds=8)


def one_of(count=3):
    return fixed_points(lambda s, x: s / 2 + x, torch.zeros(5, 4, count), state=noise(4, count), seeds=8)


def slow():
    step = lambda s, x: s * torch.tensor([1.0, 0.5, 0.1]) + x  # noqa: E731
    return slow_points(step, torch.zeros(5, 60, 3), state=noise(60, 3) + 1, tolerances=(1e-4,), noise=0.0)[0]


POINTS = {"corners": corners, "none": none_of, "one": one_of, "slow": slow, "one unit": lambda: corners(1)}


@pytest.mark.parametrize("name", SPECTRA)
def test_a_spectrum_is_one_short_line(name):
    text = repr(SPECTRA[name]())
    assert str(SPECTRA[name]()) == text
    assert len(text) <= 120
    assert "\n" not in text


def test_the_longest_line_of_a_spectrum_fits():
    growth = 1e-3 * noise(1000, 100, 12) - 0.01234
    growth[3:, :10] = math.nan
    assert len(repr(Spectrum.from_growth(growth, transient=0, state_size=1024))) <= 120


@pytest.mark.parametrize("name", POINTS)
def test_points_are_one_short_line(name):
    text = repr(POINTS[name]())
    assert len(text) <= 120
    assert "\n" not in text


def test_a_long_signature_is_cut():
    found = one_of(12)
    values = torch.tensor([[2.0] * growing + [0.5] * (12 - growing) for growing in range(13)], dtype=torch.complex128)
    many = FixedPoints(**(vars(found) | {"eigenvalues": values, "states": noise(13, 12), "q": torch.zeros(13)}))
    assert many.signature == (1,) * 13
    assert "signature (1, 1, 1, 1, 1, 1, ...)" in repr(many)
    assert len(repr(many)) <= 120


@pytest.mark.parametrize("name", SPECTRA)
def test_a_spectrum_becomes_json_that_has_its_numbers(name):
    spectrum = SPECTRA[name]()
    again = json.loads(json.dumps(spectrum.to_dict(), allow_nan=False))
    low, high = spectrum.confidence_interval()
    known = {"exponents": spectrum.exponents, "standard_error": spectrum.standard_error, "low": low, "high": high}
    for key, values in known.items():
        assert again[key] == [value if math.isfinite(value) else None for value in values.tolist()]
    assert again["lost"] == spectrum.lost
    assert again["diverged"] == spectrum.diverged.tolist()
    assert np.shape(again["per_sequence"]) == tuple(spectrum.per_sequence.shape)


@pytest.mark.parametrize("name", SPECTRA)
def test_the_table_of_a_spectrum_has_a_row_per_exponent(name):
    spectrum = SPECTRA[name]()
    table = spectrum.to_frame()
    assert list(table) == COLUMNS
    np.testing.assert_array_equal(table["exponent"], spectrum.exponents)
    np.testing.assert_array_equal(table[["low", "high"]].T, spectrum.confidence_interval())


def test_points_become_json_that_has_their_numbers():
    found = corners()
    again = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert again["states"] == found.states.tolist()
    assert torch.complex(exact(again["eigenvalues_real"]), exact(again["eigenvalues_imag"])).squeeze(0).equal(found.eigenvalues)
    kinds = {(round(abs(x), 3), round(abs(y), 3)): kind for (x, y), kind in zip(again["states"], again["kind"], strict=True)}
    edge = round(CORNER, 3)
    assert kinds == {(edge, edge): "stable", (edge, 0): "saddle", (0, edge): "saddle", (0, 0): "source"}


@pytest.mark.parametrize("name", POINTS)
def test_the_table_of_points_has_a_row_per_point(name):
    found = POINTS[name]()
    table = found.to_frame()
    json.dumps(found.to_dict(), allow_nan=False)
    size = found.states.shape[1]
    assert list(table) == ["kind", "q", "unstable", "modulus", "time_constant", *(f"state_{i}" for i in range(size))]
    np.testing.assert_array_equal(table[[f"state_{i}" for i in range(size)]], found.states)
    np.testing.assert_allclose(table["time_constant"], 1 / np.abs(np.log(table["modulus"])), rtol=1e-12)


def test_points_that_move_are_slow():
    found = slow()
    assert len(found)
    assert {*found.to_frame()["kind"]} == {"slow"}


def lines_of(axes):
    """The heights of the horizontal lines."""
    return [line.get_ydata()[0] for line in axes.get_lines() if len({*line.get_ydata()}) == 1 and len(line.get_xdata()) == 2]


@pytest.mark.parametrize("name", SPECTRA)
def test_the_figure_of_a_spectrum_has_its_exponents_and_two_lines(name, tmp_path):
    spectrum = SPECTRA[name]()
    axes = spectrum.plot(path=tmp_path / "spectrum.png")
    assert (tmp_path / "spectrum.png").stat().st_size > 5000
    steps = spectrum.steps + (spectrum.transient or 0)
    assert {0.0, -1 / steps} <= {*lines_of(axes)}
    drawn = [line.get_ydata() for line in axes.get_lines() if len(line.get_ydata()) == len(spectrum.exponents)]
    expected = spectrum.exponents.nan_to_num(math.nan, math.nan, math.nan).numpy()
    assert any(np.array_equal(values, expected, equal_nan=True) for values in drawn)
    low, high = axes.get_ylim()
    assert low < np.nanmin([*expected, -1 / steps])
    assert high > np.nanmax([*expected, 0])
    assert "nats" in axes.get_ylabel()


def test_the_figure_says_what_it_does_not_draw():
    texts = {name: [t.get_text() for t in SPECTRA[name]().plot().texts] for name in ("complete", "lost", "diverged")}
    assert texts["complete"] == ["\u2191 remembers the sequence"]
    assert "2 of 5 exponents are \u2212\u221e" in texts["lost"]
    assert "no sequence stayed finite" in texts["diverged"]


def test_the_length_of_a_sequence_may_be_given():
    spectrum = SPECTRA["complete"]()
    assert -1 / 5000 in lines_of(spectrum.plot(length=5000))
    with pytest.raises(ModuleError, match="length is 0; it should be a whole number above 0"):
        spectrum.plot(length=0)


@pytest.mark.parametrize("name", POINTS)
def test_the_figure_of_points_keeps_their_distances_in_a_plane(name, tmp_path):
    found = POINTS[name]()
    axes = found.plot(path=tmp_path / "points.svg")
    assert (tmp_path / "points.svg").read_text().startswith("<?xml")
    places = np.concatenate([c.get_offsets() for c in axes.collections]) if axes.collections else np.zeros((0, 2))
    assert len(places) == len(found)
    if found.states.shape[1] <= 2 and len(found):  # nothing is lost in the plane
        expected = torch.pdist(found.states).sort().values
        np.testing.assert_allclose(torch.pdist(torch.tensor(places)).sort().values, expected, atol=1e-9)


def test_kinds_are_told_apart_in_the_legend():
    (legend,) = [corners().plot().get_legend()]
    assert [text.get_text() for text in legend.get_texts()] == ["stable (4)", "saddle (4)", "source (1)"]


@pytest.mark.parametrize("make", [SPECTRA["complete"], corners], ids=["spectrum", "points"])
def test_axes_may_be_given_and_pyplot_knows_no_figure(make):
    axes = Figure().subplots()
    assert make().plot(ax=axes) is axes
    make().plot()
    assert not Gcf.figs


@pytest.mark.parametrize("make", [SPECTRA["complete"], corners], ids=["spectrum", "points"])
def test_wrong_arguments_of_a_figure_are_refused_in_one_sentence(make, tmp_path):
    with pytest.raises(ModuleError, match="ax is a str; it should be Axes of matplotlib"):
        make().plot(ax="left")
    with pytest.raises(ModuleError, match=r"the figure cannot be written to .*none/x.png"):
        make().plot(path=tmp_path / "none" / "x.png")
    with pytest.raises(ModuleError, match=r"the figure cannot be written to .*x.word"):
        make().plot(path=tmp_path / "x.word")


@pytest.mark.parametrize("make", [SPECTRA["complete"], corners], ids=["spectrum", "points"])
def test_missing_libraries_are_named_with_the_command_that_installs_them(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleError, match=r"pip install 'rnn-stability\[plot\]'"):
        make().plot()
    with pytest.raises(ModuleError, match="pip install pandas"):
        make().to_frame()
