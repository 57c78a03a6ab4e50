"""Models from files. What can run code that a file contains is refused, unless its reader says that the file is trusted."""

import importlib
import importlib.util
import json
import logging
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..core.errors import ModuleError, first_line
from .data import Array, Sequences

_KINDS = {"lstm": (nn.LSTM, 4), "gru": (nn.GRU, 3), "rnn": (nn.RNN, 1), "rnn-relu": (nn.RNN, 1)}  # and its gates
_INSIDE = ("state_dict", "model_state_dict")  # where a checkpoint keeps the weights
_RUNS_CODE = {
    "script": "a TorchScript file contains a program, which runs when the model is measured",
    "export": "torch.export.load reads parts of such a file with pickle, which can run any code that the file contains",
    "pickle": "it is no state dict, and can only be read with pickle, which can run any code that the file contains",
}
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class ModelFile:
    """A file that holds a model, and how it is to be read.

    Attributes:
        path: a state dict (.safetensors, or what torch.save made of one), a TorchScript file, a file of torch.export, or a
            pickled module.
        kind: of a state dict: lstm, gru, rnn (tanh), rnn-relu, or a class as FILE.py:NAME or PACKAGE.MODULE:NAME.
        arguments: JSON text of the keyword arguments of that class.
        prefix: what precedes the names of its tensors in the file.
        recurrent: name of the part to measure; the whole model without it.
        trust: whether code of the file, or of the class, may run.
    """

    path: Path
    kind: str | None = None
    arguments: str = "{}"
    prefix: str | None = None
    recurrent: str | None = None
    trust: bool = False

    def load(self) -> "Loaded":
        """The model, in evaluation mode; ModuleError if the file cannot be read, or is not what it is taken for."""
        if self.kind in _KINDS:
            weights = _weights(self.path, self.trust)
            count = sum(t.numel() for t in weights.values() if t.is_floating_point())
            return Loaded(_part(_torch_module(self, weights), self.recurrent).eval(), count)
        whole = _own_module(self, _weights(self.path, self.trust)) if self.kind else _whole(self.path, self.trust)
        if not isinstance(whole, torch.fx.GraphModule):  # has no modes
            whole.eval()
        part = _part(whole, self.recurrent)
        _check_sizes(self.path, part)
        return Loaded(part, sum(p.numel() for p in whole.parameters() if p.requires_grad))


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to be measured.

    Attributes:
        model: the part to measure.
        parameter_count: number of trained parameters of the whole model; of a state dict, of numbers in the file.
    """

    model: nn.Module
    parameter_count: int


def load_code(source: str) -> ModuleType:
    """The Python module FILE.py or PACKAGE.MODULE, executed; ModuleError if that fails."""
    _importable(Path(source).resolve().parent if source.endswith(".py") else Path.cwd())
    try:
        if not source.endswith(".py"):
            return importlib.import_module(source)
        spec = importlib.util.spec_from_file_location(f"_{Path(source).stem}", source)
        if spec is None or spec.loader is None:
            raise ImportError("no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # while it is executed: dataclasses look for it there
        try:
            spec.loader.exec_module(module)
        finally:
            del sys.modules[spec.name]  # so that what it defines is sent to other processes as it is, and not by name
    except (Exception, SystemExit) as error:  # whatever the code raises
        raise ModuleError(f"{source} cannot be executed: {type(error).__name__}: {first_line(error)}") from error
    return module


def defined(module: ModuleType, source: Path, *names: str) -> list[Any]:
    """What a module defines under these names; ModuleError if one is missing or no function."""
    for name in names:
        if not callable(getattr(module, name, None)):
            raise ModuleError(f"{source} should define {name}, a function")
    return [getattr(module, name) for name in names]


def as_taken(model: nn.Module, sequences: Sequences, *, batch_first: bool) -> Tensor:
    """Inputs in the order of axes in which the model takes them, as its recurrent parts say; ModuleError if that is not clear.

    Args:
        model: takes (T, B, I), or (B, T, I) if an attribute `batch_first` of it or of one of its parts is true.
        sequences: from a file.
        batch_first: whether the file was said to hold (B, T, I).
    """
    said = [part.batch_first for part in model.modules() if isinstance(getattr(part, "batch_first", None), bool)]
    if batch_first and not said and not sequences.clear:
        raise ModuleError(
            "the model has no attribute batch_first, so that the order of its inputs is not known: hand over DATA as the model "
            "takes it, without --batch-first"
        )
    if any(said) and not batch_first and not sequences.clear:
        raise ModuleError(
            "the model takes its inputs as (B, T, I): add --batch-first if DATA has this form, or give time the second axis"
        )
    values = torch.from_numpy(np.ascontiguousarray(sequences.values))
    return values.transpose(0, 1) if any(said) else values


def zeros(sizes: tuple[int, ...], sequences: int) -> Any:
    """An initial state: None, zeros (B, S), or several of them."""
    parts = tuple(torch.zeros(sequences, size) for size in sizes)
    return parts if len(parts) > 1 else parts[0] if parts else None


def training_tensor(values: Array) -> Tensor:
    """Real numbers as float32, the precision in which networks are trained, and whole numbers as int64."""
    return torch.from_numpy(np.ascontiguousarray(values, np.float32 if values.dtype.kind == "f" else np.int64))


def _importable(folder: Path) -> None:
    """Let code import what lies beside it, as `python FILE.py` and `python -m` do."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _part(whole: nn.Module, name: str | None) -> nn.Module:
    try:
        return whole if name is None else whole.get_submodule(name)
    except AttributeError:
        inside = ", ".join(n for n, _ in whole.named_modules() if n) or "none"
        raise ModuleError(f"the model has no part {name!r}; its parts are {inside}") from None


def _check_sizes(path: Path, part: nn.Module) -> None:
    """ModuleError if a part is one of torch's recurrent modules that was traced, and so has lost what it is."""
    kind = getattr(part, "original_name", "").lower()
    if isinstance(part, torch.jit.ScriptModule) and kind in _KINDS and not hasattr(part, "num_layers"):
        raise ModuleError(
            f"{path} holds {kind.upper()} as it was traced, for one fixed size of its inputs: its weights alone can be measured, "
            f"with --class {kind}"
        )


def _need_trust(path: Path | str, reason: str) -> ModuleError:
    return ModuleError(f"{path} is not read: {reason}; add --trust if you trust who made it")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn the errors of reading a file into a ModuleError, without what torch logs on the way."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    except ModuleError:
        raise
    except OSError as error:
        raise ModuleError(f"cannot read {path}: {error.strerror or first_line(error)}") from None
    except Exception as error:  # torch raises errors of many kinds for a damaged file
        reason = f"{type(error).__name__}: {first_line(error).rstrip('.')}"
        raise ModuleError(f"{path} is damaged, or no file of a model ({reason[:200]})") from error
    finally:
        logging.disable(before)


def _format(path: Path) -> str:
    """What kind of file it is, by its content: script, export, safetensors, or torch, which may be a state dict or more."""
    with _readable(path), path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            return "safetensors" if path.suffix == ".safetensors" else "torch"
        names = zipfile.ZipFile(file).namelist()
    if any(n.endswith("/archive_format") or n == "serialized_exported_program.json" for n in names):
        return "export"
    return "script" if any("/code/" in n for n in names) else "torch"


def _content(path: Path, trust: bool) -> Any:
    """What a file holds: weights, a checkpoint with them, or a module."""
    kind = _format(path)
    if kind in ("script", "export") and not trust:
        raise _need_trust(path, _RUNS_CODE[kind])
    with _readable(path):
        if kind == "safetensors":
            return load_file(path)
        if kind == "script":
            return torch.jit.load(str(path), map_location="cpu")
        if kind == "export":
            return torch.export.load(path)
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError:
            if not trust:
                raise _need_trust(path, _RUNS_CODE["pickle"]) from None
        _importable(Path.cwd())
        return torch.load(path, map_location="cpu", weights_only=False)


def _whole(path: Path, trust: bool) -> nn.Module:
    """The module that a file holds with its code."""
    content = _content(path, trust)
    if isinstance(content, torch.export.ExportedProgram):
        if len(content.graph_signature.user_inputs) < 2:
            raise ModuleError(
                f"{path} holds a program that takes no state, for one fixed length of its input: export one step, which takes an "
                "input and a state, or measure the weights alone, with --class"
            )
        return content.module()
    if isinstance(content, nn.Module):
        return content
    _tensors(path, content)  # says what is wrong if it holds no weights either
    raise ModuleError(f"{path} holds weights without a model: say what they are of by --class, such as --class lstm")


def _weights(path: Path, trust: bool) -> Weights:
    content = _content(path, trust)
    if isinstance(content, torch.export.ExportedProgram):
        return dict(content.state_dict)
    return dict(content.state_dict()) if isinstance(content, nn.Module) else _tensors(path, content)


def _tensors(path: Path, content: Any) -> Weights:
    """The state dict that was saved, alone or in a checkpoint."""
    for name in _INSIDE:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not content or not all(isinstance(t, Tensor) for t in content.values()):
        raise ModuleError(f"{path} holds a {type(content).__name__}; it should be a model, or a state dict: names and tensors")
    return dict(content)


def _torch_module(file: ModelFile, weights: Weights) -> nn.Module:
    """One of torch's recurrent modules, its sizes from the shapes of its weights."""
    kind, gates = _KINDS[str(file.kind)]
    prefix = _prefix(file, weights) if file.prefix is None else file.prefix
    own = {n.removeprefix(prefix): t for n, t in weights.items() if n.startswith(prefix) and "." not in n.removeprefix(prefix)}
    if any(name.endswith("_reverse") for name in own):
        raise ModuleError("a bidirectional network is not a dynamical system: its state depends on the future of the input")
    if any(n not in own or own[n].dim() != 2 for n in ("weight_ih_l0", "weight_hh_l0")):
        raise ModuleError(f"{file.path} holds no matrices {prefix}weight_ih_l0 and {prefix}weight_hh_l0; see --prefix")
    for name, tensor in own.items():
        if not tensor.is_floating_point():
            raise ModuleError(f"{prefix}{name} holds numbers of {tensor.dtype}; weights should be floating point numbers")
    first, hidden = own["weight_ih_l0"], own["weight_hh_l0"].shape[1]
    projected = "weight_hr_l0" in own and kind is nn.LSTM
    units = own["weight_hr_l0"].shape[1] if projected else hidden
    if len(first) != gates * units or not units:
        found = f"{len(first)} rows for {units} units"
        raise ModuleError(f"{prefix}weight_ih_l0 has {found}; --class {file.kind} means {gates} per unit")
    options: dict[str, Any] = {"proj_size": hidden} if projected else {}
    options |= {"nonlinearity": "relu"} if file.kind == "rnn-relu" else {}
    layers = sum(name.startswith("weight_hh_l") for name in own)
    with torch.device("meta"):
        module = kind(first.shape[1], units, layers, bias="bias_ih_l0" in own, **options)
    return _filled(file, module, own)


def _prefix(file: ModelFile, weights: Weights) -> str:
    """What precedes the names of the only recurrent module's weights."""
    ends = [name.removesuffix("weight_ih_l0") for name in weights if name.endswith("weight_ih_l0")]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise ModuleError(f"{file.path} holds {len(ends)} recurrent modules: say which by --prefix {'|'.join(ends)}")
    shown = ", ".join([*list(weights)[:5], *(["..."] if len(weights) > 5 else [])])
    raise ModuleError(f"{file.path} holds no weight_ih_l0, as of one of torch's recurrent modules, but {shown}")


def _own_module(file: ModelFile, weights: Weights) -> nn.Module:
    """A module of a class of the user's own with the weights of the file."""
    source, _, name = str(file.kind).rpartition(":")
    if not source or not name.isidentifier():
        raise ModuleError(f"--class is {file.kind!r}; it should be {', '.join(_KINDS)}, FILE.py:NAME or PACKAGE.MODULE:NAME")
    if not file.trust:
        raise _need_trust(source, "importing a module executes it")
    make = getattr(load_code(source), name, None)
    if make is None:
        raise ModuleError(f"{source} defines no {name}")
    try:
        arguments = json.loads(file.arguments)
        module = make(**arguments)
    except Exception as error:  # whatever the class raises
        raise ModuleError(f"{name} cannot be made with --arguments {file.arguments}: {first_line(error)}") from error
    if not isinstance(module, nn.Module):
        raise ModuleError(f"{name} makes a {type(module).__name__}; it should make a torch.nn.Module")
    prefix = file.prefix or ""
    return _filled(file, module, {n.removeprefix(prefix): t for n, t in weights.items() if n.startswith(prefix)})


def _filled(file: ModelFile, module: nn.Module, weights: Weights) -> nn.Module:
    """The module with these weights, in their own precision; ModuleError if they are not its weights."""
    try:
        module.load_state_dict(weights, assign=True)
    except Exception as error:  # a RuntimeError of many lines, or whatever a class of one's own raises
        reason = " ".join(str(error).split()).partition(": ")[2] or first_line(error)
        raise ModuleError(f"the weights in {file.path} are not those of {type(module).__name__}: {reason[:300]}") from error
    return module
