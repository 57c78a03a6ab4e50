"""The synthetic catchment: conservation of water, the laws of snow, soil and stores, and the statistics of the weather."""

import numpy as np
import pytest
import torch

from pipeline import tasks
from pipeline.tasks.catchment import CAPACITY, SPIN_UP, YEARS, efficiency, simulate, weather

RESERVOIRS = ("snow", "soil", "ground", "fast")


@pytest.fixture(scope="module")
def century():
    return weather(np.random.default_rng(1), 36500)


@pytest.mark.parametrize("flood", [1, 40])
def test_all_rain_is_in_a_store_or_has_left(century, flood):
    temperature, rain = century[0], flood * century[1]
    water = simulate(temperature, rain)
    left = water["evaporation"].cumsum() + water["streamflow"].cumsum()
    held = sum(water[name] for name in RESERVOIRS)
    # rounding: 10 operations per day on numbers below the total; random signs add up to eps of it times sqrt(365,000)
    np.testing.assert_allclose(left + held, rain.cumsum(), rtol=0, atol=rain.sum() * 2**-52 * 600)


@pytest.mark.parametrize("flood", [1, 40])
def test_stores_and_fluxes_are_never_negative_and_the_soil_never_overflows(century, flood):
    water = simulate(century[0], flood * century[1])
    assert min(series.min() for series in water.values()) >= 0
    assert water["soil"].max() <= CAPACITY
    assert water["soil"].max() > (0.9 if flood == 1 else 0.98) * CAPACITY


def test_in_frost_all_rain_lies_as_snow():
    rain = np.random.default_rng(0).exponential(5, 50)
    water = simulate(np.full(50, -0.1), rain)
    np.testing.assert_allclose(water["snow"], rain.cumsum(), rtol=1e-14)  # 50 sums
    assert not any(water[name].any() for name in water if name != "snow")


def test_snow_melts_by_degrees_above_zero_until_it_is_gone():
    water = simulate(np.array([-1.0] * 5 + [0.0] * 2 + [4.0] * 6), np.array([10.0] * 5 + [0.0] * 8))
    assert water["snow"].tolist() == [10, 20, 30, 40, 50, 50, 50, 40, 30, 20, 10, 0, 0]


def test_full_soil_passes_on_the_water_that_exceeds_its_capacity():
    water = simulate(np.full(1, 0.0), np.array([1000.0]))
    assert water["soil"][0] == CAPACITY - 2  # a full soil gives 2 mm to the ground and at 0 C nothing to the air
    assert water["streamflow"][0] == pytest.approx(0.3 * (1000 - CAPACITY) + 0.02 * 2)


def test_without_water_the_fast_store_falls_geometrically_and_soil_by_the_square_of_its_filling():
    water = simulate(np.zeros(20), np.array([100.0] + [0.0] * 19))
    np.testing.assert_allclose(water["fast"], 30 * 0.7 ** np.arange(1, 21), rtol=1e-14)
    soil = np.concatenate([[70.0], water["soil"]])
    np.testing.assert_allclose(
        -np.diff(soil), 2 * (soil[:-1] / CAPACITY) ** 2, rtol=1e-9
    )  # differences of numbers 1e3 times larger


def test_weather_has_its_season_and_its_anomalies(century):
    years = century[0].reshape(100, 365)
    season = 7 - 12 * np.cos(2 * np.pi * np.arange(365) / 365)
    # anomalies have deviation 3 and correlation 0.8 per day, which makes 36,500 / 9 effectively independent ones
    assert (years - season).mean() == pytest.approx(0, abs=4 * 3 * (9 / 36500) ** 0.5)
    anomaly = (years - season).ravel()
    # variance of a squared AR(1): correlation 0.64 per day, (1 + 0.64) / (1 - 0.64) = 4.6
    assert anomaly.var() == pytest.approx(9, abs=4 * 9 * (2 * 4.6 / 36500) ** 0.5)
    assert np.corrcoef(anomaly[1:], anomaly[:-1])[0, 1] == pytest.approx(0.8, abs=4 * (0.36 / 36500) ** 0.5)


def test_wet_days_follow_the_documented_markov_chain(century):
    wet = century[1] > 0
    for before, chance in ((True, 0.6), (False, 0.25)):
        follows = wet[1:][wet[:-1] == before]
        assert follows.mean() == pytest.approx(chance, abs=4 * (chance * (1 - chance) / len(follows)) ** 0.5)


@pytest.mark.parametrize("size", ["packaged", "full"])
def test_segments_are_the_series_end_to_end_standardised_by_the_training_years(size):
    splits = tasks.get("catchment").load(size, 3)
    years = YEARS[size]
    temperature, rain = weather(np.random.default_rng(3), 365 * (SPIN_UP + sum(years)))
    water = simulate(temperature, rain)
    series = np.column_stack([temperature, rain, water["soil"], water["snow"]])
    first = 365 * SPIN_UP
    training = series[first : first + 365 * years[0]]
    for name, count in zip(("train", "validation", "test"), years, strict=True):
        inputs, targets = (splits.arrays[f"{name}_{kind}"] for kind in ("inputs", "targets"))
        assert inputs.shape == targets.shape == (61, 365 * count // 61, 2)
        days = np.concatenate([np.concatenate([inputs[:, n], targets[:, n]], axis=1) for n in range(inputs.shape[1])])
        # float32 of numbers up to some 20 deviations
        undone = days * training.std(0) + training.mean(0)
        np.testing.assert_allclose(undone, series[first : first + len(days)], rtol=0, atol=20 * 2**-24 * training.std(0).max())
        first += 365 * count


def test_stores_remember_longer_than_the_stream(century):
    """The reason why streamflow is not a target: its value says little about its value a month later."""
    water = simulate(*century)
    kept = {name: np.corrcoef(water[name][1825:-30], water[name][1855:])[0, 1] for name in ("soil", "snow", "streamflow")}
    assert min(kept["soil"], kept["snow"]) > 0.5
    assert kept["streamflow"] < 0.25


def test_efficiency_is_that_of_each_store_and_the_metric_their_mean():
    targets = torch.stack([torch.arange(12.0), torch.arange(12.0) * 2], dim=-1).reshape(4, 3, 2)
    outputs = targets + torch.tensor([1.0, 2.0])
    variance = (12**2 - 1) / 12  # of twelve numbers one apart
    expected = [1 - 1 / variance, 1 - 4 / (4 * variance)]
    assert efficiency(outputs, targets).tolist() == pytest.approx(expected, rel=1e-6)  # float32
    assert tasks.get("catchment").metric(outputs, targets).item() == pytest.approx(sum(expected) / 2, rel=1e-6)
    assert tasks.get("catchment").loss(outputs, targets).item() == pytest.approx((1 + 4) / 2, rel=1e-6)
    mean = targets.mean((0, 1)).expand(4, 3, 2)
    assert efficiency(mean, targets).tolist() == pytest.approx([0, 0], abs=1e-6)
