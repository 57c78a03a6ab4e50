"""Copying from memory (Hochreiter and Schmidhuber 1997, in the form of Arjovsky, Shah and Bengio 2016)."""

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from ._task import Splits, Task, accuracy, classification_loss, deal, log_frequencies

ALPHABET = 8  # symbols 1 to 8; 0 is blank and stands in inputs and targets
MARKER = ALPHABET + 1
FORMS = {  # symbols to remember, delay; sequences to train, validate, test
    "packaged": (5, 10, (3500, 500, 500)),
    "full": (10, 100, (20_000, 1000, 1000)),
}


class Copying(Task):
    """Five symbols over 10 steps, or ten over 100 as in the papers.

    Every step is judged. Who knows where the answer lies but not what it is, loses `symbols` ln 8 / (`delay` + 2 `symbols`)
    a step: the papers' baseline and, up to the sample, chance here. With batches of 25, an epoch of the packaged form is 140
    updates, twice those of other tasks at half their steps: with 70, an LSTM does not leave chance in six epochs.
    """

    title: ClassVar = "Copying from memory"
    description: ClassVar = (
        "Random symbols of an alphabet of eight go in, then blanks for a long while; at a sign, the symbols are asked for in "
        "their order."
    )
    head: ClassVar = "every"
    metric_name: ClassVar = "accuracy"
    batch_size: ClassVar = 25

    def load(self, size: str, seed: int) -> Splits:
        """Numbers (T, N) of what goes in and what is to come out, no sequence twice."""
        symbols, delay, counts = FORMS[size]
        arrays = deal(*sequences(sum(counts), symbols, delay, np.random.default_rng(seed)), counts)
        notes = {"symbols": symbols, "delay": delay, "baseline": symbols * float(np.log(ALPHABET)) / (delay + 2 * symbols)}
        return Splits(arrays, MARKER + 1, ALPHABET + 1, "generated from the seed", "none needed", notes)

    def encode(self, inputs: Tensor, input_size: int) -> Tensor:
        """One-hot vectors (T, B, I) of numbers (T, B)."""
        return one_hot(inputs.long(), input_size).to(torch.float32)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy in nats a step, over all steps."""
        return classification_loss(outputs, targets)

    def metric(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Share of the remembered symbols named right; the blanks do not count."""
        asked = targets > 0
        return accuracy(outputs[asked], targets[asked])

    def constant(self, targets: Tensor, output_size: int) -> Tensor:
        """Log frequencies of each step (T, 1, O): where the answer lies is no part of the input."""
        return torch.stack([log_frequencies(step, output_size) for step in targets])[:, None]


def sequences(count: int, symbols: int, delay: int, random: Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Inputs and targets (delay + 2 symbols, count), uint8; no sequence twice.

    The symbols go in first; `delay - 1` blanks and the marker follow, and the symbols are to come out after it, each
    `delay + symbols` steps after it went in.
    """
    codes = random.choice(ALPHABET**symbols, count, replace=False)
    drawn = 1 + codes // ALPHABET ** np.arange(symbols)[:, None] % ALPHABET
    inputs = np.zeros((delay + 2 * symbols, count), np.uint8)
    targets = inputs.copy()
    inputs[:symbols] = targets[-symbols:] = drawn
    inputs[symbols + delay - 1] = MARKER
    return inputs, targets
