"""Sentences computed from the numbers: whatever a run finds, they say that."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..predictor.evaluation import MEASURES, PAIRS, SPLITS
from .figures import number

WHERE = {
    "over trials": "over trials",
    "one cell left out": "on a cell never seen",
    "one task left out": "on a task never seen",
}


def gains(result: Mapping[str, Any]) -> pd.DataFrame:
    """What spectra add to R2, by split and pair of sets, the fullest pair first.

    Columns: split, base (the set without spectra), gain, low, high (95 %), groups (left-out part -> gain in it). A pair
    whose gain is undefined is left out.
    """
    by_group = {(row["split"], row["features"]): row["by_group"] for row in result["table"]}
    rows = [
        (g["split"], g["without"], g["gain_r2"], g["gain_r2_low"], g["gain_r2_high"], _by_group(by_group, g))
        for without, _ in reversed(PAIRS)
        for g in result["gains"]
        if g["without"] == without and g["gain_r2"] is not None and g["gain_r2_low"] is not None
    ]
    return pd.DataFrame(rows, columns=["split", "base", "gain", "low", "high", "groups"])


def r2(answers: pd.DataFrame) -> float | None:
    """R2 of the expected score, None where it is undefined."""
    columns = tuple(answers[name].to_numpy(float) for name in ("score", "expected_score", "success", "probability"))
    found = MEASURES["r2"](columns, np.arange(len(answers))[None])[0] if len(answers) else np.nan  # type: ignore[arg-type]
    return float(found) if np.isfinite(found) else None


def headline(result: Mapping[str, Any]) -> str:
    """The main finding in one line, by where the interval of what spectra add to everything else lies, over trials."""
    without, with_ = PAIRS[-1]
    (gain,) = [g for g in result["gains"] if (g["split"], g["without"], g["with"]) == (SPLITS[0], without, with_)]
    low, high = gain["gain_r2_low"], gain["gain_r2_high"]
    if low is None or high is None:
        return "These trials do not tell whether spectra improve the prediction."
    if low > 0:
        return "Where cell and task are known, spectra improve the prediction beyond everything else known early."
    if high < 0:
        return "Where cell and task are known, spectra make the prediction worse than what else is known early."
    return "Where cell and task are known, spectra add nothing measurable to everything else known early."


def sentences(found: pd.DataFrame) -> list[str]:
    """One sentence a pair: under which splits its spectra raise R2, lower it, or do nothing that can be measured."""
    return [f"Added to {_set(str(base))}, spectra {_turns(own)}." for base, own in found.groupby("base", sort=False)]


def ranking(table: Sequence[Mapping[str, Any]]) -> str:
    """What spectra do to the AUC of success over all splits and pairs, or an empty text; the score is not all."""
    auc = {(row["split"], row["features"]): row["auc"] for row in table if row["auc"] is not None}
    pairs = [
        (auc[split, with_] - auc[split, without], split, without)
        for without, with_ in PAIRS
        for split in SPLITS
        if (split, with_) in auc and (split, without) in auc
    ]
    if not pairs:
        return ""
    change, split, without = max(pairs, key=lambda pair: abs(pair[0]))
    up = sum(gain > 0 for gain, _, _ in pairs)
    return (
        f"That is the score. At telling successes from failures (AUC), the sets with spectra are ahead in {up} of {len(pairs)} "
        f"comparisons; the largest difference is {signed(change)}, added to {_set(without)}, {WHERE[split]}."
    )


def consistency(found: pd.DataFrame) -> list[str]:
    """Whether a gain on unseen cells and tasks holds in each of them: trials are many, cells and tasks are few."""
    rows = found[(found["groups"].map(len) > 0) & (found["base"] != "hyper-parameters and size")]
    return [
        f"{WHERE[row['split']].capitalize()}, added to {_set(row['base'])}, R2 is higher with spectra for "
        f"{sum(g > 0 for g in row['groups'].values())} of {len(row['groups'])} "
        f"({_ends(row['groups'])})."
        for _, row in rows.iterrows()
    ]


def _ends(groups: Mapping[str, float]) -> str:
    """The gain in each part; of many parts the three that lose and the three that gain most."""
    order = sorted(groups, key=lambda name: groups[name])
    said = [f"{name} {signed(groups[name])}" for name in (groups if len(groups) <= 6 else [*order[:3], *order[-3:]])]
    return ", ".join(said if len(groups) <= 6 else [*said[:3], "...", *said[3:]])


def calibrated(bins: pd.DataFrame) -> str:
    """How many bins of a reliability diagram agree with the diagonal."""
    inside = int(((bins["low"] <= bins["predicted"]) & (bins["predicted"] <= bins["high"])).sum())
    return f"{inside} of {len(bins)} intervals contain the prediction"


def strongest(table: Sequence[Mapping[str, Any]]) -> str:
    """The best set of inputs of each split."""
    found = []
    for split in SPLITS:
        rows = [row for row in table if row["split"] == split and row["r2"] is not None]
        if rows:
            best = max(rows, key=lambda row: row["r2"])
            found.append(f"{WHERE[split]} {quoted(best['features'])} (R2 {best['r2']:.2f})")
    return f"The best of all sets of inputs: {', '.join(found)}." if found else ""


def never(groups: pd.DataFrame, titles: Mapping[str, str]) -> list[str]:
    """Where no trial succeeded, or every one: whole cells and whole tasks first, then what is left of their pairs."""
    said = []
    for word, mask in (("No", groups["successes"] == 0), ("Every", groups["successes"] == groups["trials"])):
        whole = {name: _whole(groups, name, other, mask) for name, other in (("cell", "task"), ("task", "cell"))}
        if whole["cell"]:
            said.append(f"{word} trial succeeded on any task with {_listed(whole['cell'])}.")
        if whole["task"]:
            said.append(f"{word} trial of any cell succeeded on {_listed([titles[task] for task in whole['task']])}.")
        rest = groups[mask & ~groups["cell"].isin(whole["cell"]) & ~groups["task"].isin(whole["task"])]
        pairs = [f"{_listed(list(own['cell']))} on {titles[str(task)]}" for task, own in rest.groupby("task", sort=False)]
        if pairs:
            said.append(f"{word} trial succeeded with {'; '.join(pairs)}.")
    return said


def _whole(groups: pd.DataFrame, name: str, other: str, mask: pd.Series) -> list[str]:
    """Cells (or tasks) for which the mask holds in every row; none where there is one task (or cell) alone."""
    held = mask.groupby(groups[name], sort=False).all()
    return list(held.index[held]) if groups[other].nunique() > 1 else []


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def codes(table: Sequence[Mapping[str, Any]]) -> str:
    """What the whole early spectrum, compressed, tells of the score beside its summaries, or an empty text."""
    names = {
        "summaries": "early spectrum",
        "principal components of all early exponents": "principal components of the early spectrum",
        "a learned code of them (AeLLE)": "learned code of the early spectrum",
    }
    r2 = {(row["split"], row["features"]): row["r2"] for row in table if row["r2"] is not None}
    parts = [
        f"{WHERE[split]} {', '.join(f'{number(r2[split, name])} from {what}' for what, name in names.items())}"
        for split in SPLITS
        if all((split, name) in r2 for name in names.values())
    ]
    known = (
        "the summaries also know the change since initialisation, the length of a sequence and how far exponents can be trusted"
    )
    return f"R2 from spectra alone: {'; '.join(parts)}. ({known[0].upper()}{known[1:]}.)" if parts else ""


def _by_group(table: Mapping[tuple[str, str], Mapping[str, Any]], gain: Mapping[str, Any]) -> dict[str, float]:
    """The gain in each part left out, where it is defined."""
    without, with_ = (table[gain["split"], gain[key]] for key in ("without", "with"))
    pairs = {name: (with_[name]["r2"], without[name]["r2"]) for name in with_}
    return {name: mine - theirs for name, (mine, theirs) in pairs.items() if mine is not None and theirs is not None}


def _turns(rows: pd.DataFrame) -> str:
    """Splits by what the spectra do there."""
    verbs = {
        "raise R2 by": rows["low"] > 0,
        "lower R2 by": rows["high"] < 0,
        "change R2 by no measurable amount:": (rows["low"] <= 0) & (rows["high"] >= 0),
    }
    return "; they ".join(f"{verb} {', '.join(_amounts(rows[mask], verb))}" for verb, mask in verbs.items() if mask.any())


def _amounts(rows: pd.DataFrame, verb: str) -> list[str]:
    form = signed if verb.endswith(":") else lambda gain: f"{abs(gain):.2f}"
    return [f"{form(r['gain'])} ({signed(r['low'])} to {signed(r['high'])}) {WHERE[r['split']]}" for _, r in rows.iterrows()]


def _set(base: str) -> str:
    return "everything else" if base == "all but spectra" else base if base.startswith("hyper") else f"the {base} alone"


def signed(value: float) -> str:
    """A difference with its sign and two digits; none where it rounds to 0."""
    text = f"{value:+.2f}"
    return ("0.00" if float(text) == 0 else text).replace("-", "\N{MINUS SIGN}")


def quoted(name: str) -> str:
    """A name in quotation marks."""
    return f"\N{LEFT DOUBLE QUOTATION MARK}{name}\N{RIGHT DOUBLE QUOTATION MARK}"
