"""An affine readout of all states at once, and the contribution of each step to it (Barberan et al. 2022)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear

from ..core.errors import ConfigError
from .base.head import Head, Params


@dataclass(frozen=True)
class Neuroview(Head):
    """One answer per sequence, sum_t W_t h_t + b: each step has its own weights and thus its own path for gradients."""

    every_step: ClassVar = False

    def __post_init__(self) -> None:
        if self.steps is None:
            raise ConfigError("head neuroview has weights for each step and needs steps=, the length of a sequence")

    def init(self, generator: Generator) -> Params:
        """An affine map from T H to O numbers, its columns time first, from uniform(-(T H) ** -0.5, (T H) ** -0.5), float32."""
        wide = (self.steps or 0) * self.hidden_size
        shapes = {"weight": (self.output_size, wide), "bias": (self.output_size,)}
        return {n: torch.empty(s).uniform_(-(wide**-0.5), wide**-0.5, generator=generator) for n, s in shapes.items()}

    def read(self, params: Params, outputs: Tensor) -> Tensor:
        """The answers (B, O) from outputs (T, B, H); ConfigError if T is not `steps`."""
        if len(outputs) != self.steps:
            raise ConfigError(
                f"head neuroview has weights for {self.steps} steps and found {len(outputs)}; pad or crop sequences to one length"
            )
        return linear(outputs.transpose(0, 1).flatten(1), params["weight"], params["bias"])


def weights_by_step(params: Params, hidden_size: int) -> Tensor:
    """The matrices W_t, one per step, (T, O, H), from the parameters of the head."""
    return params["weight"].unflatten(1, (-1, hidden_size)).transpose(0, 1)


def contributions(params: Params, outputs: Tensor) -> Tensor:
    """The contribution of each step to the logits, W_t (h_t - its mean over sequences): (T, B, O) from outputs (T, B, H)."""
    centred = outputs - outputs.mean(1, keepdim=True)
    return centred @ weights_by_step(params, outputs.shape[-1]).mT


def evidence(params: Params, outputs: Tensor, targets: Tensor) -> Tensor:
    """The contribution of each step to the logit of the true class, (T,), averaged over sequences.

    Unlike the magnitude of the weights, it accounts for whether a unit varies with the class; the evidence of an
    uninformative step is zero on average.

    Args:
        params: parameters of the head.
        outputs: (T, B, H) outputs of the cell.
        targets: (B,) classes.
    """
    chosen = targets.long().expand(len(outputs), -1).unsqueeze(-1)
    return contributions(params, outputs).gather(-1, chosen).mean((1, 2))


def spread(params: Params, outputs: Tensor) -> Tensor:
    """Standard deviation over sequences of the contribution of each step, averaged over classes, (T,)."""
    return contributions(params, outputs).square().mean(1).sqrt().mean(-1)


def weight_size(params: Params, hidden_size: int) -> Tensor:
    """Mean |W_t|, (T,), by which the paper interprets the head; about half of it is on steps that carry no information."""
    return weights_by_step(params, hidden_size).abs().mean((1, 2))


def delete(outputs: Tensor, steps: Tensor) -> Tensor:
    """Outputs (T, B, H) in which those of the given steps (N,) are replaced by their mean over sequences."""
    return outputs.index_copy(0, steps, outputs[steps].mean(1, keepdim=True).expand(-1, outputs.shape[1], -1))
