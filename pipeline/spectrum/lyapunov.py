"""The Lyapunov spectrum of a driven map by repeated reorthonormalisation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from ..errors import ModuleError
from .adapt import Step, adapt
from .estimate import Spectrum
from .reorthonormalise import reorthonormalise
from .tangent import push_forward


@torch.no_grad()
def lyapunov_spectrum(
    model: torch.nn.Module | Step,
    inputs: Tensor,
    *,
    state: Any = None,
    count: int | None = None,
    transient: int | None = None,
    every: int = 1,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Spectrum:
    """The Lyapunov exponents of a recurrent network driven by inputs, largest first, in nats per step.

    Deviations from the trajectory follow the tangent dynamics and are reorthonormalised; an exponent is the mean log
    growth of one direction (Benettin et al. 1980; for recurrent networks Vogt et al. 2022). The model is not changed.

    Args:
        model: `torch.nn.RNN`, `LSTM`, `GRU` of any depth or their `*Cell` forms; any module whose forward is
            (x, state) -> state or (output, state); or a plain function step(state, x) -> state.
        inputs: what the module itself takes, `batch_first` respected; for a cell, a module of one's own or a function
            (T, B, I).
        state: where to start: what the module itself takes, or for a function (B, S); zeros for torch's modules if
            left out, needed for others.
        count: number of exponents, 1 <= count <= S; all by default.
        transient: steps that align the deviations and are not counted; a fifth of the steps by default.
        every: steps between reorthonormalisations, a divisor of T - transient. More than one saves time and loses
            the trailing exponents to rounding where they differ by more than about 30 / every nats from the first.
        dtype: of the computation; float32 errs by up to some nats on strongly negative exponents.
        device: of the computation; where the inputs are by default.

    Returns:
        A Spectrum; a sequence whose state is not finite is NaN in it and touches no other.

    Raises:
        ModuleError: the model, state, inputs or an option cannot be used, with what would be right.
    """
    adapted = adapt(model, inputs, state, dtype, device)
    steps, size = len(adapted.inputs), adapted.state.shape[-1]
    count = size if count is None else count
    transient = steps // 5 if transient is None else transient
    if not 1 <= count <= size:
        raise ModuleError(f"count is {count}; it should be from 1 to the state's size {size}")
    if not 0 <= transient < steps:
        raise ModuleError(f"transient is {transient}; it should be at least 0 and below the number of steps {steps}")
    if every < 1 or (steps - transient) % every:
        raise ModuleError(f"every is {every}; it should divide the {steps - transient} steps that count")

    def step(_: Tensor, state: Tensor, x: Tensor) -> Tensor:
        return adapted.step(state, x)

    nothing = adapted.state.new_zeros(1)
    grown = growth(step, nothing, adapted.state[None], adapted.inputs, count, transient=transient, every=every)
    per_step = (grown[:, 0] / every).repeat_interleave(every, 0)
    return Spectrum.from_growth(per_step, state_size=size)


@torch.no_grad()
def growth(
    step: Callable[[Any, Tensor, Tensor], Tensor],
    params: Any,
    state: Tensor,
    inputs: Tensor,
    count: int,
    *,
    transient: int,
    every: int = 1,
) -> Tensor:
    """Log growth of the deviations of M networks driven by the same inputs, (T', M, B, k).

    Args:
        step: (params, state (B, S), x (B, I)) -> state (B, S), for one network; sequences must not mix.
        params: tensors, or dicts of tensors, with M in front.
        state: (M, B, S); its dtype is that of the computation.
        inputs: (T, B, I).
        count: k.
        transient: steps that are not counted; the deviations are reorthonormalised at each.
        every: steps between reorthonormalisations afterwards, a divisor of T - transient.

    Returns:
        Growth over T' = (T - transient) / every intervals; -inf where a direction is lost, NaN from the step on at
        which a state or deviation is not finite.
    """

    def push(params: Any, state: Tensor, deviations: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return push_forward(lambda s: step(params, s, x), state, deviations)

    push_all = vmap(push, in_dims=(0, 0, 0, None))
    models, sequences, size = state.shape
    deviations = _random_basis(size, count, state)[None, :, None].expand(models, count, sequences, size)
    alive = torch.ones_like(state[..., :1], dtype=torch.bool)
    kept = []
    for t, x in enumerate(inputs):
        state, deviations = push_all(params, state, deviations, x)
        alive = alive & state.isfinite().all(-1, keepdim=True)
        state = torch.where(alive, state, 0.0)
        if t >= transient and (t - transient + 1) % every:
            continue
        deviations, log = reorthonormalise(deviations)
        alive = alive & ~log.isnan().any(-1, keepdim=True)
        if t >= transient:
            kept.append(torch.where(alive, log, torch.nan))
    return torch.stack(kept)


def _random_basis(size: int, count: int, like: Tensor) -> Tensor:
    """Random orthonormal rows (k, S), always the same: the unit vectors would follow the layers of a stack."""
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(size, count, generator=generator, dtype=torch.float64)
    return torch.linalg.qr(random)[0].T.to(like)
