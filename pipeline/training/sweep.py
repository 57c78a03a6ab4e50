"""The trials of a sweep: hyper-parameters by a scrambled Sobol sequence over the ranges of params.yaml."""

import math
import zlib
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from .. import heads
from ..config import Range, Train
from ..registry import sources
from .trial import Trial, code_hash

T = TypeVar("T")


def draw(settings: Train, seed: int, cell: str, about: dict[str, Any], device: str) -> list[Trial]:
    """The trials of one (task, cell).

    The sequence (Owen 1998 scrambling) depends on the seed, the task and the cell alone: other cells and tasks do not
    change it, and more trials extend it.

    Args:
        settings: section `train` of params.yaml.
        seed: of the study.
        cell: name of the cell.
        about: the description that `prepare` wrote of the task's data.
        device: "cpu" or "cuda".
    """
    seeds = np.random.SeedSequence([seed, zlib.crc32(f"{about['task']} {cell}".encode())])
    points = _sobol(settings.trials, seeds)
    code = code_hash(
        *(f"training/{name}.py" for name in ("loop", "network", "policies", "trial")),
        *sources("cells", cell),
        *(source for head in _heads(settings, about) for source in sources("heads", head)),
        *sources("tasks", about["task"]),
    )
    return [
        Trial(
            task=about["task"],
            cell=cell,
            head=_one_of(_heads(settings, about), source, 0),
            index=index,
            seed=int(source.generate_state(1)[0]),
            init_scale=_between(settings.init_scale, point[0]),
            learning_rate=_between(settings.learning_rate, point[1]),
            hidden_size=_choice(settings.hidden_size, point[2]),
            clip_norm=_choice(settings.clip_norm, point[3]),
            dropout=_one_of(settings.dropout, source, 1),
            state=settings.state if about["ordered"] else "stateless",
            batch_size=about["batch_size"],
            epochs=settings.epochs,
            early_epoch=settings.early_epoch,
            input_size=about["input_size"],
            output_size=about["output_size"],
            steps=about["steps"],
            chance=about["chance"],
            device=device,
            data_hash=about["hash"],
            code_hash=code,
        )
        for index, (point, source) in enumerate(zip(points, seeds.spawn(settings.trials), strict=True))
    ]


def _sobol(count: int, seeds: np.random.SeedSequence) -> np.ndarray:
    """`count` points (count, 4) of the unit cube."""
    from scipy.stats import qmc  # half a second to import, which the workers need not spend

    engine = qmc.Sobol(4, scramble=True, rng=np.random.default_rng(seeds))
    return engine.random_base2(math.ceil(math.log2(count)))[:count]


def _between(limits: Range, share: float) -> float:
    """Log-uniform between the limits, to six digits, so that every file shows the very number that was used."""
    return float(f"{limits.low * (limits.high / limits.low) ** share:.6g}")


def _choice(options: tuple[T, ...], share: float) -> T:
    return options[min(int(share * len(options)), len(options) - 1)]


def _heads(settings: Train, about: dict[str, Any]) -> list[str]:
    """The heads of the sweep that answer as often as the task asks; the task's own if there is none."""
    named = [about["head"] if head == "default" else head for head in settings.head]
    often = heads.get(about["head"]).every_step
    return [head for head in dict.fromkeys(named) if heads.get(head).every_step == often] or [about["head"]]


def _one_of(options: Sequence[T], source: np.random.SeedSequence, purpose: int) -> T:
    """An option drawn by a trial's own seed, independent of the Sobol sequence."""
    draw = np.random.default_rng([int(source.generate_state(2)[1]), purpose])
    return options[int(draw.integers(len(options)))]
