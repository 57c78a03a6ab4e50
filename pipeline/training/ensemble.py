"""Trains many small networks of one shape at once: their weights are stacked, and one step advances all of them."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call, vmap

from .. import heads, tasks
from ..core import execution
from ..core.errors import ArtefactError, ConfigError
from ..core.files import Arrays
from ..core.graphs import Repeated
from ..core.numbers import finite_or_none
from ..core.records import CURVES, UPDATES, Outcome, TaskData, Trial, TrialResult, UnfinishedTrials
from . import loop
from .network import Network, StepLoop
from .policies import POLICIES, Run, append, previous

# Hyper-parameters in which the networks of an ensemble may differ, besides the seed and the numbers of the trial.
OWN = ("init_scale", "learning_rate", "clip_norm", "weight_decay", "dropout", "initialisation")
MOMENTUM, BETAS, EPSILON = 0.9, (0.9, 0.999), 1e-8  # torch's defaults for AdamW, and those of `loop.new_optimiser`
EVALUATED = 2**26  # outputs of units that are evaluated at once, at most; with the states and a copy of each, 1 GB
# Cells whose weights are made by torch's matrix exponential or solver. These read numbers, so that no graph can repeat a step,
# and an attempt would leave torch's allocator in disorder.
UNREPEATED = {"exprnn", "scornn", "scurnn"}
Values = NDArray[np.float64]


def train_together(trials: Sequence[Trial], data: TaskData, unfinished: Path | None = None) -> list[TrialResult]:
    """What `loop.train` gives for each of the trials, up to rounding, in one training of all.

    Each network has its own mini-batches, dropout, learning rate, weight decay and clipping, and one that diverges stays as it
    was while the others go on. On a GPU, a step of all networks is one CUDA graph. `outcome.seconds` is an equal share of the
    time.

    Args:
        trials: of one task, cell, head, policy, device, and size, with equal epochs, batch sizes and options.
        data: the task's.
        unfinished: file that keeps the state of the training, written after an epoch if EVERY seconds have passed; if it is
            there, the training goes on from it, with the same results to the last bit.

    Raises:
        ConfigError: there are no trials, or they differ in something else than the seed and `OWN`.
    """
    _check_alike(trials)
    training = _Together(trials, data, unfinished)
    try:
        return training.run()
    finally:
        training.ensemble.release()


class _Together:
    """A training of several networks under way."""

    def __init__(self, trials: Sequence[Trial], data: TaskData, unfinished: Path | None) -> None:
        self._trials, self._path = tuple(trials), unfinished
        self._began = self._kept = time.perf_counter()
        self.ensemble = Ensemble(trials, data)
        self._histories = [_History(trial, self.ensemble.steps) for trial in trials]
        self._weights, self._states = {"initial": self.ensemble.checkpoint()}, self.ensemble.optimiser_states()
        self._epoch = 1  # the next one

    def run(self) -> list[TrialResult]:
        """Train to the end."""
        if (found := self._found()) is not None:
            self._take(found)
        else:
            for history, validation in zip(self._histories, self.ensemble.evaluate("validation"), strict=True):
                history.validated(0, validation)
        for epoch in range(self._epoch, self._trials[0].epochs + 1):
            self._train_epoch(epoch)
            self._epoch = epoch + 1
            if self._path is not None and time.perf_counter() - self._kept > loop.EVERY:
                self._keep(self._path)
        self._weights["final"] = self.ensemble.checkpoint()
        tests = self.ensemble.evaluate("test")
        return [self._result(m, *test) for m, test in enumerate(tests)]

    def _train_epoch(self, epoch: int) -> None:
        ensemble, histories = self.ensemble, self._histories
        alive = [not history.diverged for history in histories]
        if any(alive):
            updates, validations = ensemble.epoch(alive), ensemble.evaluate("validation")
            for m in np.flatnonzero(alive):
                histories[m].updated(epoch, updates[m])
                histories[m].validated(epoch, validations[m])
        if epoch == self._trials[0].early_epoch:
            self._weights["early"], self._states = ensemble.checkpoint(), ensemble.optimiser_states()

    def _result(self, m: int, test_loss: float, test_metric: float) -> TrialResult:
        history = self._histories[m]
        outcome = Outcome(
            diverged=history.diverged,
            seconds=(time.perf_counter() - self._began) / len(self._trials),
            test_loss=finite_or_none(test_loss),
            test_metric=finite_or_none(test_metric),
            parameter_count=self.ensemble.parameter_count,
        )
        updates = {name: values.ravel() for name, values in history.updates.items()}
        weights = {checkpoint: own[m] for checkpoint, own in self._weights.items()}
        return TrialResult(history.trial, outcome, history.curves, updates, weights, self._states[m])

    def _keep(self, path: Path) -> None:
        """Write where the training stands."""
        UnfinishedTrials(
            trials=self._trials,
            epoch=self._epoch,
            seconds=time.perf_counter() - self._began,
            curves=_stacked([history.curves for history in self._histories]),
            updates=_stacked([history.updates for history in self._histories]),
            weights={checkpoint: _stacked(own) for checkpoint, own in self._weights.items()},
            optimiser=_stacked_states(self._states),
            weights_now=_stacked(self.ensemble.checkpoint()),
            optimiser_now=_stacked_states(self.ensemble.optimiser_states()),
            generators=np.stack([generator.get_state().numpy() for generator in self.ensemble.generators]),
        ).save(path)
        self._kept = time.perf_counter()
        execution.was_kept(path)

    def _found(self) -> UnfinishedTrials | None:
        """What was kept of the training of these trials; None if there is nothing, or it is damaged."""
        if self._path is None or not self._path.exists():
            return None
        try:
            found = UnfinishedTrials.load(self._path)
        except ArtefactError:
            return None
        return found if found.trials == self._trials else None

    def _take(self, found: UnfinishedTrials) -> None:
        """Go on from where a training stood."""
        self._epoch, self._began = found.epoch, self._began - found.seconds
        for m, history in enumerate(self._histories):
            history.take(found, m)
        models = range(len(self._trials))
        self._weights = {name: [_of(found.weights[name], m) for m in models] for name in found.weights}
        self._states = [{name: _of(found.optimiser[name], m) for name in found.optimiser} for m in models]
        self.ensemble.take(found)


def _stacked(arrays: Sequence[Arrays]) -> Arrays:
    """Arrays (M, ...) by name, from those of each network."""
    return {name: np.stack([own[name] for own in arrays]) for name in arrays[0]}


def _stacked_states(states: Sequence[Mapping[str, Arrays]]) -> dict[str, Arrays]:
    """The same of the state variables of each network's parameters."""
    return {parameter: _stacked([own[parameter] for own in states]) for parameter in states[0]}


def _of(arrays: Arrays, m: int) -> Arrays:
    """The arrays of one network."""
    return {name: values[m].copy() for name, values in arrays.items()}


def _check_alike(trials: Sequence[Trial]) -> None:
    """ConfigError if trials cannot be trained together."""
    if not trials:
        raise ConfigError("there are no trials to train together; give one or more")
    first, *others = (shared(trial) for trial in trials)
    for other in others:
        for name, value in first.items():
            if other[name] != value:
                raise ConfigError(
                    f"trials that are trained together should differ in nothing but their seeds and {', '.join(OWN)}; {name} is "
                    f"{value!r} of one and {other[name]!r} of another"
                )


def shared(trial: Trial) -> dict[str, Any]:
    """What trials of one ensemble have in common."""
    fields = asdict(replace(trial, seed=0, index=0, draw=0))
    return {n: v for n, v in (fields | fields.pop("hyper_parameters")).items() if n not in OWN}


class _History:
    """The curves of one trial as it goes on, and whether it has diverged."""

    def __init__(self, trial: Trial, steps: int) -> None:
        self.trial, self.diverged = trial, False
        self.updates = {name: np.full((trial.epochs, steps), np.nan, np.float32) for name in UPDATES}
        self.curves = {name: np.full(trial.epochs + 1, np.nan) for name in CURVES}

    def updated(self, epoch: int, updates: Values) -> None:
        """Take the losses and norms (2, steps) of an epoch, up to the first that is not finite."""
        for name, values in zip(UPDATES, updates, strict=True):
            self.updates[name][epoch - 1, : len(values)] = values
        losses, norms = updates
        self.curves["train_loss"][epoch] = losses.mean()
        self.curves["gradient_norm"][epoch], self.curves["gradient_norm_max"][epoch] = norms.mean(), norms.max()
        self.diverged = not bool(np.isfinite(updates).all())

    def validated(self, epoch: int, validation: Values) -> None:
        """Take loss and metric (2,) of the validation data after an epoch."""
        self.curves["validation_loss"][epoch], self.curves["validation_metric"][epoch] = validation
        self.diverged = self.diverged or not bool(np.isfinite(validation[0]))

    def take(self, found: UnfinishedTrials, m: int) -> None:
        """Go on from what was kept of the m-th network."""
        self.curves, self.updates = _of(found.curves, m), _of(found.updates, m)
        known = [self.curves["validation_loss"][: found.epoch]]
        known += [self.curves[name][1 : found.epoch] for name in ("train_loss", "gradient_norm")]
        self.diverged = not all(np.isfinite(values).all() for values in known)


class Ensemble:
    """M networks of one shape with their optimisers, in tensors (M, ...) that stay in their places.

    Attributes:
        weights: name of a parameter -> (M, ...).
        generators: of each network.
        steps: mini-batches per epoch.
        parameter_count: trained numbers of one network.
    """

    def __init__(self, trials: Sequence[Trial], data: TaskData) -> None:
        first = self._trial = trials[0]
        self._task, self._policy, self._device = tasks.get(first.task), POLICIES[first.state], torch.device(first.device)
        self._every_step, self._count = heads.get(self._task.head).every_step, data.split("train")[0].shape[1]
        self._data = {split: self._prepared(data, split) for split in ("train", "validation", "test")}
        self.generators = [torch.Generator().manual_seed(trial.seed) for trial in trials]
        modules = [Network.of(trial).init(own) for trial, own in zip(trials, self.generators, strict=True)]
        self._network, self._names = modules[0].network, {n.removesuffix("_l0"): n for n, _ in modules[0].named_parameters()}
        self._loop = StepLoop(self._network.cell, self._network.cell.init(torch.Generator()))
        initial = [module.weights() for module in modules]
        self.weights = {n: torch.from_numpy(np.stack([w[n] for w in initial])).to(self._device) for n in initial[0]}
        self.weights = {n: w.requires_grad_(n in self._names) for n, w in self.weights.items()}
        self.steps = -(-self._count // first.batch_size)
        self.parameter_count = sum(self.weights[n][0].numel() for n in self._names)
        hypers = [trial.hyper_parameters for trial in trials]
        self._dropout = [hyper.dropout for hyper in hypers]
        self._largest = self._each(hyper.clip_norm or float("inf") for hyper in hypers)
        self._read = self._each(1 - share for share in self._dropout)
        decays, rates = self._each(hyper.weight_decay for hyper in hypers), self._network.cell.rates
        self._updates = {}
        for name in self._names:
            rate = rates.get(name.removeprefix("cell."), 1.0) if name.startswith("cell.") else 1.0
            own = self._each(rate * hyper.learning_rate for hyper in hypers)
            self._updates[name] = _UPDATES[hypers[0].optimiser](self.weights[name], own, decays)
        self._alive = torch.ones(len(trials), dtype=torch.bool, device=self._device)
        rows = {"stateful": first.batch_size, "ordered": 1}.get(first.state)  # of the state that the next mini-batch begins with
        size = self._network.cell.state_size
        self._state = None if rows is None else next(iter(self.weights.values())).new_zeros(len(trials), rows, size).detach()
        self._places: dict[int, tuple[Tensor, Tensor | None, Repeated[Tensor]]] = {}

    def _each(self, numbers: Iterable[float]) -> Tensor:
        """One number for each network."""
        return torch.tensor(list(numbers), dtype=next(iter(self.weights.values())).dtype, device=self._device)

    def release(self) -> None:
        """Give up the graphs, which hold the ensemble and memory of the GPU."""
        self._places.clear()

    @property
    def captured(self) -> bool:
        """Whether all steps are repeated as CUDA graphs."""
        return all(advance.captured for _, _, advance in self._places.values())

    @property
    def failure(self) -> str:
        """Why a step could not be captured; empty if it could."""
        return next((advance.failure for _, _, advance in self._places.values() if advance.failure), "")

    def checkpoint(self) -> list[Arrays]:
        """The weights of each network, as `Module.weights` returns them."""
        values = {n: w.detach().cpu().numpy() for n, w in self.weights.items()}
        return [{n: v[m].copy() for n, v in values.items()} for m in range(len(self.generators))]

    def optimiser_states(self) -> list[dict[str, Arrays]]:
        """The state of each network's optimiser, as `loop.train` keeps it."""
        values = {self._names[n]: {k: v.cpu().numpy() for k, v in u.places().items()} for n, u in self._updates.items()}
        return [
            {
                n: {k: np.atleast_1d(v[m].astype(np.float32 if k == "step" else v.dtype)) for k, v in own.items()}
                for n, own in values.items()
            }
            for m in range(len(self.generators))
        ]

    @torch.no_grad()
    def take(self, found: UnfinishedTrials) -> None:
        """Go on with the weights, optimisers and generators that were kept."""
        for name, weight in self.weights.items():
            weight.copy_(torch.from_numpy(found.weights_now[name]))
        for name, update in self._updates.items():
            kept = found.optimiser_now[self._names[name]]
            for key, place in update.places().items():
                place.copy_(torch.from_numpy(kept[key]).reshape(place.shape))
        for generator, state in zip(self.generators, found.generators, strict=True):
            generator.set_state(torch.from_numpy(state))

    @torch.no_grad()
    def evaluate(self, split: str) -> Values:
        """Loss and metric (M, 2) of a split."""
        x, targets = self._data[split]
        found, models = [], max(1, EVALUATED // (x.shape[0] * x.shape[1] * self._network.cell.output_size))
        for begin in range(0, len(self.generators), models):
            weights = {n: w[begin : begin + models] for n, w in self.weights.items()}
            for answer in vmap(self._answer, in_dims=(0, None))(weights, x):
                found.append(torch.stack([f(answer, targets).double() for f in (self._task.loss, self._task.metric)]))
        return torch.stack(found).cpu().numpy()

    def epoch(self, alive: Sequence[bool]) -> list[Values]:
        """Train those that are alive for an epoch: losses and norms before clipping (2, steps), up to the first not finite."""
        self._alive.copy_(torch.tensor(alive))
        if self._state is not None:
            self._state.zero_()
        drawn = [self._policy.batches(self._count, self._trial.batch_size, generator) for generator in self.generators]
        orders = [torch.stack(own).to(self._device) for own in zip(*drawn, strict=True)]  # (M, B) of each step
        found = torch.stack([self._step(order) for order in orders])
        values = found.double().cpu().numpy()  # (steps, 3, M); nothing before has waited for the device
        return [values[values[:, 2, m] > 0, :2, m].T for m in range(len(alive))]

    def _step(self, order: Tensor) -> Tensor:
        """What `_advance` gives for the sequences (M, B); mini-batches of one size have one place and one graph."""
        size = order.shape[1]
        kept = self._kept(size) if any(self._dropout) else None
        if size not in self._places:
            places = torch.empty_like(order), None if kept is None else torch.empty(kept.shape, device=self._device)
            repeated = torch.device("cpu") if self._trial.cell in UNREPEATED else self._device
            self._places[size] = *places, Repeated(partial(self._advance, *places), repeated, large=True)
        chosen, read, advance = self._places[size]
        chosen.copy_(order)
        if kept is not None and read is not None:
            read.copy_(kept)
        return advance().clone()

    def _advance(self, chosen: Tensor, kept: Tensor | None) -> Tensor:
        """One step of all networks: losses, norms and whether each was alive before, (3, M)."""
        inputs, targets = self._data["train"]
        x, y = inputs[:, chosen], targets[:, chosen] if self._every_step else targets[chosen]
        given: list[Any] = [x, y, self._state, kept, None if kept is None else self._read]
        axes = [1, int(self._every_step), *(None if v is None else 0 for v in given[2:])]
        losses, last = vmap(self._lost, in_dims=(0, *axes))(self.weights, *given)
        gradients = torch.autograd.grad(losses.sum(), [self.weights[n] for n in self._updates], allow_unused=True)
        with torch.no_grad():
            norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients if g is not None]).norm(dim=0)
            shares = (self._largest / (norms + 1e-6)).clamp(max=1.0)
            before = self._alive.to(losses)
            self._alive &= losses.isfinite() & norms.isfinite()
            for update, gradient in zip(self._updates.values(), gradients, strict=True):
                if gradient is not None:
                    update(gradient * _along(shares, gradient), self._alive)
            if self._state is not None:
                self._state[:, : last.shape[1]] = last
            return torch.stack([losses.detach(), norms, before])

    def _lost(
        self, weights: dict[str, Tensor], x: Tensor, y: Tensor, state: Tensor | None, kept: Tensor | None, read: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The loss of one network's mini-batch, and its last state (., S)."""
        outputs, last = self._policy.train(self._running(weights), x, state)
        outputs = outputs if kept is None or read is None else outputs * kept / read
        return self._task.loss(self._network.head.read(_parts(weights, "head"), outputs), y), torch.as_tensor(last)

    def _answer(self, weights: dict[str, Tensor], x: Tensor) -> Tensor:
        """The answer of one network to a whole split."""
        return self._network.head.read(_parts(weights, "head"), self._policy.evaluate(self._running(weights), x, None)[0])

    def _running(self, weights: dict[str, Tensor]) -> Run:
        """What `Module.run` of one network gives."""
        return lambda inputs, state: functional_call(self._loop, _parts(weights, "cell"), (inputs, state))

    def _kept(self, size: int) -> Tensor:
        """Which outputs (M, T, B, H) of a mini-batch are read, 1 or 0, drawn by each network's own generator."""
        shape = len(self._data["train"][0]), size, self._network.cell.output_size
        drawn = [
            torch.rand(shape, generator=generator) >= share if share else torch.ones(shape, dtype=torch.bool)
            for generator, share in zip(self.generators, self._dropout, strict=True)
        ]
        return torch.stack(drawn)

    def _prepared(self, data: TaskData, split: str) -> tuple[Tensor, Tensor]:
        """The inputs of a split as the networks take them, and its targets."""
        inputs, targets = (torch.from_numpy(array).to(self._device) for array in data.split(split))
        x = self._task.encode(inputs, self._trial.input_size)
        return append(x, previous(targets)) if self._policy.sees_targets else x, targets


class _AdamW:
    """The update of one parameter (M, ...) by AdamW, with a learning rate and a weight decay (M,) for each network."""

    def __init__(self, weight: Tensor, rate: Tensor, decay: Tensor) -> None:
        self._weight, self._rate, self._decay = weight, _along(rate, weight), _along(1 - rate * decay, weight)
        self._mean, self._square = (torch.zeros_like(weight).detach() for _ in range(2))
        self._steps = torch.zeros(len(weight), dtype=torch.float64, device=weight.device)

    def __call__(self, gradient: Tensor, alive: Tensor) -> None:
        """Take a step with gradients (M, ...), of the networks that are alive."""
        steps = self._steps + 1
        mean = self._mean.lerp(gradient, 1 - BETAS[0])
        square = self._square * BETAS[1] + gradient * gradient * (1 - BETAS[1])
        first, second = (_along(1 - beta**steps, gradient) for beta in BETAS)  # float64, as 1 - beta has few digits in float32
        size, root = self._rate / first.to(gradient), square.sqrt() / second.sqrt().to(gradient)
        new = self._weight * self._decay - size * (mean / (root + EPSILON))
        _keep(alive, (self._weight, new), (self._mean, mean), (self._square, square), (self._steps, steps))

    def places(self) -> dict[str, Tensor]:
        """The state variables (M, ...) by torch's names, where they are."""
        return {"step": self._steps, "exp_avg": self._mean, "exp_avg_sq": self._square}


class _SGD:
    """The same by stochastic gradient descent with momentum."""

    def __init__(self, weight: Tensor, rate: Tensor, decay: Tensor) -> None:
        self._weight, self._rate, self._decay = weight, _along(rate, weight), _along(decay, weight)
        self._buffer = torch.zeros_like(weight).detach()

    def __call__(self, gradient: Tensor, alive: Tensor) -> None:
        """Take a step with gradients (M, ...), of the networks that are alive."""
        buffer = self._buffer * MOMENTUM + (gradient + self._decay * self._weight)
        _keep(alive, (self._weight, self._weight - self._rate * buffer), (self._buffer, buffer))

    def places(self) -> dict[str, Tensor]:
        """The state variable (M, ...) by torch's name, where it is."""
        return {"momentum_buffer": self._buffer}


_UPDATES: dict[str, type[_AdamW] | type[_SGD]] = {"adamw": _AdamW, "sgd": _SGD}


def _keep(alive: Tensor, *pairs: tuple[Tensor, Tensor]) -> None:
    """Write new values (M, ...) into their places, for the networks that are alive."""
    for place, new in pairs:
        place.copy_(torch.where(_along(alive, place), new, place))


def _along(numbers: Tensor, like: Tensor) -> Tensor:
    """Numbers (M,) as factors of a tensor (M, ...)."""
    return numbers.reshape(-1, *[1] * (like.dim() - 1))


def _parts(weights: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """The parameters of the "cell" or the "head" by their own names."""
    return {n.removeprefix(f"{part}."): w for n, w in weights.items() if n.startswith(f"{part}.")}
