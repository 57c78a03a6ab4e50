"""Trains one trial."""

import time

import numpy as np
import torch
from torch import Generator, Tensor

from .. import heads, tasks
from ..core.files import Arrays
from ..core.hyper_parameters import HyperParameters
from ..core.numbers import finite_or_none
from ..core.records import CURVES, UPDATES, Outcome, TaskData, Trial, TrialResult
from .network import Module, Network
from .policies import POLICIES, append, previous


def train(trial: Trial, data: TaskData) -> TrialResult:
    """Train a trial.

    The trial's policy draws the mini-batches, which are shuffled unless the state is carried over. A loss or gradient that is
    not finite ends the training: the trial has then `diverged`, the curves are NaN from the next epoch on, and the weights
    are the last ones.
    """
    begin = time.perf_counter()
    generator = torch.Generator().manual_seed(trial.seed)
    module = Network.of(trial).init(generator).to(trial.device)
    optimiser = new_optimiser(module, trial.hyper_parameters)
    batches = -(-data.info.sequences["train"] // trial.batch_size)
    updates = {name: np.full((trial.epochs, batches), np.nan, np.float32) for name in UPDATES}
    curves = {name: np.full(trial.epochs + 1, np.nan) for name in CURVES}
    curves["validation_loss"][0], curves["validation_metric"][0] = _evaluate(module, trial, data, "validation")
    weights, state = {"initial": module.weights()}, _state(module, optimiser)
    diverged = not bool(np.isfinite(curves["validation_loss"][0]))
    for epoch in range(1, trial.epochs + 1):
        if not diverged:
            losses, norms = _epoch(module, optimiser, trial, data, generator)
            updates["loss"][epoch - 1, : len(losses)], updates["gradient_norm"][epoch - 1, : len(norms)] = losses, norms
            curves["train_loss"][epoch] = losses.mean()
            curves["gradient_norm"][epoch], curves["gradient_norm_max"][epoch] = norms.mean(), norms.max()
            curves["validation_loss"][epoch], curves["validation_metric"][epoch] = _evaluate(module, trial, data, "validation")
            diverged = not bool(np.isfinite([*losses, *norms, curves["validation_loss"][epoch]]).all())
        if epoch == trial.early_epoch:
            weights["early"], state = module.weights(), _state(module, optimiser)
    weights["final"] = module.weights()
    test_loss, test_metric = _evaluate(module, trial, data, "test")
    outcome = Outcome(
        diverged=diverged,
        seconds=time.perf_counter() - begin,
        test_loss=finite_or_none(test_loss),
        test_metric=finite_or_none(test_metric),
        parameter_count=sum(p.numel() for p in module.parameters()),
    )
    return TrialResult(trial, outcome, curves, {n: u.ravel() for n, u in updates.items()}, weights, state)


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
        for name, parameter in module.named_parameters():
            state = {n: torch.from_numpy(v).to(parameter.device) for n, v in result.optimiser[name].items()}
            optimiser.state[parameter] = {n: v[0] if n == "step" else v for n, v in state.items()}
    return optimiser


def _epoch(
    module: Module, optimiser: torch.optim.Optimizer, trial: Trial, data: TaskData, generator: Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Train for one epoch: losses and gradient norms before clipping of its steps, up to the first that is not finite."""
    task, policy, hyper = tasks.get(trial.task), POLICIES[trial.state], trial.hyper_parameters
    inputs, targets = (torch.from_numpy(a) for a in data.split("train"))
    losses, norms, state = [], [], None
    for chosen in policy.batches(inputs.shape[1], trial.batch_size, generator):
        x = task.encode(inputs[:, chosen].to(trial.device), trial.input_size)
        y = _pick(task.head, targets, chosen).to(trial.device)
        optimiser.zero_grad()
        outputs, state = policy.train(module.run, append(x, previous(targets)[chosen]) if policy.sees_targets else x, state)
        loss = task.loss(module.read(outputs, hyper.dropout, generator), y)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(module.parameters(), hyper.clip_norm or float("inf"))
        losses.append(loss.item())
        norms.append(norm.item())
        if not np.isfinite(losses[-1] + norms[-1]):
            break
        optimiser.step()
    return np.array(losses), np.array(norms)


@torch.no_grad()
def _evaluate(module: Module, trial: Trial, data: TaskData, split: str) -> tuple[float, float]:
    """Loss and metric of a whole split; a policy that sees targets sees the true ones (teacher forcing)."""
    task, policy = tasks.get(trial.task), POLICIES[trial.state]
    inputs, targets = (torch.from_numpy(a).to(trial.device) for a in data.split(split))
    x = task.encode(inputs, trial.input_size)
    outputs = module.read(policy.evaluate(module.run, append(x, previous(targets)) if policy.sees_targets else x, None)[0])
    return task.loss(outputs, targets).item(), task.metric(outputs, targets).item()


def _pick(head: str, targets: Tensor, chosen: Tensor) -> Tensor:
    """The targets of some sequences: (N,) with one answer per sequence, (T, N, ...) with one per step."""
    return targets[:, chosen] if heads.get(head).every_step else targets[chosen]
