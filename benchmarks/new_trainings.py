"""Trainings that no study holds: `python -m benchmarks.new_trainings > docs/new_trainings.md` compares predictions and outcomes.

Four tasks, each with random networks, learning rates and initialisations, in a plain training loop that `watch` watches.
"""

import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # read when NumPy loads; workers inherit it

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from pipeline import StabilityPredictor, watch
from pipeline.core import execution
from pipeline.core.numbers import finite_or_none
from pipeline.core.tables import Table
from pipeline.predictor.inputs import BEFORE, EPOCH
from pipeline.predictor.measures import Answers, calibration_error, calibration_slope

EACH, EPOCHS, BATCH, SEED, SUCCESS, SAMPLES = 24, 12, 25, 11, 0.8, 1000
ABOUT = """# Trainings that no study holds

`python -m benchmarks.new_trainings` makes this page. Four tasks, of which the predictor has not seen the data, are learned by
random networks (LSTM, GRU or tanh; 12 to 48 units), with random learning rates, initialisations, optimisers and clipping, in a
plain loop of {epochs} epochs that `watch` watches. A training is a success if it closes at least {success} of the gap between
chance and the lowest validation loss of its task. *The loss alone* and *the learning rate alone* are the predictor's own models
for these single inputs; brackets are 95 % intervals over trainings. The calibration error is the mean distance between predicted
probabilities and shares of successes; the calibration slope is 1 where probabilities are right, below 1 where they are too sure,
and above 1 where they are not sure enough.
"""
TASKS = {
    "digits by rows": "scikit-learn's images of digits, 8 x 8, read row by row; the class at the end",
    "waves": "the frequency of a noisy sine, one of five, from 40 steps",
    "adding": "the sum of two marked numbers among 30; the predictor knows it with another length",
    "discharge": "the discharge in spotpy's HYMOD example, from the rain and evaporation of 45 days (a real series)",
}


@dataclass(frozen=True)
class Data:
    """A task: sequences (T, B, I) and targets (B,) or (B, 1), for training and validation."""

    inputs: Tensor
    targets: Tensor
    validation: tuple[Tensor, Tensor]
    outputs: int
    loss: Callable[[Tensor, Tensor], Tensor]

    @property
    def chance(self) -> float:
        """Validation loss of the best constant answer to the training targets."""
        y = self.validation[1]
        if self.loss is cross_entropy:
            shares = torch.bincount(self.targets, minlength=self.outputs) / len(self.targets)
            return float(cross_entropy(shares.log().expand(len(y), -1), y))
        return float(mse_loss(self.targets.mean(0).expand_as(y), y))


@cache
def data_of(task: str) -> Data:
    """The data of a task."""
    generator = torch.Generator().manual_seed(SEED)
    if task == "digits by rows":
        x, y = load_digits(return_X_y=True)
        order = torch.randperm(len(y), generator=generator)
        series = torch.tensor(x, dtype=torch.float32).reshape(-1, 8, 8)[order].transpose(0, 1) / 16
        return _split(series, torch.tensor(y)[order], 10, cross_entropy)
    if task == "waves":
        kinds = torch.randint(5, (1700,), generator=generator)
        phase, noise = 6.2832 * torch.rand(1700, generator=generator), torch.randn(40, 1700, generator=generator)
        steps = torch.arange(40.0)[:, None]
        return _split((torch.sin((0.3 + 0.1 * kinds) * steps + phase) + 0.7 * noise)[..., None], kinds, 5, cross_entropy)
    if task == "adding":
        numbers, marks = torch.rand(30, 1700, generator=generator), torch.zeros(30, 1700)
        places = torch.stack([torch.randperm(30, generator=generator)[:2] for _ in range(1700)], 1)
        marks.scatter_(0, places, 1.0)
        return _split(torch.stack([numbers, marks], -1), (numbers * marks).sum(0)[:, None], 1, mse_loss)
    return _discharge()


def _discharge() -> Data:
    """Daily rain and evaporation, log discharge; the last year validates."""
    spec = find_spec("spotpy")
    if spec is None or spec.origin is None:
        raise SystemExit("the series of discharge comes with spotpy: make .venv installs it")
    path = Path(spec.origin).parent / "examples/hymod_python/hymod_input.csv"
    rain, evaporation, discharge = np.genfromtxt(path, delimiter=";", skip_header=1, usecols=(1, 2, 3)).T
    weather = torch.tensor(np.column_stack([np.log1p(rain), evaporation]), dtype=torch.float32)
    flow = torch.tensor(np.log1p(discharge), dtype=torch.float32)
    weather = (weather - weather.mean(0)) / weather.std(0)
    flow = (flow - flow[~flow.isnan()].mean()) / flow[~flow.isnan()].std()
    days = [day for day in range(45, len(flow)) if not flow[day].isnan()]
    series = torch.stack([weather[day - 44 : day + 1] for day in days], 1)
    return _split(series, flow[days][:, None], 1, mse_loss)


def _split(series: Tensor, targets: Tensor, outputs: int, loss: Callable[[Tensor, Tensor], Tensor]) -> Data:
    """The last fifth validates."""
    train = series.shape[1] * 4 // 5 // BATCH * BATCH
    return Data(series[:, :train], targets[:train], (series[:, train:], targets[train:]), outputs, loss)


class Model(nn.Module):
    """A recurrent network whose last state is read out."""

    def __init__(self, kind: str, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        made = {"lstm": nn.LSTM, "gru": nn.GRU, "tanh": nn.RNN}[kind]
        self.recurrent, self.head = made(inputs, hidden), nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Answers (B, O)."""
        return self.head(self.recurrent(x)[0][-1])


@dataclass(frozen=True)
class Outcome:
    """One training: the verdicts, those of single inputs, validation losses by epoch, and the share of time that `watch` took."""

    task: str
    answers: dict[str, tuple[float, float]]  # what answered -> expected score and probability
    losses: list[float]
    based_on: tuple[str, str]
    share: float


def trained(job: tuple[str, int]) -> Outcome:
    """Draw a configuration, train it, and ask before training and after one epoch."""
    torch.set_num_threads(1)
    task, number = job
    data, random = data_of(task), np.random.default_rng([SEED, list(TASKS).index(task), number])
    torch.manual_seed(int(random.integers(2**31)))
    hidden, clip = int(random.choice([12, 16, 24, 32, 48])), float(random.choice([0.0, 1.0]))
    model = Model(str(random.choice(["lstm", "gru", "tanh"])), data.inputs.shape[-1], hidden, data.outputs)
    initialisation = str(random.choice(["torch", "uniform", "orthogonal"]))
    _initialise(model.recurrent, initialisation, float(10 ** random.uniform(-2, 0.3)))
    rate, sgd = float(10 ** random.uniform(-4.5, -0.5)), random.random() < 0.2
    parameters = model.parameters()
    optimiser: Any = torch.optim.SGD(parameters, rate, momentum=0.9) if sgd else torch.optim.Adam(parameters, rate)
    begin = time.perf_counter()
    watched = watch(
        model,
        data.inputs,
        data.targets,
        loss=data.loss,
        optimizer=optimiser,
        budget=EPOCHS,
        batch_size=BATCH,
        validation=data.validation,
        clip_norm=clip,
        initialisation=initialisation,
        head="last",
    )
    verdicts, losses = [watched.before()], []
    for epoch in range(EPOCHS):
        of_epoch = []
        for chosen in torch.randperm(data.inputs.shape[1]).split(BATCH):
            optimiser.zero_grad()
            loss = data.loss(model(data.inputs[:, chosen]), data.targets[chosen])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), clip or float("inf"))
            optimiser.step()
            of_epoch.append(float(loss.detach()))
        with torch.no_grad():
            losses.append(float(data.loss(model(data.validation[0]), data.validation[1])))
        verdict = watched.epoch(of_epoch, validation_loss=losses[-1])
        if epoch == 0:
            verdicts.append(verdict)
    spent = time.perf_counter() - begin
    answers = {f"{moment}": (v.expected_score, v.probability) for moment, v in zip((BEFORE, EPOCH), verdicts, strict=True)}
    answers |= _single(rate, losses[0] / data.chance)
    return Outcome(task, answers, losses, (verdicts[0].based_on, verdicts[1].based_on), watched.seconds / spent)


def _initialise(module: nn.Module, kind: str, scale: float) -> None:
    """torch's own weights, uniform(-scale, scale), or that with orthogonal recurrent weights."""
    if kind == "torch":
        return
    for name, weight in module.named_parameters():
        nn.init.uniform_(weight, -scale, scale)
        if kind == "orthogonal" and "weight_hh" in name:
            with torch.no_grad():
                for block in weight.split(weight.shape[1]):
                    nn.init.orthogonal_(block)


def _single(rate: float, relative_loss: float) -> dict[str, tuple[float, float]]:
    """What the predictor's models of a single input answer."""
    predictor = packaged()
    asked = {
        "the learning rate alone": (BEFORE, "learning rate", {"log_learning_rate": np.log10(rate)}),
        "the loss alone": (EPOCH, "loss", {"early_log_relative_loss": np.log10(np.clip(relative_loss, 1e-12, 1e12))}),
    }
    found = {}
    for name, (moment, inputs, row) in asked.items():
        expected, probability = predictor._ask(moment, inputs, None, {c: np.array([value]) for c, value in row.items()})
        found[name] = float(expected[0]), float(probability[0])
    if not np.isfinite(relative_loss):
        found["the loss alone"] = 0.0, 0.0
    return found


@cache
def packaged() -> StabilityPredictor:
    """The predictor that comes with the library."""
    return StabilityPredictor.load()


def scored(outcomes: list[Outcome]) -> list[tuple[Outcome, float]]:
    """The share of the gap between chance and the best loss of its task that each training closed."""
    found = []
    for task in dict.fromkeys(o.task for o in outcomes):
        own, chance = [o for o in outcomes if o.task == task], data_of(task).chance
        final = np.array([o.losses[-1] if np.isfinite(o.losses[-1]) else np.inf for o in own])
        best = min(final.min(), chance)
        found += list(zip(own, np.clip((chance - final) / max(chance - best, 1e-12), 0, 1).tolist(), strict=True))
    return found


def measured(found: list[tuple[Outcome, float]], name: str) -> list[Any]:
    """A row of the table: AUC, Brier score, calibration error and slope, with intervals over trainings."""
    score = np.array([s for _, s in found])
    success = (score >= SUCCESS).astype(float)
    expected, probability = np.array([o.answers[name] for o, _ in found]).T
    random = np.random.default_rng(SEED)
    draws = [random.integers(0, len(found), len(found)) for _ in range(SAMPLES)]
    draws = [draw for draw in draws if 0 < success[draw].sum() < len(draw)]
    answers, whole = Answers(score, success, expected, probability, np.zeros(len(found), int)), np.ones((1, len(found)))

    def cell(measure: Callable[[Any], float]) -> str:
        low, high = np.percentile([measure(draw) for draw in draws], [2.5, 97.5])
        return f"{measure(np.arange(len(found))):.2f} ({low:.2f} to {high:.2f})"

    return [
        name,
        cell(lambda draw: roc_auc_score(success[draw], probability[draw])),
        cell(lambda draw: np.mean((success[draw] - probability[draw]) ** 2)),
        *(finite_or_none(float(measure(answers, whole)[0])) for measure in (calibration_error, calibration_slope)),
        f"{probability.mean():.2f} of {success.mean():.2f}",
    ]


def main() -> None:
    """Train, and print the page."""
    jobs = [(task, number) for task in TASKS for number in range(EACH)]
    with execution.executor(execution.process_count("auto")) as on:
        outcomes = sorted(execution.run(trained, jobs, on), key=lambda o: list(TASKS).index(o.task))
    found = scored(outcomes)
    print(ABOUT.format(epochs=EPOCHS, success=SUCCESS))
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, torch {torch.__version__}; {packaged()!r}.\n")
    rows = [
        [task, TASKS[task], len(own), sum(s >= SUCCESS for s in own)]
        for task in TASKS
        if (own := [s for o, s in found if o.task == task])
    ]
    print(Table(["task", "what is learned", "trainings", "successes"], rows, text_columns=2).markdown(), "\n")
    columns = ["asked", "AUC", "Brier score", "calibration error", "calibration slope", "mean probability, share of successes"]
    names = (BEFORE, "the learning rate alone", EPOCH, "the loss alone")
    print(Table(columns, [measured(found, name) for name in names]).markdown(), "\n")
    for place, moment in enumerate((BEFORE, EPOCH)):
        sets = sorted({o.based_on[place] for o in outcomes})
        print(f"Asked {moment}, the answers were based on {', '.join(repr(name) for name in sets)}.")
    share = float(np.median([o.share for o in outcomes]))
    print(f"`watch` took {share:.1%} of the time of a training (median), which is that of networks as small as these.")


if __name__ == "__main__":
    sys.exit(main())
