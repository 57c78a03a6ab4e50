"""One trial: a network, its hyper-parameters and its seed."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch


@dataclass(frozen=True)
class Trial:
    """Everything that determines what a trial gives; nothing else does.

    Attributes:
        task, cell, head: names in their rooms.
        index: place in the sweep.
        seed: of the trial's own generator.
        init_scale: p of uniform(-p, p) for the cell's parameters.
        learning_rate: of Adam.
        hidden_size: H.
        clip_norm: largest norm of a gradient, 0 for no clipping.
        dropout: share of the outputs that the head does not see while training.
        state: what becomes of the state between sequences, a name of `training.policies`.
        batch_size: sequences a step.
        epochs, early_epoch: length of the training, and of its part up to the early checkpoint.
        input_size, output_size, steps: I, O, and T of a training sequence.
        chance: loss of the best constant answer, for the record.
        device: "cpu" or "cuda".
        data_hash: of the task's sequences.
        code_hash: of the library's files that take part.
    """

    task: str
    cell: str
    head: str
    index: int
    seed: int
    init_scale: float
    learning_rate: float
    hidden_size: int
    clip_norm: float
    dropout: float
    state: str
    batch_size: int
    epochs: int
    early_epoch: int
    input_size: int
    output_size: int
    steps: int
    chance: float
    device: str
    data_hash: str
    code_hash: str

    @property
    def id(self) -> str:
        """16 hex digits that differ between trials that could give different results."""
        content = json.dumps([asdict(self), torch.__version__.partition("+")[0]], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def path(self, folder: Path) -> Path:
        """Where its results lie."""
        return folder / f"{self.id}.safetensors"

    def describe(self) -> dict[str, Any]:
        """All fields and the id, for JSON."""
        return asdict(self) | {"id": self.id}

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Self:
        """The trial that `describe` described."""
        return cls(**{k: v for k, v in description.items() if k != "id"})


def code_hash(*paths: str) -> str:
    """Hash (12 hex digits) of the library's files, given relative to it: a folder means the Python files in it."""
    root = Path(__file__).parent.parent
    total = hashlib.sha256()
    for path in paths:
        place = root / path
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            total.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return total.hexdigest()[:12]
