"""A training that is about to begin: what is known of it, and what is measured of it."""

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..core.errors import ModuleError
from ..core.hyper_parameters import DECLARED
from ..core.numbers import count, number
from ..measuring.base.checks import apart, check_data, check_network, check_tensors, refusing
from ..measuring.base.network import dependence_on_lags, early_measurements, only_recurrent, plain
from ..measuring.base.probe import FEWEST
from ..predictor import StabilityPredictor
from ..spectrum import Spectrum
from .chance import best_constant
from .layout import copied, layout_of, short_spectrum
from .read import hyper_parameters

MOST = 500  # sequences of which the loss after the first epoch is the mean
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Sequences:
    """Inputs and targets, and the order of their axes, as in `early_measurements`."""

    inputs: Tensor
    targets: Tensor
    every_step: bool
    batch_first: bool

    @property
    def count(self) -> int:
        """B."""
        return self.inputs.shape[0 if self.batch_first else 1]

    @property
    def steps(self) -> int:
        """T."""
        return self.inputs.shape[1 if self.batch_first else 0]

    def part(self, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Inputs and targets of some sequences."""
        axes = 0 if self.batch_first else 1, 1 if self.every_step and not self.batch_first else 0
        pairs = zip((self.inputs, self.targets), axes, strict=True)
        inputs, targets = (v.detach().index_select(axis, torch.tensor(places, device=v.device)) for v, axis in pairs)
        return inputs, targets

    def spread(self, most: int) -> list[int]:
        """Places of at most so many sequences, evenly spread."""
        return np.linspace(0, self.count - 1, min(most, self.count)).astype(int).tolist()


@dataclass(frozen=True, eq=False)
class Training:
    """What is known before it begins.

    Attributes:
        model, recurrent, optimiser: the user's own, which are never changed.
        sequences: of the training, as they were handed over.
        validation: on which the loss after the first epoch is measured.
        loss: answers, targets -> mean loss.
        chance: loss of the best answer that ignores the input.
        known: hyper-parameters by the names of `network_inputs`.
        task: its name, if it has one.
        budget: epochs of the whole training.
        updates_per_epoch: mini-batches of one.
        assumed: the argument that the number of mini-batches rests on, or "" if on none.
        predictor: that is asked.
        given_dependence: w(tau) of the sequences, if it is known already.
    """

    model: nn.Module
    recurrent: nn.Module
    optimiser: torch.optim.Optimizer
    sequences: Sequences
    validation: Sequences
    loss: Loss
    chance: float
    known: Mapping[str, Any]
    task: str | None
    budget: int
    updates_per_epoch: int
    assumed: str
    predictor: StabilityPredictor
    given_dependence: NDArray[np.float64] | None = field(default=None, repr=False)

    @cached_property
    def dependence(self) -> NDArray[np.float64]:
        """w(tau), (T,), how much the targets depend on the input tau steps before."""
        data = self.sequences
        if self.given_dependence is not None:
            return self.given_dependence
        return dependence_on_lags(data.inputs, data.targets, every_step=data.every_step, batch_first=data.batch_first)

    def measurements(self, files: Collection[str]) -> dict[str, float] | None:
        """The early measurements of these names now; None if there are none."""
        if not files:
            return None
        data = self.sequences
        return early_measurements(
            self.model,
            data.inputs,
            data.targets,
            loss=self.loss,
            optimiser=self.optimiser,
            chance=self.chance,
            batch_size=int(self.known["batch_size"]),
            recurrent=self.recurrent,
            every_step=data.every_step,
            batch_first=data.batch_first,
            clip_norm=float(self.known["clip_norm"]),
            only=files,
            dependence=self.dependence,
        )

    def spectrum(self, own: tuple[nn.Module, nn.Module]) -> Spectrum:
        """The leading exponents of two sequences, of a copy of the model and its recurrent part."""
        inputs, _ = self.sequences.part(self.sequences.spread(2))
        return short_spectrum(*own, inputs, batch_first=self.sequences.batch_first)

    def loss_of(self, own: nn.Module, *, most: int = MOST) -> float:
        """The mean loss of a copy of the model on at most so many validation sequences."""
        inputs, targets = self.validation.part(self.validation.spread(most))
        with torch.no_grad():
            return float(self.loss(own(inputs), targets))

    def seconds_of_gradient(self, own: nn.Module) -> float | None:
        """The time that one gradient of a mini-batch takes, of a copy of the model that is then of no further use.

        None if the copy cannot be trained by the loss alone, as a model that answers otherwise in training.
        """
        size = int(self.known["batch_size"])
        inputs, targets = self.sequences.part([place % self.sequences.count for place in range(size)])
        begin = time.perf_counter()
        try:
            with torch.enable_grad():
                value = self.loss(own.train()(inputs), targets)
                gradients = torch.autograd.grad(value, [p for p in own.parameters() if p.requires_grad], allow_unused=True)
        except Exception:  # whatever the user's model raises; the verdict does not need the time
            return None
        sum(float(g.sum()) for g in gradients if g is not None)  # waits for the device
        return time.perf_counter() - begin


def training_of(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    budget: int,
    batch_size: int | None = None,
    updates_per_epoch: int | None = None,
    validation: tuple[Tensor, Tensor] | None = None,
    chance: float | None = None,
    recurrent: nn.Module | None = None,
    every_step: bool | None = None,
    batch_first: bool | None = None,
    clip_norm: float = 0.0,
    task: str | None = None,
    predictor: StabilityPredictor | None = None,
    dependence: NDArray[np.float64] | None = None,
    **given: Any,
) -> Training:
    """A training from the arguments of `watch`, and `dependence`, w(tau) of the sequences, if it is known already."""
    check_network(model, recurrent, loss, optimizer)
    part = only_recurrent(model) if recurrent is None else recurrent
    size = count("batch_size", DECLARED["batch_size"].default if batch_size is None else batch_size)
    clip = number("clip_norm", clip_norm, least=0)
    with refusing("the settings of the training cannot be read"):
        known = hyper_parameters(model, part, optimizer, given) | {"batch_size": size, "clip_norm": clip}
    with refusing("the training cannot be watched"), apart(model):
        data, level = _read(copied(model, part), inputs, targets, loss, chance, every_step, batch_first)
    own = _packaged() if predictor is None else predictor
    if not isinstance(own, StabilityPredictor):
        raise ModuleError(f"predictor should be a StabilityPredictor, found {type(own).__name__}")
    whole = math.ceil(data.count / size) if updates_per_epoch is None else count("updates_per_epoch", updates_per_epoch)
    assumed = "" if updates_per_epoch is not None else "nothing" if batch_size is None else "batch_size"
    found = Training(
        model=model,
        recurrent=part,
        optimiser=optimizer,
        sequences=data,
        validation=data if validation is None else _validation(validation, data),
        loss=loss,
        chance=level,
        known=known,
        task=task,
        budget=count("budget", budget),
        updates_per_epoch=whole,
        assumed=assumed,
        predictor=own,
        given_dependence=dependence,
    )
    if validation is not None:  # before the first epoch has been trained
        with refusing("the validation sequences cannot be used"), apart(model):
            found.loss_of(copied(model, part)[0], most=FEWEST)
    return found


@cache
def _packaged() -> StabilityPredictor:
    """The predictor that comes with the library, whose models are then fitted once in a process."""
    return StabilityPredictor.load()


def _read(
    own: tuple[nn.Module, nn.Module],
    inputs: Tensor,
    targets: Tensor,
    loss: Loss,
    chance: float | None,
    every_step: bool | None,
    batch_first: bool | None,
) -> tuple[Sequences, float]:
    """The sequences with the order of their axes, and the loss by chance."""
    check_tensors(inputs, targets)
    inputs, targets = plain(inputs), plain(targets)
    layout = layout_of(*own, inputs, targets, every_step=every_step, batch_first=batch_first)
    data = Sequences(inputs, targets, layout.every_step, layout.batch_first)
    level = best_constant(loss, layout.answers, targets, axes=layout.axes) if chance is None else number("chance", chance)
    if not 0 < level < math.inf:
        raise ModuleError(f"chance is {level:g}; it should be the loss of the best answer that ignores the input, above 0")
    return data, level


def _validation(given: Any, data: Sequences) -> Sequences:
    """Validation sequences in the layout of those of the training."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise ModuleError("validation should be a pair of inputs and targets")
    inputs, targets = given
    with refusing("the validation sequences cannot be used"):
        check_data(inputs, targets, every_step=data.every_step, batch_first=data.batch_first)
    return Sequences(plain(inputs), plain(targets), data.every_step, data.batch_first)
