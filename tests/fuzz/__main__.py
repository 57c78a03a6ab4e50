"""`python -m tests.fuzz [N] [SEED]` counts the outcomes of N models; `python -m tests.fuzz FAMILY:SEED ...` shows single ones."""

import sys

import torch

from .families import cases_of
from .runner import outcomes_of, table


def main(words):
    torch.set_num_threads(1)
    named = [w.rsplit(":", 1) for w in words if ":" in w]
    numbers = [int(w) for w in words if ":" not in w]
    count, seed = (*numbers, *(600, 0)[len(numbers) :])
    outcomes = outcomes_of([(f, int(s)) for f, s in named] or cases_of(count, seed))
    lines = [*table(outcomes), "", *(str(o) for o in outcomes if named or o.faulty)]
    lines.append(f"{sum(o.seconds for o in outcomes):.0f} s in calls, the longest {max(o.seconds for o in outcomes):.1f} s")
    sys.stdout.write("\n".join(lines) + "\n")


main(sys.argv[1:])
