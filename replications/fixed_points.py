"""Fixed points of a network that remembers three bits, and the line attractor of one that adds up valences."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Generator, Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from pipeline import FixedPoints, cells, fixed_points, line_attractor, lyapunov_spectrum, slow_points
from pipeline.points.line import Line, first_share
from pipeline.training.network import Module

from ._fixed_points_pictures import Course, line_picture, memory_picture
from ._learn import learn
from ._outcome import Outcome, Row

PICTURES = Path(__file__).parent.parent / "docs" / "replications"
NAMES = {"elman": "tanh", "gru": "GRU", "lstm": "LSTM"}
CUBE = (8, 12, 6, 1)  # corners, edges, faces and centre of a cube: C(3, k) 2^(3 - k) points with k unstable directions
VALENCES = torch.cat([torch.ones(20), -torch.ones(20), torch.zeros(60)])  # of the 100 words
TOLERANCES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
LINE = 1  # the place of 1e-4, at which the line is described
UNITS = {"memory": 16, "text": 32}


@dataclass(frozen=True)
class Memory:
    """A network that remembers three bits, its error on fresh sequences, its states (T, B, S) there, and its fixed points."""

    name: str
    seed: int
    error: float
    states: Tensor
    points: FixedPoints
    lyapunov_gap: float


@dataclass(frozen=True)
class Text:
    """A network that says whether a text's valences add up to more than 0.

    Attributes:
        name: of its cell.
        seed: of its training.
        accuracy, bag_of_words: on fresh texts; that of a logistic regression on word counts.
        states: (T, B, S).
        totals: (T, B) sum of the valences so far.
        slow: its slow points, for each of TOLERANCES.
        points: its fixed points.
        line: the statistics of the slow points at TOLERANCES[LINE]; None if there are none.
    """

    name: str
    seed: int
    accuracy: float
    bag_of_words: float
    states: Tensor
    totals: Tensor
    slow: tuple[FixedPoints, ...]
    points: FixedPoints
    line: Line | None


def pulses(generator: Generator, *, steps: int = 64, count: int = 64, chance: float = 0.5) -> tuple[Tensor, Tensor]:
    """Inputs (T, B, 3) of -1, 0, 1, and targets: the last of each channel that was not 0; all begin with a pulse."""
    signs = 2.0 * torch.randint(2, (steps, count, 3), generator=generator) - 1
    there = torch.rand(steps, count, 3, generator=generator) < chance
    there[0] = True
    last = torch.where(there, torch.arange(steps)[:, None, None], 0).cummax(0).values
    return signs * there, signs.gather(0, last)


def texts(generator: Generator, *, steps: int | None = None, count: int = 64) -> tuple[Tensor, Tensor]:
    """Words (T, B, 100), one-hot, T uniform on 10 to 50, and whether their valences add up to more than 0, (B, 1)."""
    length = int(torch.randint(10, 51, (), generator=generator)) if steps is None else steps
    words = torch.randint(len(VALENCES), (length, count), generator=generator)
    total = VALENCES[words].sum(0)
    return torch.nn.functional.one_hot(words, len(VALENCES)).float(), (total > 0).float()[:, None]


def memory(name: str, seed: int, *, steps: int, seeds: int) -> Memory:
    """Train a network on the three bits and look for its fixed points under no input."""
    cell = cells.get(name)(3, UNITS["memory"])
    module = learn(cell, "every", 3, pulses, mse_loss, steps=steps, learning_rate=0.01, seed=seed).module
    generator = torch.Generator().manual_seed(1000 + seed)
    inputs, targets = pulses(generator)
    with torch.no_grad():
        error = mse_loss(module(inputs), targets).item()
    points = fixed_points(module.cell, inputs, seeds=seeds, generator=generator)
    return Memory(name, seed, error, states_of(module, inputs), points, lyapunov_gap(module, points))


def lyapunov_gap(module: Module, points: FixedPoints) -> float:
    """Largest difference between the leading exponents on the stable points and log |eigenvalue|; NaN if there is none."""
    stable = points.states[points.unstable == 0]
    if not len(stable):
        return float("nan")
    parts = [p.contiguous()[None] for p in stable.chunk(module.network.cell.state_parts, -1)]
    state = tuple(parts) if len(parts) > 1 else parts[0]
    found = lyapunov_spectrum(module.cell, torch.zeros(3000, len(stable), 3), state=state, count=1, transient=1000)
    exact = points.eigenvalues[points.unstable == 0, 0].abs().log()
    return float((found.per_sequence[:, 0] - exact).abs().max())


def text(name: str, seed: int, *, steps: int, seeds: int, iterations: int) -> Text:
    """Train a network on texts and look for its slow and its fixed points under the mean word."""
    cell = cells.get(name)(len(VALENCES), UNITS["text"])
    loss = binary_cross_entropy_with_logits
    module = learn(cell, "last", 1, texts, loss, steps=steps, learning_rate=3e-3, seed=seed, clip_norm=1.0).module
    generator = torch.Generator().manual_seed(1000 + seed)
    inputs, _ = texts(generator, steps=50)
    at = torch.full((len(VALENCES),), 1 / len(VALENCES))
    search = partial(torch.Generator().manual_seed, seed)
    slow = slow_points(module.cell, inputs, at=at, seeds=seeds, iterations=iterations, tolerances=TOLERANCES, generator=search())
    words = torch.eye(len(VALENCES))
    readout = module.head["weight"][0]
    line = line_attractor(slow[LINE], readout, words, VALENCES) if len(slow[LINE]) else None
    points = fixed_points(module.cell, inputs, at=at, seeds=seeds, generator=search())
    accuracy, bag = accuracies(module, generator)
    totals = (inputs @ VALENCES).cumsum(0)
    return Text(name, seed, accuracy, bag, states_of(module, inputs), totals, slow, points, line)


def accuracies(module: Module, generator: Generator) -> tuple[float, float]:
    """The network's and a logistic regression's share of right answers on the same fresh texts."""
    batches = [texts(generator) for _ in range(60)]
    learned, asked = batches[:40], batches[40:]
    with torch.no_grad():
        right = [((module(x) > 0) == (y > 0)).float().mean().item() for x, y in asked]
    counts, answers = (
        [torch.cat(parts).numpy() for parts in zip(*[(x.sum(0), y[:, 0]) for x, y in some], strict=True)]
        for some in (learned, asked)
    )
    bag = LogisticRegression(max_iter=1000).fit(*counts)
    return float(np.mean(right)), float(bag.score(*answers))


def states_of(module: Module, inputs: Tensor) -> Tensor:
    """The outputs of the recurrent layer, (T, B, H)."""
    with torch.no_grad():
        return module.run(inputs)[0]


WHY = """**Three bits.** From visited states alone a search can miss points that no trajectory comes near, such as an edge's or a
face's middle: so it begins again halfway between the points already found. The index, the sum of sign det(1 - J) over the
points, is 1 for a complete set of a bounded network: 8 / 11 / 3 / 1 has index -1 and is known to be incomplete without knowing
of the cube. {complete} An LSTM's search runs in h and c together. Outliers are points more than three radii from all visited
states; in a GRU whose update gates saturate there can be a continuum of them. Where the leading eigenvalues are a complex
pair, the exponents of 2,000 steps differ from their logs by the pair's rotation, which falls as 1 / T.

**Valences.** What one calls slow is a choice: {slow} Points are a hundredth of the states' radius apart or more, each taken where
its q first fell below the tolerance, so as near to a visited state as can be; those on the way to one fixed point merge, so that
the share of seeds that get there, not the number of points, says whether they end in fixed points. {words} The task is linear
by construction, and only shows how a network does it."""


def run(small: bool) -> Outcome:
    """Three bits with every cell, texts with two; small is one network of each."""
    names, tries = (("elman",), 1) if small else (("elman", "gru", "lstm"), 3)
    effort = {"steps": 400, "seeds": 512} if small else {"steps": 1000, "seeds": 512}
    memories = [memory(name, seed, **effort) for name in names for seed in range(tries)]
    reading = {"steps": 40, "seeds": 32, "iterations": 200} if small else {"steps": 1200, "seeds": 512, "iterations": 2000}
    read = [text(name, seed, **reading) for name in (("gru",) if small else ("gru", "elman")) for seed in range(min(tries, 2))]
    pictures = {} if small else draw(memories, read)
    return Outcome(
        title="Fixed points and line attractors",
        source="Sussillo and Barak, Opening the black box, 2013; Maheswaranathan, Williams, Golub, Ganguli, Sussillo, "
        "Reverse engineering recurrent networks for sentiment classification reveals line attractor dynamics, 2019",
        summary=summary(memories, read),
        ran=f"three bits: networks a cell {tries}, 16 units, {effort['steps']} mini-batches of 64 fresh sequences of 64 steps, "
        "a pulse with probability .5 in each channel and step, Adam .01, fixed points under no input from "
        f"{effort['seeds']} seeds; text: networks a cell {min(tries, 2)}, 100 words (20 positive, 20 negative), "
        f"10 to 50 a text, one-hot, 32 units, {reading['steps']} mini-batches of 64, Adam .003, gradients clipped to norm 1, "
        f"slow points under the mean word from {reading['seeds']} visited states by at most {reading['iterations']:,} "
        f"iterations of Adam, fixed points from {reading['seeds']} seeds",
        rows=(*memory_rows(memories), *(row for t in read for row in text_rows(t))),
        why=why(memories, read),
        pictures=pictures,
    )


def summary(memories: list[Memory], read: list[Text]) -> str:
    """What came out, in a sentence."""
    slow, still = [t.slow[LINE] for t in read], [t.points for t in read]
    cubes = sum(m.points.signature == CUBE for m in memories)
    return (
        f"{cubes} of {len(memories)} networks that remember three bits have the 27 fixed points of a cube; of networks that add "
        f"up valences ({len(read)}) each has {_span('.0f', map(len, slow))} slow points at q < {_power(TOLERANCES[LINE])} (share "
        f"of their variance in one direction {_span('.2f', (first_share(s.states) for s in slow))}), and fixed points: "
        f"{_span('.0f', map(len, still))}"
    )


def why(memories: list[Memory], read: list[Text]) -> str:
    """WHY with the figures of these networks."""
    level = TOLERANCES[LINE]
    natural = _span(".0f", (t.points.natural_q / level for t in read))
    complete = sum(m.points.index == 1 for m in memories)
    better = sum(t.bag_of_words > t.accuracy for t in read)
    return WHY.format(
        complete=f"Index 1: {complete} of the {len(memories)} networks.",
        slow=f"the median q with the words is {natural} times {_power(level)}, at which the line is described.",
        words=f"Networks that a logistic regression on word counts answers better than: {better} of {len(read)}.",
    )


def _power(tolerance: float) -> str:
    return f"{tolerance:.0e}".replace("e-0", "e-")


def _span(form: str, values: Iterable[float]) -> str:
    """The least and the largest of those values that exist, or the one that they all are."""
    there = sorted(v for v in values if not np.isnan(v))
    return " to ".join(dict.fromkeys(format(v, form) for v in there[:1] + there[-1:])) or "none"


def memory_rows(memories: list[Memory]) -> list[Row]:
    """What was found of the networks that remember three bits, a row a cell."""
    rows = []
    for name in dict.fromkeys(m.name for m in memories):
        own = [m for m in memories if m.name == name]
        found = "; ".join(
            f"{' / '.join(map(str, m.points.signature))} (index {m.points.index}, {m.points.outliers} outliers)" for m in own
        )
        networks = "seed " + ", ".join(str(m.seed) for m in own)
        what = f"three bits, {NAMES[name]}: fixed points with 0, 1, 2, 3 unstable directions; {networks}"
        rows.append(Row(what, "not available; a cube has 8 / 12 / 6 / 1", found))
        errors = ", ".join(f"{m.error:.1e}" for m in own)
        rows.append(Row(f"three bits, {NAMES[name]}: mean square error on fresh sequences; {networks}", "not available", errors))
        gaps = f"{np.max([m.lyapunov_gap for m in own]):.1e} nats per step"
        what = f"three bits, {NAMES[name]}: largest exponent on a stable point (2,000 steps) less log of its eigenvalue"
        rows.append(Row(what, "equal in theory", gaps))
    return rows


def text_rows(found: Text) -> list[Row]:
    """What was found of a network that adds up valences."""
    name = f"valences, {NAMES[found.name]}, seed {found.seed}"
    sweep = "; ".join(f"{len(s)} ({first_share(s.states):.2f}, {s.found / s.seeds:.2f})" for s in found.slow)
    still = found.points
    signature = " / ".join(map(str, still.signature))
    stills = f"{len(still)}, by unstable directions {signature}, index {still.index}, {still.outliers} outliers"
    wanted = f"{name}: slow points at q < {', '.join(map(_power, TOLERANCES))} (share in PC 1, share of seeds)"
    rows = [
        Row(
            f"{name}: accuracy (logistic regression on word counts)",
            "not available",
            f"{found.accuracy:.3f} ({found.bag_of_words:.3f})",
        ),
        Row(
            f"{name}: share of the states' variance in PC 1", "low-dimensional", f"{first_share(found.states.flatten(0, 1)):.2f}"
        ),
        Row(f"{name}: median q, with the words; held at the mean word", "not available", _speeds(found)),
        Row(wanted, "approximate line attractor", sweep),
        Row(f"{name}: fixed points", "not available", stills),
    ]
    if found.line is not None:
        line, moduli = found.line, found.line.moduli
        low, high = np.quantile(moduli[:, 0], [0.1, 0.9])
        first = f"{moduli[:, 0].median():.3f} ({low:.3f} to {high:.3f}), {moduli[:, 1].median():.2f}"
        rows += [
            Row(f"{name}: moduli of the two largest eigenvalues on points with q < 1e-4 (10 to 90 %)", "1, below 1", first),
            Row(f"{name}: cosine of the line with the readout", "not available", f"{line.alignment.median():.2f}"),
            Row(f"{name}: correlation of a word's push with its valence", "not available", f"{line.correlation.median():.2f}"),
        ]
    return rows


def _speeds(found: Text) -> str:
    return f"{found.points.natural_q:.2g}; {found.points.visited_q:.2g}"


def draw(memories: list[Memory], read: list[Text]) -> dict[str, str]:
    """Write the two pictures, of each cell's first network; their files and captions."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    first = [next(m for m in memories if m.name == name) for name in dict.fromkeys(m.name for m in memories)]
    cubes = [Course(NAMES[m.name], m.states, m.points) for m in first]
    (PICTURES / "fixed_points_memory.png").write_bytes(memory_picture(cubes))
    readers = [next(t for t in read if t.name == name) for name in dict.fromkeys(t.name for t in read)]
    lines = [(Course(NAMES[t.name], t.states, t.points), t.slow[LINE].states, t.totals) for t in readers]
    (PICTURES / "fixed_points_line.png").write_bytes(line_picture(lines))
    return {
        "fixed_points_memory.png": "Networks that remember three bits, the first of each cell, in three principal components of "
        "their outputs. In the titles, the number of fixed points without input that have 0, 1, 2, ... unstable directions; a "
        "cube has 8 stable ones at its corners, and saddles on its 12 edges, its 6 faces and in its middle.",
        "fixed_points_line.png": "Networks that add up the valences of words, the first of each cell, in two principal "
        "components of their outputs: states along 64 texts, coloured by the sum of valences so far, with slow and fixed "
        "points under the mean word.",
    }
