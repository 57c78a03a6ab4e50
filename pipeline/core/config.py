"""params.yaml as frozen models; the only reader of it.

Every key is required, so that the file shows all there is; a key that is unknown, missing, mistyped or out of
range raises ConfigError with its full path, what was found and what would be right.
"""

import difflib
import io
import json
import math
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, create_model, model_validator
from ruamel.yaml import YAML, YAMLError

from . import registry
from .errors import ConfigError
from .hyper_parameters import DECLARED, TASKS_OWN, Declaration, Value

PARAMS, PROFILES = Path("params.yaml"), Path("profiles")
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


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


def pick(setting: Any, share: float) -> Any:
    """The value at a point `share` in [0, 1) of a setting.

    A number of a `Range` is rounded to six digits, so that every file shows the very number that was used.
    """
    if isinstance(setting, Range):
        return float(f"{setting.low * (setting.high / setting.low) ** share:.6g}")
    return setting[min(int(share * len(setting)), len(setting) - 1)]


def _setting(declared: Declaration) -> Any:
    """The type of a hyper-parameter's setting: a `Range`, or a tuple of choices."""
    if declared.interval:
        return Range
    choice: Any = declared.kind
    if declared.among:
        choice = Literal[declared.among]
    elif declared.kind is not str:
        below = declared.below if declared.below < math.inf else None
        choice = Annotated[
            declared.kind, Field(ge=declared.least, lt=below, allow_inf_nan=None if declared.kind is int else False)
        ]
    if declared.own and declared.kind is not str:
        choice = Literal[TASKS_OWN] | choice
    return Annotated[tuple[choice, ...], Field(min_length=1)]


def _option(value: Any) -> Range | tuple[Value, ...]:
    """The setting of a cell's own option: a list of choices, or a range."""
    if isinstance(value, dict):
        try:
            return Range.model_validate(value)
        except ValidationError:
            raise ValueError(f"should be a range with 0 < low <= high, found {value}") from None
    if isinstance(value, list) and value and all(isinstance(x, int | float | str) and not isinstance(x, bool) for x in value):
        return tuple(value)
    raise ValueError(f"should be a list such as [0.3, 0.5], or a range with low and high, found {value}")


Options = dict[str, dict[str, Annotated[Any, PlainValidator(_option)]]]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Prepare(_Section):
    """Which form of the datasets."""

    size: Literal["packaged", "long", "full"]


class TrainBase(_Section):
    """The trials of one task and cell, without the hyper-parameters, which `Train` adds as they are declared."""

    trials: Count
    repeated: Annotated[int, Field(ge=0)]
    epochs: Count
    early_epoch: Count
    state: Literal["stateless", "stateful", "ordered", "conditional"]
    options: Options

    @model_validator(mode="after")
    def _early_before_the_end(self) -> Self:
        if self.early_epoch > self.epochs:
            raise ValueError(f"early_epoch ({self.early_epoch}) should not exceed epochs ({self.epochs})")
        return self

    @model_validator(mode="after")
    def _repeated_are_drawn(self) -> Self:
        if self.repeated > self.trials:
            raise ValueError(f"repeated ({self.repeated}) should not exceed trials ({self.trials})")
        return self

    def drawn(self, hyper_parameter: str) -> Any:
        """The setting of a hyper-parameter: a `Range` or a tuple of choices."""
        return getattr(self, hyper_parameter)

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        registry.check("heads", self.drawn("head"), also=[TASKS_OWN])
        registry.check("cells", self.options)
        return self


if TYPE_CHECKING:
    Train = TrainBase
else:
    Train = create_model("Train", __base__=TrainBase, **{name: (_setting(d), ...) for name, d in DECLARED.items()})


class ExecutionSettings(_Section):
    """Where the jobs of a stage run; what they give does not depend on it, but on the number of threads in the last digits."""

    engine: Literal["local", "ray"]
    address: Annotated[str, Field(pattern=r"^(auto|[A-Za-z0-9_.\-\[\]:]+:[0-9]+)$")]
    workers: Literal["auto"] | Count
    cpus: Count
    gpus: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class SpectrumSettings(_Section):
    """The data that drive a spectrum: `sequences` stretches of `transient + steps` steps of the validation data."""

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
    """How the predictor is evaluated."""

    bootstrap: Annotated[int, Field(ge=100)]


class Config(_Section):
    """All of params.yaml."""

    study: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    device: Literal["auto", "cpu", "cuda"]
    execution: ExecutionSettings
    tasks: Annotated[tuple[str, ...], Field(min_length=1)]
    cells: Annotated[tuple[str, ...], Field(min_length=1)]
    prepare: Prepare
    train: Train
    spectrum: SpectrumSettings
    fixed_points: FixedPointsSettings
    success: Success
    predictor: PredictorSettings

    @model_validator(mode="after")
    def _gpus_are_reserved(self) -> Self:
        if self.execution.engine == "ray" and self.device == "cuda" and not self.execution.gpus:
            raise ValueError("device is 'cuda', so execution.gpus should be the share of a GPU that a job takes, such as 0.25")
        return self

    @model_validator(mode="after")
    def _names_exist_once(self) -> Self:
        for key, listed in (("tasks", self.tasks), ("cells", self.cells)):
            registry.check(key, listed)
            if len(set(listed)) < len(listed):
                raise ValueError(f"{key}: names should not repeat, found {', '.join(listed)}")
        return self


def load(*sections: str, path: str | Path = PARAMS, profile: Path | None = None) -> Config:
    """The checked contents of params.yaml; ConfigError names every key that is wrong.

    Args:
        *sections: top-level keys that the caller needs, such as "seed" or "train"; it gets no others, so that what a
            stage reads and what it declares in dvc.yaml cannot differ. All of them by default.
        path: the file.
        profile: an overlay that names only what differs.
    """
    raw = _content(path, _text(path))
    config = _checked(path, raw if profile is None else merged(raw, _content(profile, _text(profile))))
    return Config.model_construct(**{name: getattr(config, name) for name in sections}) if sections else config


def merged(base: Any, overlay: Mapping[str, Any]) -> Any:
    """`base` with what an overlay names replaced, section by section; ranges and lists are replaced whole."""
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), Mapping) and not {"low", "high"} & set(value):
            merged(base[key], value)
        else:
            base[key] = value
    return base


def take_profile(name: str, path: Path = PARAMS) -> None:
    """Write params.yaml as the committed one with a profile laid over it; "default" restores the committed one.

    Raises:
        ConfigError: there is no such profile, the result would be wrong, or params.yaml holds changes of its own, which
            would be lost.
    """
    names = ["default", *sorted(p.stem for p in PROFILES.glob("*.yaml"))]
    if name not in names:
        raise ConfigError(f"there is no {PROFILES}/{name}.yaml; there are {', '.join(names)}")
    try:
        base = subprocess.run(["git", "show", f"HEAD:./{path}"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise ConfigError(f"a profile is laid over the committed {path}; commit it to a git repository first") from None
    text, written = _with_profile(base, name), _text(path)
    _checked(f"{path} with {PROFILES}/{name}.yaml", _content(path, text))
    if not any(written == _with_profile(base, known) for known in sorted(names, key=lambda known: known != name)):
        raise ConfigError(f"{path} has changes of its own that PROFILE would overwrite; commit them or save them elsewhere")
    path.write_text(text, "utf-8")


def _with_profile(base: str, name: str) -> str:
    """The text of params.yaml with a profile laid over it; comments stay."""
    if name == "default":
        return base
    yaml, out, profile = YAML(), io.StringIO(), PROFILES / f"{name}.yaml"
    yaml.width = 120
    yaml.dump(merged(yaml.load(base), _content(profile, _text(profile))), out)
    return out.getvalue()


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; run from the folder that holds it") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}") from None


def _content(path: str | Path, text: str) -> Any:
    try:
        content = YAML(typ="safe", pure=True).load(text)  # YAML 1.2: 1e-05 is a number
    except YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or " ".join(str(error).split())
        line = f" in line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path} is not valid YAML: {problem}{line}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} should be a mapping of keys to values, found {type(content).__name__}")
    return content


def _checked(path: str | Path, content: dict[str, Any]) -> "Config":
    try:
        return Config.model_validate_json(_json(path, content))  # JSON mode: strict, yet lists become tuples
    except ValidationError as error:
        sentences: dict[str, str] = {}
        for item in error.errors():
            where, sentence = _sentence(path, item)
            if where in sentences and "; " in sentences[where]:  # of several forms that a value may have
                sentence = f"{sentences[where]} or {sentence.rpartition('; ')[2].removeprefix('it should be ')}"
            sentences[where] = sentence
        inner = [where for where in sentences if not any(other.startswith(f"{where}.") for other in sentences if where)]
        raise ConfigError("\n".join(sentences[where] for where in inner)) from None


def _json(path: str | Path, raw: dict[str, Any]) -> str:
    try:
        return json.dumps(raw, default=str)
    except (TypeError, ValueError) as error:  # a date as a key, an alias to itself
        raise ConfigError(f"{path} holds what no setting can be: {error}") from None


def _sentence(path: str | Path, item: Any) -> tuple[str, str]:
    """The key path of one pydantic error, and the error as one sentence."""
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "missing":
        return where, f"{path}: {where} is missing; {_choices(item['loc'][:-1])}"
    if item["type"] == "extra_forbidden":
        return where, f"{path}: {where} is unknown; {_choices(item['loc'][:-1], str(item['loc'][-1]))}"
    where = ".".join(str(part) for part in item["loc"] if isinstance(part, int) or part.isidentifier())
    message = item["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
    if item["type"] == "value_error":
        return where, f"{path}: {where + (' ' if message.startswith('should') else ': ') if where else ''}{message}"
    if item["type"] == "string_pattern_mismatch":
        message = "it should be lower-case letters, digits and underscores, a letter first"
    return where, f"{path}: {where} is {item['input']!r}; {message}"


def _choices(section: tuple[int | str, ...], typed: str = "") -> str:
    """The keys that a section has, the likeliest first if one was mistyped."""
    model: Any = Config
    for part in section:
        model = model.model_fields[part].annotation
    keys = list(model.model_fields)
    close = difflib.get_close_matches(typed, keys, n=1)
    guess = f"did you mean {close[0]}? " if close else ""
    return f"{guess}{'.'.join(map(str, section)) or 'the file'} has the keys {', '.join(keys)}"


def main(words: list[str]) -> None:
    """`python -m pipeline.core.config [PROFILE]`: lay a profile over params.yaml, if one is named, and check the file."""
    try:
        for name in words[:1]:
            take_profile(name)
        load()
    except ConfigError as error:
        raise SystemExit(f"ERROR: {error}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
