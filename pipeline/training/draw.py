"""Draws the trials of a study: hyper-parameters by one scrambled Sobol sequence over the settings of params.yaml."""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import cells, heads, tasks
from ..core import layout
from ..core.code import code_hash
from ..core.config import Config, Range, SpectrumSettings, pick
from ..core.errors import ConfigError
from ..core.hyper_parameters import DECLARED, DIMENSIONS, FIRST_OPTION, TASKS_OWN, HyperParameters, Value
from ..core.records import TaskData, TaskInfo, Trial
from .network import Network

_FIRST = 4  # dimensions that are scrambled together; the others follow with a scrambling of their own
SEEDS = 3  # number of seeds with which a repeated draw is trained


def draw(settings: Config, info: TaskInfo, device: str) -> list[Trial]:
    """All trials of a task, the most expensive first.

    The sequence (Owen 1998 scrambling) of a cell depends on the seed, the task and the cell alone, and every
    hyper-parameter and option has its own dimension of it: other cells, tasks and hyper-parameters do not change it,
    and more trials extend it. The first `train.repeated` draws are trained with SEEDS seeds instead of one; these
    additional trials come after all others.

    Args:
        settings: sections `seed`, `cells` and `train` of params.yaml.
        info: of the task.
        device: "cpu" or "cuda".

    Raises:
        ConfigError: what the settings say of heads, mini-batches or options does not fit the task or the cells.
    """
    _check_batch_size(settings.train.drawn("batch_size"), info)
    trials = [trial for cell in settings.cells for trial in _trials(settings, info, cell, device)]
    return sorted(trials, key=_cost, reverse=True)


def check_data(spectrum: SpectrumSettings, task: str) -> None:
    """Refuse the data of a task before anything is trained on them.

    Raises:
        ArtefactError: they are missing or damaged.
        DataError: there are too few validation data for the spectra; it names the keys of params.yaml.
    """
    data = TaskData.load(layout.data(task))
    tasks.driving_sequences(data.split("validation")[0], spectrum.sequences, spectrum.transient + spectrum.steps)


def _check_batch_size(choices: Sequence[Any], info: TaskInfo) -> None:
    count = info.sequences["train"]
    for size in choices:
        if size != TASKS_OWN and size > count:
            raise ConfigError(f"params.yaml: train.batch_size: {size} is more than the {count} training sequences of {info.task}")


def _cost(trial: Trial) -> tuple[bool, int]:
    """A key that orders trials of one task by their cost: torch's fused kernels are faster than a step loop."""
    return cells.get(trial.cell).torch_module is None, trial.hyper_parameters.hidden_size


def _trials(settings: Config, info: TaskInfo, cell: str, device: str) -> list[Trial]:
    train = settings.train
    seeds = np.random.SeedSequence([settings.seed, zlib.crc32(f"{info.task} {cell}".encode())])
    drawn: dict[str, Any] = {name: train.drawn(name) for name in DECLARED} | {"head": fitting_heads(train.drawn("head"), info)}
    files = ("training/ensemble.py" if device == "cuda" else "training/loop.py", f"cells/{cell}.py", f"tasks/{info.task}.py")
    code = {head: code_hash(*files, f"heads/{head}.py") for head in drawn["head"]}
    trials = []
    for index, (point, source) in enumerate(zip(_sobol(train.trials, seeds), seeds.spawn(train.trials), strict=True)):
        hyper = _resolved({name: pick(drawn[name], point[d.dimension]) for name, d in DECLARED.items()}, info)
        trial = Trial(
            task=info.task,
            cell=cell,
            index=index,
            draw=index,
            seed=int(source.generate_state(1)[0]),
            hyper_parameters=hyper,
            options=_options(cell, train.options.get(cell, {}), point),
            state=train.state if info.ordered else "stateless",
            epochs=train.epochs,
            early_epoch=train.early_epoch,
            input_size=info.input_size,
            output_size=info.output_size,
            steps=info.steps,
            chance=info.chance,
            device=device,
            torch=version("torch").partition("+")[0],
            data_hash=info.hash,
            code_hash=code[hyper.head],
        )
        try:
            Network.of(trial)
        except ConfigError as error:  # before anything is trained, or removed
            raise ConfigError(f"params.yaml: train.options.{cell}: {error}") from None
        trials.append(trial)
    return trials + _again(trials[: train.repeated], train.trials)


def _again(trials: Sequence[Trial], first: int) -> list[Trial]:
    """The same trials with further seeds, numbered from `first`."""
    copies = [(trial, number) for trial in trials for number in range(1, SEEDS)]
    return [
        replace(trial, index=first + place, seed=int(np.random.SeedSequence([trial.seed, number]).generate_state(1)[0]))
        for place, (trial, number) in enumerate(copies)
    ]


def _resolved(drawn: dict[str, Any], info: TaskInfo) -> HyperParameters:
    """Hyper-parameters as drawn; the task's own batch size and the p of torch's initialisation are filled in."""
    own = {"batch_size": info.batch_size} if drawn["batch_size"] == TASKS_OWN else {}
    default = {"init_scale": float(f"{drawn['hidden_size'] ** -0.5:.6g}")} if drawn["initialisation"] == "torch" else {}
    return HyperParameters(**drawn | own | default)


def _sobol(count: int, seeds: np.random.SeedSequence) -> NDArray[np.float64]:
    """`count` points (count, DIMENSIONS) of the unit cube.

    Scrambling acts on each dimension alone, so that the first dimensions and the others may be scrambled apart.
    """
    from scipy.stats import qmc  # half a second to import, which the workers need not spend

    size = math.ceil(math.log2(count))
    rest = np.random.default_rng(np.random.SeedSequence(seeds.entropy, spawn_key=(_FIRST, DIMENSIONS)))
    first = qmc.Sobol(_FIRST, scramble=True, rng=np.random.default_rng(seeds)).random_base2(size)
    others = qmc.Sobol(DIMENSIONS, scramble=True, rng=rest).random_base2(size)
    return np.hstack([first, others[:, _FIRST:]])[:count]


def fitting_heads(names: Sequence[str], info: TaskInfo) -> tuple[str, ...]:
    """The heads of a study that answer as often as a task asks; ConfigError if none of them does."""
    every_step = heads.get(info.head).every_step
    resolved = dict.fromkeys(info.head if name == TASKS_OWN else name for name in names)
    fitting = tuple(name for name in resolved if heads.get(name).every_step == every_step)
    if not fitting:
        asked = "at every step" if every_step else "once per sequence"
        raise ConfigError(
            f"params.yaml: train.head: no head answers {asked}, as {info.task} asks; add {TASKS_OWN!r}, its own head"
        )
    return fitting


def _options(cell: str, settings: Mapping[str, Any], point: NDArray[np.float64]) -> dict[str, Value]:
    """The options as drawn that differ from the cell's defaults; the n-th of a cell has the dimension FIRST_OPTION + n."""
    declared = options_of(cell)
    unknown = set(settings) - set(declared)
    if unknown:
        known = f"it has {', '.join(declared)}" if declared else "it has none"
        raise ConfigError(f"params.yaml: train.options.{cell}: there is no option {sorted(unknown)[0]!r}; {known}")
    options: dict[str, Value] = {}
    for place, (name, default) in enumerate(declared.items()):
        if name in settings:
            _check_kind(f"params.yaml: train.options.{cell}.{name}", settings[name], default)
            value = pick(settings[name], point[FIRST_OPTION + place])
            value = float(value) if isinstance(default, float) and isinstance(value, int) else value
            options |= {name: value} if value != default else {}
    return options


def _check_kind(where: str, setting: Range | Sequence[Value], default: Any) -> None:
    """Refuse the setting of an option whose values are not of the kind of its default."""
    kinds = {float: (int, float)}.get(type(default), type(default))
    values = (setting.low, setting.high) if isinstance(setting, Range) else setting
    for value in values:
        if not isinstance(value, kinds):
            raise ConfigError(f"{where} is {value!r}; its values should be like its default, {default!r}")


def options_of(cell: str) -> dict[str, Any]:
    """A cell's own options with their defaults: its fields beyond the sizes and the scale of the initial weights."""
    sizes = ("input_size", "hidden_size", "init_scale")
    return {f.name: f.default for f in fields(cells.get(cell)) if f.name not in sizes}
