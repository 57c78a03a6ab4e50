"""The 1,797 images of digits (8 x 8) of scikit-learn as sequences: 1,437 for training, 360 for the test."""

from functools import cache

import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn.functional import cross_entropy

from pipeline.cells import Cell
from pipeline.training.network import Module

from ._learn import BATCH, Learning, Problem, learn, resampled

EPOCH = 1437 // BATCH  # mini-batches


@cache
def digits(size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs (64 / size, N, size) in [0, 1] and classes (N,) for training, then for the test; size 1 is pixel by pixel."""
    images, classes = load_digits(return_X_y=True)
    parts = train_test_split(images / 16, classes, test_size=360, random_state=0, stratify=classes)
    train, test = (torch.tensor(p, dtype=torch.float32).reshape(len(p), -1, size).transpose(0, 1) for p in parts[:2])
    return train, torch.tensor(parts[2]), test, torch.tensor(parts[3])


def problem(size: int, head: str = "last") -> Problem:
    """To name the digits, `size` pixels per step."""
    return Problem(head, 10, resampled(*digits(size)[:2]), cross_entropy)


def learned(cell: Cell, *, epochs: int, **options: object) -> Learning:
    """A classifier that reads the last output, trained on as many mini-batches as `epochs` have; options as of `learn`."""
    return learn(cell, problem(cell.input_size), steps=epochs * EPOCH, **options)  # type: ignore[arg-type]


def accuracy(module: Module) -> float:
    """Share of the test images that are classified correctly."""
    return share_right(module, *digits(module.network.cell.input_size)[2:])


@torch.no_grad()
def share_right(module: Module, inputs: Tensor, classes: Tensor) -> float:
    """Share of sequences (T, N, I) that are classified correctly."""
    return float((module(inputs).argmax(-1) == classes).double().mean())


@cache
def linear_accuracy() -> float:
    """Accuracy of logistic regression on the 64 pixels."""
    train, classes, test, asked = (p.numpy() for p in digits(64))
    return float(LogisticRegression(max_iter=2000).fit(train[0], classes).score(test[0], asked))
