"""River discharge from weather (as in Kratzert et al. 2018): 60 days of weather, the discharge on the last 30."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..core.errors import DataError
from .base.task import DOWNLOADS, Splits, Task, blocks

STEPS, UNCOUNTED = 60, 30  # days of a window, and its first days, which do not count because the state is still settling
STRIDE = 2  # days between the starts of training windows; the other windows do not overlap
YEARS, SHARES = 10, (5, 3, 2)  # in total, and for training, validation and test
SHORTEST = YEARS * STEPS  # days of a record; each "year" of a shorter one would be shorter than a window
MISSING = -999.0  # what stands for a missing value in CAMELS
CAMELS = Path(DOWNLOADS) / "basin_dataset_public_v1p2"
GAUGE = "01013500"  # Fish River near Fort Kent, Maine
FORCING = CAMELS / f"basin_mean_forcing/daymet/{GAUGE[:2]}/{GAUGE}_lump_cida_forcing_leap.txt"
FLOW = CAMELS / f"usgs_streamflow/{GAUGE[:2]}/{GAUGE}_streamflow_qc.txt"
# The weather and, last, the discharge, in the file of spotpy and in those of CAMELS (by place in the file).
PACKAGED = ("tmax", "tmin", "tmean", "Prec", "Q")
WEATHER = {5: f"{FORCING.name}: prcp", 6: f"{FORCING.name}: srad", 8: f"{FORCING.name}: tmax", 9: f"{FORCING.name}: tmin"}
DISCHARGE = f"{FLOW.name}: discharge"
AGAIN = "unpack CAMELS-US again, or set prepare.size to packaged"


class FuldaRunoff(Task):
    """Ten years of the river Fulda, which are part of spotpy, or one basin of CAMELS-US."""

    title: ClassVar = "Rainfall to runoff, river Fulda"
    description: ClassVar = (
        "The inputs are temperature and rain of 60 days; the network must give the river's discharge (logarithm, "
        "standardised) on each of the last 30 days."
    )
    head: ClassVar = "every"
    metric_name: ClassVar = "Nash-Sutcliffe efficiency"
    batch_size: ClassVar = 10

    def load(self, size: str, seed: int) -> Splits:
        """Inputs of weather (60, N, I) and targets of log discharge (60, N, 1), standardised by the training years."""
        weather, discharge, source, licence = _packaged() if size == "packaged" else _full()
        count = YEARS if size == "packaged" else max(YEARS, len(discharge) // 365)
        shares = tuple(count * s // sum(SHARES) for s in SHARES)
        places = blocks(len(discharge), count, (shares[0], shares[1], count - shares[0] - shares[1]), seed)
        series = np.column_stack([weather, np.log(np.maximum(discharge, 1e-3))])
        training = np.concatenate([series[b] for b in places["train"]])
        _check_varies(training, PACKAGED if size == "packaged" else (*WEATHER.values(), DISCHARGE))
        series = ((series - training.mean(0)) / training.std(0)).astype(np.float32)
        arrays = {}
        for name, years in places.items():
            windows = _windows(series, years, STRIDE if name == "train" else STEPS)
            arrays[f"{name}_inputs"], arrays[f"{name}_targets"] = windows[..., :-1].copy(), windows[..., -1:].copy()
        notes = {"days": len(discharge), "standardised_by": {"mean": training.mean(0).tolist(), "std": training.std(0).tolist()}}
        return Splits(arrays, weather.shape[1], 1, source, licence, notes)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error on the days that count."""
        return (outputs[UNCOUNTED:] - targets[UNCOUNTED:]).square().mean()

    def metric(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Efficiency 1 - squared error / variance (Nash and Sutcliffe 1970) of the log discharge on the days that count."""
        seen = targets[UNCOUNTED:]
        return 1 - (outputs[UNCOUNTED:] - seen).square().mean() / seen.var(correction=0)

    def constant(self, targets: Tensor, output_size: int) -> Tensor:
        """The mean log discharge."""
        return targets[UNCOUNTED:].mean().reshape(1)


def _check_varies(training: NDArray[Any], names: Sequence[str]) -> None:
    """DataError if one of the named columns (days, I + 1) is constant, which cannot be standardised."""
    for name, low, high in zip(names, training.min(0), training.max(0), strict=True):
        if low == high:
            raise DataError(f"{name} is the same on all {len(training)} training days; it should vary: {AGAIN}")


def _windows(series: NDArray[Any], years: list[slice], stride: int) -> NDArray[Any]:
    """Windows (60, N, channels) that begin every `stride` days and stay within a year, in natural order."""
    parts = [series[y.start + s : y.start + s + STEPS] for y in years for s in range(0, y.stop - y.start - STEPS + 1, stride)]
    return np.stack(parts, axis=1)


def _packaged() -> tuple[NDArray[Any], NDArray[Any], str, str]:
    from importlib.util import find_spec

    import pandas as pd

    spec = find_spec("spotpy")
    if spec is None or not spec.origin:
        raise DataError("fulda_runoff needs spotpy, which contains the data; `make .venv` installs it")
    path = Path(spec.origin).parent / "examples/cmf_data/fulda_climate.csv"
    try:
        table = pd.read_csv(path, skiprows=[1], encoding="utf-8")
        values = table[[*PACKAGED]].to_numpy(float)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}; reinstall spotpy") from None
    source = "spotpy, examples/cmf_data/fulda_climate.csv: Fulda catchment, daily, 1979-1988"
    return values[:, :4], values[:, 4], source, "MIT (spotpy)"


def _full() -> tuple[NDArray[Any], NDArray[Any], str, str]:
    """One basin of CAMELS-US in its published layout: forcing (Daymet) and streamflow, joined by date.

    Of a record with gaps, the longest stretch without one is used.
    """
    import pandas as pd

    try:
        forcing = pd.read_csv(FORCING, sep=r"\s+", skiprows=4, header=None)
        flow = pd.read_csv(FLOW, sep=r"\s+", header=None)
        forcing.index = pd.to_datetime(dict(year=forcing[0], month=forcing[1], day=forcing[2]))
        flow.index = pd.to_datetime(dict(year=flow[1], month=flow[2], day=flow[3]))
        weather, discharge = forcing[[*WEATHER]].rename(columns=WEATHER).astype(float), flow[4].rename(DISCHARGE).astype(float)
        table = weather.asfreq("D").join(discharge.asfreq("D"), how="inner")  # NaN on days that a file lacks
    except OSError:
        raise DataError(
            f"prepare.size = full needs CAMELS-US (Newman et al. 2015) unpacked as {CAMELS}, with {FORCING.name} and "
            f"{FLOW.name}; download it from its data repository, or set prepare.size to packaged"
        ) from None
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{FORCING} or {FLOW.name} does not have the layout of CAMELS-US 1.2 ({' '.join(str(error).split())}); "
            "unpack it again"
        ) from None
    table = _longest_stretch(table)
    source = f"CAMELS-US, gauge {GAUGE}, Daymet forcing, {table.index[0]:%Y-%m-%d} to {table.index[-1]:%Y-%m-%d}"
    return table[[*WEATHER.values()]].to_numpy(), table[DISCHARGE].to_numpy(), source, "public domain (USGS, NCAR)"


def _longest_stretch(table: Any) -> Any:
    """The longest stretch of consecutive days, rows of a DataFrame, on which all values are known; the first of several.

    Raises:
        DataError: there is none of SHORTEST days.
    """
    known = np.isfinite(table) & (table > MISSING)
    known[DISCHARGE] &= table[DISCHARGE] >= 0
    complete = known.all(axis=1)
    stretch = (complete != complete.shift()).cumsum()
    lengths = stretch[complete].value_counts(sort=False)
    if len(lengths) and lengths.max() >= SHORTEST:
        return table[stretch == lengths.idxmax()]
    needed = f"at least {SHORTEST} days without a gap are needed ({YEARS} blocks of {STEPS}); {AGAIN}"
    if complete.all():
        raise DataError(f"{FORCING.name} and {FLOW.name} have {len(table)} days in common; {needed}")
    empty = known.columns[~known.any()]
    if len(empty):
        raise DataError(f"{empty[0]} has no value on any of {len(table)} days; {needed}")
    first = known[stretch == stretch[~complete].iloc[0]]
    raise DataError(
        f"{first.columns[~first.iloc[0]][0]} has no value from {first.index[0]:%Y-%m-%d} to {first.index[-1]:%Y-%m-%d}, the "
        f"first gap of {stretch[~complete].nunique()}, and the longest stretch without one has {max(lengths, default=0)} days; "
        f"{needed}"
    )
