"""The sentences of a summary."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .summary import Summary

KEPT = 1.0  # powers of ten by which a gradient may change and still counts as kept
SAME = 0.01  # nats over a sequence by which a distance may change and still counts as the same
PLAIN = 3.0  # powers of ten up to which a factor is written as a plain number
TINY = 1e-10  # nats per step; what is nearer to 0 may be 0
FINE = 1e-6  # nats per step; smaller errors are not told apart


def lines(of: "Summary") -> Iterator[str]:
    """The sentences, one per line."""
    yield _measured(of)
    if of.regime == "diverged":
        yield "diverged: in no sequence did the state stay finite, so that there are no exponents"
    else:
        yield _stability(of)
        yield _exponents(of)
        yield _memory(of)
        yield _directions(of)
        yield _gradients(of)
        if of.regime == "chaotic":
            yield _dimension(of)
        yield from _diverged(of)
        yield _comparison(of)
    yield from (f"note: {note}" for note in of.notes)


def amount(value: float) -> str:
    """A number with two digits."""
    return f"{float(f'{value:.2g}'):,g}"


def steps(value: float) -> str:
    """A number of steps in words."""
    if value < 1:
        return "less than 1 step"
    text = f"{value:,}" if isinstance(value, int) else amount(value)
    return f"{text} step" if text == "1" else f"{text} steps"


def rate(exponent: float) -> str:
    """An exponent with three digits, 0 for what may be 0."""
    return f"{0.0 if abs(exponent) < TINY else exponent:.3g}"


def factor(powers: float) -> str:
    """A factor, given as a power of ten."""
    return amount(10**powers) if abs(powers) <= PLAIN else f"10^{powers:.0f}"


def _measured(of: "Summary") -> str:
    spectrum = of.spectrum
    measured, size, sequences = spectrum.per_sequence.shape[1], spectrum.state_size, len(spectrum.per_sequence)
    whole = "1 exponent, all there is" if size == 1 else f"all {size} exponents"
    which = whole if measured == size else f"{measured} of {size} exponents, the largest"
    length = steps(spectrum.steps + (spectrum.transient or 0))
    uncounted = f" (the first {spectrum.transient} are not counted)" if spectrum.transient else ""
    many = f"{sequences} sequence{'s' * (sequences > 1)}"
    return f"{of.model}: {which}, from {many} of {'' if of.equal else 'up to '}{length}{uncounted}"


def _stability(of: "Summary") -> str:
    largest, (low, high) = of.largest, of.interval
    if largest == -math.inf:
        return f"stable: {_lost(of)}"
    if of.regime == "unknown":
        return "stable or chaotic is unknown, because the error of the largest exponent is unknown"
    if of.regime == "stable":
        share = -100 * math.expm1(largest)
        return f"stable: two nearby states approach each other by {_percent(share)} per step on average"
    if of.regime == "chaotic":
        return f"chaotic, if the state stays bounded and does not rest: the distance of two nearby states {_growth(largest)}"
    if max(-low, high) * of.length < SAME:
        return "on the edge of stability: two nearby states keep their distance"
    return "on the edge of stability: two nearby states may approach each other or move apart, as far as the data show"


def _lost(of: "Summary") -> str:
    """What an exponent of -inf means, which one sequence is enough to cause."""
    whole = of.spectrum.per_sequence[~of.spectrum.diverged]
    lost, sequences = int(whole.isneginf().all(-1).sum()), len(whole)
    if lost == sequences:
        return "two nearby states become equal, as steps of the network lose all directions"
    some = f"; in {lost} of {sequences} sequences two nearby states become equal" if lost else ""
    return f"each direction is lost in at least one sequence{some}"


def _percent(share: float) -> str:
    return "more than 99 %" if share > 99 else f"{amount(share)} %"


def _growth(exponent: float) -> str:
    if exponent < math.log(2):
        return f"doubles every {steps(math.log(2) / exponent)} on average"
    return f"grows by a factor of {factor(exponent / math.log(10))} per step on average"


def _exponents(of: "Summary") -> str:
    if of.largest == -math.inf:
        return "exponents: all are -inf nats per step"
    low, high = of.spectrum.confidence_interval()
    first, *others = ((high - low) / 2).tolist()
    finite = [half for half in others if math.isfinite(half)]
    number = f"exponents: the largest is {rate(of.largest)} nats per step"
    if math.isnan(first):
        return f"{number}, with an unknown error; it takes more than 1 step, or more than 1 sequence, to estimate that"
    rest = f", the other{f' {len(finite)}' if len(finite) > 1 else ''} to {_error(max(finite))}" if finite else ""
    ends = " to ".join(rate(end) for end in of.interval)
    return f"{number} (95 % interval {ends}), good to {_error(first)}{rest}"


def _error(half: float) -> str:
    return f"+-{half:.1g}" if half >= FINE else f"better than {FINE:g}"


def _memory(of: "Summary") -> str:
    low, compared = of.interval[0], f"{'a' if of.equal else 'the longest'} sequence has {steps(of.length)}"
    if of.largest == -math.inf:
        return f"memory: no direction of the state lasts through all sequences; {compared}"
    if of.regime == "on the edge":
        fades = (
            f"it takes at least {steps(-1 / low)} to shrink to 1/e (37 %)" if -1 < low < -TINY else "how fast it fades is unknown"
        )
        return f"memory: a deviation of the state may last: {fades if low < -TINY else 'it does not shrink'}; {compared}"
    if of.largest < 0:
        return f"memory: a deviation of the state shrinks to 1/e (37 %) within {steps(of.memory)} on average; {compared}"
    grows = f", it grows by a factor of e within {steps(1 / of.largest)}" if of.largest > TINY else ""
    return f"memory: a deviation of the state does not fade{grows}; {compared}"


def _directions(of: "Summary") -> str:
    number, size, length = of.remembering, of.spectrum.state_size, steps(of.length)
    if not number:
        return f"directions: none of {size:,} remembers a whole sequence; each shrinks to 1/e or less within {length}"
    least = "at least " if number == of.spectrum.per_sequence.shape[1] < size else ""
    verbs = ("remembers", "it does") if number == 1 and not least else ("remember", "they do")
    share = f"{least}{number} of {size:,} ({amount(100 * number / size)} %)"
    return f"directions: {share} {verbs[0]} a whole sequence; {verbs[1]} not shrink to 1/e within {length}"


def _gradients(of: "Summary") -> str:
    if of.largest == -math.inf:
        return "gradients: no direction carries a gradient back through all sequences; it vanishes"
    gains = [end * of.length / math.log(10) for end in of.interval]
    if math.isnan(gains[0]):
        gains = [of.log10_gain] * 2
    gain, ends = factor(of.log10_gain), [factor(g) for g in gains]
    between = f" ({ends[0]} to {ends[1]})" if {*ends} != {gain} and all(map(math.isfinite, gains)) else ""
    fates = ["vanishes", "is kept", "explodes"][_fate(gains[0]) : _fate(gains[1]) + 1]
    way = f"the way back through {'all ' * (of.length > 1)}{steps(of.length)}"
    effect = f"multiplies a gradient by about {gain}{between} in the direction that lasts longest"
    return f"gradients: {way} {effect}; it {' or '.join(fates)}"


def _fate(powers: float) -> int:
    """0 if a gradient vanishes, 1 if it is kept, 2 if it explodes."""
    return int(powers >= -KEPT) + int(powers > KEPT)


def _dimension(of: "Summary") -> str:
    spectrum, dimension = of.spectrum, of.dimension
    number = f"at least {spectrum.per_sequence.shape[1]}" if math.isnan(dimension) else f"about {dimension:.3g}"
    return f"dimension: deviations spread over {number} of {spectrum.state_size:,} directions (Kaplan-Yorke dimension)"


def _diverged(of: "Summary") -> Iterator[str]:
    gone, sequences = int(of.spectrum.diverged.sum()), len(of.spectrum.per_sequence)
    if gone:
        yield f"diverged: in {gone} of {sequences} sequences the state did not stay finite; the numbers are those of the others"


def _comparison(of: "Summary") -> str:
    if not of.trials:
        return "unusual: not compared with the trials of the predictor; that takes the 8 largest exponents"
    among = f"among the {of.trials:,} trials, before training, that the predictor learned from"
    return f"unusual {among}: {'; '.join(of.unusual) if of.unusual else 'nothing'}"
