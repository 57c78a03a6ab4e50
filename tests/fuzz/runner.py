"""What becomes of random models: a call of each, judged, and the table of outcomes."""

import contextlib
import multiprocessing
import time
import warnings
from collections import Counter
from dataclasses import dataclass

import torch

from .cases import MEASURED
from .families import make
from .oracle import OTHER, REFUSAL, RIGHT, WRONG, judged
from .surroundings import measured, surroundings

FORK = multiprocessing.get_context("fork")


@dataclass
class Outcome:
    """What became of a case."""

    family: str
    seed: int
    kind: str
    reason: str = ""
    case: str = ""  # in words
    needless: bool = False  # whether it was refused though it must be measurable
    seconds: float = 0.0  # in the call

    @property
    def faulty(self):
        return self.kind in (WRONG, OTHER) or self.needless

    def __str__(self):
        return f"{self.kind.upper()} {self.case or f'{self.family}:{self.seed}'}\n    {self.reason}"


def outcome_of(family, seed):
    """What becomes of the model of a family and a seed."""
    case = make(family, seed)
    before, begin = surroundings(case), time.perf_counter()
    spectrum, error = None, None
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            spectrum = measured(case)
        except Exception as raised:
            error = raised
    seconds = time.perf_counter() - begin
    after = surroundings(case)
    changed = [name for name in before | after if before.get(name) != after.get(name)]
    kind, reason = judged(case, spectrum, error, warned)
    needless = kind == REFUSAL and case.expected == MEASURED
    if changed:
        kind, reason = WRONG, f"changed {changed}; {kind} {reason}"
    return Outcome(family, seed, kind, reason, str(case), needless, seconds)


def outcomes_of(cases):
    """What becomes of pairs of family and seed, in child processes, since some wrong calls of torch end the process."""
    todo, outcomes = list(cases), []
    while todo:
        receiver, sender = FORK.Pipe(duplex=False)
        child = FORK.Process(target=_report, args=(todo, sender))
        child.start()
        sender.close()
        with contextlib.suppress(EOFError):
            while todo:
                outcomes.append(receiver.recv())
                del todo[0]
        child.join()
        if todo:
            outcomes.append(Outcome(*todo.pop(0), OTHER, f"the process ended with code {child.exitcode}"))
    return outcomes


def _report(cases, sender):
    for case in cases:
        sender.send(outcome_of(*case))


def ground_fault(family, seed, steps=4):
    """How a truth differs from what calls of the model itself give; empty if it does not, or cannot be compared."""
    case = make(family, seed)
    if case.follow is None or not case.comparable or not case.truths:
        return ""
    truth, paths = case.truths[0], []
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        found = case.follow(case.model, steps).double()
        for b, s in enumerate(truth.start):
            paths.append(torch.stack([s := truth.step(s, truth.inputs[t, b], t) for t in range(steps)]))
    exact = torch.stack(paths, dim=1)
    error, scale = (found - exact).abs().max().item(), 1 + exact.abs().max().item()
    # float32 networks err by 1e-7 a step, casts to bfloat16 and float16 by up to 1e-2
    return "" if error <= (0.1 if family.startswith("cast") else 1e-4) * scale else f"{case}: differs by {error:.1e}"


def table(outcomes):
    """Lines of counts by family and in total."""
    families = list(dict.fromkeys(o.family for o in outcomes))
    width = max(map(len, families))
    yield f"{'family':{width}}  right  refused  wrong  other  refused though measurable"
    for name in (*families, "total"):
        chosen = [o for o in outcomes if name in (o.family, "total")]
        counts, needless = Counter(o.kind for o in chosen), sum(o.needless for o in chosen)
        numbers = f"{counts[RIGHT]:5}  {counts[REFUSAL]:7}  {counts[WRONG]:5}  {counts[OTHER]:5}  {needless or '':>5}"
        yield f"{name:{width}}  {numbers}".rstrip()
