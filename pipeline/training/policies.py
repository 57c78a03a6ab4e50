"""What happens to the state between sequences that are a series cut up (after Xu et al. 2022).

A policy says which sequences make up a mini-batch and from which state each of them starts, for any cell and head. No
gradient flows from a sequence into the one before it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

Run = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]  # (T, B, I), state (B, S) or zero -> outputs (T, B, H), last state
Pass = Callable[[Run, Tensor, Tensor | None], tuple[Tensor, Tensor | None]]  # the same of a mini-batch


@dataclass(frozen=True)
class Policy:
    """How mini-batches are drawn and run.

    Attributes:
        batches: number of sequences, mini-batch size, generator -> the sequences of each step of an epoch.
        train: runs a mini-batch, given the last state of the one before (zero for the first of an epoch).
        evaluate: runs a whole split in its order.
        sees_targets: whether each step also sees the targets of the step before its sequence: I + O inputs.
    """

    batches: Callable[[int, int, Generator], Sequence[Tensor]]
    train: Pass
    evaluate: Pass
    sees_targets: bool = False


def shuffled(count: int, size: int, generator: Generator) -> Sequence[Tensor]:
    """Mini-batches in random order."""
    return torch.randperm(count, generator=generator).split(size)


def consecutive(count: int, size: int, generator: Generator) -> Sequence[Tensor]:
    """Mini-batches of sequences that follow one another, within a mini-batch and from one to the next."""
    return torch.arange(count).split(size)


def lanes(count: int, size: int, generator: Generator) -> Sequence[Tensor]:
    """Mini-batches of one sequence from each of `size` stretches of the series, in which the next continues the last.

    The stretches differ by one sequence at most, the longer ones first: the last mini-batch may lack the shorter ones.
    """
    stretches = torch.arange(count).tensor_split(size)
    return [torch.stack([s[place] for s in stretches if place < len(s)]) for place in range(len(stretches[0]))]


def from_zero(run: Run, inputs: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Run every sequence from the zero state."""
    return run(inputs, None)


def lane_by_lane(run: Run, inputs: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Run each sequence from the last state of its lane."""
    return run(inputs, None if state is None else state[: inputs.shape[1]].detach())


def one_after_another(run: Run, inputs: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Run each sequence from the last state (1, S) of the one before it."""
    outputs = []
    for sequence in inputs.split(1, dim=1):
        output, state = run(sequence, None if state is None else state.detach())
        outputs.append(output)
    return torch.cat(outputs, dim=1), state


POLICIES = {
    "stateless": Policy(shuffled, from_zero, from_zero),
    "stateful": Policy(lanes, lane_by_lane, one_after_another),
    "ordered": Policy(consecutive, one_after_another, one_after_another),
    "conditional": Policy(shuffled, from_zero, from_zero, sees_targets=True),
}


def previous(targets: Tensor) -> Tensor:
    """Targets (N, O) of the step before each sequence of a series (T, N, O); zero before the first."""
    return torch.cat([torch.zeros_like(targets[-1, :1]), targets[-1, :-1]])


def append(inputs: Tensor, before: Tensor) -> Tensor:
    """Inputs (T, B, I + O): `before` (B, O) appended to each step of inputs (T, B, I)."""
    return torch.cat([inputs, before.to(inputs).expand(len(inputs), -1, -1)], dim=-1)


def free_running(answer: Callable[[Tensor], Tensor], inputs: Tensor, size: int) -> Tensor:
    """Answers (T, N, O) to a series (T, N, I), each sequence of which sees the last answer; O = `size` zeros at first."""
    before, answers = inputs.new_zeros(1, size), []
    for sequence in inputs.split(1, dim=1):
        answers.append(answer(append(sequence, before)))
        before = answers[-1][-1]
    return torch.cat(answers, dim=1)
