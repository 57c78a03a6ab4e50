"""Fixed points of networks that remember three bits, and line attractors of networks that add up valences."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import numpy as np
import torch
from numpy.random import Generator
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from pipeline import FixedPoints, cells, fixed_points, line_attractor, lyapunov_spectrum, slow_points, tasks
from pipeline.core.files import save_bytes
from pipeline.points.line import Line, first_share
from pipeline.tasks import flip_flop, valence_text
from pipeline.training.network import Module

from ._fixed_points_pictures import Course, line_picture, memory_picture
from ._harness import PICTURES, Outcome, Row
from ._learn import Problem, fresh, learn

NAMES = {"elman": "tanh", "gru": "GRU", "lstm": "LSTM"}
CUBE = (8, 12, 6, 1)  # corners, edges, faces and centre of a cube: C(3, k) 2^(3 - k) points with k unstable directions
BATCH = 64
VALENCES = torch.from_numpy(valence_text.VALENCES).float()  # of the words
TOLERANCES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
LINE = 1  # place of 1e-4, at which the line is described
UNITS = {"memory": 16, "text": 32}


@dataclass(frozen=True)
class Memory:
    """A network that remembers three bits."""

    name: str  # of the cell
    seed: int
    error: float  # mean squared error on fresh sequences
    states: Tensor  # (T, B, H) outputs there
    points: FixedPoints  # under no input
    gap: float  # largest |leading exponent - log |eigenvalue|| on the stable points, NaN without such a point


@dataclass(frozen=True)
class Text:
    """A network that answers whether the valences of a text sum to more than 0."""

    name: str  # of the cell
    seed: int
    accuracy: float  # on fresh texts
    bag_of_words: float  # the same for a logistic regression on word counts
    states: Tensor  # (T, B, H) outputs along fresh texts
    totals: Tensor  # (T, B) sum of the valences so far
    slow: tuple[FixedPoints, ...]  # slow points, for each of TOLERANCES
    points: FixedPoints
    line: Line | None  # statistics of the slow points at TOLERANCES[LINE], if there are any


def run(small: bool) -> Outcome:
    """Three bits with every cell, texts with two; small: one network of each, without pictures."""
    names, tries = (("elman",), 1) if small else (("elman", "gru", "lstm"), 3)
    steps = {"memory": 400 if small else 1000, "text": 40 if small else 1200}
    memories = [memory(name, seed, steps=steps["memory"], seeds=512) for name in names for seed in range(tries)]
    effort = {"seeds": 32, "iterations": 200} if small else {"seeds": 512, "iterations": 2000}
    readers = ("gru",) if small else ("gru", "elman")
    read = [text(name, seed, steps=steps["text"], **effort) for name in readers for seed in range(min(tries, 2))]
    if not small:
        _draw(memories, read)
    slow = [t.slow[LINE] for t in read]
    facts = {
        "tries": {"memory": tries, "text": min(tries, 2)},
        "steps": steps,
        "units": UNITS,
        "effort": effort,
        "memories": len(memories),
        "cubes": sum(m.points.signature == CUBE for m in memories),
        "complete": sum(m.points.index == 1 for m in memories),
        "readers": len(read),
        "slow": [len(points) for points in slow],
        "shares": [first_share(points.states) for points in slow],
        "fixed": [len(t.points) for t in read],
        "natural": [t.points.natural_q / TOLERANCES[LINE] for t in read],
        "bag_of_words_better": sum(t.bag_of_words > t.accuracy for t in read),
    }
    return Outcome([*memory_rows(memories), *(row for t in read for row in text_rows(t))], facts)


def memory(name: str, seed: int, *, steps: int, seeds: int) -> Memory:
    """Train a network on the three bits and search for its fixed points under no input."""
    sample = fresh("flip_flop", lambda random: flip_flop.sequences(BATCH, 64, 0.5, random), 3)
    problem = Problem("every", 3, sample, tasks.get("flip_flop").loss)
    module = learn(cells.get(name)(3, UNITS["memory"]), problem, steps=steps, learning_rate=0.01, seed=seed).module
    inputs, targets = sample(np.random.default_rng(1000 + seed))
    states, answers = _seen(module, inputs)
    points = fixed_points(module.cell, inputs, seeds=seeds, generator=torch.Generator().manual_seed(seed))
    return Memory(name, seed, problem.loss(answers, targets).item(), states, points, _lyapunov_gap(module, points))


def _lyapunov_gap(module: Module, points: FixedPoints) -> float:
    stable = points.states[points.unstable == 0]
    if not len(stable):
        return float("nan")
    parts = [p.contiguous()[None] for p in stable.chunk(module.network.cell.state_parts, -1)]
    state = tuple(parts) if len(parts) > 1 else parts[0]
    spectrum = lyapunov_spectrum(module.cell, torch.zeros(3000, len(stable), 3), state=state, count=1, transient=1000)
    exact = points.eigenvalues[points.unstable == 0, 0].abs().log()
    return float((spectrum.per_sequence[:, 0] - exact).abs().max())


def text(name: str, seed: int, *, steps: int, seeds: int, iterations: int) -> Text:
    """Train a network on texts and search for its slow and its fixed points under the mean word."""
    problem = Problem("last", 1, texts, lambda answers, labels: binary_cross_entropy_with_logits(answers[:, 0], labels))
    cell = cells.get(name)(len(VALENCES), UNITS["text"])
    module = learn(cell, problem, steps=steps, learning_rate=3e-3, seed=seed, clip_norm=1.0).module
    random = np.random.default_rng(1000 + seed)
    inputs, _ = texts(random, length=50)
    at = torch.full((len(VALENCES),), 1 / len(VALENCES))
    search = partial(torch.Generator().manual_seed, seed)
    slow = slow_points(module.cell, inputs, at=at, seeds=seeds, iterations=iterations, tolerances=TOLERANCES, generator=search())
    points = fixed_points(module.cell, inputs, at=at, seeds=seeds, generator=search())
    line = None
    if len(slow[LINE]):
        line = line_attractor(slow[LINE], module.head["weight"][0], torch.eye(len(VALENCES)), VALENCES)
    totals = (inputs @ VALENCES).cumsum(0)
    return Text(name, seed, *_accuracies(module, random), _seen(module, inputs)[0], totals, slow, points, line)


def texts(random: Generator, length: int | None = None) -> tuple[Tensor, Tensor]:
    """One-hot words (T, B, 100), with T uniform on 10 to 50 by default, and whether their valences sum to more than 0, (B,)."""
    length = int(random.integers(10, 51)) if length is None else length
    inputs, labels = fresh("valence_text", lambda r: valence_text.sequences(BATCH, length, length, r), len(VALENCES))(random)
    return inputs, labels.float()


def _accuracies(module: Module, random: Generator) -> tuple[float, float]:
    """Share of right answers of the network and of a logistic regression on word counts, on the same fresh texts."""
    batches = [texts(random) for _ in range(60)]
    right = [((_seen(module, x)[1][:, 0] > 0) == (y > 0)).float().mean().item() for x, y in batches[40:]]
    counts, labels = (torch.cat(parts).numpy() for parts in zip(*[(x.sum(0), y) for x, y in batches], strict=True))
    cut = 40 * BATCH
    model = LogisticRegression(max_iter=1000).fit(counts[:cut], labels[:cut])
    return float(np.mean(right)), float(model.score(counts[cut:], labels[cut:]))


@torch.no_grad()
def _seen(module: Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs (T, B, H) of the recurrent layer, and the network's answers."""
    outputs = module.run(inputs)[0]
    return outputs, module.read(outputs)


def memory_rows(memories: list[Memory]) -> Iterator[Row]:
    """What was found of the networks that remember three bits, by cell."""
    for name, group in groupby(memories, lambda m: m.name):
        own, what = list(group), f"three bits, {NAMES[name]}"
        points = "; ".join(
            f"{' / '.join(map(str, m.points.signature))} (index {m.points.index}, {m.points.outliers} outliers)" for m in own
        )
        seeds = "seed " + ", ".join(str(m.seed) for m in own)
        original = "not available; a cube has 8 / 12 / 6 / 1"
        yield Row(f"{what}: fixed points with 0, 1, 2, 3 unstable directions; {seeds}", points, original)
        yield Row(f"{what}: mean squared error on fresh sequences; {seeds}", ", ".join(f"{m.error:.1e}" for m in own))
        gap = f"{np.max([m.gap for m in own]):.1e} nats per step"
        exponents = f"{what}: largest exponent on a stable point (2,000 steps) minus the log of its eigenvalue"
        yield Row(exponents, gap, "equal in theory")


def text_rows(found: Text) -> Iterator[Row]:
    """What was found of a network that adds up valences."""
    name, still = f"valences, {NAMES[found.name]}, seed {found.seed}", found.points
    yield Row(f"{name}: accuracy (logistic regression on word counts)", f"{found.accuracy:.3f} ({found.bag_of_words:.3f})")
    share = f"{first_share(found.states.flatten(0, 1)):.2f}"
    yield Row(f"{name}: share of the states' variance in PC 1", share, "low-dimensional")
    yield Row(f"{name}: median q, with the words; held at the mean word", f"{still.natural_q:.2g}; {still.visited_q:.2g}")
    levels = ", ".join(f"{t:.0e}".replace("e-0", "e-") for t in TOLERANCES)
    slow = "; ".join(f"{len(s)} ({first_share(s.states):.2f}, {s.found / s.seeds:.2f})" for s in found.slow)
    yield Row(f"{name}: slow points at q < {levels} (share in PC 1, share of seeds)", slow, "approximate line attractor")
    signature = " / ".join(map(str, still.signature))
    points = f"{len(still)}, by unstable directions {signature}, index {still.index}, {still.outliers} outliers"
    yield Row(f"{name}: fixed points", points)
    if found.line is not None:
        moduli = found.line.moduli
        low, high = np.quantile(moduli[:, 0], [0.1, 0.9])
        largest = f"{moduli[:, 0].median():.3f} ({low:.3f} to {high:.3f}), {moduli[:, 1].median():.2f}"
        what = f"{name}: moduli of the two largest eigenvalues on points with q < 1e-4 (10 % to 90 % quantile)"
        yield Row(what, largest, "1, below 1")
        yield Row(f"{name}: cosine between the line and the readout", f"{found.line.alignment.median():.2f}")
        yield Row(f"{name}: correlation of a word's push with its valence", f"{found.line.correlation.median():.2f}")


def _draw(memories: list[Memory], read: list[Text]) -> None:
    """Write the two pictures, of the first network of each cell."""
    cubes = [Course(NAMES[m.name], m.states, m.points) for m in memories if m.seed == 0]
    lines = [(Course(NAMES[t.name], t.states, t.points), t.slow[LINE].states, t.totals) for t in read if t.seed == 0]
    save_bytes(PICTURES / "fixed_points_memory.png", memory_picture(cubes))
    save_bytes(PICTURES / "fixed_points_line.png", line_picture(lines))
