"""River discharge from weather (as in Kratzert et al. 2018): 60 days of weather, the discharge on the last 30."""

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
CAMELS = Path(DOWNLOADS) / "basin_dataset_public_v1p2"
GAUGE = "01013500"  # Fish River near Fort Kent, Maine


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
        values = table[["tmax", "tmin", "tmean", "Prec", "Q"]].to_numpy(float)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}; reinstall spotpy") from None
    source = "spotpy, examples/cmf_data/fulda_climate.csv: Fulda catchment, daily, 1979-1988"
    return values[:, :4], values[:, 4], source, "MIT (spotpy)"


def _full() -> tuple[NDArray[Any], NDArray[Any], str, str]:
    """One basin of CAMELS-US in its published layout: forcing (Daymet) and streamflow, joined by date."""
    import pandas as pd

    forcing = CAMELS / f"basin_mean_forcing/daymet/{GAUGE[:2]}/{GAUGE}_lump_cida_forcing_leap.txt"
    flow = CAMELS / f"usgs_streamflow/{GAUGE[:2]}/{GAUGE}_streamflow_qc.txt"
    try:
        weather = pd.read_csv(forcing, sep=r"\s+", skiprows=4, header=None)
        runoff = pd.read_csv(flow, sep=r"\s+", header=None)
        weather.index = pd.to_datetime(dict(year=weather[0], month=weather[1], day=weather[2]))
        runoff.index = pd.to_datetime(dict(year=runoff[1], month=runoff[2], day=runoff[3]))
        joined = weather[[5, 6, 8, 9]].join(runoff[4].rename("flow"), how="inner").astype(float)
    except OSError:
        raise DataError(
            f"prepare.size = full needs CAMELS-US (Newman et al. 2015) unpacked as {CAMELS}, with {forcing.name} and "
            f"{flow.name}; download it from its data repository, or set prepare.size to packaged"
        ) from None
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{forcing} or {flow.name} does not have the layout of CAMELS-US 1.2 ({' '.join(str(error).split())}); "
            "unpack it again"
        ) from None
    joined = joined[joined["flow"] >= 0]
    segment = (joined.index.to_series().diff() != pd.Timedelta(days=1)).cumsum()
    joined = joined[segment == segment.mode()[0]]  # the longest segment without a gap
    values = joined.to_numpy()
    return values[:, :4], values[:, 4], f"CAMELS-US, gauge {GAUGE}, Daymet forcing", "public domain (USGS, NCAR)"
