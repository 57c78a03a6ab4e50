"""params.yaml as frozen models; the only reader of it.

Every key is required, so that the file shows all there is; a key that is unknown, missing, mistyped or out of
range raises ConfigError with its full path, what was found and what would be right. Upper bounds are far above all
settings that make sense: they catch slips of the hand, and what would keep a computer busy for years.
"""

import difflib
import io
import json
import math
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)
from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.composer import Composer, ComposerError, MaxDepthExceededError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.tag import Tag

from . import registry
from .errors import ConfigError
from .files import regular_size
from .hyper_parameters import DECLARED, TASKS_OWN, Declaration, Value
from .numbers import shown

PARAMS, PROFILES = Path("params.yaml"), Path("profiles")
MOST_BYTES, MOST_DEPTH = 1 << 16, 20  # of a file of settings; of sections and lists in one another
MOST_ERRORS = 20  # that are named at once
LEAST_TRIALS = 4  # of a study, for its predictor
_LEAST, _MOST = 1e-9, 1e12  # of the numbers of a range


class Range(BaseModel):
    """An interval that is sampled uniformly in the logarithm."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    low: Annotated[float, Field(ge=_LEAST, le=_MOST, allow_inf_nan=False)]
    high: Annotated[float, Field(ge=_LEAST, le=_MOST, allow_inf_nan=False)]

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
        bound: Any = Annotated[float, Field(ge=_LEAST, le=min(declared.most, _MOST), allow_inf_nan=False)]
        bounded = create_model("Range", __base__=Range, low=(bound, ...), high=(bound, ...))
        return Annotated[bounded, BeforeValidator(lambda value: value.model_dump() if isinstance(value, Range) else value)]
    choice: Any = declared.kind
    if declared.among:
        choice = Literal[declared.among]
    elif declared.kind is not str:
        finite = None if declared.kind is int else False
        below, most = (bound if bound < math.inf else None for bound in (declared.below, declared.most))
        choice = Annotated[declared.kind, Field(ge=declared.least, lt=below, le=most, allow_inf_nan=finite)]
    if declared.own and declared.kind is not str:
        choice = Literal[TASKS_OWN] | choice
    return Annotated[tuple[choice, ...], Field(min_length=1)]


def _option(value: Any) -> Range | tuple[Value, ...]:
    """The setting of a cell's own option: a list of choices, or a range."""
    if isinstance(value, dict):
        try:
            return Range.model_validate(value)
        except ValidationError:
            raise ValueError(f"should be a range with {_LEAST:g} <= low <= high <= {_MOST:g}, found {shown(value)}") from None
    if isinstance(value, list) and value and all(isinstance(x, str) or _is_finite(x) for x in value):
        return tuple(value)
    raise ValueError(f"should be a list such as [0.3, 0.5], or a range with low and high, found {shown(value)}")


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MOST


Options = dict[str, dict[str, Annotated[Any, PlainValidator(_option)]]]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Prepare(_Section):
    """Which form of the datasets."""

    size: Literal["packaged", "long", "full"]


class TrainBase(_Section):
    """The trials of one task and cell, without the hyper-parameters, which `Train` adds as they are declared."""

    trials: Annotated[int, Field(ge=1, le=100_000)]
    repeated: Annotated[int, Field(ge=0, le=100_000)]
    epochs: Annotated[int, Field(ge=1, le=1_000_000)]
    early_epoch: Annotated[int, Field(ge=1, le=1_000_000)]
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

    @field_validator("head", check_fields=False)  # which `Train` adds
    @classmethod
    def _heads_exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        registry.check("heads", names, also=[TASKS_OWN])
        return names

    @field_validator("options")
    @classmethod
    def _cells_exist(cls, options: Options) -> Options:
        registry.check("cells", options)
        return options


if TYPE_CHECKING:
    Train = TrainBase
else:
    Train = create_model("Train", __base__=TrainBase, **{name: (_setting(d), ...) for name, d in DECLARED.items()})


def _address(value: str) -> str:
    if value != "auto" and not re.fullmatch(r"[A-Za-z0-9_.\-\[\]:]{1,255}:[0-9]{1,5}", value):
        raise ValueError(f"should be auto, or a host and a port such as 10.0.0.1:6379, found {shown(value)}")
    return value


class ExecutionSettings(_Section):
    """Where the jobs of a stage run; what they give does not depend on it, but on the number of threads in the last digits."""

    engine: Literal["local", "ray"]
    address: Annotated[str, AfterValidator(_address)]
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=100_000)]
    cpus: Annotated[int, Field(ge=1, le=1024)]
    gpus: Annotated[float, Field(ge=0, le=1024, allow_inf_nan=False)]


class SpectrumSettings(_Section):
    """The data that drive a spectrum: `sequences` stretches of `transient + steps` steps of the validation data."""

    sequences: Annotated[int, Field(ge=2, le=100_000)]  # fewer give no spread
    transient: Annotated[int, Field(ge=0, le=10_000_000)]
    steps: Annotated[int, Field(ge=8, le=10_000_000)]


class FixedPointsSettings(_Section):
    """The search for the fixed points of the best trial of each task and cell."""

    seeds: Annotated[int, Field(ge=1, le=1_000_000)]
    tolerance: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
    iterations: Annotated[int, Field(ge=1, le=1_000_000)]


class Success(_Section):
    """What counts as a success."""

    threshold: Annotated[float, Field(gt=0, lt=1)]


class PredictorSettings(_Section):
    """How the predictor is evaluated."""

    bootstrap: Annotated[int, Field(ge=100, le=1_000_000)]


class Config(_Section):
    """All of params.yaml."""

    study: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
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

    @field_validator("tasks", "cells")
    @classmethod
    def _names_exist_once(cls, listed: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        registry.check(str(info.field_name), listed)
        if len(set(listed)) < len(listed):
            raise ValueError(f"names should not repeat, found {_cut(', '.join(listed))}")
        return listed

    @model_validator(mode="after")
    def _gpus_are_reserved(self) -> Self:
        if self.execution.engine == "ray" and self.device == "cuda" and not self.execution.gpus:
            raise ValueError("device is 'cuda', so execution.gpus should be the share of a GPU that a job takes, such as 0.25")
        return self

    @model_validator(mode="after")
    def _options_are_of_cells(self) -> Self:
        for cell in set(self.train.options) - set(self.cells):
            raise ValueError(f"train.options.{cell}: {cell} is not among `cells`; add it there, or remove its options")
        return self

    @model_validator(mode="after")
    def _trials_suffice(self) -> Self:
        count = len(self.tasks) * len(self.cells) * self.train.trials
        if count < LEAST_TRIALS:
            raise ValueError(f"train.trials: the study has {count} trials in all; its predictor needs at least {LEAST_TRIALS}")
        return self


def load(*sections: str, path: str | Path = PARAMS, profile: Path | None = None) -> Config:
    """The checked contents of params.yaml; ConfigError names every key that is wrong.

    Args:
        *sections: top-level keys that the caller needs, such as "seed" or "train"; it gets no others, so that what a
            stage reads and what it declares in dvc.yaml cannot differ. All of them by default.
        path: the file.
        profile: an overlay that names only what differs.
    """
    raw, name = _content(path, _text(path)), str(path)
    if profile is not None:
        raw, name = merged(raw, _content(profile, _text(profile))), f"{path} with {profile}"
    config = _checked(name, raw)
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
    _content(f"the committed {PARAMS}", base)  # or it is refused
    yaml, out, profile = YAML(), io.StringIO(), PROFILES / f"{name}.yaml"
    yaml.width = 120
    yaml.dump(merged(yaml.load(base), _content(profile, _text(profile))), out)
    return out.getvalue()


def _text(path: str | Path) -> str:
    try:
        size = regular_size(Path(path))
        if size > MOST_BYTES:
            raise ConfigError(f"{path} has {size:,} bytes; a file of settings should have at most {MOST_BYTES:,}")
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; run from the folder that holds it") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}") from None


_NUMBER = r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
_PLAIN = {  # what is no text, though it is not quoted
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?(?:0|[1-9][0-9]{0,299})",
    "float": _NUMBER,
    "null": r"~|null|Null|NULL|",
}


class _Resolver(VersionedResolver):
    """Takes only decimal digits for numbers.

    YAML also has 0x1F, 0o17, 017, 1_000, 1:30 and dates, and its versions and readers do not agree on what they are.
    """

    processing_version = (1, 2)

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is ScalarNode and implicit[0]:
            for name, pattern in _PLAIN.items():
                if re.fullmatch(pattern, value):
                    return Tag(suffix=f"tag:yaml.org,2002:{name}")
            return self.DEFAULT_SCALAR_TAG
        return super().resolve(kind, value, implicit)


class _Composer(Composer):
    """Refuses what settings do not need, and what can make a small file large."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        if isinstance(event, AliasEvent) or event.tag is not None:
            raise ComposerError(None, None, "settings should be written out, without aliases (*) and tags (!)", event.start_mark)
        return super().compose_node(parent, index)


def _content(path: str | Path, text: str) -> Any:
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver, yaml.Composer, yaml.max_depth = _Resolver, _Composer, MOST_DEPTH
    try:
        content = yaml.load(text)
    except MaxDepthExceededError:
        raise ConfigError(f"{path} is nested more than {MOST_DEPTH} deep; no setting is") from None
    except YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
        line = f" in line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path} is not valid YAML: {_cut(' '.join(problem.split()))}{line}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} should be a mapping of keys to values, found {type(content).__name__}")
    return content


def _checked(path: str | Path, content: dict[str, Any]) -> "Config":
    try:
        return Config.model_validate_json(_json(path, content))  # JSON mode: strict, yet lists become tuples
    except ValidationError as error:
        errors = sorted(error.errors(), key=lambda item: item["type"] == "missing")  # misspelt keys explain missing ones
        sentences: dict[str, str] = {}
        for item in errors[:MOST_ERRORS]:
            where, sentence = _sentence(path, item)
            if where in sentences and "; " in sentences[where]:  # of several forms that a value may have
                sentence = f"{sentences[where]} or {sentence.rpartition('; ')[2].removeprefix('it should be ')}"
            sentences[where] = sentence
        inner = [where for where in sentences if not any(other.startswith(f"{where}.") for other in sentences if where)]
        more = [f"{path}: more keys are wrong"] if len(errors) > MOST_ERRORS else []
        raise ConfigError("\n".join([*(sentences[where] for where in inner), *more])) from None


def _json(path: str | Path, raw: dict[str, Any]) -> str:
    try:
        return json.dumps(raw)
    except TypeError as error:  # a list as a key
        raise ConfigError(f"{path} holds what no setting can be: {error}") from None


_RIGHT = {  # kind of pydantic's error -> what would be right
    "string_pattern_mismatch": "it should be at most 64 lower-case letters, digits and underscores, a letter first",
    "dict_type": "it should be keys with values",
    "model_type": "it should be keys with values",
    "tuple_type": "it should be a list",
    "too_short": "it should have at least one entry",
}


def _sentence(path: str | Path, item: Any) -> tuple[str, str]:
    """The key path of one pydantic error, and the error as one sentence."""
    where = ".".join(map(_part, item["loc"]))
    if item["type"] == "missing":
        return where, f"{path}: {where} is missing; {_choices(item['loc'][:-1])}"
    if item["type"] == "extra_forbidden":
        return where, f"{path}: {where} is unknown; {_choices(item['loc'][:-1], str(item['loc'][-1]))}"
    where = ".".join(_part(part) for part in item["loc"] if isinstance(part, int) or part.isidentifier())
    message = item["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
    message = _RIGHT.get(item["type"], message)
    if item["type"] == "value_error":
        return where, f"{path}: {where + (' ' if message.startswith('should') else ': ') if where else ''}{message}"
    return where, f"{path}: {where} is {shown(item['input'])}; {message}"


def _part(part: int | str) -> str:
    """A part of a key's path as it may be printed."""
    return str(part) if isinstance(part, int) or (part.isidentifier() and len(part) < 60) else shown(part)


def _cut(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:60]} ... {text[-20:]}"


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
