"""What the command line prints: tables, JSON and CSV."""

import csv
import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.files import replacing

if TYPE_CHECKING:
    from ..predictor import Verdict
    from ..spectrum import Spectrum

SHOWN = 20  # exponents in a table


def spectrum_table(found: "Spectrum", whole: bool) -> Iterator[str]:
    """Lines of a table with a row for each exponent."""
    count, size = len(found.exponents), found.state_size
    many = f"{count} of {size} exponents" if count < size else f"{count} exponents"
    sequences, gone = len(found.per_sequence), int(found.diverged.sum())
    diverged = f"; {gone} of them diverged and do not count" if gone else ""
    yield f"{many} in nats per step, from {found.steps} steps of {sequences} sequence{'s' * (sequences > 1)}{diverged}"
    yield f"{'rank':>5}{'exponent':>10}  {'95 % interval':<22}{'standard error':>14}{'rounding':>10}{'alignment':>11}"
    columns = [found.exponents, *found.confidence_interval(), found.standard_error, found.rounding_error, found.alignment_error]
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    for rank, (exponent, low, high, *errors) in enumerate(rows if whole else rows[:SHOWN], start=1):
        interval = "not known" if math.isnan(low) else f"{low:.4f} to {high:.4f}"
        yield f"{rank:>5}{exponent:>10.4f}  {interval:<22}{errors[0]:>14.1e}{errors[1]:>10.1e}{errors[2]:>11.1e}"
    if not whole and count > SHOWN:
        yield f"... and {count - SHOWN} more, which --all shows"


def verdict_fields(verdict: "Verdict") -> dict[str, Any]:
    """A verdict by name, with the evidence of the set of inputs that answered, and without that of single tasks."""
    evidence = verdict.evidence
    return {
        "probability": verdict.probability,
        "expected_score": verdict.expected_score,
        "moment": verdict.moment,
        "based_on": verdict.based_on,
        "evidence": evidence and {"split": evidence.split, "trials": evidence.trials, **evidence.measures},
        "reasons": verdict.reasons,
    }


def json_text(content: Any) -> str:
    """JSON of records, mappings, sequences, tensors and arrays; null for a number that is not finite."""
    return json.dumps(_plain(content), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    """A value as JSON has it; None for a number that is not finite."""
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if hasattr(value, "tolist"):  # a tensor, or an array or number of NumPy
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def write_csv(path: Path, columns: Mapping[str, list[Any]]) -> None:
    """Write lists of equal length as the columns of a table, several values in one field by semicolons.

    Raises:
        ArtefactError: the file cannot be written.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow(["; ".join(map(str, value)) if isinstance(value, list | tuple) else value for value in row])
