"""The work of the stages on finished trials, one job per file that is made; and what a study would cost."""
