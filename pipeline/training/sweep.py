"""The trials of a sweep: hyper-parameters by a scrambled Sobol sequence over the ranges of params.yaml."""

import math
import zlib
from typing import Any, TypeVar

import numpy as np

from ..config import Range, Train
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
    sources = np.random.SeedSequence([seed, zlib.crc32(f"{about['task']} {cell}".encode())])
    points = _sobol(settings.trials, sources)
    code = code_hash(
        *(f"training/{name}.py" for name in ("loop", "network", "trial")),
        *(f"cells/{name}.py" for name in ("_cell", cell)),
        *(f"heads/{name}.py" for name in ("_head", about["head"])),
        *(f"tasks/{name}.py" for name in ("_task", about["task"])),
    )
    return [
        Trial(
            task=about["task"],
            cell=cell,
            head=about["head"],
            index=index,
            seed=int(source.generate_state(1)[0]),
            init_scale=_between(settings.init_scale, point[0]),
            learning_rate=_between(settings.learning_rate, point[1]),
            hidden_size=_choice(settings.hidden_size, point[2]),
            clip_norm=_choice(settings.clip_norm, point[3]),
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
        for index, (point, source) in enumerate(zip(points, sources.spawn(settings.trials), strict=True))
    ]


def _sobol(count: int, sources: np.random.SeedSequence) -> np.ndarray:
    """`count` points (count, 4) of the unit cube."""
    from scipy.stats import qmc  # half a second to import, which the workers need not spend

    engine = qmc.Sobol(4, scramble=True, rng=np.random.default_rng(sources))
    return engine.random_base2(math.ceil(math.log2(count)))[:count]


def _between(limits: Range, share: float) -> float:
    """Log-uniform between the limits, to six digits, so that every file shows the very number that was used."""
    return float(f"{limits.low * (limits.high / limits.low) ** share:.6g}")


def _choice(options: tuple[T, ...], share: float) -> T:
    return options[min(int(share * len(options)), len(options) - 1)]
