"""Searches with Optuna, with and without the predictor: `python -m benchmarks.optuna_search > docs/optuna.md`.

Each search begins TRIALS trainings on scikit-learn's digits, whose rows are the steps of a sequence. `--small` makes a search
of a few trainings, to see that the benchmark works.
"""

import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import optuna
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from pipeline import watch
from pipeline.integrations.optuna import ScreeningSampler, StabilityPruner, expected_score, report

SMALL = "--small" in sys.argv
TRIALS, REPETITIONS, CANDIDATES = (6, 1, 2) if SMALL else (40, 5, 5)
LENGTHS = (2, 4) if SMALL else (8, 40)  # epochs of a training
TRAIN, BATCH, MEASURED, BELOW = 960, 32, 300, 0.05
SPACE: dict[str, BaseDistribution] = {
    "cell": CategoricalDistribution(["lstm", "gru"]),
    "hidden_size": CategoricalDistribution([16, 32, 64]),
    "learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
    "init_scale": FloatDistribution(0.01, 3.0, log=True),
    "clip_norm": CategoricalDistribution([0.0, 1.0]),
    "optimiser": CategoricalDistribution(["adamw", "sgd"]),
}
ABOUT = f"""# Searches with Optuna

`python -m benchmarks.optuna_search` makes this page. Each search begins {TRIALS} trainings, of {LENGTHS[0]} epochs in the
first part of the page and of {LENGTHS[1]} in the second. An LSTM or a GRU reads {TRAIN} digits of scikit-learn row by row
(8 steps of 8 numbers, mini-batches of {BATCH}), with 16, 32 or 64 units, learning rates from 1e-4 to 1e-1, initial weights
of 0.01 to 3 times torch's, with or without clipping, trained by AdamW or SGD with momentum. The score is the accuracy on the
other {1797 - TRAIN} digits, after the last epoch or, of a trial that was pruned, after the epoch at which it was.

*Ours* are `ScreeningSampler`, which draws {CANDIDATES} candidates for each of the first ten trainings and begins the most
promising one, and `StabilityPruner`, which ends a training whose probability of success is below {BELOW:g} after the first
epoch. `MedianPruner` has Optuna's defaults. Each repetition has the same seeds for all searches. Numbers are means over
{REPETITIONS} repetitions, and in brackets the smallest and the largest. Times are CPU seconds of one core, in which measuring
is included.

An epoch has {TRAIN // BATCH} mini-batches of 8 steps, so that measuring one network takes about as long as one or two epochs.
Longer sequences, more data or more epochs make measuring cheaper in comparison ([watching.md](watching.md)).
"""


@dataclass(frozen=True)
class Data:
    """Digits as sequences (B, T, 8), and their classes."""

    inputs: Tensor
    targets: Tensor
    validation: tuple[Tensor, Tensor]


class Model(nn.Module):
    """A cell and a linear head on its last state."""

    def __init__(self, cell: str, hidden: int, scale: float) -> None:
        super().__init__()
        self.rnn = {"lstm": nn.LSTM, "gru": nn.GRU}[cell](8, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 10)
        with torch.no_grad():
            for p in self.rnn.parameters():
                p.mul_(scale)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10)."""
        return self.head(self.rnn(x)[0][:, -1])


def digits() -> Data:
    """Shuffled digits with values in [0, 1]."""
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    x, y = torch.tensor(bunch.images[order] / 16, dtype=torch.float32), torch.tensor(bunch.target[order])
    return Data(x[:TRAIN], y[:TRAIN], (x[TRAIN:], y[TRAIN:]))


def build(params: dict[str, Any]) -> tuple[nn.Module, torch.optim.Optimizer, dict[str, Any]]:
    """A model, its optimiser and its options of `watch`."""
    model = Model(params["cell"], params["hidden_size"], params["init_scale"])
    rate = params["learning_rate"]
    adam = params["optimiser"] == "adamw"
    made = torch.optim.AdamW(model.parameters(), rate) if adam else torch.optim.SGD(model.parameters(), rate, momentum=0.9)
    return model, made, {"clip_norm": params["clip_norm"], "batch_size": BATCH, "updates_per_epoch": TRAIN // BATCH}


def epochs(data: Data, model: nn.Module, optimiser: torch.optim.Optimizer, clip: float) -> Iterator[tuple[float, list[float]]]:
    """Accuracy and losses of each epoch, without end."""
    while True:
        losses = []
        for part in torch.randperm(TRAIN).split(BATCH):
            optimiser.zero_grad()
            loss = cross_entropy(model(data.inputs[part]), data.targets[part])
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimiser.step()
            losses.append(loss.item())
        with torch.no_grad():
            inputs, targets = data.validation
            yield float((model(inputs).argmax(-1) == targets).double().mean()), losses


@dataclass
class Search:
    """One search, the time it took, and the part of it that was measuring."""

    data: Data
    seed: int
    length: int
    watched: bool
    measuring: float = 0.0
    epochs: int = 0

    def objective(self, trial: optuna.Trial) -> float:
        """Accuracy of a training."""
        params = {name: trial._suggest(name, distribution) for name, distribution in SPACE.items()}
        torch.manual_seed(1000 * self.seed + trial.number)
        model, optimiser, options = build(params)
        watched = self.timed(self.watch, model, optimiser, options) if self.watched else None
        accuracy = 0.0
        training = epochs(self.data, model, optimiser, params["clip_norm"])
        for epoch, (accuracy, losses) in zip(range(self.length), training, strict=False):
            self.epochs += 1
            trial.report(accuracy, epoch)
            if watched and epoch == 0:
                report(trial, self.timed(watched.epoch, losses))
            if trial.should_prune():
                break
        trial.set_user_attr("seconds", time.process_time())
        return accuracy

    def watch(self, model: nn.Module, optimiser: torch.optim.Optimizer, options: dict[str, Any]) -> Any:
        """A watch that has measured the network before training."""
        data = self.data.inputs[:MEASURED], self.data.targets[:MEASURED]
        found = watch(model, *data, loss=cross_entropy, optimizer=optimiser, budget=self.length, **options)
        found.before()
        return found

    def timed(self, do: Callable[..., Any], *arguments: Any) -> Any:
        """What a function returns; its time counts as measuring."""
        begin = time.process_time()
        found = do(*arguments)
        self.measuring += time.process_time() - begin
        return found


def searched(data: Data, length: int, name: str, seed: int) -> dict[str, Any]:
    """What a search found, and when."""
    inner: BaseSampler = TPESampler(seed=seed) if "TPE" in name else RandomSampler(seed=seed)
    ours = name.startswith("ours")
    search = Search(data, seed, length, watched=ours)
    other: BasePruner = MedianPruner() if "Median" in name else NopPruner()
    pruner = StabilityPruner(BELOW, inner=other) if ours else other
    if ours:
        few = data.inputs[:MEASURED], data.targets[:MEASURED]
        score = partial(search.timed, expected_score(build, *few, loss=cross_entropy, budget=length))
        inner = ScreeningSampler(inner, score, candidates=CANDIDATES, search_space=SPACE)
    study = optuna.create_study(sampler=inner, pruner=pruner, direction="maximize")
    begin = time.process_time()
    study.optimize(search.objective, n_trials=TRIALS)
    seconds = np.array([trial.user_attrs["seconds"] - begin for trial in study.trials])
    best = np.maximum.accumulate([trial.value for trial in study.trials])
    return {"best": best, "seconds": seconds, "measuring": search.measuring, "epochs": search.epochs}


NAMES = (
    "random",
    "random, MedianPruner",
    "TPE, MedianPruner",
    "ours: ScreeningSampler(TPE), StabilityPruner",
    "ours: ScreeningSampler(TPE), StabilityPruner, MedianPruner",
)


def spread(values: Any, form: str = ".3f") -> str:
    """Mean, smallest and largest."""
    return f"{np.mean(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def within(found: dict[str, Any], seconds: float) -> float:
    """The best score of the trainings that had ended by then; 0 if none had."""
    return float(max(found["best"][found["seconds"] <= seconds], default=0.0))


def table(title: str, columns: list[str], rows: dict[str, list[str]]) -> str:
    """A section with a table, one search per row."""
    head = ["search", *columns]
    lines = ["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *([n, *r] for n, r in rows.items()))]
    return f"### {title}\n\n" + "\n".join(lines) + "\n"


def part(data: Data, length: int) -> str:
    """The searches among trainings of one length."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in NAMES}
    for seed, name in tqdm([(seed, name) for seed in range(REPETITIONS) for name in NAMES], disable=None):
        found[name].append(searched(data, length, name, seed))
    counts = [n for n in (5, 10, 20, 40) if n <= TRIALS]
    whole = float(np.mean([run["seconds"][-1] for run in found["random"]]))
    times = [whole * share for share in (0.1, 0.25, 0.5, 1.0)]
    after = {name: [spread([run["best"][n - 1] for run in runs]) for n in counts] for name, runs in found.items()}
    during = {name: [spread([within(run, seconds) for run in runs]) for seconds in times] for name, runs in found.items()}
    costs = {
        name: [
            spread([run["seconds"][-1] for run in runs], ".1f"),
            spread([run["measuring"] for run in runs], ".1f"),
            spread([run["epochs"] for run in runs], ".0f"),
        ]
        for name, runs in found.items()
    }
    return "\n".join(
        [
            f"## Trainings of {length} epochs\n",
            table("Best score after so many trainings", list(map(str, counts)), after),
            table("Best score after so many seconds", [f"{seconds:.1f} s" for seconds in times], during),
            table("Cost of the whole search", ["seconds", "of them measuring", "epochs trained"], costs),
        ]
    )


def main() -> None:
    """Run all searches and print the page."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    data, begin = digits(), time.perf_counter()
    expected_score(build, data.inputs[:99], data.targets[:99], loss=cross_entropy, budget=8)(  # fits the predictor's models
        {"cell": "gru", "hidden_size": 16, "learning_rate": 1e-3, "init_scale": 1.0, "clip_norm": 0.0, "optimiser": "adamw"}
    )
    print(ABOUT)
    for length in LENGTHS:
        print(part(data, length))
    print(
        f"{platform.machine()}, one thread, torch {torch.__version__}, optuna {optuna.__version__}, "
        f"{datetime.now(UTC):%Y-%m-%d}; the benchmark took {time.perf_counter() - begin:.0f} s"
    )


if __name__ == "__main__":
    main()
