"""One way to print numbers, and one table for HTML, Markdown and the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from .cards import Estimate

MINUS = "\N{MINUS SIGN}"


def number(value: float | None, digits: int = 2) -> str:
    """A number with a true minus sign and no minus before zero; "none" if it is None or NaN."""
    if value is None or value != value:
        return "none"
    text = f"{value:.{digits}f}"
    return (text.lstrip("-") if float(text) == 0 else text).replace("-", MINUS)


def signed(value: float | None, digits: int = 2) -> str:
    """A difference with its sign, and none where it rounds to 0."""
    text = number(value, digits)
    return f"+{text}" if value is not None and value > 0 and float(f"{value:.{digits}f}") != 0 else text


def duration(seconds: float) -> str:
    """Seconds in a unit that suits them."""
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.1f} s"


def with_interval(estimate: Estimate, digits: int = 2, form: Any = number) -> str:
    """A number with its 95 % interval, such as "0.71 (0.65 to 0.77)"; `form` is `number` or `signed`."""
    if estimate.value is None or estimate.low is None:
        return number(estimate.value, digits)
    return f"{form(estimate.value, digits)} ({form(estimate.low, digits)} to {form(estimate.high, digits)})"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it says.
        detail: small print beside it.
        strong: whether it stands out.
        tag: a label beside it.
    """

    text: str
    detail: str = ""
    strong: bool = False
    tag: str = ""


@dataclass(frozen=True)
class Table:
    """A table; its first column names the rows.

    Attributes:
        columns: headings.
        rows: cells, as text or `Cell`; numbers are printed with three digits at the most.
        caption: heading of the whole table.
        text_columns: how many columns from the left hold text rather than numbers.
        total: whether the last row is a sum.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    text_columns: int = 1
    total: bool = False

    def markdown(self) -> str:
        """The table in Markdown."""
        lines = [list(self.columns), ["---"] * len(self.columns)]
        for row in self._cells():
            lines.append([_joined(f"**{c.text}**" if c.strong else c.text, c).replace("|", "&#124;") for c in row])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def text(self) -> str:
        """The table for a terminal."""
        lines = [list(self.columns), *([_joined(c.text, c) for c in row] for row in self._cells())]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.columns))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if place < self.text_columns else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )

    def html(self) -> str:
        """The table as an element of HTML; everything in it is escaped."""
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        heads = "".join(f"<th{self._class(place)}>{escape(name)}</th>" for place, name in enumerate(self.columns))
        body = []
        for index, row in enumerate(self._cells()):
            last = ' class="sum"' if self.total and index == len(self.rows) - 1 else ""
            body.append(f"<tr{last}>{''.join(self._html_cell(place, cell) for place, cell in enumerate(row))}</tr>")
        return (
            f'<div class="scroll"><table>{caption}<thead><tr>{heads}</tr></thead><tbody>\n'
            + "\n".join(body)
            + "\n</tbody></table></div>"
        )

    def _cells(self) -> list[list[Cell]]:
        return [[_cell(value) for value in row] for row in self.rows]

    def _class(self, place: int) -> str:
        return ' class="text"' if place < self.text_columns else ""

    def _html_cell(self, place: int, cell: Cell) -> str:
        tag = f' <span class="tag">{escape(cell.tag)}</span>' if cell.tag else ""
        detail = f"<small>{escape(cell.detail)}</small>" if cell.detail else ""
        content = f"{escape(cell.text)}{tag}{detail}"
        if place == 0:
            return f'<th scope="row">{content}</th>'
        kind = self._class(place) or (' class="best"' if cell.strong else "")
        return f"<td{kind}>{content}</td>"


def _cell(value: Any) -> Cell:
    if isinstance(value, Cell):
        return value
    if isinstance(value, float):
        return Cell(number(value, 3))
    return Cell("" if value is None else str(value))


def _joined(text: str, cell: Cell) -> str:
    return " ".join(filter(None, [text, f"[{cell.tag}]" if cell.tag else "", f"({cell.detail})" if cell.detail else ""]))
