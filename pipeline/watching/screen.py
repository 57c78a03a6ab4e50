"""Which of many configurations to train: the predictor ranks them before any training."""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal

import torch
from joblib import Parallel, cpu_count, delayed
from torch import Tensor
from tqdm import tqdm

from ..core.errors import ModuleError, first_line
from ..core.execution import run
from ..core.numbers import count, shown
from ..measuring.base.checks import undrawn
from ..predictor import Verdict
from .training import training_of
from .watched import Watch

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 20  # candidates in the table
EFFECT = re.compile(r"(raises|lowers) the expected score by ([\d.]+)")  # in a reason of a verdict
START = 8.0  # seconds until new processes have imported torch and scikit-learn and fitted the predictor's models
_CHARACTERS = 60  # of a main reason that are shown
_OWN = {"loss", "chance", "every_step", "batch_first"}  # options with which a candidate shares nothing with the others
Build = Callable[[Any], Any]
Place = tuple[int, Any]  # of a candidate among all, and the candidate


@dataclass(frozen=True, eq=False, repr=False)
class Screening:
    """Verdicts on candidates before training.

    Attributes:
        candidates: in the given order.
        verdicts: on these.
    """

    candidates: tuple[Any, ...]
    verdicts: tuple[Verdict, ...]

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Places of the candidates, the highest expected score first, and of equal ones the most probable success."""
        ranks = [(-v.expected_score, -v.probability, place) for place, v in enumerate(self.verdicts)]
        return tuple(place for _, _, place in sorted(ranks))

    @property
    def best(self) -> Any:
        """The candidate with the highest expected score."""
        return self.candidates[self.order[0]]

    def __len__(self) -> int:
        return len(self.candidates)

    def __iter__(self) -> Iterator[tuple[Any, Verdict]]:
        """Candidates and their verdicts, the best first."""
        return ((self.candidates[place], self.verdicts[place]) for place in self.order)

    def __repr__(self) -> str:
        scores = [self.verdicts[place].expected_score for place in (self.order[0], self.order[-1])]
        return f"Screening({len(self)} candidates, expected scores {scores[0]:.2f} to {scores[1]:.2f}; best: {shown(self.best)})"

    def __str__(self) -> str:
        settings, reasons = _columns(self.candidates), _main_reasons(self.verdicts)
        rows = []
        for rank, place in enumerate(self.order[:SHOWN], 1):
            verdict = self.verdicts[place]
            values = [_written(column[place]) for column in settings.values()]
            rows.append([str(rank), f"{verdict.expected_score:.2f}", f"{verdict.probability:.2f}", *values, reasons[place]])
        columns = ["rank", "expected score", "probability", *settings, "main reason"]
        return _table([columns, *rows]) + (f"\n... and {len(self) - SHOWN} more" if len(self) > SHOWN else "")

    def to_dict(self) -> dict[str, list[Any]]:
        """Columns as lists, one value per candidate, best first: rank, candidate (its place), the verdict and the settings."""
        verdicts = [self.verdicts[place] for place in self.order]
        found: dict[str, list[Any]] = {
            "rank": list(range(1, len(self) + 1)),
            "candidate": list(self.order),
            "expected_score": [v.expected_score for v in verdicts],
            "probability": [v.probability for v in verdicts],
            "based_on": [v.based_on for v in verdicts],
            "reasons": [list(v.reasons) for v in verdicts],
        }
        for name, column in _columns(self.candidates).items():
            found[name if name not in found else f"candidate_{name}"] = [column[place] for place in self.order]
        return found

    def to_frame(self) -> "pd.DataFrame":
        """The columns of `to_dict` as a table; ModuleError if pandas is not installed."""
        try:
            import pandas as pd
        except ModuleNotFoundError:
            raise ModuleError("to_frame() needs pandas: pip install pandas; to_dict() works without it") from None
        return pd.DataFrame(self.to_dict())


def screen(
    build: Build,
    candidates: Sequence[Any],
    inputs: Tensor,
    targets: Tensor,
    *,
    loss: Callable[[Tensor, Tensor], Tensor],
    budget: int,
    jobs: int | None = None,
    engine: Literal["local", "ray"] = "local",
    seed: int = 0,
    progress: bool = True,
    **watch_options: Any,
) -> Screening:
    """Rank configurations by what the predictor says of them before any training.

    Args:
        build: candidate -> (model, optimiser), or (model, optimiser, options) with options of `watch` for this candidate such as
            {"batch_size": 32, "clip_norm": 1.0}. Lambdas and closures will do. torch's global generator begins at `seed` each
            time, and is afterwards as it was, as are those of NumPy and Python.
        candidates: dictionaries of settings, or anything else that `build` takes.
        inputs: training sequences, as for `watch`.
        targets: their targets.
        loss: answers, targets -> loss, a mean over sequences.
        budget: epochs of the whole training.
        jobs: number of processes; by default as many as there are cores if that saves time, or else this one alone. The
            verdicts are the same. Each computes on one thread.
        engine: "ray" uses the processes of a Ray cluster, that of RAY_ADDRESS or of `ray.init`, or one on this machine; `jobs`
            is then how many of them at once. The nodes need the modules that `build` imports; docs/cluster.md says more.
        seed: of the random numbers that `build` draws from torch.
        progress: whether a bar on a terminal's stderr shows the progress.
        **watch_options: options of `watch` for all candidates.

    Raises:
        ModuleError: a candidate cannot be built or measured, or an argument is not as above.
    """
    tried = _listed(candidates)
    wanted = None if jobs is None else min(count("jobs", jobs), len(tried))
    if engine not in ("local", "ray"):
        raise ModuleError(f"engine is {shown(engine)}; it should be 'local' or 'ray'")
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise ModuleError(f"seed is {shown(seed)}; it should be a whole number")
    one = _Screen(build, inputs, targets, {"loss": loss, "budget": budget} | watch_options, int(seed), {})
    with _one_thread(), tqdm(total=len(tried), desc="screening", disable=None if progress else True) as bar:
        begin = time.perf_counter()
        first, shared = one.begun(0, tried[0])
        bar.update()
        others, one = list(enumerate(tried))[1:], replace(one, shared=shared)
        if engine == "ray":
            answers = one.on_ray(others, wanted)
        else:
            wanted = _processes(len(others), time.perf_counter() - begin) if wanted is None else wanted
            answers = one.here(others, wanted)
        verdicts = {0: first}
        for place, verdict in answers:
            verdicts[place] = verdict
            bar.update()
    return Screening(tuple(tried), tuple(verdicts[place] for place in range(len(tried))))


@dataclass(frozen=True)
class _Screen:
    """What all candidates share."""

    build: Build
    inputs: Tensor
    targets: Tensor
    options: Mapping[str, Any]
    seed: int
    shared: Mapping[str, Any]

    def here(self, tried: Sequence[Place], jobs: int) -> Iterator[tuple[int, Verdict]]:
        """The places of candidates and the verdicts on them, from this process or from others on this machine."""
        if jobs <= 1 or not tried:
            return ((place, self.begun(place, candidate)[0]) for place, candidate in tried)
        calls = [delayed(self.apart)(one) for one in tried]
        return _answered(iter(Parallel(n_jobs=jobs, backend="loky", return_as="generator")(calls)))

    def on_ray(self, tried: Sequence[Place], jobs: int | None) -> Iterator[tuple[int, Verdict]]:
        """The same from the processes of a Ray cluster."""
        from ..core.cluster import Cluster  # an optional library

        with Cluster(workers=jobs or "auto") as on:
            yield from _answered(run(self.apart, tried, on))

    def apart(self, one: Place) -> tuple[int, Verdict | str]:
        """The verdict in another process, or the sentence of its error."""
        torch.set_num_threads(1)
        try:
            return one[0], self.begun(*one)[0]
        except ModuleError as error:
            return one[0], str(error)

    def begun(self, place: int, candidate: Any) -> tuple[Verdict, Mapping[str, Any]]:
        """The verdict on a candidate before its training, and what was found that is the same for all."""
        try:
            model, optimiser, own = self._built(candidate)
            options = {**self.options, **({} if _OWN & own.keys() else self.shared), **own, "optimizer": optimiser}
            training = training_of(model, self.inputs, self.targets, **options)
            verdict = Watch(training).before()
            shared = {} if _OWN & own.keys() else {"chance": training.chance, "dependence": training.dependence}
            return verdict, shared
        except ModuleError as error:
            raise ModuleError(f"candidates[{place}], {shown(candidate)}: {error}") from error
        except Exception as error:  # whatever the user's code raises
            said = f"{first_line(error)} ({type(error).__name__})"
            raise ModuleError(f"candidates[{place}], {shown(candidate)}: {said}") from error

    def _built(self, candidate: Any) -> tuple[Any, Any, Mapping[str, Any]]:
        devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
        with undrawn(devices):
            torch.manual_seed(self.seed)
            found = self.build(candidate)
        if not isinstance(found, tuple | list) or len(found) not in (2, 3):
            raise ModuleError("build should return (model, optimiser), or (model, optimiser, options of watch)")
        own = found[2] if len(found) == 3 else {}
        if not isinstance(own, Mapping):
            raise ModuleError(f"the options of watch that build returns should be a dictionary, found {shown(own)}")
        return found[0], found[1], own


def _answered(answers: Iterator[tuple[int, Verdict | str]]) -> Iterator[tuple[int, Verdict]]:
    """The verdicts of other processes; ModuleError if there is none."""
    while True:
        try:
            place, verdict = next(answers)
        except StopIteration:
            return
        except Exception as error:  # what cannot be pickled, or a process that was lost
            said = f"{first_line(error)} ({type(error).__name__})"
            raise ModuleError(f"the candidates cannot be screened in other processes; try jobs=1: {said}") from error
        if isinstance(verdict, str):
            raise ModuleError(verdict)
        yield place, verdict


def _listed(candidates: Any) -> list[Any]:
    """The candidates in a list; ModuleError if there are none."""
    if not isinstance(candidates, Iterable) or isinstance(candidates, Mapping | str | bytes):
        raise ModuleError(f"candidates should be a sequence of settings, found {shown(candidates)}")
    found = list(candidates)
    if not found:
        raise ModuleError("there are no candidates; give one or more")
    return found


def _processes(others: int, seconds: float) -> int:
    """As many processes as there are cores, if that saves more time for the other candidates than it takes to start them."""
    cores = max(1, min(int(cpu_count()), others))
    return cores if others * seconds * (1 - 1 / cores) > START else 1


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread, as in other processes, so that sums have the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _columns(candidates: Sequence[Any]) -> dict[str, list[Any]]:
    """Settings by name, one value per candidate, None where it lacks one; candidates that are no dictionaries are one column."""
    if not all(isinstance(candidate, Mapping) for candidate in candidates):
        return {"settings": list(candidates)}
    names = dict.fromkeys(str(name) for candidate in candidates for name in candidate)
    return {name: [{str(key): value for key, value in c.items()}.get(name) for c in candidates] for name in names}


def _table(lines: list[list[str]]) -> str:
    """Lines of cells, in columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _written(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else shown(value) if value is not None else ""


def _main_reasons(verdicts: Sequence[Verdict]) -> list[str]:
    """For each, the input that matters most of those that differ between candidates, or why no input decides."""
    found = [[reason for reason in v.reasons if EFFECT.search(reason)] or [v.reasons[0]] for v in verdicts]
    values: defaultdict[str, set[str]] = defaultdict(set)
    for reason in (reason for own in found for reason in own):
        values[reason.partition(" is ")[0]].add(reason.partition(",")[0])
    chosen = (next((reason for reason in own if len(values[reason.partition(" is ")[0]]) > 1), own[0]) for own in found)
    return [_short(reason) for reason in chosen]


def _short(reason: str) -> str:
    """A reason in a few words, with its effect on the expected score."""
    effect = EFFECT.search(reason)
    said = f"{'+' if effect[1] == 'raises' else '-'}{effect[2]}: {reason.partition(';')[0]}" if effect else reason
    return shorten(said, _CHARACTERS, placeholder=" ...")
