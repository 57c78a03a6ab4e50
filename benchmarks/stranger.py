"""The predictor in code from outside: `python -m benchmarks.stranger > docs/stranger.md` compares predictions with outcomes.

The task and the cell are nowhere else in this repository, and the training loop is a plain one. A minimal gated unit (Zhou et
al. 2016) has to say, at each step, how long the last finished run of ones was, modulo 4. The packaged predictor, which has seen
neither the task nor the cell, predicts the success of CANDIDATES random configurations before training and after one epoch.
Each configuration is then trained to the end.
"""

import platform
import sys
import time
import warnings
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pipeline import AlignmentWarning, StabilityPredictor, early_measurements, lyapunov_spectrum, network_inputs

STEPS, TRAIN, VALIDATE, BATCH, EPOCHS, CLASSES = 30, 2400, 400, 40, 8, 4
CANDIDATES, SEED = 40, 7
ABOUT = """# The predictor in code from outside

`python -m benchmarks.stranger` makes this page. Its task and its cell are nowhere else in the repository: a minimal gated
unit has to say, at each step, how long the last finished run of ones was, modulo 4. The predictor says before training and
after one epoch how good each of some random configurations will be. Each configuration is then trained to the end. *Regret*
is the best score of all configurations minus the best score of the k that the predictor ranks first.
"""


class MinimalGatedUnit(nn.Module):
    """f = sigmoid(W x + U h + b); h' = (1 - f) h + f tanh(V x + R (f h) + c)."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden, inputs))
        self.weight_hh = nn.Parameter(torch.empty(2 * hidden, hidden))
        self.bias = nn.Parameter(torch.zeros(2 * hidden))

    def step(self, h: Tensor, x: Tensor) -> Tensor:
        """The next state (B, H)."""
        gate, drive = (x @ self.weight_ih.T + self.bias).chunk(2, -1)
        forget, recurrent = self.weight_hh.chunk(2)
        f = (gate + h @ forget.T).sigmoid()
        return (1 - f) * h + f * (drive + (f * h) @ recurrent.T).tanh()

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """States (T, B, H) and the last one."""
        h = x.new_zeros(x.shape[1], self.hidden) if h is None else h
        states = []
        for value in x:
            h = self.step(h, value)
            states.append(h)
        return torch.stack(states), h


class Model(nn.Module):
    """The cell and a linear head."""

    def __init__(self, hidden: int, scale: float) -> None:
        super().__init__()
        self.cell = MinimalGatedUnit(1, hidden)
        self.head = nn.Linear(hidden, CLASSES)
        for p in (self.cell.weight_ih, self.cell.weight_hh):
            nn.init.uniform_(p, -scale, scale)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (T, B, CLASSES)."""
        return self.head(self.cell(x)[0])


def runs(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Bits (T, N, 1) and the length, modulo 4, of the last run of ones that has ended, (T, N)."""
    bits = (torch.rand(STEPS, count, generator=generator) < 0.6).long()
    length, last = torch.zeros(count, dtype=torch.long), torch.zeros(count, dtype=torch.long)
    answers = []
    for bit in bits:
        last = torch.where((bit == 0) & (length > 0), length, last)
        length = torch.where(bit == 1, length + 1, 0)
        answers.append(last % CLASSES)
    return bits.float()[..., None], torch.stack(answers)


def loss_of(answers: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy."""
    return cross_entropy(answers.flatten(0, 1), targets.flatten())


def candidate(number: int, data: tuple[Tensor, ...], chance: float) -> tuple[list[dict[str, Any]], list[float], float]:
    """The inputs before training and after one epoch, the validation losses by epoch, and measuring time / training time."""
    x, y, validation_x, validation_y = data
    random = np.random.default_rng([SEED, number])
    hidden, clip = int(random.choice([16, 24, 32, 48])), float(random.choice([0.0, 1.0]))
    rate, scale = (float(low * (high / low) ** random.random()) for low, high in ((1e-4, 1e-1), (0.02, 2.0)))
    torch.manual_seed(number)
    model = Model(hidden, scale)
    optimiser = torch.optim.Adam(model.parameters(), rate)
    per_epoch = TRAIN // BATCH
    known: dict[str, Any] = {
        "steps": STEPS,
        "learning_rate": rate,
        "init_scale": scale,
        "hidden_size": hidden,
        "clip_norm": clip,
        "head": "every",
        "initialisation": "uniform",
        "batch_size": BATCH,
        "updates": EPOCHS * per_epoch,
        "task": "runs of ones",
        "cell": "mgu",
        "parameter_count": sum(p.numel() for p in model.parameters()),
    }
    measuring = 0.0

    def measured() -> tuple[Any, dict[str, float]]:
        nonlocal measuring
        begin = time.perf_counter()
        spectrum = lyapunov_spectrum(model.cell, validation_x[:, :2], count=8, transient=10)
        numbers = early_measurements(
            model,
            x[:, :500],
            y[:, :500],
            loss=loss_of,
            optimiser=optimiser,
            chance=chance,
            batch_size=BATCH,
            recurrent=model.cell,
            every_step=True,
            clip_norm=clip,
        )
        measuring += time.perf_counter() - begin
        return spectrum, numbers

    first = measured()
    rows = [network_inputs(spectrum=first[0], measurements=first[1], **known)]
    validation = [float(loss_of(model(validation_x), validation_y).detach())]
    training = 0.0
    for epoch in range(EPOCHS):
        begin = time.perf_counter()
        for chosen in torch.randperm(TRAIN).split(BATCH):
            optimiser.zero_grad()
            loss = loss_of(model(x[:, chosen]), y[:, chosen])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), clip or float("inf"))
            optimiser.step()
        validation.append(float(loss_of(model(validation_x), validation_y).detach()))
        training += time.perf_counter() - begin
        if epoch == 0:
            now = measured()
            rows.append(
                network_inputs(
                    spectrum=now[0],
                    initial=first[0],
                    measurements=now[1],
                    initial_measurements=first[1],
                    relative_loss=validation[1] / chance,
                    **known,
                )
            )
    return rows, validation, measuring / training


def main() -> None:
    """Print how good the predictions were, and one verdict."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", AlignmentWarning)  # the stretches are short
    generator = torch.Generator().manual_seed(SEED)
    data = (*runs(TRAIN, generator), *runs(VALIDATE, generator))
    shares = torch.bincount(data[1].flatten(), minlength=CLASSES) / data[1].numel()
    chance = float(loss_of(shares.log().expand(*data[3].shape, CLASSES), data[3]))
    found = [candidate(number, data, chance) for number in range(CANDIDATES)]
    final = np.array([validation[-1] for _, validation, _ in found])
    score = ((chance - final) / (chance - np.nanmin(final))).clip(0, 1)
    success = score >= 0.8
    predictor = StabilityPredictor.load()
    print(ABOUT)
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, one thread, torch {torch.__version__}; {predictor!r}.")
    print(
        f"{CANDIDATES} candidates, {success.sum()} successes; measuring twice took "
        f"{np.mean([share for *_, share in found]):.1%} of a training\n"
    )
    for place, moment in enumerate(("before training", "after one epoch")):
        answers = predictor.predict(pd.DataFrame([rows[place] for rows, *_ in found]))
        report(moment, answers, score, success)
    early = np.array([validation[1] for _, validation, _ in found])
    report("after one epoch, by the validation loss alone", pd.DataFrame({"expected_score": -early}), score, success)
    print("\nThe verdict on the best candidate before training:\n")
    print(f"```\n{predictor.verdict(found[int(np.argmax(score))][0][0])}\n```")


def report(moment: str, answers: pd.DataFrame, score: np.ndarray, success: np.ndarray) -> None:
    """Print one line on how good the predictions were."""
    expected = answers["expected_score"].to_numpy()
    line = f"{moment}: Spearman {spearmanr(expected, score).statistic:.2f}, AUC {roc_auc_score(success, expected):.2f}"
    if "probability_of_success" in answers:
        probability = answers["probability_of_success"].to_numpy()
        brier, alone = (np.mean((success - p) ** 2) for p in (probability, success.mean()))
        line += f"; of the probability: AUC {roc_auc_score(success, probability):.2f}, Brier {brier:.3f}"
        line += f" (the share of successes alone: {alone:.3f}), from {answers['based_on'].mode()[0]!r}"
    order = np.argsort(-expected)
    regrets = ", ".join(f"{k}: {score.max() - score[order[:k]].max():.2f}" for k in (1, 2, 4, 8))
    print(f"- {line}; regret if the best k are trained, k = {regrets}")


if __name__ == "__main__":
    sys.exit(main())
