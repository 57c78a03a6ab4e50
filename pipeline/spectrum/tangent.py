"""Tangent dynamics: how one step maps small deviations from a trajectory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.func import jvp, vmap


class Map(Protocol):
    """A driven map with parameters; its derivative may be written by hand."""

    def step(self, params: Any, state: Tensor, x: Tensor) -> Tensor:
        """The next state (B, S) from state (B, S) and input (B, I), for one network; sequences must not mix."""

    # Whether `linearise` and `push` implement its derivative. The step must then depend on its arguments alone and read no
    # number of a tensor: on a GPU it is repeated as a CUDA graph.
    by_hand: bool

    def linearise(self, params: Any, state: Tensor, new: Tensor, x: Tensor) -> Any:
        """The part of the Jacobian that `push` reads, as tensors (M, B, ...); x (1, B, I) leads from `state` to `new`."""

    def push(self, params: Any, linear: Any, deviations: Tensor, out: Tensor) -> None:
        """Write the Jacobian times the deviations (M, B, k, S) into `out`."""


def push_forward(step: Callable[[Tensor], Tensor], state: Tensor, deviations: Tensor) -> tuple[Tensor, Tensor]:
    """The next state (B, S), and the step's Jacobian times the deviations (B, k, S), by forward-mode differentiation."""

    def along(deviation: Tensor) -> tuple[Tensor, Tensor]:
        moved = jvp(step, (state,), (deviation,))
        return moved[0], moved[1]

    # rows, not columns: ten times faster for ensembles; a step that draws random numbers draws the same for all rows
    states, pushed = vmap(along, in_dims=1, randomness="same")(deviations)
    return states[0], pushed.movedim(0, 1)


def push_backward(step: Callable[[Tensor], Tensor], state: Tensor, deviations: Tensor) -> tuple[Tensor, Tensor]:
    """What `push_forward` gives, by reverse-mode differentiation: one backward pass for each of the S numbers of the state.

    Sequences must not mix. The passes are one batch where torch can do that.
    """
    with torch.enable_grad():
        state = state.detach().requires_grad_()
        new = step(state)
        numbers = new.sum(0)  # the gradient of one number is its row in the Jacobians of all sequences
        if not numbers.requires_grad:
            return new, torch.zeros_like(deviations)
        gradient = partial(torch.autograd.grad, numbers, state, retain_graph=True, allow_unused=True)
        units = torch.eye(len(numbers), dtype=numbers.dtype, device=numbers.device)
        try:
            (rows,) = gradient(units, is_grads_batched=True)
        except RuntimeError:  # a backward pass that cannot be batched
            single = [gradient(unit)[0] for unit in units]
            rows = None if single[0] is None else torch.stack(single)
    return new.detach(), torch.zeros_like(deviations) if rows is None else deviations @ rows.permute(1, 2, 0)


Step = Callable[[Tensor, Tensor], Tensor]  # state (B, S) and input (B, ...) -> state (B, S)


def under(step: Step, x: Tensor) -> Callable[[Tensor], Tensor]:
    """A step under one input, as a function of the state alone."""
    return lambda state: step(state, x)


Push = Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], tuple[Tensor, Tensor]]


@contextmanager
def measuring() -> Iterator[None]:
    """A context without gradients, inference mode or autocast, whatever the caller's is.

    Also without cuDNN, which has no forward mode and computes float32 with the precision of TF32.
    """
    with (
        torch.backends.cudnn.flags(enabled=False),
        torch.inference_mode(False),
        torch.no_grad(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
    ):
        yield


@dataclass(frozen=True)
class Tangent:
    """M driven maps of one shape: their trajectories and their tangent dynamics.

    Attributes:
        map: a Map, or a plain function step(params, state (B, S), x (B, I)) -> state.
        params: tensors in dicts and sequences, each with a leading axis M.
        differentiate: `push_forward`, or `push_backward` for a single map that forward mode cannot differentiate.
        visited: for a single map, what is told of its trajectory by `add(states, inputs)`, such as a `verify.Visited`.
    """

    map: Any
    params: Any
    differentiate: Push = push_forward
    visited: Any = None

    def of(self, models: slice) -> "Tangent":
        """A slice of the maps."""
        return replace(self, params=each(self.params, lambda p: p[models]))

    def one(self, model: int) -> Callable[[Tensor, Tensor], Tensor]:
        """The step function of one map: state (B, S), x (B, I) -> state (B, S)."""
        params = each(self.params, lambda p: p[model])
        return lambda state, x: self._step(params, state, x)

    def stepping(self, state: Tensor) -> Step:
        """A step of all maps: state (M, B, S), or (B, S) if there is one, and x (B, I) -> state."""
        step, params = self._step, self.params
        if len(state) > 1:
            step = vmap(step, in_dims=(0, 0, None))
        else:
            params = each(params, _first)
        return partial(step, params)

    def trajectory(self, state: Tensor, inputs: Tensor, step: Step | None = None) -> Tensor:
        """States (T + 1, M, B, S): the given one (M, B, S), and the one after each input (T, B, I).

        `step` is what `stepping` gives, or does the same.
        """
        step = step or self.stepping(state)
        states = [state if len(state) > 1 else state[0]]
        for x in inputs:
            states.append(step(states[-1], x))
        stacked = torch.stack(states)
        if self.visited is not None:
            self.visited.add(stacked, inputs)
        return stacked.reshape(len(states), -1, *states[0].shape[-2:])

    def linearise(self, states: Tensor, inputs: Tensor) -> list[Any]:
        """The argument `linear` of `push` for each of T steps, from states (T + 1, M, B, S) and inputs (T, B, I)."""
        steps, models, sequences = len(inputs), *states.shape[1:3]
        if not self.by_hand:
            return list(zip(states[:-1], inputs, strict=True))
        before, after = (s.movedim(0, 1).flatten(1, 2) for s in (states[:-1], states[1:]))
        linear = self.map.linearise(self.params, before, after, inputs.flatten(0, 1)[None])
        shaped = each(linear, lambda c: c.reshape(models, steps, sequences, *c.shape[2:]))
        return [each(shaped, partial(torch.select, dim=1, index=t)) for t in range(steps)]

    def push(self, linear: Any, deviations: Tensor, out: Tensor) -> None:
        """Write one step's Jacobian times the deviations (M, B, k, S) into `out`; `linear` is an element of `linearise`."""
        if self.by_hand:
            self.map.push(self.params, linear, deviations, out)
        else:
            state, x = linear
            self._push_automatically(state, x, deviations, out)

    @property
    def by_hand(self) -> bool:
        """Whether the derivative is written by hand."""
        return getattr(self.map, "by_hand", False)

    @property
    def _step(self) -> Callable[[Any, Tensor, Tensor], Tensor]:
        return getattr(self.map, "step", self.map)

    def _push_automatically(self, state: Tensor, x: Tensor, deviations: Tensor, out: Tensor) -> None:
        def push(params: Any, state: Tensor, deviations: Tensor) -> Tensor:
            return self.differentiate(lambda s: self._step(params, s, x), state, deviations)[1]

        if len(state) > 1:
            out.copy_(vmap(push)(self.params, state, deviations))
        else:
            out.copy_(push(each(self.params, _first), state[0], deviations[0]))


def each(tree: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to every tensor in nested dicts and sequences."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, dict):
        return {name: each(branch, function) for name, branch in tree.items()}
    return [each(branch, function) for branch in tree]


def _first(params: Tensor) -> Tensor:
    return params[0]
