"""How well the final losses of networks are predicted from their spectra, out of fold; for lyapunov_paper.py."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.core.cards import Estimate

from ._bootstrap import Places, estimate, r2
from ._codes import Code, Components
from ._lyapunov_networks import Measured, Values

FOLDS, REPEATS, RESAMPLES = 5, 3, 1000
LENGTH = 24  # numbers to which every spectrum is stretched, since sizes differ
LATENT = 4
FINAL, EARLY, REST = "final spectrum", "spectrum after epoch 1", "cell, size, hyper-parameters, loss after epoch 1"
RATE, AT_RATE = 1e-2, ", at learning rate 0.01 and the original's p"
WIDEST = 0.4 * 512**0.5  # p H ** 0.5 of the original's widest initialisation
CHANGES = {  # what is changed -> sets with and without
    "reverse order instead of the right one": ("final spectrum, reverse order", FINAL),
    "LSTM's h alone instead of (h, c)": ("final spectrum, LSTM of h alone", FINAL),
    "both mistakes": ("final spectrum, both mistakes", FINAL),
    "adding the final spectrum to cell and size": ("final spectrum, cell and size", "cell and size"),
    "adding the spectrum to the loss, after epoch 1": ("loss and spectrum after epoch 1", "loss after epoch 1"),
    "adding the spectrum to all else known after epoch 1": ("all that is known after epoch 1", REST),
}


def judge(text: Sequence[Measured]) -> dict[str, Estimate]:
    """R2 of the final loss from each set of features, what one set adds to another, leakage, and latent codes."""
    at_rate = [n for n in text if n.point.learning_rate == RATE and not n.point.dropout]
    at_rate = [n for n in at_rate if n.point.init_scale * n.point.hidden_size**0.5 <= WIDEST + 1e-6]
    what = "adding the final spectrum to cell and size"
    names = ("cell and size", FINAL, "final spectrum, cell and size")
    pooled = _compared(at_rate, names, {what: CHANGES[what]})  # as the sizes of the original: size is a confounder
    known = _compared(text, tuple(_table(text)), CHANGES) | {f"{name}{AT_RATE}": value for name, value in pooled.items()}
    return known | _leakage(text) | _latent_codes(text)


def _compared(networks: Sequence[Measured], names: Sequence[str], changes: Mapping[str, tuple[str, str]]) -> dict[str, Estimate]:
    """R2 from sets of features, and the changes between them."""
    losses, sets = np.array([n.loss for n in networks]), _table(networks)
    predicted = {name: out_of_fold(trees(), sets[name], losses) for name in names}
    found = {name: judged(p, losses) for name, p in predicted.items()}
    return found | {f"change by {what}": judged(predicted[a], losses, predicted[b]) for what, (a, b) in changes.items()}


def trees() -> Any:
    """The regressor that judges all sets of features."""
    return ExtraTreesRegressor(60, random_state=0)


def out_of_fold(model: Any, features: Values, losses: Values) -> Values:
    """Predictions (REPEATS, N), each for networks that the model had not seen."""
    folds = [KFold(FOLDS, shuffle=True, random_state=seed) for seed in range(REPEATS)]
    return np.array([cross_val_predict(model, features, losses, cv=fold) for fold in folds])


def judged(predicted: Values, losses: Values, other: Values | None = None) -> Estimate:
    """R2 of predictions (repeats, N), mean over repeats, or its excess over that of others on the same networks."""

    def explained(answers: Values, places: Places) -> Values:
        return np.mean([r2((losses, a), places) for a in answers], axis=0)

    def statistic(places: Places) -> Values:
        return explained(predicted, places) - (0 if other is None else explained(other, places))

    return estimate(statistic, len(losses), RESAMPLES, seed=0)


def stretched(spectrum: Values) -> Values:
    """A spectrum interpolated at LENGTH equal steps of its index, from the largest exponent to the smallest."""
    return np.interp(np.linspace(0, 1, LENGTH), np.linspace(0, 1, len(spectrum)), spectrum)


def plain(spectrum: Values, steps: int = 50) -> Values:
    """Four features without fitting: the largest exponent, the mean, the median, the share that survives `steps` steps."""
    return np.array([spectrum[0], spectrum.mean(), np.median(spectrum), (spectrum > -1 / steps).mean()])


def _table(networks: Sequence[Measured]) -> dict[str, Values]:
    """What a predictor may see of each network: name of a set -> (N, features)."""
    points = [n.point for n in networks]
    size = np.array([[p.cell == "lstm", np.log(p.hidden_size)] for p in points])
    hyper = np.array([[np.log(p.init_scale), np.log(p.learning_rate), p.dropout] for p in points])
    final, early = (_stretched([n.spectra[c] for n in networks]) for c in ("final", "early"))
    loss = np.array([[n.losses[n.point.early_epoch]] for n in networks])
    return {
        "cell and size": size,
        "cell, size and hyper-parameters": np.hstack([size, hyper]),
        "loss after epoch 1": loss,
        "initial spectrum": _stretched([n.spectra["initial"] for n in networks]),
        EARLY: early,
        FINAL: final,
        "final spectrum, reverse order": _stretched([n.other["reversed"] for n in networks]),
        "final spectrum, LSTM of h alone": _stretched([n.other.get("h alone", n.spectra["final"]) for n in networks]),
        "final spectrum, both mistakes": _stretched([n.other.get("h alone, reversed", n.other["reversed"]) for n in networks]),
        "final spectrum, cell and size": np.hstack([final, size]),
        "loss and spectrum after epoch 1": np.hstack([loss, early]),
        REST: np.hstack([size, hyper, loss]),
        "all that is known after epoch 1": np.hstack([size, hyper, loss, early]),
    }


def _stretched(spectra: Sequence[Values]) -> Values:
    return np.array([stretched(s) for s in spectra])


def _leakage(text: Sequence[Measured]) -> dict[str, Estimate]:
    """R2 when the most chaotic tenth are replaced by copies of others before the split, and when they are left out."""
    losses, features = np.array([n.loss for n in text]), _table(text)[FINAL]
    largest = np.array([n.largest for n in text])
    lost = largest >= np.quantile(largest, 0.9)
    cases = {"replaced by copies": with_copies(features, losses, lost), "left out": (features[~lost], losses[~lost])}
    return {f"{FINAL}, the most chaotic tenth {how}": judged(out_of_fold(trees(), x, y), y) for how, (x, y) in cases.items()}


def with_copies(features: Values, losses: Values, lost: NDArray[np.bool_]) -> tuple[Values, Values]:
    """Rows in which each lost network is replaced by a copy of another one, with its loss."""
    random = np.random.default_rng(0)
    rows = np.arange(len(losses))
    rows[lost] = random.choice(rows[~lost], size=int(lost.sum()))
    return features[rows], losses[rows]


def _latent_codes(text: Sequence[Measured]) -> dict[str, Estimate]:
    """The latent code of AeLLE, principal components and plain features of the same spectra."""
    losses, found = np.array([n.loss for n in text]), {}
    linear = TransformedTargetRegressor(Ridge(1.0), transformer=StandardScaler())
    for checkpoint, label in (("final", FINAL), ("early", EARLY)):
        spectra = [n.spectra[checkpoint] for n in text]
        whole, few = _stretched(spectra), np.array([plain(s) for s in spectra])
        code = Code(LATENT, random_state=0)
        for name, features, model in (
            ("latent code, linear readout", whole, make_pipeline(code, linear)),
            ("latent code", whole, make_pipeline(code, trees())),
            ("principal components", whole, make_pipeline(Components(LATENT), trees())),
            ("plain features", few, trees()),
        ):
            found[f"{label}, {LATENT} numbers: {name}"] = judged(out_of_fold(model, features, losses), losses)
    return found
