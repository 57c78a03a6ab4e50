"""The Lyapunov-exponent paper and AeLLE: their study at a small size, and the methods of their code beside the right ones."""

from collections.abc import Iterator, Sequence
from dataclasses import fields

import numpy as np
from scipy.stats import spearmanr

from pipeline.core.tables import signed, with_interval

from . import _lyapunov_evidence as evidence
from ._harness import Outcome, Row
from ._lyapunov_networks import SETTINGS, Measured, Point, Values, by_epoch, characters, digits, networks
from ._lyapunov_pictures import draw

CHAOTIC = 0.05  # nats per step


def run(small: bool) -> Outcome:
    """78 networks on characters, 6 per cell on digits; small: a handful for one epoch, without predictions and pictures."""
    text, parts, images = (list(networks(points(small))) for points in (characters, by_epoch, digits))
    rows = [*character_rows(text), *digit_rows(images)]
    judged = {} if small else evidence.judge(text)
    for name, value in judged.items():
        shown = with_interval(value, 3, signed) if name.startswith("change by ") else with_interval(value)
        rows.append(Row(f"R2 of the final loss: {name}", shown))
    if not small:
        draw(text, parts, images)
    order, full, alone = _order(text), *_of_lstms(text)
    facts = {
        "text": {"networks": len(text), "grid": _grid(text)},
        "images": {"networks": len(images), "grid": _grid(images)},
        "parts": len(parts),
        "driving": SETTINGS.model_dump(),
        "method": {"folds": evidence.FOLDS, "repeats": evidence.REPEATS, "numbers": evidence.LENGTH, "latent": evidence.LATENT},
        "order": {"median": float(np.median(order)), "largest": max(order)},
        "lstm": {"full": float(np.median(full)), "alone": float(np.median(alone))},
        "memory": {"full": float(-1 / np.median(full)), "alone": float(-1 / np.median(alone))},
        "lost": sum(not (np.isfinite(n.losses).all() and all(np.isfinite(s).all() for s in n.spectra.values())) for n in text),
        "epochs": max(n.point.epochs for n in text),
        "r2": judged,
    }
    return Outcome(rows, facts)


def character_rows(text: Sequence[Measured]) -> Iterator[Row]:
    """What the character networks show without any predictor."""
    for cell in ("lstm", "gru"):
        own = [n for n in text if n.point.cell == cell]
        ranks = f"largest {_rank(own)}, mean {_rank(own, np.mean)} ({len(own)} networks)"
        yield Row(f"characters, {cell}: rank correlation of the final loss with the final exponents", ranks)
        first, later = _moved(own, "initial", "early"), _moved(own, "early", "final")
        moves = f"{first:.2f} in epoch 1, {later:.2f} in all later epochs together"
        yield Row(f"characters, {cell}: mean change of an exponent, nats per step", moves)
    order, full, alone = _order(text), *_of_lstms(text)
    moved = f"median {np.median(order):.4f}, largest {max(order):.3f} nats per step ({len(text)} networks)"
    yield Row("characters: change of the largest exponent by the reverse order", moved)
    memory = f"{-1 / np.median(alone):.1f} instead of {-1 / np.median(full):.1f} steps"
    forgets = f"median {np.median(alone):.2f} instead of {np.median(full):.3f}: {memory}"
    yield Row("characters, lstm: largest exponent of h alone instead of (h, c)", forgets)
    chaotic = [
        f"{n.point.cell} of {n.point.hidden_size} units, p = {n.point.init_scale:g}, learning rate {n.point.learning_rate:g}: "
        f"{n.largest:+.2f}, loss {n.loss:.2f} (median of similar networks: {np.median(_similar(n.point, text)):.2f})"
        for n in text
        if n.largest > CHAOTIC
    ]
    yield Row(f"characters: networks whose largest exponent is above {CHAOTIC} after training", "; ".join(chaotic) or "none")


def digit_rows(images: Sequence[Measured]) -> Iterator[Row]:
    """What the digits show, by cell."""
    for cell in dict.fromkeys(n.point.cell for n in images):
        own = [n for n in images if n.point.cell == cell]
        best = max(own, key=lambda n: n.accuracy)
        rank = _rank(own) if len(own) > 2 else "not measured"
        found = (
            f"best accuracy {best.accuracy:.3f} at p = {best.point.init_scale:g}, with largest exponent "
            f"{best.spectra['initial'][0]:+.2f} before and {best.largest:+.2f} after training; its rank correlation with the "
            f"loss over {len(own)} networks {rank}; the reverse order changes it by up to {max(_order(own)):.3f}"
        )
        yield Row(f"digits, {cell} of {best.point.hidden_size} units", found)


def _rank(own: Sequence[Measured], read: object = np.max) -> str:
    """Rank correlation of the final loss with a number of the final spectrum."""
    return f"{spearmanr([read(n.spectra['final']) for n in own], [n.loss for n in own]).statistic:+.2f}"  # type: ignore[operator]


def _moved(own: Sequence[Measured], before: str, after: str) -> float:
    return float(np.mean([np.abs(n.spectra[after] - n.spectra[before]).mean() for n in own]))


def _order(own: Sequence[Measured]) -> list[float]:
    """How much the reverse order changes the largest exponent of each network."""
    return [float(abs(n.other["reversed"][0] - n.largest)) for n in own]


def _of_lstms(text: Sequence[Measured]) -> tuple[Values, Values]:
    """Largest exponents of (h, c) and of h alone."""
    own = [n for n in text if n.point.cell == "lstm"]
    return np.array([n.largest for n in own]), np.array([n.other["h alone"][0] for n in own])


def _similar(point: Point, text: Sequence[Measured]) -> list[float]:
    """Losses of the networks of the same cell, size and learning rate."""
    keys = ("cell", "hidden_size", "learning_rate")
    return [n.loss for n in text if all(getattr(n.point, key) == getattr(point, key) for key in keys)]


def _grid(own: Sequence[Measured]) -> dict[str, list[float]]:
    """The values of each numeric setting that occur."""
    names = [f.name for f in fields(Point) if f.name not in ("task", "cell", "early_epoch")]
    return {name: sorted({getattr(n.point, name) for n in own}) for name in names}
