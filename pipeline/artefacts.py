"""What passes between stages: one dataclass a file, checked on reading, written atomically.

Arrays are NumPy and lie in safetensors files, whose header carries the rest as JSON; no pickle anywhere.
Nothing here needs torch, so the stages after `spectrum` start without it.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .errors import ArtefactError

if TYPE_CHECKING:  # a quarter of a second to import, and most stages have no table
    import pandas as pd

Arrays = dict[str, NDArray[Any]]
CHECKPOINTS = ("initial", "early", "final")
CONSTANT_INPUTS = ("zero", "mean")  # x = 0, and the mean of what drives the network
CURVES = ("train_loss", "validation_loss", "validation_metric", "gradient_norm", "gradient_norm_max")


@dataclass(frozen=True)
class TaskData:
    """One task's sequences, as `prepare` wrote them.

    Attributes:
        arrays: `{train,validation,test}_{inputs,targets}`; inputs (T, N, I) float32 or (T, N) token numbers,
            targets (N,) classes, (T, N) tokens or (T, N, O) values.
        about: task, input_size, output_size, chance (loss on the validation split of the best constant answer),
            source, licence, hash (sha256 of the arrays), description, sizes.
    """

    arrays: Arrays
    about: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write to `path`."""
        _save(path, self.arrays, {"about": self.about})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `path`; ArtefactError if it is missing or corrupt."""
        arrays, header = _load(path, "about")
        return cls(arrays, header["about"])

    def split(self, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Inputs and targets of "train", "validation" or "test"."""
        return self.arrays[f"{name}_inputs"], self.arrays[f"{name}_targets"]

    def summary(self) -> str:
        """What is in it, for people."""
        about = self.about
        sizes = ", ".join(
            f"{count} to {use}" for use, count in zip(("train", "validate", "test"), about["sequences"].values(), strict=True)
        )
        return (
            f"{about['task']} ({about['size']}): sequences of {about['steps']} steps, {sizes}; {about['input_size']} inputs, "
            f"{about['output_size']} outputs; loss by chance {about['chance']:.4f}\n"
            f"  source: {about['source']}\n  licence: {about['licence']}\n  sha256: {about['hash']}"
        )


@dataclass(frozen=True)
class TrialResult:
    """One finished trial.

    Attributes:
        trial: id, task, cell, index, seed, hyper-parameters and sizes, as `training.Trial.describe` gives them.
        outcome: diverged, seconds (wall time), test_loss, test_metric, parameter_count; None where not finite.
        curves: name in CURVES -> (epochs + 1,) float64, entry 0 before training; NaN where not measured.
        weights: checkpoint in CHECKPOINTS -> parameter name -> float32 array.
    """

    trial: dict[str, Any]
    outcome: dict[str, Any]
    curves: Arrays
    weights: dict[str, Arrays] = field(repr=False)

    def save(self, path: Path) -> None:
        """Write to `path`."""
        arrays = {f"curves/{n}": v for n, v in self.curves.items()}
        arrays |= {f"{c}/{n}": v for c, weights in self.weights.items() for n, v in weights.items()}
        _save(path, arrays, {"trial": self.trial, "outcome": self.outcome})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `path`; ArtefactError if it is missing or corrupt."""
        arrays, header = _load(path, "trial", "outcome")
        groups: dict[str, Arrays] = {}
        for name, value in arrays.items():
            group, _, rest = name.partition("/")
            groups.setdefault(group, {})[rest] = value
        curves = groups.pop("curves", {})
        if set(curves) != set(CURVES) or set(groups) != set(CHECKPOINTS):
            raise ArtefactError(f"{path} lacks curves or checkpoints; delete it and run `dvc repro` again")
        return cls(header["trial"], header["outcome"], curves, groups)

    def epoch_of(self, checkpoint: str) -> int:
        """Epochs trained at a checkpoint."""
        return {"initial": 0, "early": self.trial["early_epoch"], "final": self.trial["epochs"]}[checkpoint]


@dataclass(frozen=True)
class TrialSpectra:
    """The spectra of one trial at its checkpoints.

    Attributes:
        trial: as in TrialResult.
        settings: transient, steps, sequences; seconds (wall time).
        exponents: (3, B, S) float64, nats per step, each sequence's own, sorted by their mean over sequences; -inf
            for a direction that is lost, NaN for a sequence whose state is not finite.
        standard_error: (3, S) of the mean over sequences.
        rounding_error: (3, S) estimate of what rounding added to it.
        history: (3, T) running estimate of the largest exponent.
    """

    trial: dict[str, Any]
    settings: dict[str, Any]
    exponents: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    rounding_error: NDArray[np.float64]
    history: NDArray[np.float64]

    def save(self, path: Path) -> None:
        """Write to `path`."""
        arrays = {n: getattr(self, n) for n in ("exponents", "standard_error", "rounding_error", "history")}
        _save(path, arrays, {"trial": self.trial, "settings": self.settings})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `path`; ArtefactError if it is missing or corrupt."""
        arrays, header = _load(path, "trial", "settings")
        try:
            return cls(header["trial"], header["settings"], **arrays)
        except TypeError:
            raise ArtefactError(f"{path} is no file of spectra; delete it and run `dvc repro` again") from None

    @property
    def diverged(self) -> bool:
        """Whether no sequence stayed finite at some checkpoint."""
        return any(np.isnan(rows).any(axis=1).all() for rows in self.exponents)

    def mean(self, checkpoint: str, *, floor: float = -np.inf) -> NDArray[np.float64]:
        """Exponents (S,) at a checkpoint: mean over the sequences that stayed finite, NaN if none did.

        What a sequence has below the floor counts as the floor.
        """
        rows = np.maximum(self.exponents[CHECKPOINTS.index(checkpoint)], floor)
        finite = rows[~np.isnan(rows).any(axis=1)]
        return finite.mean(axis=0) if len(finite) else np.full(rows.shape[1], np.nan)


@dataclass(frozen=True)
class TrialFixedPoints:
    """Where one trial's network stands still at the end of training, under constant inputs.

    Attributes:
        trial: as in TrialResult.
        settings: seeds, tolerance, iterations of the search.
        figures: constant input, a name in CONSTANT_INPUTS -> what metrics/fixed_points-TASK-CELL.json says of it.
        trajectories: (T + 1, B, S) float32, states on validation data.
        points: constant input -> (N, S) float64, where the network keeps its state.
        moduli: constant input -> (N, S) float64, |eigenvalues| of the Jacobian there, the largest first.
    """

    trial: dict[str, Any]
    settings: dict[str, Any]
    figures: dict[str, Any]
    trajectories: NDArray[np.float32]
    points: Arrays
    moduli: Arrays

    def save(self, path: Path) -> None:
        """Write to `path`."""
        arrays = {"trajectories": self.trajectories}
        arrays |= {f"points/{n}": v for n, v in self.points.items()} | {f"moduli/{n}": v for n, v in self.moduli.items()}
        _save(path, arrays, {"trial": self.trial, "settings": self.settings, "figures": self.figures})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `path`; ArtefactError if it is missing or corrupt."""
        arrays, header = _load(path, "trial", "settings", "figures")
        try:
            points, moduli = ({n: arrays[f"{kind}/{n}"] for n in CONSTANT_INPUTS} for kind in ("points", "moduli"))
            return cls(header["trial"], header["settings"], header["figures"], arrays["trajectories"], points, moduli)
        except KeyError:
            raise ArtefactError(f"{path} is no file of fixed points; delete it and run `dvc repro` again") from None

    def unstable(self, held: str) -> NDArray[np.int64]:
        """(N,) number of growing directions of each point under a constant input."""
        return (self.moduli[held] > 1).sum(axis=1)


def trials_in(folder: Path) -> list[TrialResult]:
    """All trials of a folder by their index; ArtefactError if there are none."""
    return sorted((TrialResult.load(p) for p in _files(folder)), key=lambda r: r.trial["index"])


def spectra_in(folder: Path) -> list[TrialSpectra]:
    """All spectra of a folder by their trial's index; ArtefactError if there are none."""
    return sorted((TrialSpectra.load(p) for p in _files(folder)), key=lambda r: r.trial["index"])


def keep_only(folder: Path, wanted: Iterable[Path]) -> None:
    """Remove the files of a folder that are not wanted: results of other settings, and half-written ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in set(folder.iterdir()) - set(wanted):
        if not path.is_dir():
            path.unlink(missing_ok=True)


def is_whole(path: Path) -> bool:
    """Whether a safetensors file is there and can be read to its end."""
    try:
        _load(path)
    except ArtefactError:
        return False
    return True


def save_json(path: Path, content: Any) -> None:
    """Write JSON, atomically; NaN and infinities are refused, since JSON has none."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def load_json(path: Path) -> Any:
    """Read JSON; ArtefactError if the file is missing or corrupt."""
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise ArtefactError(_missing(path, error)) from None
    except ValueError:
        raise ArtefactError(f"{path} is corrupt; delete it and run `dvc repro` again") from None


def save_text(path: Path, text: str) -> None:
    """Write text, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text)


def save_table(path: Path, table: "pd.DataFrame") -> None:
    """Write a table as the file's ending says, .parquet or .csv."""
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary, index=False)


def load_table(path: Path) -> "pd.DataFrame":
    """Read a Parquet table; ArtefactError if it is missing or corrupt."""
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except OSError as error:
        raise ArtefactError(_missing(path, error)) from None
    except ValueError:
        raise ArtefactError(f"{path} is corrupt; delete it and run `dvc repro` again") from None


def digest(*paths: Path) -> str:
    """Hash (12 hex digits) of the contents of files, in the order given."""
    total = hashlib.sha256()
    for path in paths:
        try:
            total.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise ArtefactError(_missing(path, error)) from None
    return total.hexdigest()[:12]


def finite_or_none(value: float) -> float | None:
    """The number, or None where JSON could not hold it."""
    return float(value) if np.isfinite(value) else None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place when the block ends well."""
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise ArtefactError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _save(path: Path, arrays: Arrays, header: dict[str, Any]) -> None:
    text = {name: json.dumps(value, allow_nan=False) for name, value in header.items()}
    with replacing(path) as temporary:
        save_file({n: np.ascontiguousarray(v) for n, v in arrays.items()}, temporary, metadata=text)


def _load(path: Path, *keys: str) -> tuple[Arrays, dict[str, Any]]:
    try:
        with safe_open(path, framework="numpy") as file:
            header = {key: json.loads(file.metadata()[key]) for key in keys}
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
    except OSError as error:
        raise ArtefactError(_missing(path, error)) from None
    except (SafetensorError, ValueError, KeyError, TypeError):
        raise ArtefactError(f"{path} is corrupt; delete it and run `dvc repro` again") from None


def _files(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise ArtefactError(f"{folder} holds no results; run `dvc repro` to make them")
    return found


def _missing(path: Path, error: OSError) -> str:
    return f"cannot read {path}: {error.strerror or error}; run `dvc repro` to make it again"
