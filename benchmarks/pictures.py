"""Draws what a user sees: `python -m benchmarks.pictures` writes docs/terminal.png and docs/exponents.png.

The first is the output of `rnn-stability summary` for a saved LSTM, on a terminal of 100 columns; the second is `Spectrum.plot`
for the same network.
"""

import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from safetensors.torch import save_file

from pipeline import lyapunov_spectrum

DOCS, COLUMNS = Path(__file__).parent.parent / "docs", 100
COMMAND = "rnn-stability summary lstm.safetensors inputs.npy --class lstm"
INK, PAPER, PROMPT = "#e6e6e6", "#1e1e1e", "#7fbf7f"


def main() -> None:
    """Write the pictures."""
    torch.manual_seed(0)
    lstm, inputs = torch.nn.LSTM(4, 32), torch.randn(150, 8, 4)
    with torch.no_grad():  # a forget gate that stays open longer than torch's own, as is often done
        lstm.bias_hh_l0[32:64] = 3.0
    with tempfile.TemporaryDirectory() as folder:
        save_file(lstm.state_dict(), Path(folder) / "lstm.safetensors")
        np.save(Path(folder) / "inputs.npy", inputs.numpy())
        words = [sys.executable, "-m", "pipeline.command.main", *COMMAND.split()[1:]]
        path = str(DOCS.parent)
        answer = subprocess.run(
            words, cwd=folder, env={"PYTHONPATH": path, "PATH": ""}, capture_output=True, text=True, check=True
        )
    terminal(answer.stdout).savefig(DOCS / "terminal.png", dpi=110, facecolor=PAPER)
    lyapunov_spectrum(lstm, inputs).plot(path=DOCS / "exponents.png")


def terminal(output: str) -> Figure:
    """Text as a terminal shows it."""
    lines = [line for text in output.splitlines() for line in textwrap.wrap(text, COLUMNS, break_long_words=False)]
    figure = Figure(figsize=(0.082 * COLUMNS + 0.4, 0.19 * (len(lines) + 2)))
    for row, line in enumerate([f"$ {COMMAND}", *lines]):
        height = 1 - (row + 1) / (len(lines) + 2)
        figure.text(0.02, height, line, family="monospace", size=9.8, color=PROMPT if not row else INK, va="center")
    return figure


if __name__ == "__main__":
    main()
