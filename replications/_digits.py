"""scikit-learn's 1,797 images of digits (8 x 8), as sequences: 1,437 to train on, 360 to test."""

from functools import cache, partial

import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from pipeline.cells import Cell

from ._learn import Learning, learn

BATCH = 50
EPOCH = 1437 // BATCH  # mini-batches


@cache
def digits(size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs (64 / size, N, size) within 0 and 1 and classes (N,), of training, then of the test; size 1 is pixel by pixel."""
    images, classes = load_digits(return_X_y=True)
    parts = train_test_split(images / 16, classes, test_size=360, random_state=0, stratify=classes)
    train, test = (torch.tensor(p, dtype=torch.float32).reshape(len(p), -1, size).transpose(0, 1) for p in parts[:2])
    return train, torch.tensor(parts[2]), test, torch.tensor(parts[3])


def sample(size: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """A mini-batch of the training images."""
    inputs, classes, _, _ = digits(size)
    chosen = torch.randint(len(classes), (BATCH,), generator=generator)
    return inputs[:, chosen], classes[chosen]


def learned(cell: Cell, size: int, *, epochs: int, **options: object) -> Learning:
    """A classifier by the last output, trained on as many mini-batches as `epochs` have; options as `learn` takes them."""
    return learn(cell, "last", 10, partial(sample, size), cross_entropy, steps=epochs * EPOCH, **options)


@torch.no_grad()
def accuracy(learning: Learning, size: int) -> float:
    """Share of test images that are named rightly."""
    _, _, inputs, classes = digits(size)
    return float((learning.module(inputs).argmax(-1) == classes).double().mean())


def linear_accuracy() -> float:
    """What logistic regression on the 64 pixels reaches."""
    train, classes, test, asked = (p.numpy() for p in digits(64))
    return float(LogisticRegression(max_iter=2000).fit(train[0], classes).score(test[0], asked))
