"""The loss of the best constant answer, for any loss function."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..core.errors import ModuleError, first_line

EVALUATIONS = 100  # of the loss by the optimiser at most
EDGE = 1e-6  # how near to 0 and 1 a share counts as a probability
Loss = Callable[[Tensor, Tensor], Tensor]


def best_constant(loss: Loss, answers: Tensor, targets: Tensor, *, axes: int) -> float:
    """The lowest loss of an answer that is the same for all sequences and steps.

    Mean, median, the frequencies of classes and zeros are tried, and the best of them is improved by L-BFGS. Where the
    answers are probabilities, or their logarithms, so is the constant.

    Args:
        loss: answers, targets -> mean loss.
        answers: of the model to these targets, the first ones of them or more; their shape, dtype and device count.
        targets: of training sequences.
        axes: number of axes, of sequences and of steps, before those of one answer.

    Raises:
        ModuleError: there is no such loss, or it is not above 0.
    """
    shape, form = answers.shape[axes:], (*targets.shape[:axes], *answers.shape[axes:])
    last = RuntimeError("no answer has a finite loss")
    found = math.inf
    for form_of in _forms(answers, axes):

        def ask(constant: Tensor, form_of: Callable[[Tensor], Tensor] = form_of) -> Tensor:
            return loss(form_of(constant).expand(form).contiguous(), targets)

        try:
            found = min(found, _least(ask, [start.to(answers) for start in _starts(targets, shape, axes)]))
        except Exception as error:  # whatever the user's loss raises; the next form may fit
            last = RuntimeError(first_line(error))
        if math.isfinite(found):
            break
    if not math.isfinite(found):
        raise ModuleError(f"the loss of the best constant answer cannot be found ({last}); give it as chance=")
    rows = targets.flatten(0, axes - 1)
    if not found > 0 or bool((rows == rows[0]).all()):
        raise ModuleError(
            f"the loss of the best constant answer seems to be {found:.3g}, and should be above 0: the predictor takes "
            "losses in units of it; hand over targets that vary, or give it as chance="
        )
    return found


def _forms(answers: Tensor, axes: int) -> Iterator[Callable[[Tensor], Tensor]]:
    """How a constant answer follows from free numbers."""
    single = answers.dim() == axes + 1 and answers.shape[-1] > 1
    if single and torch.allclose(answers.logsumexp(-1), answers.new_zeros(()), atol=1e-4):
        yield lambda free: free.log_softmax(-1)
    elif single and bool((answers >= 0).all()) and torch.allclose(answers.sum(-1), answers.new_ones(()), atol=1e-4):
        yield lambda free: free.softmax(-1)
    else:
        yield lambda free: free
        yield torch.sigmoid  # of a loss that takes nothing but probabilities


def _starts(targets: Tensor, shape: torch.Size, axes: int) -> Iterator[Tensor]:
    """Free numbers that are often the best, or near to it."""
    yield torch.zeros(shape)
    rows = targets.flatten(0, axes - 1)
    if rows[0].numel() == shape.numel():
        numbers = rows.double().reshape(len(rows), *shape)
        yield numbers.mean(0)
        yield numbers.median(0).values
        if numbers.min() >= 0 and numbers.max() <= 1:
            yield numbers.mean(0).clamp(EDGE, 1 - EDGE).logit()
    if rows.dim() == 1 and not rows.is_floating_point() and len(shape) == 1:
        counts = rows[(rows >= 0) & (rows < shape[0])].long().bincount(minlength=shape[0])
        yield (counts.double() / counts.sum().clamp(min=1)).clamp(min=EDGE).log()


def _number(value: Any) -> float:
    """A loss as a float; RuntimeError if it is no tensor of one number."""
    if not isinstance(value, Tensor) or value.numel() != 1:
        found = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise RuntimeError(f"loss should be a mean over sequences, a tensor without axes, found {found}")
    return float(value)


def _least(ask: Callable[[Tensor], Tensor], starts: list[Tensor]) -> float:
    """The lowest loss that L-BFGS finds from the best start."""
    with torch.no_grad():
        losses = [_number(ask(start)) for start in starts]
    finite = [value for value in losses if math.isfinite(value)]
    if not finite:
        raise RuntimeError("no answer has a finite loss")
    constant = starts[losses.index(min(finite))].clone().requires_grad_()
    exact = 1e-7 * max(abs(min(finite)), torch.finfo(constant.dtype).tiny)
    optimiser = torch.optim.LBFGS(
        [constant], max_iter=EVALUATIONS, max_eval=EVALUATIONS, tolerance_grad=exact, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        value = ask(constant)
        (constant.grad,) = torch.autograd.grad(value, constant)
        finite.append(float(value.detach()))
        return value

    with torch.enable_grad():
        optimiser.step(closure)
    return min(value for value in finite if math.isfinite(value))
