"""Mini-batch strategies for stateful recurrent networks, on a synthetic catchment and on a river (Xu et al. 2022)."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import mean, stdev

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from pipeline import heads, lyapunov_spectrum, tasks
from pipeline.cells.lstm import LSTM
from pipeline.core.tables import number
from pipeline.tasks import fulda_runoff
from pipeline.tasks.catchment import SPIN_UP, STEPS, STORES, YEARS, efficiency, simulate, weather
from pipeline.training.network import Module, Network
from pipeline.training.policies import POLICIES, append, free_running, previous

from ._harness import Outcome, Row
from ._learn import descend

FROM_ZERO, CARRIED, OBSERVED, OWN = "from zero", "carried", "teacher forcing", "free-running"
MIXED = {15: 32, 30: 16, 122: 4}  # days of a segment -> segments of a mini-batch, 488 days in total, like 8 of 61 days
TARGETS = {"catchment": "soil water / snow", "Fulda": "log discharge"}
NOT_REPORTED = "not reported"


@dataclass(frozen=True)
class Series:
    """Two stretches of a series in consecutive segments: inputs (T, N, I) and targets (T, N, O)."""

    inputs: Tensor
    targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor


@dataclass(frozen=True)
class Finding:
    """One trained network."""

    policy: str
    length: int  # days of a segment
    efficiencies: dict[str, list[float]]  # way of evaluation -> efficiency of each target
    exponent: float  # the largest one, per day
    seconds: float  # time of training

    @property
    def gain(self) -> float:
        """What carrying the state adds to the efficiency of the first target of this very network."""
        return self.efficiencies[CARRIED][0] - self.efficiencies[FROM_ZERO][0]

    @property
    def kept(self) -> float:
        """Share of a deviation of the state that is left after a segment."""
        return float(np.exp(self.exponent * self.length))


def run(small: bool) -> Outcome:
    """Every policy on the catchment and on the river; small: three policies on one catchment, with a short training."""
    if small:
        policies = ("stateless", "ordered", "conditional")
        return outcome([study(p, catchment(0), 0, hidden=16, epochs=20, rate=0.01) for p in policies], [], [])
    synthetic = [study(policy, catchment(seed), seed) for seed in range(6) for policy in POLICIES]
    lengths = [
        study(policy, catchment(seed, length), seed, batch=batch)
        for length, batch in MIXED.items()
        for seed in range(3)
        for policy in ("stateless", "stateful")
    ]
    real = [study(policy, river(), seed, epochs=120) for seed in range(3) for policy in POLICIES]
    return outcome(synthetic, lengths, real)


def outcome(synthetic: list[Finding], lengths: list[Finding], real: list[Finding]) -> Outcome:
    """Rows and facts; without the river it is the small form."""
    own = by_policy(synthetic)
    base, swapped = mean(f.seconds for f in own["stateless"]), [_first(f, OWN) - _first(f, OBSERVED) for f in own["conditional"]]
    gains = {"soil water": _gains(synthetic, 0), "snow": _gains(synthetic, 1)} | ({"the Fulda": _gains(real, 0)} if real else {})
    facts = {
        "small": not real,
        "days": STEPS,
        "mixed": MIXED,
        "zero": mean(_first(f, FROM_ZERO) for f in own["stateless"]),
        "carried": mean(_first(f, CARRIED) for f in own["ordered"]),
        "observed": mean(_first(f, OBSERVED) for f in own["conditional"]),
        "own": mean(_first(f, OWN) for f in own["conditional"]),
        "exponents": {policy: mean(f.exponent for f in found) for policy, found in own.items()},
        "gains": gains,
        "swapped": spread(swapped),
        "costs": {policy: mean(f.seconds for f in found) / base for policy, found in own.items() if policy != "stateless"},
        "water": _memory_of_water() if real else None,
    }
    carrying = [f for f in synthetic + lengths if CARRIED in f.efficiencies]
    return Outcome([*policy_rows("catchment", synthetic), *policy_rows("Fulda", real), *memory_rows(carrying)], facts)


def catchment(seed: int, length: int = STEPS) -> Series:
    """15 years, and 10 years that begin five years later, in segments of some length."""
    arrays = tasks.get("catchment").load("full", seed).arrays
    names = ("train_inputs", "train_targets", "test_inputs", "test_targets")
    return Series(*(segments(arrays[name].swapaxes(0, 1).reshape(-1, 2), length) for name in names))


def river() -> Series:
    """Weather and log discharge of the Fulda: six years, and the four years after them."""
    values, discharge, _, _ = fulda_runoff._packaged()
    days = np.column_stack([values, np.log(np.maximum(discharge, 1e-3))])
    cut = 6 * 365
    days = (days - days[:cut].mean(0)) / days[:cut].std(0)
    return Series(*(segments(d, STEPS) for part in (days[:cut], days[cut:]) for d in (part[:, :4], part[:, 4:])))


def segments(days: NDArray[np.floating], length: int) -> Tensor:
    """Consecutive segments (T, N, channels) of a series (days, channels); remaining days at the end are dropped."""
    count = len(days) // length
    return torch.from_numpy(days[: count * length].astype(np.float32)).reshape(count, length, -1).transpose(0, 1).contiguous()


def study(
    policy: str, series: Series, seed: int, *, hidden: int = 32, epochs: int = 60, batch: int = 8, rate: float = 5e-3
) -> Finding:
    """Train a network by a policy, evaluate it in every way that the policy allows and measure its largest exponent."""
    sees_targets = POLICIES[policy].sees_targets
    x, test = series.inputs, series.test_inputs
    if sees_targets:
        x, test = append(x, previous(series.targets)), append(test, previous(series.test_targets))
    begin = time.perf_counter()
    module = trained(policy, x, series.targets, seed, hidden=hidden, epochs=epochs, batch=batch, rate=rate)
    seconds = time.perf_counter() - begin
    with torch.no_grad():
        if sees_targets:
            answers = {OBSERVED: module(test), OWN: free_running(module, series.test_inputs, series.targets.shape[-1])}
        else:
            answers = {FROM_ZERO: module(test), CARRIED: module.read(POLICIES["ordered"].evaluate(module.run, test, None)[0])}
    driving = test.transpose(0, 1).flatten(0, 1)[:, None].double()
    exponent = lyapunov_spectrum(module.cell, driving, count=1, transient=200).exponents.item()
    efficiencies = {way: efficiency(answer, series.test_targets).tolist() for way, answer in answers.items()}
    return Finding(policy, len(series.inputs), efficiencies, exponent, seconds)


def trained(policy: str, x: Tensor, y: Tensor, seed: int, *, hidden: int, epochs: int, batch: int, rate: float) -> Module:
    """An LSTM trained by Adam with a cosine schedule, with gradients clipped to norm 1."""
    how, generator = POLICIES[policy], torch.Generator().manual_seed(seed)
    module = Network(LSTM(x.shape[-1], hidden), heads.get("every")(hidden, y.shape[-1])).init(generator)
    optimiser = torch.optim.Adam(module.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)

    def losses() -> Iterator[Tensor]:
        for _ in range(epochs):
            state = None
            for chosen in how.batches(x.shape[1], batch, generator):
                outputs, state = how.train(module.run, x[:, chosen], state)
                yield (module.read(outputs) - y[:, chosen]).square().mean()
            schedule.step()

    for _ in descend(losses(), module, optimiser, 1.0):
        pass
    return module


def by_policy(found: list[Finding]) -> dict[str, list[Finding]]:
    """The networks of each policy that has any."""
    return {policy: own for policy in POLICIES if (own := [f for f in found if f.policy == policy])}


def _first(found: Finding, way: str) -> float:
    """Efficiency of the first target."""
    return found.efficiencies[way][0]


def _gains(found: list[Finding], target: int) -> list[tuple[str, str, float, int, int]]:
    """Policy, way, mean efficiency above that of stateless training from zero, seeds in which it is higher, and seeds."""
    own = by_policy(found)
    zero = [f.efficiencies[FROM_ZERO][target] for f in own["stateless"]]
    gains = []
    for policy, networks in own.items():
        for way in networks[0].efficiencies:
            more = [f.efficiencies[way][target] - z for f, z in zip(networks, zero, strict=True)]
            gains.append((policy, way, mean(more), sum(m > 0 for m in more), len(more)))
    return gains[1:]  # the first is stateless training from zero itself


@cache
def _memory_of_water(count: int = 6, days: int = 30) -> dict[str, object]:
    """Autocorrelation of stores and streamflow over the training years, and the deepest snow of the test years, relative."""
    autocorrelations: dict[str, list[float]] = {name: [] for name in (*STORES, "streamflow")}
    ratios = []
    train, validation, test = (365 * years for years in YEARS["full"])
    for seed in range(count):
        water = simulate(*weather(np.random.default_rng(seed), 365 * SPIN_UP + train + validation + test))
        for name, found in autocorrelations.items():
            series = water[name][365 * SPIN_UP :]
            found.append(float(np.corrcoef(series[: train - days], series[days:train])[0, 1]))
        snow = water["snow"][365 * SPIN_UP :]
        ratios.append(float(snow[-test:].max() / snow[:train].max()))
    return {"seeds": count, "days": days, "autocorrelations": autocorrelations, "snow": ratios}


def policy_rows(series: str, found: list[Finding]) -> Iterator[Row]:
    """Efficiencies, mean and standard deviation over seeds, largest exponent and seconds of training, by policy."""
    for policy, own in by_policy(found).items():
        columns = {way: zip(*(f.efficiencies[way] for f in own), strict=True) for way in own[0].efficiencies}
        parts = [f"{way}: {' / '.join(map(spread, values))}" for way, values in columns.items()]
        parts += [f"exponent {spread([f.exponent for f in own], 3)} per day", f"{mean(f.seconds for f in own):.1f} s to train"]
        yield Row(f"{series}, {TARGETS[series]}: Nash-Sutcliffe efficiency, {policy}", f"{'; '.join(parts)} ({_seeds(own)})")


def memory_rows(found: list[Finding]) -> Iterator[Row]:
    """What a segment leaves of a deviation, what a carried state adds, and whether networks that keep more gain more."""
    for length in sorted({f.length for f in found}):
        for policy, own in by_policy([f for f in found if f.length == length]).items():
            what = f"catchment, {policy}, segments of {length} days: exponent per day; share of a deviation left; carrying gains"
            numbers = [spread([f.exponent for f in own], 3), f"{mean(f.kept for f in own):.0%}", spread([f.gain for f in own])]
            yield Row(what, f"{'; '.join(numbers)} ({_seeds(own)})", NOT_REPORTED)
    carrying = [f for f in found if f.policy != "stateless"]
    groups = {
        "trained stateless, all lengths": [f for f in found if f.policy == "stateless"],
        "trained stateful or ordered, all lengths": carrying,
        f"trained stateful or ordered, {STEPS} days": [f for f in carrying if f.length == STEPS],
    }
    for which, members in groups.items():
        if len(members) >= 4:
            rank = spearmanr([f.kept for f in members], [f.gain for f in members]).statistic
            what = f"catchment, {which}: rank correlation of the share left with the gain"
            yield Row(what, f"{rank:+.2f} ({len(members)} networks)", NOT_REPORTED)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean and standard deviation."""
    return number(mean(values), digits) + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "")


def _seeds(found: list[Finding]) -> str:
    return f"{len(found)} seed{'s' * (len(found) > 1)}"
