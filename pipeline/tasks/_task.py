"""What every task is, and what tasks share."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..artefacts import Arrays, TaskData
from ..errors import DataError

DOWNLOADS = "downloads"  # where full-scale data is kept, in the working folder, ignored by git


@dataclass(frozen=True)
class Splits:
    """A task's sequences.

    Attributes:
        arrays: as in TaskData.
        input_size: I after encoding.
        output_size: O.
        source: where the data is from.
        licence: under which it may be used.
        notes: further facts to record, such as the vocabulary.
    """

    arrays: Arrays
    input_size: int
    output_size: int
    source: str
    licence: str
    notes: dict[str, Any]


class Task(ABC):
    """A dataset with its loss. Sequences are fixed in length and lie time first."""

    title: ClassVar[str]  # a phrase for figures
    description: ClassVar[str]  # what goes in, what is asked for
    head: ClassVar[str]  # "last" for one answer a sequence, "every" for one a step; others of the kind may read it out, too
    metric_name: ClassVar[str]
    batch_size: ClassVar[int]
    ordered: ClassVar[bool] = False  # whether a split's sequences are a series cut up, each the one that follows the last

    @abstractmethod
    def load(self, size: str, seed: int) -> Splits:
        """The sequences, `size` "packaged" or "full"; DataError if they cannot be had."""

    def encode(self, inputs: Tensor, input_size: int) -> Tensor:
        """Inputs as the network takes them, (T, B, I) float."""
        return inputs

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss, a scalar, of the head's answer."""

    @abstractmethod
    def metric(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What people quote, a scalar, of the head's answer."""

    @abstractmethod
    def constant(self, targets: Tensor, output_size: int) -> Tensor:
        """The best answer that ignores the input, fitted to training targets: (O,), or (T, 1, O) if it differs by step."""

    def chance(self, splits: Splits, split: str = "validation") -> float:
        """Loss on a split of the constant answer that fits the training targets best."""
        answer = self.constant(torch.from_numpy(splits.arrays["train_targets"]), splits.output_size)
        targets = torch.from_numpy(splits.arrays[f"{split}_targets"])
        shape = (targets.shape[0],) if self.head == "last" else tuple(targets.shape[:2])
        return float(self.loss(answer.expand(*shape, -1), targets))

    def prepare(self, name: str, size: str, seed: int) -> TaskData:
        """The sequences with all that later stages need to know about them."""
        splits = self.load(size, seed)
        for key, array in splits.arrays.items():
            if not array.size or not np.isfinite(array).all():
                raise DataError(f"task {name}: {key} is empty or holds values that are not finite")
        about = {
            "task": name,
            "title": self.title,
            "description": self.description,
            "metric": self.metric_name,
            "head": self.head,
            "batch_size": self.batch_size,
            "ordered": self.ordered,
            "size": size,
            "input_size": splits.input_size,
            "output_size": splits.output_size,
            "steps": int(splits.arrays["train_inputs"].shape[0]),
            "sequences": {s: int(splits.arrays[f"{s}_inputs"].shape[1]) for s in ("train", "validation", "test")},
            "chance": self.chance(splits),
            "source": splits.source,
            "licence": splits.licence,
            "hash": _hash(splits.arrays),
            "notes": splits.notes,
        }
        return TaskData(splits.arrays, about)


def classification_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy in nats, (..., O) logits and (...) classes."""
    return cross_entropy(outputs.flatten(0, -2), targets.long().flatten())


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of right answers, (..., O) logits and (...) classes."""
    return (outputs.argmax(-1) == targets.long()).double().mean()


def log_frequencies(targets: Tensor, output_size: int) -> Tensor:
    """Logits (O,) of the constant answer with the least cross-entropy; a class never seen counts as seen half a time."""
    counts = torch.bincount(targets.long().flatten(), minlength=output_size).double()
    return counts.clamp(min=0.5).div(counts.clamp(min=0.5).sum()).log().float()


def blocks(length: int, count: int, shares: tuple[int, int, int], seed: int) -> dict[str, list[slice]]:
    """Contiguous stretches of a series dealt to train, validation and test by a seed, each list in natural order."""
    edges = np.linspace(0, length, count + 1).astype(int)
    order = np.random.default_rng(seed).permutation(count)
    bounds = np.cumsum((0, *shares))
    return {
        name: [slice(int(edges[b]), int(edges[b + 1])) for b in sorted(order[bounds[i] : bounds[i + 1]])]
        for i, name in enumerate(("train", "validation", "test"))
    }


def deal(inputs: NDArray[Any], targets: NDArray[Any], counts: tuple[int, int, int]) -> Arrays:
    """The arrays of a task from sequences (T, N, ...) and targets (N,) or (T, N, ...): the first to training, and so on."""
    cuts = np.cumsum(counts)[:2]
    arrays = {}
    for kind, array in (("inputs", inputs), ("targets", targets)):
        parts = np.split(array, cuts, axis=min(1, array.ndim - 1))
        for name, part in zip(("train", "validation", "test"), parts, strict=True):
            arrays[f"{name}_{kind}"] = np.ascontiguousarray(part)
    return arrays


def driving_sequences(inputs: NDArray[Any], sequences: int, steps: int) -> NDArray[Any]:
    """Real input in its natural order to drive a spectrum, (steps, sequences, ...).

    The sequences (T, N, ...) are laid end to end and the stream is cut into stretches that do not overlap and begin
    where a sequence begins.

    Raises:
        DataError: the stream is too short for that many stretches.
    """
    length, count = inputs.shape[:2]
    each = -(-steps // length)  # whole sequences that cover one stretch
    if each * sequences > count:
        raise DataError(
            f"the validation split has {count} sequences of {length} steps, too few for spectrum.sequences = {sequences} "
            f"stretches of {steps} steps; lower spectrum.sequences, spectrum.transient or spectrum.steps"
        )
    starts = np.linspace(0, count - each, sequences).astype(int)
    stream = np.swapaxes(inputs, 0, 1)
    return np.stack([stream[s : s + each].reshape(each * length, *inputs.shape[2:])[:steps] for s in starts], axis=1)


def _hash(arrays: Arrays) -> str:
    total = hashlib.sha256()
    for name in sorted(arrays):
        total.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return total.hexdigest()
