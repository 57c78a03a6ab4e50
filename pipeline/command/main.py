"""The command line `rnn-stability`: spectra, summaries and predictions of models in files."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import __version__
from ..core.errors import AlignmentWarning, ModuleError, PipelineError, RoundingWarning, SurrogateWarning
from ..core.hyper_parameters import CHOICES, DECLARED
from .data import LIMIT, load_candidates, load_inputs, load_pairs
from .output import SHOWN, json_text, spectrum_table, verdict_fields, write_csv

if TYPE_CHECKING:  # torch takes a second to import, and `--help` needs none
    from torch import Tensor, nn


WRONG, BELOW = 2, 3  # exit codes: wrong input, and a probability below --fail-below
_WARNINGS = (AlignmentWarning, RoundingWarning, SurrogateWarning)
Command = Callable[..., Any]
_PATH = click.Path(path_type=Path)


class _Refusal(click.ClickException):
    """One sentence on what is wrong with the input, on stderr."""

    exit_code = WRONG


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="rnn-stability")
def main() -> None:
    """Measure Lyapunov spectra of recurrent networks, and predict which trainings will succeed.

    The exit code is 0 for an answer, 2 for wrong input and 3 for a probability below --fail-below.
    """


def _options(*options: Command) -> Callable[[Command], Command]:
    """A decorator that adds several options in the order in which `--help` shows them."""
    return lambda command: functools.reduce(lambda inner, option: option(inner), reversed(options), command)


def _answers(command: Command) -> Command:
    """A command that ends with one sentence where the library raises an error, and shows its warnings in one line each."""

    @functools.wraps(command)
    def run(**options: Any) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                command(**options)
            except PipelineError as error:
                raise _Refusal(" ".join(str(error).split())) from error
            finally:
                shown = [str(w.message) for w in caught if issubclass(w.category, _WARNINGS)]
                for message in dict.fromkeys(shown):
                    click.echo(f"Warning: {' '.join(message.split())}", err=True)

    return run


_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON; null is what is not finite or not known.")
_TRUST = click.option("--trust", is_flag=True, help="Run code that the files contain or name.")
_LIMIT = click.option(
    "--limit", type=click.IntRange(1), default=LIMIT, show_default=True, help="Largest number of numbers in DATA."
)
_MODEL = _options(
    click.argument("model", type=_PATH),
    click.argument("data", type=_PATH),
    click.option(
        "--class",
        "kind",
        metavar="NAME",
        help="What a state dict is of: lstm, gru, rnn (tanh), rnn-relu, FILE.py:CLASS or PACKAGE.MODULE:CLASS.",
    ),
    click.option("--arguments", default="{}", metavar="JSON", help="Keyword arguments of that CLASS, a JSON object."),
    click.option("--prefix", metavar="TEXT", help="What precedes the names of the weights in the file, such as 'rnn.'."),
    click.option("--recurrent", metavar="NAME", help="Part of the model to measure, such as 'rnn'."),
    click.option("--batch-first", is_flag=True, help="An array of DATA with three axes is (B, T, I), not (T, B, I)."),
    click.option(
        "--state-size",
        "sizes",
        type=click.IntRange(1),
        multiple=True,
        metavar="S",
        help="Start from zeros (B, S), for a model that needs a state; give it twice for a pair.",
    ),
    click.option("--array", metavar="NAME", help="The array of a .npz file that holds several."),
    _LIMIT,
    _TRUST,
)


@main.command()
@_MODEL
@click.option("--count", type=int, help="Number of exponents; all by default.")
@click.option("--transient", type=int, help="Steps that are not counted; a fifth by default.")
@click.option("--plot", type=_PATH, metavar="FILE.png", help="Draw the exponents into this file.")
@click.option("--all", "whole", is_flag=True, help=f"Show all exponents, not the first {SHOWN}.")
@_JSON
@_answers
def spectrum(*, count: int | None, transient: int | None, plot: Path | None, whole: bool, as_json: bool, **files: Any) -> None:
    """Lyapunov exponents of MODEL driven by DATA, with 95 % intervals and errors."""
    asked = _asked(**files)
    from ..spectrum import lyapunov_spectrum

    found = lyapunov_spectrum(asked.model, asked.inputs, state=asked.state, count=count, transient=transient)
    if plot is not None:
        found.plot(path=plot, length=asked.steps)
    click.echo(json_text(found.to_dict()) if as_json else "\n".join(spectrum_table(found, whole)))


@main.command()
@_MODEL
@click.option("--plot", type=_PATH, metavar="FILE.png", help="Draw the spectrum into this file.")
@_JSON
@_answers
def summary(*, plot: Path | None, as_json: bool, **files: Any) -> None:
    """What the spectrum of MODEL on DATA means: stability, memory, gradients, and what is unusual."""
    asked = _asked(**files)
    from ..watching.summary import summary as summarise

    found = summarise(asked.model, asked.inputs, state=asked.state, steps=asked.steps)
    if plot is not None:
        found.plot(path=plot)
    click.echo(json_text(found.to_dict()) if as_json else str(found))


def _hyper_parameters() -> Iterator[Command]:
    """The options of `assess` for what the library declares as hyper-parameters."""
    for name, declared in DECLARED.items():
        kind = click.Choice(CHOICES[name]) if name in CHOICES else str if declared.scale == "category" else float
        default = "" if declared.default is None else f" [default: {declared.default}]"
        yield click.option(f"--{name.replace('_', '-')}", type=kind, help=declared.meaning.replace("`", "") + default)


@main.command()
@_MODEL
@_options(*_hyper_parameters())
@click.option("--updates", type=int, help="Mini-batches of the whole training; needed with --learning-rate.")
@click.option("--steps", type=int, help="Length of a training sequence; that of DATA by default.")
@click.option("--parameter-count", type=int, help="Trained parameters of the whole network; read from MODEL by default.")
@click.option("--cell", help="Name of a cell of the library; read from MODEL by default.")
@click.option("--task", help="A name for the task; that of own trials, so that they count.")
@click.option("--relative-loss", type=float, help="Validation loss after one epoch / loss of the best constant answer.")
@click.option("--predictor", metavar="SOURCE", help="Folder or MLflow address of a predictor; the packaged one by default.")
@click.option("--fail-below", type=click.FloatRange(0, 1), metavar="P", help=f"Exit with {BELOW} if success is less probable.")
@_JSON
@_answers
def assess(*, predictor: str | None, fail_below: float | None, as_json: bool, **options: Any) -> None:
    """Say whether the training of MODEL will succeed, before it, or after one epoch with --relative-loss.

    Hyper-parameters count together: --learning-rate and --updates are needed, and after an epoch --init-scale; all others have
    defaults or are read from MODEL.
    """
    known = {name: options.pop(name) for name in (*DECLARED, *_KNOWN)}
    known = {name: value for name, value in known.items() if value is not None}
    asked = _asked(**options)
    from ..predictor import StabilityPredictor

    known.setdefault("steps", asked.steps)
    if "learning_rate" in known:
        known.setdefault("parameter_count", asked.parameter_count)
    verdict = StabilityPredictor.load(predictor).assess(asked.model, asked.inputs, state=asked.state, **known)
    click.echo(json_text(verdict_fields(verdict)) if as_json else str(verdict))
    if fail_below is not None and verdict.probability < fail_below:
        click.get_current_context().exit(BELOW)


_KNOWN = ("updates", "steps", "parameter_count", "cell", "task", "relative_loss")


@main.command()
@click.argument("script", type=_PATH)
@click.argument("candidates", type=_PATH)
@click.argument("data", type=_PATH)
@click.option("--budget", type=int, required=True, help="Epochs of a training.")
@click.option("--batch-size", type=int, help="Sequences per mini-batch.")
@click.option("--jobs", type=int, help="Processes; as many as pay by default.")
@click.option("--csv", "table", type=_PATH, metavar="FILE.csv", help="Write all candidates into this file.")
@_LIMIT
@_TRUST
@_JSON
@_answers
def screen(
    *, script: Path, candidates: Path, data: Path, trust: bool, limit: int, table: Path | None, as_json: bool, **options: Any
) -> None:
    """Rank CANDIDATES by their expected scores before any training.

    SCRIPT is a Python file with build(candidate), which returns a model and its optimiser, and loss(answers, targets).
    CANDIDATES is a .json file, a list of objects, or a .csv file. DATA is a .npz file with the arrays inputs and targets.
    """
    if not trust:
        raise ModuleError(f"{script} is not executed: add --trust if you trust who wrote it")
    settings, (inputs, targets) = load_candidates(candidates), load_pairs(data, limit)
    from ..watching.screen import screen as rank
    from .files import defined, load_code, training_tensor

    build, loss = defined(load_code(str(script)), script, "build", "loss")
    given = {name: value for name, value in options.items() if value is not None}
    found = rank(build, settings, training_tensor(inputs), training_tensor(targets), loss=loss, **given)
    if table is not None:
        write_csv(table, found.to_dict())
    click.echo(json_text(found.to_dict()) if as_json else str(found))


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What MODEL and DATA hold: the part to measure, its inputs and initial state, T, and the size of the whole model."""

    model: "nn.Module"
    inputs: "Tensor"
    state: Any
    steps: int
    parameter_count: int


def _asked(
    *, model: Path, data: Path, batch_first: bool, sizes: tuple[int, ...], array: str | None, limit: int, **read: Any
) -> _Asked:
    sequences = load_inputs(data, name=array, batch_first=batch_first, limit=limit)
    from .files import ModelFile, as_taken, zeros

    loaded = ModelFile(model, **read).load()
    inputs = as_taken(loaded.model, sequences, batch_first=batch_first)
    steps, count, _ = sequences.values.shape
    return _Asked(loaded.model, inputs, zeros(sizes, count), steps, loaded.parameter_count)


if __name__ == "__main__":
    main(prog_name="rnn-stability")
