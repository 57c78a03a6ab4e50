"""A cell and a head as one trainable module: the fused kernel where torch has one, the step loop elsewhere."""

from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Generator, Tensor, nn

from .. import cells, heads
from ..cells import Cell, Params
from ..core.files import Arrays
from ..core.records import Trial
from ..heads import Head
from .policies import POLICIES


@dataclass(frozen=True)
class Network:
    """The two parts of a trial's network."""

    cell: Cell
    head: Head
    initialisation: str = "uniform"

    @classmethod
    def of(cls, trial: Trial) -> Self:
        """The network that a trial describes."""
        hyper, seen = trial.hyper_parameters, trial.output_size if POLICIES[trial.state].sees_targets else 0
        cell = cells.get(trial.cell)(trial.input_size + seen, hyper.hidden_size, hyper.init_scale, **trial.options)  # type: ignore[arg-type]
        return cls(cell, heads.get(hyper.head)(cell.output_size, trial.output_size, trial.steps), hyper.initialisation)

    def init(self, generator: Generator) -> "Module":
        """A module with fresh parameters."""
        cell, head = self.cell.init(generator), self.head.init(generator)
        return Module(self, orthogonal(cell, generator) if self.initialisation == "orthogonal" else cell, head)


def orthogonal(params: Params, generator: Generator) -> Params:
    """The parameters of a cell with each H x H block of `weight_hh` (k H, H) replaced by a random orthogonal matrix.

    A cell without a trained `weight_hh` of that shape keeps its parameters.
    """
    recurrent = params.get("weight_hh")
    if recurrent is None or recurrent.dim() != 2 or recurrent.shape[0] % recurrent.shape[1]:
        return params
    blocks = [nn.init.orthogonal_(torch.empty_like(b), generator=generator) for b in recurrent.split(recurrent.shape[1])]
    return {**params, "weight_hh": torch.cat(blocks)}


class Module(nn.Module):
    """(T, B, I) -> the head's answer."""

    def __init__(self, network: Network, cell: dict[str, Tensor], head: dict[str, Tensor]) -> None:
        super().__init__()
        self.network = network
        self.cell = recurrence(network.cell, cell)
        self.head = nn.ParameterDict({n: nn.Parameter(p.clone()) for n, p in head.items()})

    def forward(self, inputs: Tensor, dropout: float = 0.0, generator: Generator | None = None) -> Tensor:
        """The answer to inputs (T, B, I) from the zero state; of the outputs a share `dropout`, drawn anew, is not read."""
        return self.read(self.cell(inputs)[0], dropout, generator)

    def run(self, inputs: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The cell's outputs (T, B, H) to inputs (T, B, I), and its last state (B, S), from a state (B, S) or from zero."""
        if isinstance(self.cell, StepLoop):
            outputs, last = self.cell(inputs, state)
            return outputs, last
        parts = () if state is None else tuple(p.contiguous()[None] for p in state.chunk(self.network.cell.state_parts, -1))
        outputs, last = self.cell(inputs, parts if len(parts) > 1 else parts[0] if parts else None)
        return outputs, (torch.cat(last, -1) if isinstance(last, tuple) else last)[0]

    def read(self, outputs: Tensor, dropout: float = 0.0, generator: Generator | None = None) -> Tensor:
        """The head's answer to the cell's outputs (T, B, H)."""
        if dropout:
            kept = torch.rand(outputs.shape, generator=generator) >= dropout
            outputs = outputs * kept.to(outputs) / (1 - dropout)
        return self.network.head.read(dict(self.head), outputs)

    def weights(self) -> Arrays:
        """A copy of all parameters, fixed ones too, under `cell.<name>` and `head.<name>`."""
        return {n.removesuffix("_l0"): p.detach().cpu().numpy().copy() for n, p in self.state_dict().items()}

    def load(self, weights: Arrays) -> None:
        """Take parameters as `weights` returns them."""
        own = {n.removesuffix("_l0"): p for n, p in self.state_dict().items()}
        for name, values in weights.items():
            own[name].copy_(torch.from_numpy(values))

    def groups(self, learning_rate: float) -> list[dict[str, object]]:
        """The trained parameters as an optimiser takes them, those of one learning rate together."""
        rates = {f"cell.{n}": rate for n, rate in self.network.cell.rates.items()}
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            groups.setdefault(rates.get(name, 1.0), []).append(parameter)
        return [{"params": members, "lr": rate * learning_rate} for rate, members in groups.items()]


class StepLoop(nn.Module):
    """A cell stepped through the sequence."""

    def __init__(self, cell: Cell, params: dict[str, Tensor]) -> None:
        super().__init__()
        self.step_of = cell
        for name, value in params.items():
            if name in cell.fixed:
                self.register_buffer(name, value.clone())
            else:
                self.register_parameter(name, nn.Parameter(value.clone()))

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Outputs (T, B, H) and the last state (B, S), from a state (B, S) or from zero."""
        params: dict[str, Tensor] = self.step_of.weights({**dict(self.named_parameters()), **dict(self.named_buffers())})
        if state is None:
            state = inputs.new_zeros(inputs.shape[1], self.step_of.state_size)
        outputs = []
        for x in inputs.unbind():
            state = self.step_of.step(params, state, x)
            outputs.append(self.step_of.output(state))
        return torch.stack(outputs), state


def recurrence(cell: Cell, params: dict[str, Tensor]) -> nn.Module:
    """Inputs (T, B, I) -> outputs (T, B, H) and last state: torch's fused module for the cell, or the step loop."""
    if cell.torch_module is None:
        return StepLoop(cell, params)
    options = {f.name: getattr(cell, f.name) for f in fields(cell)[3:]}  # which torch calls by the same names
    twin = cell.torch_module(cell.input_size, cell.hidden_size, **options)
    twin.load_state_dict({f"{n}_l0": p for n, p in params.items()})
    return twin
