"""Water stored in a synthetic catchment: a long daily series cut into consecutive segments (after Xu et al. 2022)."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .base.task import Splits, Task

STEPS = 61  # days per segment
YEARS = {"packaged": (80, 10, 10), "full": (15, 5, 10)}  # for training, validation and test
SPIN_UP = 5  # years simulated before the series begins, to fill the stores
CAPACITY = 400.0  # capacity of the soil, mm
STORES = ("soil", "snow")  # the targets


class Catchment(Task):
    """Segments of one series, so that the state may be carried from one segment to the next.

    Streamflow is simulated but is not a target: it responds to the rain of the last few days, so that a carried state
    helps little, and the errors at its few peaks differ more between seeds than between training methods. The form
    "packaged" has more years of training than "full", whose sizes are those of the replication, so that few epochs suffice.
    """

    title: ClassVar = "Weather to soil water and snow, synthetic"
    description: ClassVar = (
        "The inputs are temperature and rain of 61 days, each segment directly following the previous one; the network must "
        "give the water in the soil and in the snow (standardised) on each day."
    )
    head: ClassVar = "every"
    metric_name: ClassVar = "Nash-Sutcliffe efficiency"
    batch_size: ClassVar = 8
    ordered: ClassVar = True

    def load(self, size: str, seed: int) -> Splits:
        """Inputs of temperature and rain, targets of soil water and snow, (61, N, 2) each, standardised by the training years."""
        years = YEARS[size]
        temperature, rain = weather(np.random.default_rng(seed), 365 * (SPIN_UP + sum(years)))
        water = simulate(temperature, rain)
        series = np.column_stack([temperature, rain, *(water[store] for store in STORES)])[365 * SPIN_UP :]
        splits = np.split(series, 365 * np.cumsum(years[:-1]))
        mean, deviation = splits[0].mean(0), splits[0].std(0)
        arrays = {}
        for name, part in zip(("train", "validation", "test"), splits, strict=True):
            segments = _segments(((part - mean) / deviation).astype(np.float32))
            arrays[f"{name}_inputs"], arrays[f"{name}_targets"] = segments[..., :2].copy(), segments[..., 2:].copy()
        notes = {"years": list(years), "standardised_by": {"mean": mean.tolist(), "std": deviation.tolist()}}
        return Splits(arrays, 2, len(STORES), "generated from the study's seed", "none needed", notes)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error."""
        return (outputs - targets).square().mean()

    def metric(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Nash-Sutcliffe efficiency, averaged over both stores."""
        return efficiency(outputs, targets).mean()

    def constant(self, targets: Tensor, output_size: int) -> Tensor:
        """The mean of each store."""
        return targets.mean((0, 1))


def efficiency(outputs: Tensor, targets: Tensor) -> Tensor:
    """Efficiency 1 - squared error / variance (Nash and Sutcliffe 1970), (O,), of series (T, N, O)."""
    return 1 - (outputs - targets).square().mean((0, 1)) / targets.var((0, 1), correction=0)


def weather(source: np.random.Generator, days: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean temperature (C) and rain (mm) of each day.

    The temperature is a seasonal cycle plus first-order autoregressive anomalies. Wet days follow a two-state Markov chain;
    their rain is gamma-distributed (Richardson 1981) and scaled by the wetness of the year, so that the stores differ
    between years.
    """
    day = np.arange(days)
    noise, anomaly = source.normal(0, 3 * (1 - 0.8**2) ** 0.5, days), np.zeros(days)
    wet, chances = np.zeros(days, bool), source.random(days)
    for t in range(1, days):
        anomaly[t] = 0.8 * anomaly[t - 1] + noise[t]
        wet[t] = chances[t] < (0.6 if wet[t - 1] else 0.25)
    wetness = source.lognormal(0, 0.3, days // 365 + 1)[day // 365]
    rain = wet * source.gamma(0.7, 9.0, days) * wetness
    return 7 - 12 * np.cos(2 * np.pi * day / 365) + anomaly, rain


def simulate(temperature: NDArray[Any], rain: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Water in each store and each flux per day, in mm: snow, soil, ground, fast; evaporation, streamflow.

    Rain falls as snow below 0 C; the snow melts by 2.5 mm per degree and day above 0 C. A share of 0.3 of the liquid water,
    and what exceeds the capacity of the soil, flow to the fast store. The soil, a bucket, loses water to the air in
    proportion to its filling and the temperature, and to the ground in proportion to the square of its filling. The ground
    and fast stores drain linearly into the stream. All stores are empty at first.
    """
    record = {name: np.zeros(len(rain)) for name in ("snow", "soil", "ground", "fast", "evaporation", "streamflow")}
    snow = soil = ground = fast = 0.0
    for t, (warm, fall) in enumerate(zip(temperature.tolist(), rain.tolist(), strict=True)):
        snow += fall if warm < 0 else 0.0
        melt = min(snow, 2.5 * max(warm, 0.0))
        snow -= melt
        liquid = melt + (fall if warm >= 0 else 0.0)
        runoff = max(0.3 * liquid, soil + liquid - CAPACITY)
        soil += liquid - runoff
        filling = soil / CAPACITY
        evaporation, recharge = 0.2 * max(warm, 0.0) * filling, 2.0 * filling**2
        soil -= evaporation + recharge
        ground += recharge
        fast += runoff
        streamflow = 0.02 * ground + 0.3 * fast
        ground, fast = 0.98 * ground, 0.7 * fast
        for name, value in zip(record, (snow, soil, ground, fast, evaporation, streamflow), strict=True):
            record[name][t] = value
    return record


def _segments(series: NDArray[Any]) -> NDArray[Any]:
    """Consecutive segments (61, N, channels) of a series (days, channels); remaining days at the end are dropped."""
    count = len(series) // STEPS
    return series[: count * STEPS].reshape(count, STEPS, -1).swapaxes(0, 1)
