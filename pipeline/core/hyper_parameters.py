"""The hyper-parameters of a trial, each declared once.

What params.yaml may say of one (section `train`), how it is drawn, its column in the feature table, what the predictor
sees of it, its parameter in MLflow and its documentation all follow from its line here.
"""

from dataclasses import dataclass, field, fields
from math import inf
from typing import Any, Literal

DIMENSIONS = 32  # of the Sobol sequence
FIRST_OPTION = 16  # dimension of a cell's first own option

Value = float | int | str
TASKS_OWN = "default"  # stands for the task's own batch size or head


@dataclass(frozen=True)
class Declaration:
    """How one hyper-parameter is set, drawn and seen.

    Attributes:
        kind: of its values: float, int or str.
        dimension: its own dimension of the Sobol sequence, below FIRST_OPTION; none is used twice, so that a new
            hyper-parameter changes the draw of no other.
        scale: what the predictor sees: its logarithm, the number itself, or a category.
        meaning: one line for the documentation.
        interval: whether params.yaml gives an interval `low` to `high` instead of a list of choices.
        least: smallest possible number, which itself is possible unless `interval`.
        below: numbers are smaller than this.
        most: largest possible number: far above all that make sense, and small enough for the computer.
        among: names that are possible; any by default.
        own: whether the task's own value, TASKS_OWN, is a choice.
        unit: of the number.
        default: what `StabilityPredictor.assess` takes when it is not given; None if it must be given.
    """

    kind: type
    dimension: int
    scale: Literal["log", "linear", "category"]
    meaning: str
    interval: bool = False
    least: float = 0
    below: float = inf
    most: float = inf
    among: tuple[str, ...] = ()
    own: bool = False
    unit: str = ""
    default: Value | None = None

    def wrong(self, number: float) -> str | None:
        """What a number should be, in words, if it is not what params.yaml could hold."""
        if not abs(number) < inf:
            return "it should be a finite number"
        if self.kind is int and not float(number).is_integer():
            return "it should be a valid integer"
        if number < self.least or (self.interval and number <= self.least):
            return f"it should be greater than {'' if self.interval else 'or equal to '}{self.least:g}"
        if number > self.most:
            return f"it should be less than or equal to {self.most:.10g}"
        return f"it should be less than {self.below:g}" if number >= self.below else None


def _declare(kind: type, dimension: int, scale: Any, meaning: str, **options: Any) -> Any:
    return field(metadata={"declaration": Declaration(kind, dimension, scale, meaning, **options)})


@dataclass(frozen=True)
class HyperParameters:
    """The hyper-parameters of one trial."""

    init_scale: float = _declare(
        float, 0, "log",
        "p of uniform(-p, p), from which a cell draws its parameters, or only its input weights where its recurrent "
        "weights have an initialisation of their own",
        interval=True, most=1e3,
    )  # fmt: skip
    learning_rate: float = _declare(float, 1, "log", "learning rate of the optimiser", interval=True, most=1e3)
    hidden_size: int = _declare(int, 2, "log", "H", least=1, most=65_536, unit="units")
    clip_norm: float = _declare(float, 3, "linear", "largest norm of a gradient, 0 for no clipping", most=1e9, default=0.0)
    dropout: float = _declare(
        float, 4, "linear", "share of the outputs that the head does not see during training", below=1, default=0.0
    )
    head: str = _declare(str, 5, "category", "what reads the outputs of the cell, a file of `pipeline/heads`", default="another")
    weight_decay: float = _declare(
        float, 6, "linear", "weight decay, 0 for none; decoupled if the optimiser is AdamW", most=1e3, default=0.0
    )
    optimiser: str = _declare(str, 7, "category", "adamw, or sgd with momentum 0.9", among=("adamw", "sgd"), default="adamw")
    initialisation: str = _declare(
        str, 8, "category",
        "uniform draws from uniform(-p, p); torch is uniform with p = H^-1/2, the default of torch's modules; orthogonal is "
        "uniform with each H x H block of `weight_hh` replaced by a random orthogonal matrix",
        among=("uniform", "torch", "orthogonal"), default="torch",
    )  # fmt: skip
    batch_size: int = _declare(
        int, 9, "log", "sequences per mini-batch", least=1, most=1_000_000, own=True, unit="sequences", default=50
    )


DECLARED: dict[str, Declaration] = {f.name: f.metadata["declaration"] for f in fields(HyperParameters)}
CATEGORIES = tuple(name for name, d in DECLARED.items() if d.scale == "category")
CHOICES = {name: d.among for name, d in DECLARED.items() if d.among}  # of categories without files
NUMBERS = tuple(name for name, d in DECLARED.items() if d.scale != "category")
