"""A recurrent network in about ten lines: whether it is stable, how long it remembers, and what is unusual about it."""

import math
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from ..core.errors import AlignmentWarning, RoundingWarning
from ..core.numbers import count as whole_number
from ..spectrum import Spectrum, leading_spectrum, lyapunov_spectrum, shown
from ..spectrum.adapt import Model
from ..spectrum.copies import owner, unwrapped
from . import sentences

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# All exponents of an LSTM with 256 numbers took 0.4 s for 100 steps of 4 sequences; of 512 numbers, all took 2.8 s, and 32 0.1 s.
COMPLETE = 256  # largest state size of which all exponents are measured
LEADING = 32  # exponents of a larger state

Regime = Literal["stable", "on the edge", "chaotic", "unknown", "diverged"]
FEATURES = {  # those of the predictor's features that need neither all exponents nor a lag
    "growth_over_sequence": "the growth of a deviation over a sequence",
    "leading_mean": "the mean of the largest exponents (up to 8)",
    "leading_positive_sum": "the sum of the positive exponents (up to 8)",
    "leading_remembering": "the share of leading directions (up to 8) that remember a sequence",
    "spread_over_sequences": "the difference of the largest exponent between sequences",
}


def summary(
    model: Model,
    inputs: Tensor | PackedSequence,
    *,
    state: Any = None,
    steps: int | None = None,
    count: int | None = None,
    transient: int | None = None,
    lengths: Tensor | Sequence[int] | None = None,
    device: torch.device | str | None = None,
) -> "Summary":
    """Describe a recurrent network in about ten lines; print the result.

    The Lyapunov exponents are measured: all of them if the state has at most 256 numbers, otherwise the 32 largest. The numbers
    are compared with those of the trials, before training, from which the packaged predictor learned. The model is not changed.

    Args:
        model: as for `lyapunov_spectrum`, such as a `torch.nn.LSTM`.
        inputs: sequences of data, as the module takes them.
        state: the initial state; as for `lyapunov_spectrum`.
        steps: T, the length of a training sequence; by default that of `inputs`.
        count: number of exponents to measure; see above.
        transient: number of steps that are not counted, as for `lyapunov_spectrum`.
        lengths: (B,) lengths of padded sequences, as for `lyapunov_spectrum`.
        device: of the computation, as for `lyapunov_spectrum`.

    Raises:
        ModuleError: the model or inputs cannot be measured, or an argument is not as above.
    """
    steps = None if steps is None else whole_number("steps", steps)
    options = {"state": state, "transient": transient, "lengths": lengths, "device": device}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if count is None:
            spectrum = leading_spectrum(model, inputs, LEADING, whole=COMPLETE, **options)
        else:
            spectrum = lyapunov_spectrum(model, inputs, count=count, **options)
    own = [w for w in caught if issubclass(w.category, AlignmentWarning | RoundingWarning)]
    for other in caught:
        if other not in own:
            warnings.warn(other.message, stacklevel=2)
    length = steps or spectrum.steps + (spectrum.transient or 0)
    trials, unusual = _compared(spectrum, length)
    return Summary(
        spectrum=spectrum,
        length=length,
        model=_described(model),
        equal=lengths is None and not isinstance(inputs, PackedSequence),
        trials=trials,
        unusual=unusual,
        notes=tuple(str(w.message) for w in own),
    )


@dataclass(frozen=True, eq=False, repr=False)
class Summary:
    """What a spectrum says about a recurrent network; `str` gives the lines.

    Attributes:
        spectrum: the Lyapunov exponents with their errors.
        length: T, steps of a (training) sequence, to which memory and gradients are compared.
        model: what was measured, in words.
        equal: whether all sequences are of the same length; otherwise T is that of the longest.
        trials: number of trials with which the numbers were compared; 0 if they were not.
        unusual: sentences about numbers outside the central 95 % of those trials.
        notes: what else limits the result, in sentences.
    """

    spectrum: Spectrum
    length: int
    model: str
    equal: bool = True
    trials: int = 0
    unusual: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def largest(self) -> float:
        """The largest exponent, nats per step: NaN if no sequence stayed finite, -inf if all directions are lost."""
        return float(self.spectrum.exponents[0])

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the largest exponent, nats per step, rounding included; NaN if it is unknown."""
        low, high = self.spectrum.confidence_interval()[:, 0].tolist()
        rounding = float(self.spectrum.rounding_error[0].nan_to_num(0.0, posinf=math.inf))
        return low - rounding, high + rounding

    @property
    def regime(self) -> Regime:
        """Stable or chaotic if the largest exponent's interval lies below or above 0, on the edge if it contains 0.

        "unknown" if there is no interval, and "diverged" if no sequence stayed finite.
        """
        low, high = self.interval
        if math.isnan(self.largest):
            return "diverged"
        if self.largest == -math.inf:
            return "stable"
        if math.isnan(low):
            return "unknown"
        return "chaotic" if low > sentences.TINY else "stable" if high < -sentences.TINY else "on the edge"

    @property
    def memory(self) -> float:
        """Steps in which a deviation of the state shrinks to 1/e, -1 / largest exponent; inf if that is not negative."""
        if math.isnan(self.largest):
            return math.nan
        return math.inf if self.largest >= 0 else -1 / self.largest

    @property
    def remembering(self) -> int:
        """Number of exponents above -1 / T; if these are all exponents of a truncated spectrum, there may be more."""
        return int((self.spectrum.exponents > -1 / self.length).sum())

    @property
    def log10_gain(self) -> float:
        """Power of ten by which a gradient changes on its way back through T steps, in the direction that lasts longest."""
        return self.largest * self.length / math.log(10)

    @property
    def dimension(self) -> float:
        """The Kaplan-Yorke dimension; NaN if the measured exponents do not determine it."""
        return self.spectrum.kaplan_yorke_dimension

    @property
    def lines(self) -> tuple[str, ...]:
        """The sentences that `str` joins."""
        return tuple(sentences.lines(self))

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def __repr__(self) -> str:
        if self.regime == "diverged":
            return f"Summary({self.model[:32]}: diverged)"
        ends = [sentences.rate(end) for end in self.interval]
        interval = "" if "nan" in ends else f" ({ends[0]} to {ends[1]})"
        memory = f"memory {sentences.amount(self.memory)} of {self.length} steps"
        odd = f"{len(self.unusual)} unusual" if self.unusual else "nothing unusual" if self.trials else "not compared"
        return f"Summary({self.model[:32]}: {self.regime}; largest {sentences.rate(self.largest)}{interval}; {memory}; {odd})"

    def to_dict(self) -> dict[str, Any]:
        """The numbers and sentences as plain Python values, for JSON; None for a number that is NaN or infinite."""
        low, high = self.interval
        numbers = {"largest_exponent": self.largest, "low": low, "high": high, "memory": self.memory}
        numbers |= {"log10_gain": self.log10_gain, "dimension": self.dimension}
        return {name: shown.plain(value) for name, value in numbers.items()} | {
            "model": self.model,
            "regime": self.regime,
            "length": self.length,
            "exponents": self.spectrum.per_sequence.shape[1],
            "state_size": self.spectrum.state_size,
            "remembering": self.remembering,
            "sequences": len(self.spectrum.per_sequence),
            "diverged": int(self.spectrum.diverged.sum()),
            "steps": self.spectrum.steps,
            "transient": self.spectrum.transient,
            "trials": self.trials,
            "unusual": list(self.unusual),
            "notes": list(self.notes),
            "lines": list(self.lines),
        }

    def plot(self, ax: "Axes | None" = None, path: str | Path | None = None) -> "Axes":
        """Draw the spectrum as `Spectrum.plot` does, with the sentences below; on axes that are given, with the first as title.

        Args:
            ax: where to draw; by default in a new figure, which `pyplot` does not know.
            path: where to save the figure.

        Returns:
            The axes.

        Raises:
            ModuleError: matplotlib is not installed, an argument is not as above, or the file cannot be written.
        """
        words = "\n".join(textwrap.fill(line, 110, subsequent_indent="    ") for line in self.lines)
        given = shown.axes_for(ax, width=7.2, height=4.0 + 0.165 * (1 + words.count("\n")))
        shown.spectrum_on(given, self.spectrum, self.length)
        if ax is None:
            place: dict[str, Any] = {"xycoords": "axes fraction", "xytext": (-30, -42), "textcoords": "offset points"}
            given.annotate(words, (0.0, 0.0), va="top", ha="left", fontsize=8.5, annotation_clip=False, **place)
        else:
            given.set_title(f"{self.model}: {self.regime}", loc="left", fontsize="medium")
        return shown.save(given, path)


def _described(model: Any) -> str:
    """What a model is, in words: its class, size and layers, or "a function"."""
    module = owner(unwrapped(model))
    if module is None:
        return "a function"
    size, layers = getattr(module, "hidden_size", None), getattr(module, "num_layers", 1)
    details = [f"H = {size}"] if isinstance(size, int) else []
    details += [f"{layers} layers"] if isinstance(layers, int) and layers > 1 else []
    return type(module).__name__ + (f" ({', '.join(details)})" if details else "")


def _compared(spectrum: Spectrum, length: int) -> tuple[int, tuple[str, ...]]:
    """The number of trials of the packaged predictor, 0 if the spectrum cannot be compared, and what is unusual among them."""
    from ..predictor import StabilityPredictor, network_inputs
    from ..predictor.features import LEADING as NEEDED

    if spectrum.per_sequence.shape[1] < min(NEEDED, spectrum.state_size) or spectrum.diverged.all():
        return 0, ()
    card, row = StabilityPredictor.load().card, network_inputs(steps=length, spectrum=spectrum)
    trials = sum(number for study, number in card.studies.items() if not study.startswith("shift_"))
    columns = {f"initial_{name}": words for name, words in FEATURES.items() if f"initial_{name}" in card.quantiles}
    places = {words: _place(card.quantiles[column], row[column]) for column, words in columns.items()}
    return trials, tuple(f"{words} is {place}" for words, place in places.items() if place)


def _place(quantiles: Sequence[float], value: float) -> str:
    """Where a number lies if it is outside the central 95 % of the trials; otherwise nothing, as for NaN."""
    low, high = np.interp((0.025, 0.975), np.linspace(0, 1, len(quantiles)), quantiles)
    for outside, all_, most in (
        (value < low, value < quantiles[0], ("below all of them", "among the smallest 2.5 %")),
        (value > high, value > quantiles[-1], ("above all of them", "among the largest 2.5 %")),
    ):
        if outside:
            return most[0] if all_ else most[1]
    return ""
