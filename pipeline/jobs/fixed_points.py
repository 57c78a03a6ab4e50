"""The fixed points of a task's best trials."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..core import layout
from ..core.code import code_hash, content_hash
from ..core.config import Config, FixedPointsSettings, SpectrumSettings
from ..core.numbers import finite_or_none
from ..core.records import CONSTANT_INPUTS, PointCounts, TrialFixedPoints, TrialResult, by_cell, trials_in  # fmt: skip
from ..points import FixedPoints, fixed_points
from ..training.network import Network
from .spectra import driving_inputs


@dataclass(frozen=True)
class Search:
    """The search for the fixed points of one trial.

    Attributes:
        result: file of the trial.
        data: file of the task's data.
        driving: the data that drive the trajectories.
        settings: of the search.
        seed: of the states from which it begins.
        path: the file to write.
    """

    result: Path
    data: Path
    driving: SpectrumSettings
    settings: FixedPointsSettings
    seed: int
    path: Path

    @property
    def reads(self) -> tuple[Path, ...]:
        """The files that the job reads."""
        return (self.result, self.data)

    def run(self) -> TrialFixedPoints:
        """Search."""
        return search(TrialResult.load(self.result), self.data, self.driving, self.settings, self.seed)


def jobs(settings: Config, task: str) -> list[Search]:
    """One search per cell of a task; sections `seed`, `spectrum` and `fixed_points` of params.yaml."""
    folder, code = layout.trials(task), code_hash("jobs/fixed_points.py")
    searches = []
    for result in (best(results) for results in by_cell(trials_in(folder)).values()):
        sections = [settings.spectrum.model_dump(), settings.fixed_points.model_dump(), settings.seed]
        name = content_hash([result.trial.id, result.weights_checksum(), *sections, code])
        path = layout.fixed_points(task) / f"{result.trial.cell}-{name}.safetensors"
        files = {"result": result.trial.path(folder), "data": layout.data(task), "path": path}
        searches.append(Search(**files, driving=settings.spectrum, settings=settings.fixed_points, seed=settings.seed))
    return searches


def best(trials: Sequence[TrialResult]) -> TrialResult:
    """The trial with the lowest validation loss at the end of training; the first, if all diverged."""
    losses = [trial.curves["validation_loss"][-1] for trial in trials]
    return trials[int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))]


def search(
    result: TrialResult, data: Path, driving: SpectrumSettings, settings: FixedPointsSettings, seed: int
) -> TrialFixedPoints:
    """The fixed points of a trial's final network, in float64, under x = 0 and under the mean of what drives it.

    Args:
        result: the trial.
        data: file of the task's sequences.
        driving: which of them drive the trajectories, from the zero state.
        settings: of the search.
        seed: of the states from which it begins.
    """
    cell = Network.of(result.trial).cell
    weights = cell.weights({n: torch.from_numpy(w).double() for n, w in result.cell_weights("final").items()})
    inputs = driving_inputs(result.trial, data, driving)
    state = inputs.new_zeros(inputs.shape[1], cell.state_size)
    held = dict(zip(CONSTANT_INPUTS, (torch.zeros_like(inputs[0, 0]), inputs.mean((0, 1))), strict=True))
    found = {
        name: fixed_points(
            lambda s, x: cell.step(weights, s, x),
            inputs,
            state=state,
            at=at,
            generator=torch.Generator().manual_seed(seed),
            **settings.model_dump(),
        )
        for name, at in held.items()
    }
    states = [state]
    for x in inputs:
        states.append(cell.step(weights, states[-1], x))
    return TrialFixedPoints(
        trial=result.trial,
        settings=settings,
        counts={name: counts(points) for name, points in found.items()},
        trajectories=torch.stack(states).float().numpy(),
        points={name: points.states.numpy() for name, points in found.items()},
        moduli={name: points.eigenvalues.abs().numpy() for name, points in found.items()},
    )


def counts(points: FixedPoints) -> PointCounts:
    """The summary of a network's fixed points under one input."""
    slowest = float(points.time_constants.max()) if len(points) else float("nan")
    return PointCounts(
        fixed_points=len(points),
        stable=int((points.unstable == 0).sum()),
        by_unstable_directions=list(points.signature),
        slowest_time_constant=finite_or_none(slowest),
        median_q=finite_or_none(points.visited_q),
        natural_q=finite_or_none(points.natural_q),
        seeds_that_found=points.found / points.seeds,
        outliers=points.outliers,
        index=points.index,
    )
