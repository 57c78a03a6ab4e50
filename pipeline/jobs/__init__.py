"""The work of the stages on finished trials, with one job for each file to write; and the cost of a study."""
