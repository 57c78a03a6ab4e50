"""Training by mini-batches that are counted one by one, mostly of fresh sequences, as in papers on long memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from pipeline import heads, tasks
from pipeline.cells import Cell
from pipeline.tasks import adding, copying
from pipeline.training.network import Module, Network

BATCH = 50
WINDOW = 20  # mini-batches over which the loss is averaged
SYMBOLS = 10  # that are to be copied
Sample = Callable[[Generator], tuple[Tensor, Tensor]]  # inputs (T, B, I) and targets of a mini-batch


@dataclass(frozen=True)
class Problem:
    """What a network should learn."""

    head: str
    output_size: int
    sample: Sample
    loss: Callable[[Tensor, Tensor], Tensor]  # of the head's answer and the targets


@dataclass(frozen=True)
class Learning:
    """A finished training."""

    module: Module
    losses: NDArray[np.float64]  # of the mini-batches
    solved_at: int | None  # number of mini-batches after which the mean loss of WINDOW of them was below the mark

    @property
    def last_loss(self) -> float:
        """Mean loss of the last WINDOW mini-batches."""
        return float(self.losses[-WINDOW:].mean())

    @property
    def rank(self) -> tuple[float, float]:
        """A key that orders trainings from the best: by when they solved the problem, then by the last loss; NaN is worst."""
        return self.solved_at or np.inf, float(np.nan_to_num(self.last_loss, nan=np.inf))

    def reached(self, otherwise: str) -> str:
        """When the problem was solved, or that it was not, with a remark."""
        return str(self.solved_at) if self.solved_at else f"not in {len(self.losses)} ({otherwise})"


def learn(
    cell: Cell,
    problem: Problem,
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    solved: float = -np.inf,
    optimiser: Callable[..., Optimizer] = Adam,
    clip_norm: float = np.inf,
) -> Learning:
    """Train until the mean loss of WINDOW mini-batches is below `solved`, for `steps` mini-batches at most.

    A loss that is not finite ends the training. The seed is that of the parameters and of the data; the cell's own `rates`
    multiply the learning rate.
    """
    random = np.random.default_rng(seed)
    batches = (problem.sample(random) for _ in range(steps))
    first = problem.sample(np.random.default_rng(seed))
    head = heads.get(problem.head)(cell.output_size, problem.output_size, len(first[0]))
    module = Network(cell, head).init(torch.Generator().manual_seed(seed))
    losses: list[float] = []
    todo = (problem.loss(module(x), y) for x, y in batches)
    for loss in descend(todo, module, optimiser(module.groups(learning_rate)), clip_norm):
        losses.append(loss)
        if len(losses) >= WINDOW and np.mean(losses[-WINDOW:]) < solved:
            return Learning(module, np.array(losses), len(losses))
        if not np.isfinite(loss):
            break
    return Learning(module, np.array(losses), None)


def descend(losses: Iterable[Tensor], module: nn.Module, optimiser: Optimizer, clip_norm: float = np.inf) -> Iterator[float]:
    """Take one step of the optimiser for each loss, and yield its value; each loss is computed after the step before it."""
    for loss in losses:
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), clip_norm)
        if torch.isfinite(loss):
            optimiser.step()
        yield loss.item()


def best_rate(
    train: Callable[[float, int, int], Learning], rates: Sequence[float], seeds: Sequence[int], steps: int
) -> tuple[float, list[Learning]]:
    """The learning rate that is best with the first seed, and the trainings of all seeds at this rate.

    Best is the rate that solves the problem soonest, or else leaves the lowest loss. `train` takes a learning rate, a seed
    and the largest number of mini-batches.
    """
    tried: dict[float, Learning] = {}
    most = steps
    for rate in rates:
        tried[rate] = train(rate, seeds[0], most)
        most = tried[rate].solved_at or most  # a rate that needs more is not better
    best = min(tried, key=lambda rate: tried[rate].rank)
    return best, [tried[best], *(train(best, seed, steps) for seed in seeds[1:])]


def fresh(task: str, draw: Callable[[Generator], tuple[NDArray[Any], NDArray[Any]]], input_size: int) -> Sample:
    """Mini-batches of new sequences of a task of the library."""

    def sample(random: Generator) -> tuple[Tensor, Tensor]:
        inputs, targets = map(torch.from_numpy, draw(random))
        return tasks.get(task).encode(inputs, input_size), targets

    return sample


def resampled(inputs: Tensor, targets: Tensor) -> Sample:
    """Mini-batches drawn from fixed sequences (T, N, I) with targets (N,)."""

    def sample(random: Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.from_numpy(random.integers(len(targets), size=BATCH))
        return inputs[:, chosen], targets[chosen]

    return sample


def adding_problem(steps: int) -> Problem:
    """The sum of two marked numbers; the answer 1 has the mean squared error 1/6."""
    sample = fresh("adding", lambda random: adding.sequences(BATCH, steps, random), 2)
    return Problem("last", 1, sample, tasks.get("adding").loss)


def copying_problem(delay: int) -> Problem:
    """Ten of eight symbols over a delay; the loss is in nats per step."""
    sample = fresh("copying", lambda random: copying.sequences(BATCH, SYMBOLS, delay, random), copying.MARKER + 1)
    return Problem("every", copying.ALPHABET + 1, sample, tasks.get("copying").loss)


def copying_baseline(delay: int) -> float:
    """Loss of answering with blanks and then guessing, in nats per step."""
    return SYMBOLS * float(np.log(copying.ALPHABET)) / (delay + 2 * SYMBOLS)
