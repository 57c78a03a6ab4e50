"""What a model and its optimiser say of the hyper-parameters."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..core.errors import ModuleError
from ..core.hyper_parameters import DECLARED
from ..core.numbers import number
from ..predictor.checks import OWN, known
from ..predictor.network import measured


def hyper_parameters(
    model: nn.Module, recurrent: nn.Module, optimiser: torch.optim.Optimizer, given: Mapping[str, Any]
) -> dict[str, Any]:
    """The hyper-parameters and sizes of a training that is about to begin; those given count, and the others are read.

    Raises:
        ModuleError: a name is unknown, or the recurrent part is trained at more than one learning rate.
    """
    names = (*DECLARED, "cell", "parameter_count")
    for name in given:
        known("argument", name, names)
    group = group_of(recurrent, optimiser)
    if float(group["lr"]) == 0 and peak_of(group) > 0:
        raise ModuleError(_scheduled(group))
    found = measured(recurrent) | {
        "learning_rate": number("the learning rate", group["lr"]),
        "weight_decay": number("the weight decay", group.get("weight_decay", 0.0)),
        "parameter_count": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "dropout": max((m.p for m in model.modules() if isinstance(m, nn.Dropout)), default=0.0),
        "optimiser": kind_of(optimiser, group),
    }
    return found | {name: value for name, value in given.items() if value is not None}


def group_of(recurrent: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """The parameter group of the recurrent part; the first one if the part has no trained parameters."""
    own = {id(p) for p in recurrent.parameters()}
    groups = [group for group in optimiser.param_groups if any(id(p) in own for p in group["params"])]
    groups = groups or optimiser.param_groups[:1]
    if not all("lr" in group for group in groups):
        raise ModuleError(f"{type(optimiser).__name__} has no learning rate, lr, in its parameter groups, as torch.optim has it")
    if len({(float(group["lr"]), float(group.get("weight_decay", 0.0))) for group in groups}) > 1:
        raise ModuleError(
            "the optimiser trains the recurrent part with several learning rates or weight decays; put its parameters into "
            "groups that share both"
        )
    return groups[0]


def kind_of(optimiser: torch.optim.Optimizer, group: Mapping[str, Any]) -> str:
    """The predictor's name for an optimiser: "adamw" for Adam and AdamW, "sgd" for SGD with momentum, or else "another"."""
    if isinstance(optimiser, torch.optim.Adam | torch.optim.AdamW):
        return "adamw"
    return "sgd" if isinstance(optimiser, torch.optim.SGD) and group["momentum"] > 0 else OWN


def check_begins(recurrent: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """ModuleError if the optimiser has made a step, as far as its state says, or a schedule has set its learning rate."""
    states = [state for state in optimiser.state.values() if state]
    if any(float(state["step"]) > 0 if "step" in state else True for state in states):
        raise ModuleError(
            "the optimiser has made steps already; call before() before the first one, or hand the state of an earlier watch to "
            "load_state_dict()"
        )
    group = group_of(recurrent, optimiser)
    if not math.isclose(peak_of(group), float(group["lr"]), rel_tol=1e-6):
        raise ModuleError(_scheduled(group))


def peak_of(group: Mapping[str, Any]) -> float:
    """The learning rate before a schedule changed it; that of OneCycleLR at its peak."""
    return float(group.get("max_lr", group.get("initial_lr", group["lr"])))


def _scheduled(group: Mapping[str, Any]) -> str:
    return (
        f"a schedule has set the learning rate to {float(group['lr']):g} from {peak_of(group):g}; call before() before the "
        "schedule is made, while the optimiser has the largest learning rate"
    )
