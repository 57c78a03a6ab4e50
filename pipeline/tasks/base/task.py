"""The interface of every task, and functions that several tasks share."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.errors import DataError
from ...core.files import Arrays
from ...core.records import TaskData, TaskInfo

DOWNLOADS = "downloads"  # folder of the full-scale data, in the working directory, ignored by git


@dataclass(frozen=True)
class Splits:
    """A task's sequences.

    Attributes:
        arrays: as in TaskData.
        input_size: I after encoding.
        output_size: O.
        source: where the data are from.
        licence: licence of the data.
        notes: further facts to record, such as the vocabulary.
    """

    arrays: Arrays
    input_size: int
    output_size: int
    source: str
    licence: str
    notes: dict[str, Any]


class Task(ABC):
    """A dataset with its loss. All sequences of a split have the same length, and the time axis comes first."""

    title: ClassVar[str]  # a phrase for figures
    description: ClassVar[str]  # the inputs and what the network must answer
    head: ClassVar[str]  # "last" for one answer per sequence, "every" for one per step; other heads of that kind can be used too
    metric_name: ClassVar[str]
    batch_size: ClassVar[int]
    ordered: ClassVar[bool] = False  # whether a split is one series cut into consecutive sequences
    sizes: ClassVar[tuple[str, ...]] = ("packaged", "full")  # "long", where it exists, is "packaged" with longer sequences

    @abstractmethod
    def load(self, size: str, seed: int) -> Splits:
        """The sequences for one of the `sizes`; DataError if they are not available."""

    def encode(self, inputs: Tensor, input_size: int) -> Tensor:
        """The inputs as the network takes them, (T, B, I) float."""
        return inputs

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of the head's answer, as a scalar."""

    @abstractmethod
    def metric(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The metric usually reported for this task, of the head's answer, as a scalar."""

    @abstractmethod
    def constant(self, targets: Tensor, output_size: int) -> Tensor:
        """The best answer that ignores the input, fitted to training targets: (O,), or (T, 1, O) if it differs by step."""

    def chance(self, splits: Splits, split: str = "validation") -> float:
        """The loss, on one split, of the constant answer that fits the training targets best."""
        answer = self.constant(torch.from_numpy(splits.arrays["train_targets"]), splits.output_size)
        targets = torch.from_numpy(splits.arrays[f"{split}_targets"])
        shape = (targets.shape[0],) if self.head == "last" else tuple(targets.shape[:2])
        return float(self.loss(answer.expand(*shape, -1), targets))

    def prepare(self, name: str, size: str, seed: int) -> TaskData:
        """The sequences, with all that later stages need to know about them.

        Raises:
            DataError: if the task has no such size, if the sequences are not available, or if an array is empty or not finite.
        """
        if size not in self.sizes:
            raise DataError(f"task {name} has no form for prepare.size = {size}; set prepare.size to {' or '.join(self.sizes)}")
        splits = self.load(size, seed)
        for key, array in splits.arrays.items():
            if not array.size or not np.isfinite(array).all():
                raise DataError(f"task {name}: {key} is empty or contains values that are not finite")
        info = TaskInfo(
            task=name,
            title=self.title,
            description=self.description,
            metric=self.metric_name,
            head=self.head,
            batch_size=self.batch_size,
            ordered=self.ordered,
            size=size,
            input_size=splits.input_size,
            output_size=splits.output_size,
            steps=int(splits.arrays["train_inputs"].shape[0]),
            sequences={s: int(splits.arrays[f"{s}_inputs"].shape[1]) for s in ("train", "validation", "test")},
            chance=self.chance(splits),
            source=splits.source,
            licence=splits.licence,
            hash=_hash(splits.arrays),
            notes=splits.notes,
        )
        return TaskData(splits.arrays, info)


def blocks(length: int, count: int, shares: tuple[int, int, int], seed: int) -> dict[str, list[slice]]:
    """Cut a series into `count` contiguous blocks and assign them to train, validation and test by a seed.

    Returns:
        Split -> its blocks as slices of the series, in natural order.
    """
    edges = np.linspace(0, length, count + 1).astype(int)
    order = np.random.default_rng(seed).permutation(count)
    bounds = np.cumsum((0, *shares))
    return {
        name: [slice(int(edges[b]), int(edges[b + 1])) for b in sorted(order[bounds[i] : bounds[i + 1]])]
        for i, name in enumerate(("train", "validation", "test"))
    }


def deal(inputs: NDArray[Any], targets: NDArray[Any], counts: tuple[int, int, int]) -> Arrays:
    """The arrays of a task from sequences (T, N, ...) and targets (N,) or (T, N, ...); the first ones are for training."""
    cuts = np.cumsum(counts)[:2]
    arrays = {}
    for kind, array in (("inputs", inputs), ("targets", targets)):
        parts = np.split(array, cuts, axis=min(1, array.ndim - 1))
        for name, part in zip(("train", "validation", "test"), parts, strict=True):
            arrays[f"{name}_{kind}"] = np.ascontiguousarray(part)
    return arrays


def driving_sequences(inputs: NDArray[Any], sequences: int, steps: int) -> NDArray[Any]:
    """Real inputs in their natural order that drive a spectrum, (steps, sequences, ...).

    The sequences (T, N, ...) are concatenated, and the stream is cut into segments that do not overlap and that each begin
    at the beginning of a sequence.

    Raises:
        DataError: if the stream is too short for that many segments.
    """
    length, count = inputs.shape[:2]
    each = -(-steps // length)  # number of whole sequences that cover one segment
    if each * sequences > count:
        raise DataError(
            f"the validation split has {count} sequences of {length} steps, too few for spectrum.sequences = {sequences} "
            f"segments of {steps} steps; lower spectrum.sequences, spectrum.transient or spectrum.steps"
        )
    starts = np.linspace(0, count - each, sequences).astype(int)
    stream = np.swapaxes(inputs, 0, 1)
    return np.stack([stream[s : s + each].reshape(each * length, *inputs.shape[2:])[:steps] for s in starts], axis=1)


def _hash(arrays: Arrays) -> str:
    """SHA-256 of the names, dtypes, shapes and contents of the arrays."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        total.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return total.hexdigest()
