"""The splits of the evidence: what was held out, and how much worse a smaller set of inputs may be there."""

TRIALS, CELLS, TASKS, SCALE = "over trials", "one cell left out", "one task left out", "other settings"
OWN = (5, 10, 20, 40)  # trials of a task left out that are known after all
SPLITS = (TRIALS, CELLS, TASKS, *(f"{TASKS}, {count} own trials" for count in OWN), SCALE)
SLACK = 0.02  # share of the least Brier score, or loss of hypervolume, by which a smaller or cheaper set may be worse
