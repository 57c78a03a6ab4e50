"""What the evidence of a study comes down to: a few lines for a terminal, a few numbers for DVC."""

from textwrap import wrap

from ..core.cards import Decision, Estimate, Evidence, Judgement
from ..core.tables import Table, signed, with_interval
from .decision import BOTH, COSTS, I_EPOCH, REPLAYED, screened
from .evidence import RIVALS
from .inputs import BEFORE, EPOCH, MOMENTS
from .splits import CELLS, TASKS, TRIALS

HARDEST = (TASKS, CELLS, TRIALS)  # splits, the hardest first
COST = f"{COSTS[2]:g}"  # full trainings at which searches are compared
DIGITS = 3  # of metrics; evidence.json has all of them
WIDTH = 110  # characters


def text(judgement: Judgement) -> str:
    """How good searches and predictions are, and whether spectra help, in at most twelve lines."""
    rivals = " or ".join(dict.fromkeys(RIVALS.values()))
    lines = [line for sentence in (_searches(judgement), _spectra(judgement)) for line in wrap(sentence, WIDTH)]
    title = f"AUC for trials that were held out (95 % interval; 0.5 is chance); alone: from {rivals} alone"
    return "\n".join([*lines, title, _table(judgement).text()])


def metrics(judgement: Judgement) -> dict[str, float | None]:
    """The numbers of metrics.json, for the hardest split that the study has; None where the trials do not define one.

    They are: the number of trials that were judged (networks); AUC before training (auc_0) and after one epoch (auc_1), and
    that of the loss alone (auc_loss); the Brier score after one epoch (brier); the regret of searches for COST full trainings
    with screening before training (regret) and of i-Epoch without (i_epoch); what spectra gain in Brier score on cells left
    out (spectral). Names are short, so that a table of all fits on a terminal, and differ from those of dependencies, which
    `dvc exp show` would mix up with them.
    """
    split = _hardest(judgement)
    before, epoch, loss = _served(judgement, split, BEFORE), _served(judgement, split, EPOCH), _rival(judgement, split, EPOCH)
    own, plain = _regrets(_decision(judgement))
    found = {
        "auc_0": _measure(before, "auc"),
        "auc_1": _measure(epoch, "auc"),
        "auc_loss": _measure(loss, "auc"),
        "brier": _measure(epoch, "brier"),
        "regret": own,
        "i_epoch": plain,
        "spectral": judgement.champion.measures["brier"] if judgement.champion else None,
    }
    rounded = {name: None if e is None or e.value is None else round(e.value, DIGITS) for name, e in found.items()}
    return {"networks": epoch.trials if epoch else None, **rounded}


def _table(judgement: Judgement) -> Table:
    """The AUC of the sets that the predictor uses, by split and moment, and below it that of the simplest sets."""
    rows = []
    for split in (split for split in HARDEST if split in judgement.served):
        for name, find in ((split, _served), ("  alone", _rival)):
            found = [find(judgement, split, moment) for moment in MOMENTS]
            rows.append([name, *(with_interval(e.measures["auc"]) if e else "" for e in found)])
    return Table(["held out", *MOMENTS], rows, text_columns=1 + len(MOMENTS))


def _searches(judgement: Judgement) -> str:
    """What screening before training changes in searches."""
    decision = _decision(judgement)
    own, plain = _regrets(decision)
    if decision is None or own is None or plain is None:
        return "These trials do not allow to replay searches."
    searches, _, _ = decision.title.partition(",")
    return (
        f"{searches[0].upper()}{searches[1:]} for {COST} full trainings have a regret of {with_interval(own)} if they screen "
        f"candidates before training, and of {with_interval(plain)} by early losses alone."
    )


def _spectra(judgement: Judgement) -> str:
    """Whether spectra earn their place."""
    best = judgement.champion
    if best is None:
        return "Whether spectra earn their place is not known: no cell was left out."
    words = "earn their place" if judgement.is_champion else "do not measurably earn their place"
    gain = with_interval(best.measures["brier"], 3, signed)
    return f"On cells left out, after {best.moment}, spectra {words}: they change the Brier score by {gain}; above 0 is better."


def _hardest(judgement: Judgement) -> str:
    return next(split for split in HARDEST if split in judgement.served)


def _served(judgement: Judgement, split: str, moment: str) -> Evidence | None:
    return judgement.of(split, moment, judgement.served[split].get(moment, ""))


def _rival(judgement: Judgement, split: str, moment: str) -> Evidence | None:
    return judgement.of(split, moment, RIVALS[moment])


def _measure(found: Evidence | None, measure: str) -> Estimate | None:
    return found.measures[measure] if found else None


def _decision(judgement: Judgement) -> Decision | None:
    """The searches under the hardest split that was replayed."""
    titles = [REPLAYED[split, ""] for split in HARDEST if (split, "") in REPLAYED]
    return next((d for title in titles for d in judgement.decisions if d.title == title), None)


def _regrets(decision: Decision | None) -> tuple[Estimate | None, Estimate | None]:
    """Regrets at COST with screening before training and by i-Epoch; None without such searches."""
    inputs = screened(decision) if decision else None
    fronts = (decision.of(BOTH.format(inputs)), decision.of(I_EPOCH)) if decision and inputs else (None, None)
    own, plain = (front.at[COST] if front else None for front in fronts)
    return own, plain
