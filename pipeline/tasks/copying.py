"""Copying from memory (Hochreiter and Schmidhuber 1997, in the form of Arjovsky, Shah and Bengio 2016)."""

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from .base.classification import accuracy, classification_loss, log_frequencies, one_hot_vectors
from .base.task import Splits, Task, deal

ALPHABET = 8  # symbols 1 to 8; 0 is blank, in inputs and targets
MARKER = ALPHABET + 1
FORMS = {  # symbols to remember, delay; numbers of training, validation and test sequences
    "packaged": (5, 10, (3500, 500, 500)),
    "long": (5, 30, (3500, 500, 500)),
    "full": (10, 100, (20_000, 1000, 1000)),
}


class Copying(Task):
    """Five symbols over 10 steps, five over 30 steps in the long form, or ten over 100 steps as in the papers.

    Every step counts. An answer that knows when the symbols are due but not what they are loses `symbols` ln 8 /
    (`delay` + 2 `symbols`) nats per step; this is the baseline of the papers and, up to sampling, chance here. With batches
    of 25, an epoch of the packaged form has 140 updates, twice as many as other tasks, whose sequences are twice as long:
    with 70 updates, an LSTM does not improve on chance within six epochs.
    """

    title: ClassVar = "Copying from memory"
    description: ClassVar = (
        "The inputs are random symbols from an alphabet of eight, followed by many blanks; after a marker, the network must "
        "repeat the symbols in their order."
    )
    head: ClassVar = "every"
    metric_name: ClassVar = "accuracy"
    batch_size: ClassVar = 25
    sizes: ClassVar = ("packaged", "long", "full")

    def load(self, size: str, seed: int) -> Splits:
        """Inputs and targets as token numbers (T, N); no sequence occurs twice."""
        symbols, delay, counts = FORMS[size]
        arrays = deal(*sequences(sum(counts), symbols, delay, np.random.default_rng(seed)), counts)
        notes = {"symbols": symbols, "delay": delay, "baseline": symbols * float(np.log(ALPHABET)) / (delay + 2 * symbols)}
        return Splits(arrays, MARKER + 1, ALPHABET + 1, "generated from the seed", "none needed", notes)

    def encode(self, inputs: Tensor, input_size: int) -> Tensor:
        """One-hot vectors (T, B, I) of token numbers (T, B)."""
        return one_hot_vectors(inputs, input_size)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats per step, over all steps."""
        return classification_loss(outputs, targets)

    def metric(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Share of the symbols that are reproduced; blanks do not count."""
        asked = targets > 0
        return accuracy(outputs[asked], targets[asked])

    def constant(self, targets: Tensor, output_size: int) -> Tensor:
        """Log frequencies at each step (T, 1, O): the time at which the answer is due is not part of the input."""
        return torch.stack([log_frequencies(step, output_size) for step in targets])[:, None]


def sequences(count: int, symbols: int, delay: int, random: Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Inputs and targets (delay + 2 symbols, count), uint8; no sequence occurs twice.

    The inputs are the symbols, then `delay - 1` blanks, the marker, and blanks. The targets after the marker are the
    symbols, each `delay + symbols` steps after its input.
    """
    codes = random.choice(ALPHABET**symbols, count, replace=False)
    drawn = 1 + codes // ALPHABET ** np.arange(symbols)[:, None] % ALPHABET
    inputs = np.zeros((delay + 2 * symbols, count), np.uint8)
    targets = inputs.copy()
    inputs[:symbols] = targets[-symbols:] = drawn
    inputs[symbols + delay - 1] = MARKER
    return inputs, targets
