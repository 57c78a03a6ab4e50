"""params.yaml as frozen models; the only reader of it.

Every key is required, so that the file shows all there is; a key that is unknown, missing, mistyped or out of
range raises ConfigError with its full path, what was found and what would be right.
"""

import difflib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from . import registry
from .errors import ConfigError

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Range(_Section):
    """An interval that is sampled uniformly in the logarithm."""

    low: Positive
    high: Positive

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low ({self.low:g}) should not exceed high ({self.high:g})")
        return self


class Prepare(_Section):
    """Which form of the datasets."""

    size: Literal["packaged", "full"]


class Train(_Section):
    """The sweep of one (task, cell)."""

    trials: Count
    epochs: Count
    early_epoch: Count
    init_scale: Range
    learning_rate: Range
    hidden_size: Annotated[tuple[Count, ...], Field(min_length=1)]
    clip_norm: Annotated[tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...], Field(min_length=1)]
    dropout: Annotated[tuple[Annotated[float, Field(ge=0, lt=1)], ...], Field(min_length=1)]
    head: Annotated[tuple[str, ...], Field(min_length=1)]
    state: Literal["stateless", "stateful", "ordered", "conditional"]

    @model_validator(mode="after")
    def _early_before_the_end(self) -> Self:
        if self.early_epoch > self.epochs:
            raise ValueError(f"early_epoch ({self.early_epoch}) should not exceed epochs ({self.epochs})")
        return self

    @model_validator(mode="after")
    def _heads_exist(self) -> Self:
        there = ["default", *registry.names("heads")]
        for name in self.head:
            if name not in there:
                raise ValueError(f"head: there is no head {name!r}; there are {', '.join(there)}")
        return self


class SpectrumSettings(_Section):
    """What drives a spectrum: `sequences` stretches of `transient + steps` steps of the validation data."""

    sequences: Annotated[int, Field(ge=2)]  # fewer give no spread
    transient: Annotated[int, Field(ge=0)]
    steps: Annotated[int, Field(ge=8)]


class FixedPointsSettings(_Section):
    """The search for the fixed points of the best trial of each task and cell."""

    seeds: Count
    tolerance: Positive
    iterations: Count


class Success(_Section):
    """What counts as a success."""

    threshold: Annotated[float, Field(gt=0, lt=1)]


class PredictorSettings(_Section):
    """How the predictor is chosen and judged."""

    outer_folds: Annotated[int, Field(ge=2)]
    inner_folds: Annotated[int, Field(ge=2)]
    trees: Count
    bootstrap: Annotated[int, Field(ge=100)]


class Config(_Section):
    """All of params.yaml."""

    study: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    device: Literal["auto", "cpu", "cuda"]
    processes: Literal["auto"] | Count
    tasks: Annotated[tuple[str, ...], Field(min_length=1)]
    cells: Annotated[tuple[str, ...], Field(min_length=1)]
    prepare: Prepare
    train: Train
    spectrum: SpectrumSettings
    fixed_points: FixedPointsSettings
    success: Success
    predictor: PredictorSettings

    @model_validator(mode="after")
    def _names_exist_once(self) -> Self:
        for key, listed in (("tasks", self.tasks), ("cells", self.cells)):
            there = registry.names(key)
            for name in listed:
                if name not in there:
                    raise ValueError(f"{key}: there is no {key[:-1]} {name!r}; there are {', '.join(there)}")
            if len(set(listed)) < len(listed):
                raise ValueError(f"{key}: names should not repeat, found {', '.join(listed)}")
        return self


def load(path: str | Path = "params.yaml") -> Config:
    """The checked contents of params.yaml; ConfigError names every key that is wrong."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; run from the folder that holds it") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}") from None
    try:
        raw = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} should be a mapping of keys to values, found {type(raw).__name__}")
    try:
        return Config.model_validate_json(_json(path, raw))  # JSON mode: strict, yet lists become tuples
    except ValidationError as error:
        raise ConfigError("\n".join(_sentence(path, item) for item in error.errors())) from None


def _json(path: str | Path, raw: dict[str, Any]) -> str:
    try:
        return json.dumps(raw, default=str)
    except (TypeError, ValueError) as error:  # a date as a key, an alias to itself
        raise ConfigError(f"{path} holds what no setting can be: {error}") from None


class _Loader(yaml.SafeLoader):
    """YAML 1.2 floats: PyYAML reads 1e-05 as a string, and `dvc exp run -S` writes just that. No key may stand twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:float"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def _sentence(path: str | Path, item: Any) -> str:
    """One pydantic error as one sentence."""
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "missing":
        return f"{path}: {where} is missing; {_choices(item['loc'][:-1])}"
    if item["type"] == "extra_forbidden":
        return f"{path}: {where} is unknown; {_choices(item['loc'][:-1], str(item['loc'][-1]))}"
    where = ".".join(str(part) for part in item["loc"] if isinstance(part, int) or part.isidentifier())
    message = item["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
    if item["type"] == "value_error":
        return f"{path}: {where + ': ' if where else ''}{message}"
    return f"{path}: {where} is {item['input']!r}; {message}"


def _choices(section: tuple[int | str, ...], typed: str = "") -> str:
    """The keys that a section has, the likeliest first if one was mistyped."""
    model: Any = Config
    for part in section:
        model = model.model_fields[part].annotation
    keys = list(model.model_fields)
    close = difflib.get_close_matches(typed, keys, n=1)
    guess = f"did you mean {close[0]}? " if close else ""
    return f"{guess}{'.'.join(map(str, section)) or 'the file'} has the keys {', '.join(keys)}"


if __name__ == "__main__":
    try:
        load()
    except ConfigError as error:
        raise SystemExit(f"ERROR: {error}") from None
