"""How far back a target depends on the inputs, from the data alone."""

import numpy as np
from numpy.typing import NDArray

SAMPLES = 4000  # pairs of an input and a target for each lag, half of them to learn from
SHUFFLES = 20
RIDGE = 1.0
PRODUCTS = 8  # inputs up to which their products count
TOKENS = 256  # most tokens, the most frequent ones, that count as inputs
CLASSES = 128  # most classes, the most frequent ones, that are told apart
Values = NDArray[np.float64]


def lags(inputs: NDArray[np.floating], targets: NDArray[np.generic], *, every_step: bool) -> tuple[Values, bool]:
    """Dependence of a target on the input tau steps before it, w(tau), (T,), of sum 1; and whether any was found.

    A ridge regression predicts the target from the input of one step, its squares and, for up to PRODUCTS inputs, their
    products. w(tau) is the share of the target's variance that it explains on half of the sequences after it was fitted to
    the other half, before the shares are divided by their sum. A share counts as 0 unless it exceeds the 95 % quantile, over
    shuffles of the targets, of the largest share of all lags. A dependence on several steps jointly and on none of them
    alone, such as an exclusive or, is not found: w is then the same for all lags.

    Args:
        inputs: (T, B, ...); integers (T, B) are tokens, of which the TOKENS most frequent are told apart.
        targets: (B, ...), belonging to the last step, or (T, B, ...) at every step; integers are classes, see `classes`, and
            what is negative does not count.
        every_step: whether targets are given at every step.
    """
    steps, count = inputs.shape[:2]
    random = np.random.default_rng(0)
    tokens = _frequent(inputs, TOKENS) if inputs.ndim == 2 and inputs.dtype.kind in "iu" else None
    kept = classes(targets)
    shares, shuffled = np.zeros(steps), np.zeros((steps, SHUFFLES))
    for lag in range(steps):
        pairs = count * (steps - lag) if every_step else count
        drawn = random.choice(pairs, min(pairs, SAMPLES), replace=False)  # twice the same pair would look like dependence
        sequence, at = drawn % count, lag + drawn // count if every_step else np.full(len(drawn), steps - 1)
        there = counted(targets[at, sequence] if every_step else targets[sequence])
        if not there.any():
            continue
        sequence, at = sequence[there], at[there]
        x, y = inputs[at - lag, sequence], numbers(targets[at, sequence] if every_step else targets[sequence], 1, kept)
        x = _features(x if tokens is None else x[:, None] == tokens)
        shares[lag], shuffled[lag] = _explained(x, y, sequence < count / 2, random)
    found = np.where(shares > np.quantile(shuffled.max(0), 0.95), shares, 0.0).clip(min=0)
    total = found.sum()
    return (found / total, True) if total > 0 else (np.full(steps, 1 / steps), False)


def needed(weights: Values) -> int:
    """tau*, steps: the lag within which 95 % of w lie."""
    return int(np.searchsorted(np.cumsum(weights), 0.95 - 1e-9))


def numbers(targets: NDArray[np.generic], axes: int, kept: NDArray[np.generic] | None = None) -> Values:
    """Targets as numbers (..., O), with `axes` axes before the last.

    Classes become one-hot vectors of those in `kept`, by default of `classes`; others, such as negative ones, become zeros.
    """
    kept = classes(targets) if kept is None else kept
    if kept is not None:
        targets = targets[..., None].astype(int) == kept
    return targets.astype(float).reshape(*targets.shape[:axes], -1)


def counted(targets: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Which of the targets (N, ...) count, (N,): all but negative integers, which losses ignore."""
    if targets.dtype.kind != "i":
        return np.ones(len(targets), bool)
    return np.asarray(np.greater_equal(targets.reshape(len(targets), -1), 0).any(1))


def classes(targets: NDArray[np.generic]) -> NDArray[np.generic] | None:
    """All classes from 0 to the largest, or the CLASSES most frequent ones if these are more; None if targets are values."""
    if targets.dtype.kind not in "iub":
        return None
    count = int(targets.max()) + 1
    return np.arange(count) if count <= CLASSES else _frequent(targets[np.greater_equal(targets, 0)], CLASSES)


def _frequent(values: NDArray[np.generic], most: int) -> NDArray[np.generic]:
    """The most frequent values, in ascending order."""
    found, counts = np.unique(values, return_counts=True)
    return np.sort(found[np.argsort(-counts, kind="stable")[:most]])


def _features(x: NDArray[np.floating]) -> Values:
    """(N, features): standardised inputs, their squares, and their products if there are few; many 0 and 1 are only centred."""
    x = x.astype(float).reshape(len(x), -1)
    if x.shape[1] > PRODUCTS and np.isin(x, (0, 1)).all():
        return x - x.mean(0)
    x = _standard(x)
    if x.shape[1] <= PRODUCTS:
        first, second = np.triu_indices(x.shape[1])
        return _standard(np.hstack([x, x[:, first] * x[:, second]]))
    return _standard(np.hstack([x, x**2]))


def _standard(x: NDArray[np.floating]) -> Values:
    spread = x.std(0)
    return np.where(spread > 1e-12, (x - x.mean(0)) / np.maximum(spread, 1e-12), 0.0)


def _explained(x: Values, y: Values, learn: NDArray[np.bool_], random: np.random.Generator) -> tuple[float, Values]:
    """Share of the variance of y that ridge regression explains on the rows that it did not learn from; and of shuffled y."""
    judge = ~learn
    if learn.sum() < 4 or judge.sum() < 4:
        return 0.0, np.zeros(SHUFFLES)
    y = y - y[learn].mean(0)
    shuffles = [np.arange(len(y))] + [random.permutation(len(y)) for _ in range(SHUFFLES)]
    all_y = np.stack([y[order] for order in shuffles], axis=1).reshape(len(y), -1)  # (N, (1 + SHUFFLES) O)
    gram = x[learn].T @ x[learn] + RIDGE * np.eye(x.shape[1])
    errors = all_y[judge] - x[judge] @ np.linalg.solve(gram, x[learn].T @ all_y[learn])
    left = (errors**2).reshape(judge.sum(), len(shuffles), -1).sum((0, 2))
    total = (all_y[judge] ** 2).reshape(judge.sum(), len(shuffles), -1).sum((0, 2))
    shares = 1 - left / np.maximum(total, 1e-30)
    return float(shares[0]), shares[1:]
