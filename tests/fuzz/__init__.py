"""Random models with known spectra: what `lyapunov_spectrum` measures rightly, refuses, or gets wrong.

`python -m tests.fuzz [N] [SEED]` counts the outcomes of N models, families in turn; `python -m tests.fuzz FAMILY:SEED ...`
shows single ones. A case is a model, how it is measured, and its truths: maps of one sequence in plain float64 formulas, any of
which is right to measure. Where there is none, only a refusal is right.

    cases.py          what a case and a truth are
    maps.py           maps in two forms: with torch's modules, and in formulas; special_maps.py has the odd ones
    conventions.py    maps as modules and functions, with their state in any structure
    torch_modules.py  torch's own modules and cells, as they are, as subclasses and inside others
    derived.py        weights that are derived at each call
    wrappers.py       hooks, own forwards, wrappers, compilers and scripts
    faults.py         steps that are impure, lose digits, or cut derivatives off
    contracts.py      modules that break the contract of arguments and answers
    families.py       the list of families; from a family and a seed to a case
    surroundings.py   where a call is made, and what it must leave as it was
    oracle.py         dense exponents of a truth, and the judgement of a spectrum by them
    runner.py         calls, outcomes and their table

A new family is a function from a `random.Random` to a case, and a line in `families.FAMILIES`.
"""
