"""A network at a moment of its training, with the data and the optimiser, run for the measurements."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...core.errors import ModuleError

MICRO_BATCHES = 4  # whose gradients are taken one by one
MICRO_BATCH = 16  # sequences
SEQUENCES = 512  # sequences that are run where there is one answer per sequence
STATES = 500  # states for learning a read-out from them, and as many for judging it
NOISY = 64  # noisy copies of a sequence
FEWEST = 8  # sequences to measure with
FACTOR = 4.0  # by which the step of the line search grows or shrinks
STEPS = 6  # growths or shrinkages at most
BISECTIONS = 3
UNCOUNTED = {"step", "_opt_called", "_warned_capturable_if_run_uncaptured"}  # attributes that torch and its schedulers set
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Task:
    """What a network is trained on, apart from the network.

    Attributes:
        inputs: training sequences as the model takes them, batch and time axes as below; tokens may be integers.
        targets: their targets; integers are classes.
        loss: answers, targets -> mean loss, a scalar.
        chance: loss of the best answer that ignores the input.
        lags: w(tau), (T,), how much the target depends on the input tau steps before; sums to 1.
        every_step: whether there is an answer, and a target, per step.
        batch_first: whether inputs and answers are (B, T, ...) instead of (T, B, ...).
    """

    inputs: Tensor
    targets: Tensor
    loss: Callable[[Tensor, Tensor], Tensor]
    chance: float
    lags: Values
    every_step: bool = False
    batch_first: bool = False

    @property
    def batch_axis(self) -> int:
        """Of inputs, and of answers and targets at every step."""
        return 0 if self.batch_first else 1

    def part(self, sequences: slice | Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of some sequences."""
        target_axis = self.batch_axis if self.every_step else 0
        return _take(self.inputs, self.batch_axis, sequences), _take(self.targets, target_axis, sequences)


def _take(values: Tensor, axis: int, places: slice | Tensor) -> Tensor:
    return values[places] if axis == 0 else values[:, places]


class Probe:
    """A copy of a network, run on training sequences; all results are kept, so that measurements share them.

    No random number of torch's global generator is drawn, and model and optimiser are not changed. Gradients with respect to
    inputs, noise on inputs, and inputs of ones act on what enters the recurrent part, after an embedding if there is one.

    Args:
        model: inputs -> answers (B, ...), or (T, B, ...) at every step.
        recurrent: its recurrent part, run once for all steps: its first argument is the inputs (T, B, I), and its output, or
            the first of its outputs, is the states (T, B, H). Both begin with B if it, or else the task, is `batch_first`.
        optimiser: of the model's parameters, with its state; as `torch.optim` has them.
        task: what it is trained on.
        batch_size: sequences per mini-batch of the training.
        clip_norm: largest norm of a gradient, 0 for no clipping.

    Raises:
        ModuleError: the learning rate, the loss of chance or the number of sequences is too small to measure with, or the
            optimiser has attributes that its copy lacks; later, its step needs a closure, or the recurrent part is not run
            once or takes or gives something else than tensors.
    """

    def __init__(
        self,
        model: nn.Module,
        recurrent: nn.Module,
        optimiser: torch.optim.Optimizer,
        task: Task,
        *,
        batch_size: int,
        clip_norm: float = 0.0,
    ) -> None:
        self.task, self.batch_size, self._clip_norm = task, batch_size, clip_norm
        self._model, self._recurrent, self._optimiser = copy.deepcopy((model, recurrent, optimiser))
        self._model.eval()
        for part in self._model.modules():
            if isinstance(part, nn.RNNBase):
                part.flatten_parameters()  # cuDNN wants them in one piece of memory, and a copy's are not
        _check_copy(optimiser, self._optimiser)
        self._parameters = [p for p in self._model.parameters() if p.requires_grad]
        self.learning_rate = float(optimiser.param_groups[0]["lr"])
        count = task.inputs.shape[task.batch_axis]
        _check(self.learning_rate, task.chance, count)
        self.begins_with_batch = bool(getattr(recurrent, "batch_first", task.batch_first))
        micro = max(1, min(MICRO_BATCH, count // MICRO_BATCHES))
        self.micro_batch, self.whole_batch = micro, micro * MICRO_BATCHES
        spread = torch.linspace(0, count - 1, min(count, SEQUENCES)).long()  # over the whole training set
        self._chosen = spread[torch.arange(len(spread)) * _stride(len(spread)) % len(spread)]

    @cached_property
    def _batch(self) -> tuple[Tensor, Tensor]:
        return self.task.part(self._chosen[: self.whole_batch])

    def passed(self, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of `count` sequences: targets, what enters the recurrent part, its states, and the answers as functions of that."""
        inputs, targets = self.task.part(self._chosen[:count])
        with _derivatives(), self._leaving() as states, self._entering(lambda x: x.detach().requires_grad_()) as entered:
            answers = self._model(inputs)
        return targets, entered[0], states[0], answers

    @property
    def targets(self) -> Tensor:
        """Those of the whole batch, on whose losses gradients are taken."""
        return self._batch[1]

    @cached_property
    def gradients(self) -> list[list[Tensor]]:
        """Of the mean loss of each of the MICRO_BATCHES: one tensor per trained parameter, zero where nothing flows."""
        found = []
        for places in self._chosen[: self.whole_batch].split(self.micro_batch):
            inputs, targets = self.task.part(places)
            with _derivatives():
                loss = self.task.loss(self._model(inputs), targets)
                grads = torch.autograd.grad(loss, self._parameters, allow_unused=True)
            found.append([torch.zeros_like(p) if g is None else g for p, g in zip(self._parameters, grads, strict=True)])
        return found

    @cached_property
    def gradient(self) -> list[Tensor]:
        """The mean of `gradients`."""
        return [torch.stack(parts).mean(0) for parts in zip(*self.gradients, strict=True)]

    @property
    def parameters(self) -> list[Tensor]:
        """The trained parameters, in the order of the gradients."""
        return [p.detach() for p in self._parameters]

    @cached_property
    def in_recurrence(self) -> list[bool]:
        """Whether each trained parameter belongs to the recurrent part."""
        own = {id(p) for p in self._recurrent.parameters()}
        return [id(p) in own for p in self._parameters]

    @cached_property
    def update(self) -> list[Tensor]:
        """What the optimiser's next step with `gradient` would add to the parameters, per unit of learning rate (float64)."""
        model, optimiser = copy.deepcopy((self._model, self._optimiser))
        own = [p for p in model.parameters() if p.requires_grad]
        with torch.no_grad():
            for parameter, gradient in zip(own, self.gradient, strict=True):
                parameter.data = parameter.data.double()
                parameter.grad = gradient.double()
            for state in optimiser.state.values():
                state.update({n: v.double() if n != "step" and isinstance(v, Tensor) else v for n, v in state.items()})
            torch.nn.utils.clip_grad_norm_(own, self._clip_norm or float("inf"))
        before = [p.detach().clone() for p in own]
        try:
            optimiser.step()
        except TypeError:
            raise ModuleError(f"{type(optimiser).__name__} cannot be measured: its step needs a closure") from None
        return [(p.detach() - b) / self.learning_rate for p, b in zip(own, before, strict=True)]

    def loss_after(self, step: float) -> float:
        """Loss on the whole batch after a step of this learning rate along `update`."""
        with self._moved(step), _precisely():
            return float(self.task.loss(self._model(self._batch[0]), self._batch[1]))

    @cached_property
    def loss(self) -> float:
        """Loss on the whole batch."""
        return self.loss_after(0.0)

    def answers_after(self, step: float) -> Tensor:
        """Answers to the whole batch, (B, O) or (T, B, O), after a step of this learning rate along `update`."""
        with self._moved(step), _precisely():
            answers = self._model(self._batch[0]).double()
        return answers.reshape(*answers.shape[: 2 if self.task.every_step else 1], -1)

    @contextmanager
    def _moved(self, step: float) -> Iterator[None]:
        if step == 0:
            yield
            return
        before = [p.detach().clone() for p in self._parameters]
        try:
            with torch.no_grad():
                for parameter, u in zip(self._parameters, self.update, strict=True):
                    parameter.copy_(parameter.double() + step * u)
            yield
        finally:
            with torch.no_grad():
                for parameter, old in zip(self._parameters, before, strict=True):
                    parameter.copy_(old)

    @cached_property
    def line_search(self) -> dict[float, float]:
        """Step -> loss on the whole batch after it, along `update`.

        The step starts at the learning rate, grows by FACTOR until the loss rises or, if it rises at once, shrinks by FACTOR
        until it does not, and is then refined by bisection. Half of the largest step found that does not raise the loss is
        tried last: there a parabola is at its minimum.
        """
        losses = {0.0: self.loss}
        low, high, step = 0.0, np.inf, self.learning_rate
        for _ in range(STEPS + 1):
            losses[step] = self.loss_after(step)
            if losses[step] <= self.loss:
                low = step
            else:
                high = step
            if low > 0 and np.isfinite(high):
                break
            step *= FACTOR if low > 0 else 1 / FACTOR
        for _ in range(BISECTIONS if low > 0 and np.isfinite(high) else 0):
            middle = float(np.sqrt(low * high))
            losses[middle] = self.loss_after(middle)
            low, high = (middle, high) if losses[middle] <= self.loss else (low, middle)
        if low > 0:
            losses[low / 2] = self.loss_after(low / 2)
        return losses

    @cached_property
    def _entry(self) -> tuple[Tensor, Tensor]:
        """What enters the recurrent part for the whole batch, and the gradient of the last step's loss with respect to it."""
        inputs, targets = self._batch
        with _derivatives():
            with self._entering(lambda x: x.detach().requires_grad_()) as entered:
                answers = self._model(inputs)
            if self.task.every_step:
                time = 1 - self.task.batch_axis
                last = answers.shape[time] - 1
                answers = torch.cat([answers.narrow(time, 0, last).detach(), answers.narrow(time, last, 1)], dim=time)
            (gradient,) = torch.autograd.grad(self.task.loss(answers, targets), entered, allow_unused=True)
        return entered[0].detach(), torch.zeros_like(entered[0]) if gradient is None else gradient

    @property
    def input_gradient(self) -> Values:
        """Gradient of the loss of the last step alone with respect to what enters the recurrent part: (T, B, I).

        With one answer per sequence that is the loss itself.
        """
        return self._time_first(self._entry[1]).double().cpu().numpy()

    @cached_property
    def states(self) -> tuple[Values, Values]:
        """States, the recurrent part's outputs (T, B, H), and the targets: (B, ...) or (T, B, ...).

        Of SEQUENCES training sequences, or at every step of as many as give that many states.
        """
        steps = self.task.inputs.shape[1 - self.task.batch_axis]
        count = min(len(self._chosen), -(-4 * STATES // steps)) if self.task.every_step else len(self._chosen)
        inputs, targets = self.task.part(self._chosen[: max(count, min(self.whole_batch, len(self._chosen)))])
        states = self._states(inputs)
        targets = targets.transpose(0, 1) if self.task.every_step and self.task.batch_first else targets
        return states, targets.cpu().numpy()

    def noisy_states(self, noise: float) -> Values:
        """Last states (B, H) of NOISY copies of the first sequence, with noise of this share of the inputs' spread on each."""
        inputs, _ = self.task.part(self._chosen[:1])
        spread, generator = float(self._entry[0].std(correction=0)), torch.Generator().manual_seed(0)

        def add(x: Tensor) -> Tensor:
            drawn = torch.randn(self._time_first(x).shape, generator=generator, dtype=torch.float32)
            return x + noise * spread * self._time_first(drawn).to(x)

        with self._entering(add):
            return self._states(inputs.repeat_interleave(NOISY, dim=self.task.batch_axis))[-1]

    def _states(self, inputs: Tensor) -> Values:
        with self._leaving() as states, _precisely():
            self._model(inputs)
        return self._time_first(states[0]).double().cpu().numpy()

    def _time_first(self, values: Tensor) -> Tensor:
        """Of the recurrent part's inputs or states; and back."""
        return values.detach().transpose(0, 1) if self.begins_with_batch else values.detach()

    @contextmanager
    def _leaving(self) -> Iterator[list[Tensor]]:
        """The list yielded will hold the recurrent part's states."""
        states: list[Tensor] = []

        def leave(module: nn.Module, args: tuple[Tensor, ...], output: object) -> None:
            first = output[0] if isinstance(output, tuple) and output else output
            if not isinstance(first, Tensor):
                raise ModuleError(
                    f"the recurrent part should return its states (T, B, H), or a tuple of them and more, {_found(first)}"
                )
            states.append(first)

        with _hook(self._recurrent.register_forward_hook(leave)):
            yield states
        _only(states)

    @contextmanager
    def _entering(self, change: Callable[[Tensor], Tensor]) -> Iterator[list[Tensor]]:
        """Replace the recurrent part's inputs by `change` of them; the list yielded will hold the result."""
        entered: list[Tensor] = []

        def enter(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            first = args[0] if args else None
            if not isinstance(first, Tensor) or not first.is_floating_point():
                raise ModuleError(
                    "the first positional argument of the recurrent part should be a tensor of floating point numbers, "
                    f"{_found(first)}; give the part after the embedding"
                )
            entered.append(change(first))
            return (entered[-1], *args[1:])

        with _hook(self._recurrent.register_forward_pre_hook(enter)):
            yield entered
        _only(entered)

    @cached_property
    def synflow(self) -> float:
        """Sum over parameters of | weight x d R / d weight |, all weights made positive.

        R is the sum of the answers to a sequence of ones that enter the recurrent part. What lies before it does not count.
        Gates make some of the derivatives negative, so that their plain sum can be, too.
        """
        before = [p.detach().clone() for p in self._parameters]
        try:
            with torch.no_grad():
                for parameter in self._parameters:
                    parameter.abs_()
            with _derivatives(), self._entering(torch.ones_like):
                answers = self._model(self.task.part(self._chosen[:1])[0])
                grads = torch.autograd.grad(answers.double().sum(), self._parameters, allow_unused=True)
            flows = [(p.detach().double() * g).abs().sum() for p, g in zip(self._parameters, grads, strict=True) if g is not None]
            return float(sum(flows))
        finally:
            with torch.no_grad():
                for parameter, old in zip(self._parameters, before, strict=True):
                    parameter.copy_(old)


def _check(learning_rate: float, chance: float, sequences: int) -> None:
    for name, value in (("learning rate", learning_rate), ("loss of chance", chance)):
        if not 0 < value < np.inf:
            raise ModuleError(f"the {name} is {value:g}; it is the unit of what is measured, and should be finite and above 0")
    if sequences < FEWEST:
        raise ModuleError(f"there are {sequences} training sequences; give {FEWEST} or more")


def _check_copy(optimiser: torch.optim.Optimizer, own: torch.optim.Optimizer) -> None:
    """ModuleError if the copy of an optimiser lacks attributes; what torch's own lose by it does not count."""
    lost = [] if type(optimiser).__module__.startswith("torch.optim") else vars(optimiser).keys() - vars(own).keys() - UNCOUNTED
    if lost:
        raise ModuleError(
            f"a copy of {type(optimiser).__name__} loses its attribute {min(lost)}; keep it in the groups, as torch.optim does"
        )


def _found(value: object) -> str:
    kind = "none" if value is None else type(value).__name__
    return f"found {f'a tensor of {value.dtype}' if isinstance(value, Tensor) else kind}"


def _only(kept: list[Tensor]) -> Tensor:
    if len(kept) != 1:
        raise ModuleError(f"the model runs its recurrent part {len(kept)} times; give a part that it runs once, for all steps")
    return kept[0]


@contextmanager
def _derivatives() -> Iterator[None]:
    """Gradients are computed, also of modules in evaluation mode, which cuDNN's recurrent kernels refuse."""
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        yield


@contextmanager
def _precisely() -> Iterator[None]:
    """No gradients are computed, and numbers of float32 have its precision, which cuDNN's recurrent kernels reduce (TF32)."""
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False):
        yield


@contextmanager
def _hook(handle: "torch.utils.hooks.RemovableHandle") -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()


def _stride(count: int) -> int:
    """A number near the golden section of `count` without a divisor in common: multiples of it visit all, far from each other."""
    return next(n for n in range(max(1, round(count * 0.618)), count + 2) if np.gcd(n, count) == 1)
