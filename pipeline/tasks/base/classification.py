"""Tasks whose targets are classes: their loss, metric and best constant answer."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from .task import Task


class Classification(Task):
    """Abstract: a task whose targets are classes, (B,) or one per step (T, B)."""

    metric_name: ClassVar = "accuracy"

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats."""
        return classification_loss(outputs, targets)

    def metric(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Share of right answers."""
        return accuracy(outputs, targets)

    def constant(self, targets: Tensor, output_size: int) -> Tensor:
        """Log frequencies of the classes."""
        return log_frequencies(targets, output_size)


def classification_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy in nats of logits (..., O) for classes (...)."""
    return cross_entropy(outputs.flatten(0, -2), targets.long().flatten())


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of right answers, from logits (..., O) and classes (...)."""
    return (outputs.argmax(-1) == targets.long()).double().mean()


def log_frequencies(targets: Tensor, output_size: int) -> Tensor:
    """Logits (O,) of the constant answer with the least cross-entropy; a class that never occurs counts as half a time."""
    counts = torch.bincount(targets.long().flatten(), minlength=output_size).double()
    return counts.clamp(min=0.5).div(counts.clamp(min=0.5).sum()).log().float()


def one_hot_vectors(tokens: Tensor, size: int) -> Tensor:
    """One-hot vectors (T, B, size), float32, of token numbers (T, B)."""
    return one_hot(tokens.long(), size).to(torch.float32)
