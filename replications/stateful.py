"""Mini-batch strategies for stateful recurrent networks, on a synthetic catchment and on a river (Xu et al. 2022)."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from pipeline import heads, lyapunov_spectrum, tasks
from pipeline.cells.lstm import LSTM
from pipeline.tasks import fulda_runoff
from pipeline.tasks.catchment import SPIN_UP, STEPS, STORES, YEARS, efficiency, simulate, weather
from pipeline.training.network import Module, Network
from pipeline.training.policies import POLICIES, previous, self_told, tell

from ._outcome import Outcome, Row

TITLE = "Stateful training: what becomes of the state between mini-batches"
SOURCE = (
    "Xu, Khandelwal, Li, Jia, Liu, Willard, Ghosh, Cutler, Steinbach, Duffy, Nieber, Kumar: Mini-batch learning strategies for "
    "modeling long term temporal dependencies, arXiv 2210.08347, 2022. No public code was found."
)
FROM_ZERO, CARRIED, OBSERVED, OWN = "from zero", "carried", "told the observed", "told its own"
MIXED = {15: 32, 30: 16, 122: 4}  # days of a segment -> segments a mini-batch, which are 488 days as 8 of 61 are
HOW = "Adam with a cosine schedule, mean squared error of standardised targets, gradients clipped at norm 1"
RAN_SMALL = f"LSTMs of 16 units, segments of {STEPS} days, mini-batches of 8, {HOW}, rate .01, 20 epochs, 1 catchment, 1 seed."
RAN = (
    f"LSTMs of 32 units, {HOW}, rate .005. Catchment: 15 years to train, the 10 from the fifth year after them on to test, 60 "
    f"epochs; every policy on segments of {STEPS} days in mini-batches of 8, 6 seeds, each another weather and network; "
    f"stateless and stateful alone on segments of {', '.join(map(str, MIXED))} days in mini-batches of "
    f"{', '.join(map(str, MIXED.values()))}, 3 seeds. Fulda: six years and the four after them, segments of {STEPS} days in "
    "mini-batches of 8, 120 epochs, 3 seeds of the network. Exponents along the test series in one piece, without resets, after "
    "200 days."
)
WHY = """\
The paper's figures could not be read. Its abstract says that carrying the state, or telling the last target, helps most where
memory is long, and that telling keeps the accuracy at far lower training time."""
EXPONENTS = """\
**Exponents.** What a segment leaves of a deviation is exp(exponent x days), which varies with the length of the
segments, too: the last row holds the length fixed. The rank correlations pool networks that share catchments and are therefore
not independent: they describe these networks and are no test."""


@dataclass(frozen=True)
class Series:
    """Two consecutive stretches of a series in segments: inputs (T, N, I) and targets (T, N, O)."""

    inputs: Tensor
    targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor


@dataclass(frozen=True)
class Finding:
    """One trained network: efficiencies (O,) by the way it was evaluated, largest exponent, seconds of training."""

    policy: str
    length: int
    efficiencies: dict[str, list[float]]
    exponent: float
    seconds: float

    @property
    def gain(self) -> float:
        """What carrying the state adds to the efficiency of this very network, in the first target."""
        return self.efficiencies[CARRIED][0] - self.efficiencies[FROM_ZERO][0]

    @property
    def kept(self) -> float:
        """Share of a deviation of the state that is left after a segment."""
        return float(np.exp(self.exponent * self.length))


def run(small: bool) -> Outcome:
    """Every policy on the catchment and on the river; small, on one catchment and shortly trained."""
    torch.set_num_threads(1)
    if small:
        policies = ("stateless", "ordered", "conditional")
        found = [study(p, catchment(0), 0, hidden=16, epochs=20, learning_rate=0.01) for p in policies]
        return outcome(found, [], [], ran=RAN_SMALL)
    synthetic = [study(policy, catchment(seed), seed) for seed in range(6) for policy in POLICIES]
    lengths = [
        study(policy, catchment(seed, length), seed, batch=batch)
        for length, batch in MIXED.items()
        for seed in range(3)
        for policy in ("stateless", "stateful")
    ]
    real = [study(policy, river(), seed, epochs=120) for seed in range(3) for policy in POLICIES]
    return outcome(synthetic, lengths, real, ran=RAN)


def catchment(seed: int, length: int = STEPS) -> Series:
    """15 years and the 10 from the fifth year after them on, in segments of some length."""
    arrays = tasks.get("catchment").load("full", seed).arrays
    names = ("train_inputs", "train_targets", "test_inputs", "test_targets")
    return Series(*(segments(arrays[name].swapaxes(0, 1).reshape(-1, 2), length) for name in names))


def river() -> Series:
    """Weather and log discharge of the Fulda: six years, and the four after them."""
    values, discharge, _, _ = fulda_runoff._packaged()
    days = np.column_stack([values, np.log(np.maximum(discharge, 1e-3))])
    seen = 6 * 365
    days = (days - days[:seen].mean(0)) / days[:seen].std(0)
    return Series(
        *(segments(part[:, columns], STEPS) for part in (days[:seen], days[seen:]) for columns in (slice(4), slice(4, 5)))
    )


def segments(days: np.ndarray, length: int) -> Tensor:
    """Consecutive segments (T, N, channels) of a series (days, channels); days left over are left out."""
    count = len(days) // length
    return torch.from_numpy(days[: count * length].astype(np.float32)).reshape(count, length, -1).transpose(0, 1).contiguous()


def study(
    policy: str, series: Series, seed: int, *, hidden: int = 32, epochs: int = 60, batch: int = 8, learning_rate: float = 5e-3
) -> Finding:
    """Train a network by a policy, evaluate it in every way that it allows and measure its largest exponent."""
    told = POLICIES[policy].told
    x = tell(series.inputs, previous(series.targets)) if told else series.inputs
    begin = time.perf_counter()
    module = trained(policy, x, series.targets, torch.Generator().manual_seed(seed), hidden, epochs, batch, learning_rate)
    seconds = time.perf_counter() - begin
    x = tell(series.test_inputs, previous(series.test_targets)) if told else series.test_inputs
    with torch.no_grad():
        if told:
            answers = {OBSERVED: module(x), OWN: self_told(module, series.test_inputs, series.targets.shape[-1])}
        else:
            answers = {FROM_ZERO: module(x), CARRIED: module.read(POLICIES["ordered"].evaluate(module.run, x, None)[0])}
    driving = x.transpose(0, 1).flatten(0, 1)[:, None].double()
    exponent = lyapunov_spectrum(module.cell, driving, count=1, transient=200).exponents.item()
    efficiencies = {way: efficiency(answer, series.test_targets).tolist() for way, answer in answers.items()}
    return Finding(policy, len(series.inputs), efficiencies, exponent, seconds)


def trained(
    policy: str, x: Tensor, y: Tensor, generator: torch.Generator, hidden: int, epochs: int, batch: int, learning_rate: float
) -> Module:
    """An LSTM trained by Adam with a cosine schedule, gradients clipped to norm 1."""
    how = POLICIES[policy]
    module = Network(LSTM(x.shape[-1], hidden), heads.get("every")(hidden, y.shape[-1])).init(generator)
    optimiser = torch.optim.Adam(module.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for _ in range(epochs):
        state = None
        for chosen in how.batches(x.shape[1], batch, generator):
            outputs, state = how.train(module.run, x[:, chosen], state)
            optimiser.zero_grad()
            (module.read(outputs) - y[:, chosen]).square().mean().backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimiser.step()
        schedule.step()
    return module


def outcome(synthetic: list[Finding], lengths: list[Finding], real: list[Finding], *, ran: str) -> Outcome:
    """The page's section."""
    return Outcome(
        title=TITLE,
        source=SOURCE,
        summary=summary(synthetic),
        ran=ran,
        rows=(
            *table("catchment, soil water / snow", synthetic),
            *table("Fulda, log discharge", real),
            *memories([f for f in synthetic + lengths if CARRIED in f.efficiencies]),
        ),
        why=why(synthetic, real),
        pictures={},
    )


def summary(found: list[Finding]) -> str:
    """What came out on the catchment, for the soil water."""
    own = by_policy(found)
    soil = {p: {way: mean(f.efficiencies[way][0] for f in own[p]) for way in own[p][0].efficiencies} for p in own}
    exponents = {p: mean(f.exponent for f in own[p]) for p in own}
    return (
        f"Efficiency for soil water {soil['stateless'][FROM_ZERO]:.2f} stateless, "
        f"{soil['ordered'][CARRIED]:.2f} with the state carried in order, "
        f"{soil['conditional'][OBSERVED]:.2f} told the last observed value, "
        f"{soil['conditional'][OWN]:.2f} told the network's own; "
        f"largest exponent {exponents['stateless']:.3f} a day stateless, {exponents['ordered']:.3f} ordered."
    )


def why(synthetic: list[Finding], real: list[Finding]) -> str:
    """What each policy adds to stateless training, seed by seed, and how long the stores remember."""
    own = by_policy(synthetic)
    base = mean(f.seconds for f in own["stateless"])
    costs = ", ".join(f"{policy} {mean(f.seconds for f in own[policy]) / base:.1f}" for policy in own if policy != "stateless")
    told = [f.efficiencies[OWN][0] - f.efficiencies[OBSERVED][0] for f in own["conditional"]]
    lines = [f"- {name}: {gains(synthetic, target)}" for target, name in enumerate(("soil water", "snow"))]
    lines += [f"- the Fulda: {gains(real, 0)}"] if real else []
    paragraphs = [
        WHY,
        "Efficiency above that of stateless training read from zero, seed by seed (mean; seeds in which it is higher):\n\n"
        + "\n".join(lines),
        f"Told its own last answer instead of the observed one, soil water changes by {spread(told)}. Training took, as a "
        f"multiple of stateless training: {costs}.",
    ]
    return "\n\n".join([*paragraphs, memory_of_water(), EXPONENTS] if real else paragraphs)


def gains(found: list[Finding], target: int) -> str:
    """Efficiency of each policy and way above stateless training from zero, of the same seeds."""
    own = by_policy(found)
    zero = [f.efficiencies[FROM_ZERO][target] for f in own["stateless"]]
    parts = []
    for policy, networks in own.items():
        for way in networks[0].efficiencies:
            more = [f.efficiencies[way][target] - z for f, z in zip(networks, zero, strict=True)]
            if (policy, way) != ("stateless", FROM_ZERO):
                parts.append(f"{policy}, {way} {mean(more):+.2f} ({sum(m > 0 for m in more)} of {len(more)})")
    return "; ".join(parts)


def memory_of_water(count: int = 6, days: int = 30) -> str:
    """Autocorrelation of stores and streamflow over the training years, and how deep snow is in the test years beside them."""
    found, ratios = [], []
    train, validation, test = (365 * years for years in YEARS["full"])
    for seed in range(count):
        water = simulate(*weather(np.random.default_rng(seed), 365 * SPIN_UP + train + validation + test))
        series = {name: water[name][365 * SPIN_UP :] for name in (*STORES, "streamflow")}
        found.append([np.corrcoef(v[: train - days], v[days:train])[0, 1] for v in series.values()])
        ratios.append(series["snow"][-test:].max() / series["snow"][:train].max())
    shown = ", ".join(
        f"{name} {min(v):.2f} to {max(v):.2f}" for name, v in zip((*STORES, "streamflow"), zip(*found, strict=True), strict=True)
    )
    return (
        f"**Memory.** Autocorrelation over {days} days in the training years of the {count} seeds: {shown}; streamflow is not "
        "asked for, as it follows the rain of the last days. The deepest snow of the test years is, by seed, "
        f"{', '.join(f'{r:.2f}' for r in ratios)} times that of the training years, and above 1 a network has to extrapolate."
    )


def by_policy(found: list[Finding]) -> dict[str, list[Finding]]:
    """The networks of each policy that has any."""
    return {policy: own for policy in POLICIES if (own := [f for f in found if f.policy == policy])}


def table(what: str, found: list[Finding]) -> list[Row]:
    """A row a policy: efficiencies, mean and standard deviation over seeds, largest exponent, seconds of training."""
    rows = []
    for policy, own in by_policy(found).items():
        columns = {way: zip(*(f.efficiencies[way] for f in own), strict=True) for way in own[0].efficiencies}
        parts = [f"{way}: {' / '.join(map(spread, values))}" for way, values in columns.items()]
        parts += [f"exponent {spread([f.exponent for f in own], 3)} a day", f"{mean(f.seconds for f in own):.1f} s to train"]
        rows.append(Row(f"{what}: Nash-Sutcliffe efficiency, {policy}", "not available", f"{'; '.join(parts)} ({seeds(own)})"))
    return rows


def memories(found: list[Finding]) -> list[Row]:
    """What a segment leaves of a deviation beside what a carried state adds, and whether networks that keep more gain more."""
    rows = []
    for length in sorted({f.length for f in found}):
        for policy, own in by_policy([f for f in found if f.length == length]).items():
            what = f"catchment, {policy}, segments of {length} days: exponent a day; share of a deviation left; gain by carrying"
            numbers = [spread([f.exponent for f in own], 3), f"{mean(f.kept for f in own):.0%}", spread([f.gain for f in own])]
            rows.append(Row(what, "not reported", f"{'; '.join(numbers)} ({seeds(own)})"))
    carrying = [f for f in found if f.policy != "stateless"]
    rows += correlation("trained stateless, all lengths", [f for f in found if f.policy == "stateless"])
    rows += correlation("trained stateful or ordered, all lengths", carrying)
    return rows + correlation(f"trained stateful or ordered, {STEPS} days", [f for f in carrying if f.length == STEPS])


def correlation(which: str, found: list[Finding]) -> list[Row]:
    """A row with the rank correlation, if there are enough networks for one."""
    if len(found) < 4:
        return []
    result = spearmanr([f.kept for f in found], [f.gain for f in found])
    what = f"catchment, {which}: rank correlation of the share left with the gain"
    return [Row(what, "not reported", f"{result.statistic:+.2f} ({len(found)} networks)")]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean and standard deviation."""
    return f"{mean(values):.{digits}f}" + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "")


def seeds(found: list[Finding]) -> str:
    """How many."""
    return f"{len(found)} seed{'s' if len(found) > 1 else ''}"
