"""The hyper-parameters of a trial, each declared once.

What params.yaml may say of one (section `train`), how it is drawn, its column in the feature table, what the predictor
sees of it, its parameter in MLflow and its documentation all follow from its line here.
"""

from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

DIMENSIONS = 32  # of the Sobol sequence
FIRST_OPTION = 16  # dimension of a cell's first own option

Value = float | int | str
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
TASKS_OWN = "default"  # stands for the task's own batch size or head


class Range(BaseModel):
    """An interval that is sampled uniformly in the logarithm."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    low: Positive
    high: Positive

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low ({self.low:g}) should not exceed high ({self.high:g})")
        return self


@dataclass(frozen=True)
class Declaration:
    """How one hyper-parameter is set, drawn and seen.

    Attributes:
        setting: its type in params.yaml, `Range` or a tuple of choices.
        dimension: its own dimension of the Sobol sequence, below FIRST_OPTION; none is used twice, so that a new
            hyper-parameter changes the draw of no other.
        scale: what the predictor sees: its logarithm, the number itself, or a category.
        meaning: one line for the documentation.
        unit: of the number.
        default: what `StabilityPredictor.assess` takes when it is not given; None if it must be given.
    """

    setting: Any
    dimension: int
    scale: Literal["log", "linear", "category"]
    meaning: str
    unit: str = ""
    default: Value | None = None


def _declare(setting: Any, dimension: int, scale: Any, meaning: str, **options: Any) -> Any:
    return field(metadata={"declaration": Declaration(setting, dimension, scale, meaning, **options)})


def _choices(kind: Any) -> Any:
    return Annotated[tuple[kind, ...], Field(min_length=1)]


@dataclass(frozen=True)
class HyperParameters:
    """The hyper-parameters of one trial."""

    init_scale: float = _declare(
        Range, 0, "log",
        "p of uniform(-p, p), from which a cell draws its parameters, or only its input weights where its recurrent "
        "weights have an initialisation of their own",
    )  # fmt: skip
    learning_rate: float = _declare(Range, 1, "log", "learning rate of the optimiser")
    hidden_size: int = _declare(_choices(Count), 2, "log", "H", unit="units")
    clip_norm: float = _declare(_choices(NotNegative), 3, "linear", "largest norm of a gradient, 0 for no clipping", default=0.0)
    dropout: float = _declare(
        _choices(Share), 4, "linear", "share of the outputs that the head does not see during training", default=0.0
    )
    head: str = _declare(
        _choices(str), 5, "category", "what reads the outputs of the cell, a file of `pipeline/heads`", default="another"
    )
    weight_decay: float = _declare(
        _choices(NotNegative), 6, "linear", "weight decay, 0 for none; decoupled if the optimiser is AdamW", default=0.0
    )
    optimiser: str = _declare(
        _choices(Literal["adamw", "sgd"]), 7, "category", "adamw, or sgd with momentum 0.9", default="adamw"
    )  # fmt: skip
    initialisation: str = _declare(
        _choices(Literal["uniform", "torch", "orthogonal"]), 8, "category",
        "uniform draws from uniform(-p, p); torch is uniform with p = H^-1/2, the default of torch's modules; orthogonal is "
        "uniform with each H x H block of `weight_hh` replaced by a random orthogonal matrix",
        default="torch",
    )  # fmt: skip
    batch_size: int = _declare(
        _choices(Literal["default"] | Count), 9, "log", "sequences per mini-batch", unit="sequences", default=50
    )


DECLARED: dict[str, Declaration] = {f.name: f.metadata["declaration"] for f in fields(HyperParameters)}
CATEGORIES = tuple(name for name, d in DECLARED.items() if d.scale == "category")
CHOICES = {"optimiser": ("adamw", "sgd"), "initialisation": ("uniform", "torch", "orthogonal")}  # of categories without files
NUMBERS = tuple(name for name, d in DECLARED.items() if d.scale != "category")


def pick(setting: Any, share: float) -> Any:
    """The value at a point `share` in [0, 1) of a setting.

    A number of a `Range` is rounded to six digits, so that every file shows the very number that was used.
    """
    if isinstance(setting, Range):
        return float(f"{setting.low * (setting.high / setting.low) ** share:.6g}")
    return setting[min(int(share * len(setting)), len(setting) - 1)]
