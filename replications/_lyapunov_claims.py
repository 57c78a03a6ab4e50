"""What the networks of lyapunov_paper.py say about what the papers claim."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from . import _lyapunov_evidence as evidence
from ._lyapunov_evidence import Judged
from ._outcome import Row

Networks = Sequence[Any]  # of lyapunov_paper.Measured

NOT_AVAILABLE = "not available"
SOURCE = (
    "Vogt, Puelma Touzel, Shlizerman, Lajoie, On Lyapunov Exponents for RNNs, Front. Appl. Math. Stat. 8 (2022) 818799; "
    "Vogt, Zheng, Shlizerman, Lyapunov-guided representation of RNN performance (AeLLE), Neural Comput. Appl. 36 (2024)"
)
FINAL, EARLY, REST = "final spectrum", "spectrum after epoch 1", "cell, size, hyper-parameters, loss after epoch 1"
CHAOTIC = 0.05  # nats per step
RATE, AT_RATE = 1e-2, ", at the learning rate .01 and p as theirs"
WIDEST = 0.4 * 512**0.5  # p H ** .5 of the original's widest start
CHANGES = {  # what is changed -> sets with and without
    "reverse order instead of the right one": ("final spectrum, reverse order", FINAL),
    "LSTM's h alone instead of (h, c)": ("final spectrum, LSTM of h alone", FINAL),
    "both mistakes": ("final spectrum, both mistakes", FINAL),
    "final spectrum beside cell and size": ("final spectrum, cell and size", "cell and size"),
    "spectrum beside the loss, after epoch 1": ("loss and spectrum after epoch 1", "loss after epoch 1"),
    "spectrum beside all else known after epoch 1": ("all that is known after epoch 1", REST),
}


def findings(text: Networks) -> list[Row]:
    """What the character networks show without any predictor."""
    rows = []
    for cell in ("lstm", "gru"):
        own = [n for n in text if n.point.cell == cell]
        losses = [n.loss for n in own]
        firsts, means = [n.spectra["final"][0] for n in own], [n.spectra["final"].mean() for n in own]
        found = f"largest {_rank(firsts, losses)}, mean {_rank(means, losses)} ({len(own)} networks)"
        rows.append(Row(f"characters, {cell}: rank correlation of the final loss with the final exponents", NOT_AVAILABLE, found))
        found = (
            f"{_moved(own, 'initial', 'early'):.2f} in epoch 1, {_moved(own, 'early', 'final'):.2f} in all later ones together"
        )
        rows.append(Row(f"characters, {cell}: mean change of an exponent, nats per step", NOT_AVAILABLE, found))
    order = _turned(text)
    found = f"median {np.median(order):.4f}, largest {max(order):.3f} nats per step ({len(text)} networks)"
    rows.append(Row("characters: change of the largest exponent by the reverse order", NOT_AVAILABLE, found))
    full, alone = _lstm(text)
    found = f"median {np.median(alone):.2f} instead of {np.median(full):.3f}: {_memory(alone)} instead of {_memory(full)} steps"
    rows.append(Row("characters, lstm: largest exponent of h alone instead of (h, c)", NOT_AVAILABLE, found))
    chaotic = [
        f"{n.point.cell} of {n.point.hidden_size} units, p = {n.point.init_scale:g}, learning rate {n.point.learning_rate:g}: "
        f"{n.spectra['final'][0]:+.2f}, loss {n.loss:.2f} ({np.median(_alike(n, text)):.2f} in the median of its like)"
        for n in text
        if n.spectra["final"][0] > CHAOTIC
    ]
    what = f"characters: networks whose largest exponent is above {CHAOTIC} after training"
    return [*rows, Row(what, NOT_AVAILABLE, "; ".join(chaotic) or "none")]


def _alike(network: Any, text: Networks) -> list[float]:
    """Losses of networks of the same cell, size and learning rate."""
    place = network.point
    keys = ("cell", "hidden_size", "learning_rate")
    return [n.loss for n in text if all(getattr(n.point, key) == getattr(place, key) for key in keys)]


def _rank(first: Sequence[float], second: Sequence[float]) -> str:
    return f"{spearmanr(first, second).statistic:+.2f}"


def _moved(networks: Networks, before: str, after: str) -> float:
    return float(np.mean([np.abs(n.spectra[after] - n.spectra[before]).mean() for n in networks]))


def _turned(networks: Networks) -> list[float]:
    return [abs(n.other["reversed"][0] - n.spectra["final"][0]) for n in networks]


def _lstm(networks: Networks) -> tuple[np.ndarray, np.ndarray]:
    """Largest exponents of the LSTMs' (h, c) and of h alone."""
    own = [n for n in networks if n.point.cell == "lstm"]
    return np.array([n.spectra["final"][0] for n in own]), np.array([n.other["h alone"][0] for n in own])


def _memory(exponents: np.ndarray) -> str:
    """Steps in which a deviation of the slowest direction falls to 1 / e."""
    return f"{-1 / np.median(exponents):.1f}"


def image_findings(images: Networks) -> list[Row]:
    """What the digits show, a row a cell."""
    rows = []
    for cell in dict.fromkeys(n.point.cell for n in images):
        own = [n for n in images if n.point.cell == cell]
        best = max(own, key=lambda n: n.accuracy)
        before, after = best.spectra["initial"][0], best.spectra["final"][0]
        ranks = _rank([n.spectra["final"][0] for n in own], [n.loss for n in own]) if len(own) > 2 else "not measured"
        found = (
            f"best accuracy {best.accuracy:.3f}, at p = {best.point.init_scale:g}, largest exponent there {before:+.2f} before "
            f"and {after:+.2f} after training; its rank correlation with the loss over {len(own)} networks {ranks}; reverse "
            f"order moves it by up to {max(_turned(own)):.3f}"
        )
        rows.append(Row(f"digits, {cell} of {best.point.hidden_size} units", NOT_AVAILABLE, found))
    return rows


def table(networks: Networks) -> dict[str, np.ndarray]:
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


def _stretched(spectra: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([evidence.stretched(s) for s in spectra])


def judge(text: Networks) -> dict[str, Judged]:
    """R2 of the final loss from each set of features, what one set adds to another, leakage, and latent codes."""
    losses = np.array([n.loss for n in text])
    seen = {name: evidence.out_of_fold(evidence.trees(), x, losses) for name, x in table(text).items()}
    found = {name: evidence.judged(predicted, losses) for name, predicted in seen.items()}
    found |= {f"change by {what}": evidence.change(seen[a], seen[b], losses) for what, (a, b) in CHANGES.items()}
    return found | one_rate(text) | leakage(text) | latent_codes(text, losses)


def one_rate(text: Networks) -> dict[str, Judged]:
    """Size as a confound: spectrum and size where the learning rate is the same, as in the pooled sizes of the original."""
    own = [n for n in text if n.point.learning_rate == RATE and not n.point.dropout]
    own = [n for n in own if n.point.init_scale * n.point.hidden_size**0.5 <= WIDEST + 1e-6]
    losses, sets = np.array([n.loss for n in own]), table(own)
    names = ("cell and size", FINAL, "final spectrum, cell and size")
    seen = {name: evidence.out_of_fold(evidence.trees(), sets[name], losses) for name in names}
    found = {f"{name}{AT_RATE}": evidence.judged(predicted, losses) for name, predicted in seen.items()}
    what = "final spectrum beside cell and size"
    return found | {f"change by {what}{AT_RATE}": evidence.change(*(seen[name] for name in CHANGES[what]), losses)}


def leakage(text: Networks) -> dict[str, Judged]:
    """R2 when the most chaotic tenth are replaced by copies of others before the split, and when they are left out."""
    losses, features = np.array([n.loss for n in text]), table(text)[FINAL]
    firsts = np.array([n.spectra["final"][0] for n in text])
    lost = firsts >= np.quantile(firsts, 0.9)
    found = {}
    for what, (x, y) in {
        "final spectrum, the most chaotic tenth replaced by copies": evidence.with_copies(features, losses, lost),
        "final spectrum, the most chaotic tenth left out": (features[~lost], losses[~lost]),
    }.items():
        found[what] = evidence.judged(evidence.out_of_fold(evidence.trees(), x, y), y)
    return found


def latent_codes(text: Networks, losses: np.ndarray) -> dict[str, Judged]:
    """AeLLE's latent code, principal components and plain features of the same spectra."""
    found = {}
    for checkpoint, label in (("final", FINAL), ("early", EARLY)):
        spectra = [n.spectra[checkpoint] for n in text]
        whole, few = _stretched(spectra), np.array([evidence.plain(s) for s in spectra])
        latent, components = evidence.Bottleneck(), PCA(evidence.LATENT)
        for name, features, model in (
            ("latent code, read out linearly", whole, make_pipeline(StandardScaler(), latent, evidence.readout())),
            ("latent code", whole, make_pipeline(StandardScaler(), latent, evidence.trees())),
            ("principal components", whole, make_pipeline(StandardScaler(), components, evidence.trees())),
            ("plain features", few, evidence.trees()),
        ):
            predicted = evidence.out_of_fold(model, features, losses)
            found[f"{label}, {evidence.LATENT} numbers: {name}"] = evidence.judged(predicted, losses)
    return found


def summary(text: Networks, judged: dict[str, Judged]) -> str:
    """What came out, for the table of all systems."""
    added = judged["change by spectrum beside all else known after epoch 1"]
    early, hyper = (judged[name].value for name in ("loss after epoch 1", "cell, size and hyper-parameters"))
    full, alone = _lstm(text)
    return (
        f"R2 of the final loss: final spectrum {judged[FINAL].value:.2f}, hyper-parameters {hyper:.2f}, loss after epoch 1 "
        f"{early:.2f}; to all that is known after epoch 1 the spectrum of that time adds {added.value:+.3f} ({added.verdict}). "
        f"Without c an LSTM seems to forget in {_memory(alone)} instead of {_memory(full)} steps; the product's order moves the "
        f"largest exponent by {np.median(_turned(text)):.3f}."
    )


def why(text: Networks, judged: dict[str, Judged]) -> str:
    """Which claims hold, from the figures."""
    lines = ["| claimed, or done | the wrong way | the right way | so |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in (*_claimed(judged), *_done(text, judged))]
    return "\n".join([READ, *lines, "", limits(text, judged)])


def limits(text: Networks, judged: dict[str, Judged]) -> str:
    """What the words of the table mean, and how this differs from the originals."""
    lost = sum(not (np.isfinite(n.losses).all() and all(np.isfinite(s).all() for s in n.spectra.values())) for n in text)
    return LIMITS.format(
        lost=lost,
        count=len(text),
        size=judged["cell and size"],
        initial=judged["initial spectrum"],
        epochs=max(n.point.epochs for n in text),
    )


def _claimed(judged: dict[str, Judged]) -> list[tuple[str, str, str, str]]:
    """The claims of the abstracts."""
    four = f"{FINAL}, {evidence.LATENT} numbers: "
    return [
        (
            "the spectrum reads out how training goes, across hyper-parameters (2022, abstract)",
            f"both mistakes: R2 {judged['final spectrum, both mistakes']}",
            f"R2 {judged[FINAL]}",
            f"cell, size and hyper-parameters, known before training, give {judged['cell, size and hyper-parameters']}",
        ),
        (
            "it forms early, so that the final accuracy is foretold (2024, abstract)",
            "not compared with the loss at that time",
            f"after epoch 1: R2 {judged[EARLY]}; the loss at that time: {judged['loss after epoch 1']}",
            f"beside that loss {_outcome(judged, 'spectrum beside the loss, after epoch 1')}; beside all that is known then "
            f"{_outcome(judged, 'spectrum beside all else known after epoch 1')}",
        ),
        (
            "an autoencoder infers the relevant features (2024, abstract)",
            "not compared with other features",
            f"{evidence.LATENT} numbers: latent code {judged[four + 'latent code']}, principal components "
            f"{judged[four + 'principal components']}, plain features {judged[four + 'plain features']}",
            f"all {evidence.LENGTH} numbers as they are: {judged[FINAL]}",
        ),
    ]


def _done(text: Networks, judged: dict[str, Judged]) -> list[tuple[str, str, str, str]]:
    """What earlier code did."""
    order, (full, alone) = _turned(text), _lstm(text)
    copied, left_out = (judged[f"{FINAL}, the most chaotic tenth {how}"] for how in ("replaced by copies", "left out"))
    return [
        (
            "the order of the product",
            f"largest exponent off by {np.median(order):.4f} in the median, {max(order):.3f} at most",
            "-",
            _outcome(judged, "reverse order instead of the right one"),
        ),
        (
            "an LSTM's exponents from h alone",
            f"median of the largest {np.median(alone):.2f}: forgets in {_memory(alone)} steps",
            f"{np.median(full):.3f}: {_memory(full)} steps",
            _outcome(judged, "LSTM's h alone instead of (h, c)"),
        ),
        (
            f"sizes pooled, no baseline of size{AT_RATE}",
            f"spectrum R2 {judged[FINAL + AT_RATE]}",
            f"cell and size alone {judged['cell and size' + AT_RATE]}",
            f"beside cell and size {_outcome(judged, 'final spectrum beside cell and size' + AT_RATE)}",
        ),
        (
            "networks without a spectrum replaced by copies of others, random split",
            f"R2 {copied}",
            f"left out: {left_out}",
            "a what-if: the most chaotic tenth of these networks",
        ),
    ]


def _outcome(judged: dict[str, Judged], what: str) -> str:
    """A change of R2 and what it amounts to."""
    change = judged[f"change by {what}"]
    return f"R2 {change}, {change.verdict}"


READ = """\
Read: both abstracts, and the authors' code. There: one layer of 64, 128, 256 and 512 units without biases; the start
uniform(-p, p), p from .04 to .4; Adam at .002 with dropout .1, 15 epochs, mini-batches of 32; for 512 units also a grid of
learning rates .001 to .01 by dropout from .02 on at p = .08, spectra after epochs 4 and 15. Spectra: Q <- qr(J' Q) along
increasing time, after a warm-up that multiplies without orthonormalising; an LSTM's J is dh'/dh with c as it comes;
logarithms to base 2. AeLLE: spectra of all sizes stretched to 1,024 numbers, pooled, shuffled and split; encoder
1024-128-64-32, a linear map from the code to the loss. The papers' own figures could not be read: "not available". The same
trained networks, measured in their way and in the right one:
"""

LIMITS = """\
"Reverse order" is the spectrum of J_1 J_2 ... J_T instead of J_T ... J_1; both products share the sum of all exponents, and
over a long stationary drive they share the spectrum wherever the Jacobians' order in time carries no correlation. "h alone" is
the product of the blocks dh'/dh along the true path, as if c were an input. "Copies" is a what-if: {lost} of the {count}
networks have a loss or an exponent that is not finite.

The spectrum is that of the network, and knows nothing of the learning rate; networks that differ in it alone start from the
same weights, so that trees taught with one of two such twins may mistake the other (R2 of cell and size: {size}; of the initial
spectrum: {initial}). At one learning rate, as in the original, size is left as the confound.

Differences from the originals: 16 to 64 units for 64 to 512 (p as wide in p H ** .5 and wider), {epochs} epochs for 15,
CPython's language reference for War and Peace and other books, biases, clipped gradients, one seed. Few networks and many
features make R2 of all sets uncertain; the intervals say how much, but not how it would be on the paper's sizes: `make run CUDA=1
PROFILE=paper` is for that."""
