"""What a replication gives back."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of a system's table.

    Attributes:
        what: was measured, with sizes, e.g. "copying T = 100, LSTM of 64 units: steps until the loss is below .035".
        original: what the original reports of it, "not reported" or "not available".
        found: here, with the number of seeds.
    """

    what: str
    original: str
    found: str


@dataclass(frozen=True)
class Outcome:
    """A system's replication.

    Attributes:
        title: its name and what it is, e.g. "scoRNN: orthogonal recurrent weights".
        source: author, title, year.
        summary: what came out, in a sentence or two, for the table of all systems.
        ran: what was run: data, sizes, seeds, optimiser.
        rows: the figures.
        why: where and why they differ from the original, or from what was expected; paragraphs in Markdown.
        pictures: name of a file in docs/replications/ -> caption; `run` writes them itself, unless it is small.
    """

    title: str
    source: str
    summary: str
    ran: str
    rows: tuple[Row, ...]
    why: str
    pictures: dict[str, str]

    def describe(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> "Outcome":
        """The outcome that `describe` described."""
        return cls(**description | {"rows": tuple(Row(**row) for row in description["rows"])})
