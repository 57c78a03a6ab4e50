"""The fixed points of the best of a sweep's trials."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..artefacts import CONSTANT_INPUTS, TrialFixedPoints, TrialResult, finite_or_none
from ..config import FixedPointsSettings, SpectrumSettings
from ..points import FixedPoints, fixed_points
from .measure import driving_inputs
from .network import Network
from .trial import Trial


def best(trials: Sequence[TrialResult]) -> TrialResult:
    """The trial with the lowest validation loss at the end of training; the first, if all diverged."""
    losses = [trial.curves["validation_loss"][-1] for trial in trials]
    return trials[int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))]


def locate(
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
    trial = Trial.from_description(result.trial)
    cell = Network.of(trial).cell
    own = {n.removeprefix("cell."): torch.from_numpy(w).double() for n, w in result.weights["final"].items() if "cell." in n}
    weights = cell.weights(own)
    inputs = driving_inputs(trial, data, driving)
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
        settings=settings.model_dump(),
        figures={name: figures(points) for name, points in found.items()},
        trajectories=torch.stack(states).float().numpy(),
        points={name: points.states.numpy() for name, points in found.items()},
        moduli={name: points.eigenvalues.abs().numpy() for name, points in found.items()},
    )


def figures(points: FixedPoints) -> dict[str, Any]:
    """What is told of a network's fixed points under one input; None for what is not finite or has no points."""
    slowest = float(points.time_constants.max()) if len(points) else float("nan")
    return {
        "fixed_points": len(points),
        "stable": int((points.unstable == 0).sum()),
        "by_unstable_directions": list(points.signature),
        "slowest_time_constant": finite_or_none(slowest),
        "median_q": finite_or_none(points.visited_q),
        "natural_q": finite_or_none(points.natural_q),
        "seeds_that_found": points.found / points.seeds,
        "outliers": points.outliers,
        "index": points.index,
    }
