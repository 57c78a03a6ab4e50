"""Times `watch`: `python -m benchmarks.watching > docs/watching.md` gives its cost in mini-batches and as a share of an epoch."""

import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pipeline import watch
from pipeline.core.tables import Table

STEPS, BATCH, SEQUENCES, EPOCH, REPEATS = 100, 50, 500, 70, 5
CELLS = {"LSTM": nn.LSTM, "GRU": nn.GRU}
SIZES = (32, 128, 256)
LONG = 1000  # mini-batches of an epoch of which shares are given
ABOUT = f"""# What watching costs

`python -m benchmarks.watching` makes this page. A network with {STEPS} steps and mini-batches of {BATCH} sequences is watched;
{SEQUENCES} of its sequences are handed over. Each time is the median of {REPEATS} networks, in units of the training's own
mini-batches (forward, backward, step), which are timed in between. The first column is paid once for each training, before its
first verdict. Networks with 32 units are like those that the predictor learned from: after an epoch, only their loss and their
spectrum are measured. Of larger networks everything is measured again.

A training of 20 epochs asks three times. Shares are of one epoch of {LONG:,} mini-batches.
"""


class Model(nn.Module):
    """A recurrent network whose last state is read out."""

    def __init__(self, kind: type[nn.RNNBase], hidden: int) -> None:
        super().__init__()
        self.recurrent, self.head = kind(4, hidden), nn.Linear(hidden, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 3)."""
        return self.head(self.recurrent(x)[0][-1])


def times(cell: str, hidden: int, seed: int) -> list[float]:
    """Seconds of a mini-batch, and, in mini-batches, of `watch` with `before`, of an eighth of an epoch and of a whole one."""
    torch.manual_seed(seed)
    x, y = torch.randn(STEPS, SEQUENCES, 4), torch.randint(3, (SEQUENCES,))
    model = Model(CELLS[cell], hidden)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)

    def update() -> float:
        optimiser.zero_grad()
        loss = cross_entropy(model(x[:, :BATCH]), y[:BATCH])
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    def begin() -> None:
        nonlocal watched
        options = {"loss": cross_entropy, "optimizer": optimiser, "budget": 20, "batch_size": BATCH, "updates_per_epoch": EPOCH}
        watched = watch(model, x, y, **options)
        watched.before()

    watched = None
    first = _seconds(begin)
    losses, training = [], []
    for _ in range(EPOCH):
        training.append(_seconds(lambda: losses.append(update())))
    part = len(losses) // 8 + 1
    eighth, epoch = (_seconds(partial(watched.epoch, some)) for some in (losses[:part], losses[part:]))
    batch = statistics.median(training)
    return [batch, first / batch, eighth / batch, epoch / batch]


def _seconds(act: Callable[[], object]) -> float:
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def main() -> None:
    """Print the page."""
    torch.set_num_threads(1)
    print(ABOUT)
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, one thread, torch {torch.__version__}.\n")
    rows = []
    for hidden in SIZES:
        for cell in CELLS:
            times(cell, hidden, 0)  # the models of the predictor are fitted at the first question
            batch, *asked = (
                statistics.median(column) for column in zip(*(times(cell, hidden, s) for s in range(REPEATS)), strict=True)
            )
            shares = [f"{count:.1f} ({count / LONG:.2%})" for count in asked]
            rows.append([f"{cell} {hidden}", f"{1e3 * batch:.1f} ms", *shares, f"{sum(asked) / LONG / 20:.2%}"])
    columns = ["network", "a mini-batch", "before training", "an eighth of an epoch", "one epoch", "all, of 20 epochs"]
    print(Table(columns, rows).markdown())


if __name__ == "__main__":
    main()
