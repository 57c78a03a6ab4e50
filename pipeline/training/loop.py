"""Trains one trial."""

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .. import heads, tasks
from ..core import execution
from ..core.errors import ArtefactError
from ..core.files import Arrays
from ..core.hyper_parameters import HyperParameters
from ..core.numbers import finite_or_none
from ..core.records import CURVES, UPDATES, Outcome, TaskData, Trial, TrialResult, UnfinishedTrial
from .network import Module, Network
from .policies import POLICIES, append, previous

EVERY = 60.0  # seconds of training between two states that are kept of it


def train(trial: Trial, data: TaskData, unfinished: Path | None = None) -> TrialResult:
    """Train a trial.

    The trial's policy draws the mini-batches, which are shuffled unless the state is carried over. A loss or gradient that is
    not finite ends the training: the trial has then `diverged`, the curves are NaN from the next epoch on, and the weights
    are the last ones.

    Args:
        trial: what to train.
        data: of its task.
        unfinished: file that keeps the state of the training, written every EVERY seconds; if it is there, the training goes
            on from it, with the same result to the last bit.
    """
    training = _Training(trial, data)
    if unfinished is not None:
        training.keep_in(unfinished)
    return training.run()


class _Training:
    """A training under way."""

    def __init__(self, trial: Trial, data: TaskData) -> None:
        self._trial, self._data = trial, data
        self._path: Path | None = None
        self._began = self._kept = time.perf_counter()
        self._generator = torch.Generator().manual_seed(trial.seed)
        self._module = Network.of(trial).init(self._generator).to(trial.device)
        self._optimiser = new_optimiser(self._module, trial.hyper_parameters)
        batches = -(-data.info.sequences["train"] // trial.batch_size)
        self._updates = {name: np.full((trial.epochs, batches), np.nan, np.float32) for name in UPDATES}
        self._curves = {name: np.full(trial.epochs + 1, np.nan) for name in CURVES}
        self._weights = {"initial": self._module.weights()}
        self._optimiser_early: Mapping[str, Arrays] = _state(self._module, self._optimiser)
        self._epoch = 1
        self._begin_of_epoch = self._interrupted = self._generator.get_state()
        self._losses: list[float] = []
        self._norms: list[float] = []
        self._carried: Tensor | None = None

    def keep_in(self, path: Path) -> None:
        """Keep the state of the training in a file, and take it from there if it is there; a damaged file is removed."""
        self._path = path
        try:
            found = UnfinishedTrial.load(path) if path.exists() else None
        except ArtefactError:
            path.unlink()
            return
        if found is not None and found.trial == self._trial:
            self._take(found)

    def run(self) -> TrialResult:
        """Train to the end."""
        trial, curves = self._trial, self._curves
        if self._epoch == 1 and not self._losses:
            curves["validation_loss"][0], curves["validation_metric"][0] = self._evaluate("validation")
        diverged = not bool(np.isfinite(curves["validation_loss"][0]))
        for epoch in range(self._epoch, trial.epochs + 1):
            if not diverged:
                self._epoch = epoch
                diverged = self._train_epoch()
            if epoch == trial.early_epoch:
                self._weights["early"], self._optimiser_early = self._module.weights(), _state(self._module, self._optimiser)
        self._weights["final"] = self._module.weights()
        test_loss, test_metric = self._evaluate("test")
        outcome = Outcome(
            diverged=diverged,
            seconds=time.perf_counter() - self._began,
            test_loss=finite_or_none(test_loss),
            test_metric=finite_or_none(test_metric),
            parameter_count=sum(p.numel() for p in self._module.parameters()),
        )
        updates = {name: values.ravel() for name, values in self._updates.items()}
        return TrialResult(trial, outcome, curves, updates, self._weights, self._optimiser_early)

    def _train_epoch(self) -> bool:
        """Train for one epoch, or for what is left of it, and evaluate; whether the training diverged."""
        policy, curves, epoch = POLICIES[self._trial.state], self._curves, self._epoch
        self._begin_of_epoch = self._generator.get_state()
        inputs, targets = (torch.from_numpy(a) for a in self._data.split("train"))
        batches = policy.batches(inputs.shape[1], self._trial.batch_size, self._generator)
        if self._losses:  # the training goes on after an interruption
            self._generator.set_state(self._interrupted)
        for chosen in batches[len(self._losses) :]:
            if not self._step(inputs, targets, chosen):
                break
            if self._path is not None and time.perf_counter() - self._kept > EVERY:
                self._keep()
        losses, norms = np.array(self._losses), np.array(self._norms)
        self._losses, self._norms, self._carried = [], [], None
        self._updates["loss"][epoch - 1, : len(losses)], self._updates["gradient_norm"][epoch - 1, : len(norms)] = losses, norms
        curves["train_loss"][epoch] = losses.mean()
        curves["gradient_norm"][epoch], curves["gradient_norm_max"][epoch] = norms.mean(), norms.max()
        curves["validation_loss"][epoch], curves["validation_metric"][epoch] = self._evaluate("validation")
        return not bool(np.isfinite([*losses, *norms, curves["validation_loss"][epoch]]).all())

    def _step(self, inputs: Tensor, targets: Tensor, chosen: Tensor) -> bool:
        """Train on one mini-batch; whether its loss and its gradient, whose norm is that before clipping, were finite."""
        trial = self._trial
        task, policy, hyper = tasks.get(trial.task), POLICIES[trial.state], trial.hyper_parameters
        x = task.encode(inputs[:, chosen].to(trial.device), trial.input_size)
        y = _pick(task.head, targets, chosen).to(trial.device)
        x = append(x, previous(targets)[chosen]) if policy.sees_targets else x
        self._optimiser.zero_grad()
        outputs, self._carried = policy.train(self._module.run, x, self._carried)
        loss = task.loss(self._module.read(outputs, hyper.dropout, self._generator), y)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._module.parameters(), hyper.clip_norm or float("inf"))
        value, length = torch.stack([loss.detach(), norm]).tolist()  # a GPU waits once
        self._losses.append(value)
        self._norms.append(length)
        if not np.isfinite(value + length):
            return False
        self._optimiser.step()
        return True

    @torch.no_grad()
    def _evaluate(self, split: str) -> tuple[float, float]:
        """Loss and metric of a whole split; a policy that sees targets sees the true ones (teacher forcing)."""
        trial, module = self._trial, self._module
        task, policy = tasks.get(trial.task), POLICIES[trial.state]
        inputs, targets = (torch.from_numpy(a).to(trial.device) for a in self._data.split(split))
        x = task.encode(inputs, trial.input_size)
        outputs = module.read(policy.evaluate(module.run, append(x, previous(targets)) if policy.sees_targets else x, None)[0])
        return task.loss(outputs, targets).item(), task.metric(outputs, targets).item()

    def _keep(self) -> None:
        """Write where the training stands."""
        generators = {"epoch": self._begin_of_epoch.numpy(), "now": self._generator.get_state().numpy()}
        state = UnfinishedTrial(
            trial=self._trial,
            epoch=self._epoch,
            seconds=time.perf_counter() - self._began,
            curves=self._curves,
            updates=self._updates,
            weights=self._weights,
            optimiser=self._optimiser_early,
            losses=np.array(self._losses),
            norms=np.array(self._norms),
            weights_now=self._module.weights(),
            optimiser_now=_state(self._module, self._optimiser),
            generators=generators,
            carried={} if self._carried is None else {"state": self._carried.detach().cpu().numpy()},
        )
        assert self._path is not None
        state.save(self._path)
        self._kept = time.perf_counter()
        execution.was_kept(self._path)

    def _take(self, state: UnfinishedTrial) -> None:
        """Go on from where a training stood."""
        self._epoch, self._began = state.epoch, self._began - state.seconds
        self._curves, self._updates = state.curves, state.updates
        self._weights, self._optimiser_early = {name: state.weights[name] for name in state.weights}, dict(state.optimiser)
        self._losses, self._norms = state.losses.tolist(), state.norms.tolist()
        self._module.load(state.weights_now)
        _restore(self._optimiser, self._module, state.optimiser_now)
        self._generator.set_state(torch.from_numpy(state.generators["epoch"]))
        self._interrupted = torch.from_numpy(state.generators["now"])
        self._carried = torch.from_numpy(state.carried["state"]).to(self._trial.device) if state.carried else None


def new_optimiser(module: Module, hyper: HyperParameters) -> torch.optim.Optimizer:
    """The optimiser of a trial.

    AdamW (Kingma and Ba 2015; Loshchilov and Hutter 2019), or stochastic gradient descent with momentum 0.9 (Sutskever et
    al. 2013), before its first step.
    """
    groups = module.groups(hyper.learning_rate)
    if hyper.optimiser == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, weight_decay=hyper.weight_decay)
    return torch.optim.AdamW(groups, weight_decay=hyper.weight_decay, fused=True)


# State variable of an optimiser -> whether it has the shape of the parameter. Before the first step, all are zero.
_STATES = {"adamw": {"step": False, "exp_avg": True, "exp_avg_sq": True}, "sgd": {"momentum_buffer": True}}


def _state(module: Module, optimiser: torch.optim.Optimizer) -> dict[str, Arrays]:
    """Name of a trained parameter -> name of a state variable -> its values, (1,) for a number."""
    names = _STATES["sgd" if isinstance(optimiser, torch.optim.SGD) else "adamw"]
    states: dict[str, Arrays] = {}
    for parameter, values in module.named_parameters():
        known = optimiser.state.get(values, {})
        zero = {name: torch.zeros_like(values) if shaped else torch.zeros(1) for name, shaped in names.items()}
        found = {name: known[name] if known.get(name) is not None else zero[name] for name in names}
        states[parameter] = {name: np.atleast_1d(value.detach().cpu().numpy().copy()) for name, value in found.items()}
    return states


def optimiser_at(checkpoint: str, module: Module, result: TrialResult) -> torch.optim.Optimizer:
    """The optimiser of a trial as it was at its "initial" or "early" checkpoint, for a module with its weights."""
    optimiser = new_optimiser(module, result.trial.hyper_parameters)
    if checkpoint == "early":
        _restore(optimiser, module, result.optimiser)
    return optimiser


def _restore(optimiser: torch.optim.Optimizer, module: Module, states: Mapping[str, Arrays]) -> None:
    """Give an optimiser the state variables that `_state` found."""
    for name, parameter in module.named_parameters():
        state = {n: torch.from_numpy(v).to(parameter.device) for n, v in states[name].items()}
        optimiser.state[parameter] = {n: v[0] if n == "step" else v for n, v in state.items()}


def _pick(head: str, targets: Tensor, chosen: Tensor) -> Tensor:
    """The targets of some sequences: (N,) with one answer per sequence, (T, N, ...) with one per step."""
    return targets[:, chosen] if heads.get(head).every_step else targets[chosen]
