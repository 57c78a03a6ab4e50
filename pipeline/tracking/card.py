"""The card of the registered predictor: what it is for, its inputs, its evidence, its limits, and the code that loads it."""

from ..core.cards import Card, Judgement
from ..core.tables import Table, with_interval
from .views import MODEL

_CHANCE = 0.5  # AUC
_LONGEST = 5000  # characters that MLflow keeps of a description
_LOAD = f"""```python
from rnn_stability import StabilityPredictor

predictor = StabilityPredictor.load("models:/{MODEL}@newest")
```

`predictor.assess(model, inputs, ...)` needs only a model and its inputs; `predictor.predict(table)` takes the columns of the
model's signature."""
MODEL_TEXT = f"""Predicts, before training or after its first epoch, how well a recurrent network will do: its expected score and
its probability of success. The card of each version has its inputs, evidence and limits.

{_LOAD}

Aliases: `newest` is the version that was registered last; `champion` is the last one in which Lyapunov spectra measurably
improved the predictions for cells that were left out, and is missing where there was none. `mlflow.pyfunc.load_model` works
too; it runs code from the registry, so load models from registries that you trust."""
_MEASURES = {"auc": "AUC", "brier": "Brier score"}


def version(card: Card, judgement: Judgement) -> str:
    """The card of a version, as Markdown."""
    parts = [_purpose(card), _evidence(judgement), _limits(card, judgement), f"## Load it\n\n{_LOAD}"]
    return "\n\n".join(parts)[:_LONGEST]


def _purpose(card: Card) -> str:
    count = sum(number for study, number in card.studies.items() if not study.startswith("shift_"))
    return (
        "To stop or skip trainings of recurrent networks that will not succeed. It answers with the "
        f"expected score and the probability of success. The score is the share of the gap between chance and the task's best "
        f"training that a training closes; a success is a score of at least {card.threshold:g}. It learned from {count:,} "
        f"trainings on {', '.join(card.tasks)} with the cells {', '.join(card.cells)}."
    )


def _evidence(judgement: Judgement) -> str:
    from ..predictor.evidence import verdict

    rows = []
    for split, moments in judgement.served.items():
        for moment, name in moments.items():
            found = judgement.of(split, moment, name)
            measures = [with_interval(found.measures[m]) if found else "" for m in _MEASURES]
            rows.append([split, moment, name, found.trials if found else 0, *measures])
    table = Table(["split", "asked", "inputs", "trainings", *_MEASURES.values()], rows, text_columns=3)
    about = (
        "For each moment, it uses the inputs named here; what is missing is left out. The split says which trainings it had not "
        "seen. AUC 0.5 is chance; for the Brier score, lower is better; brackets are 95 % intervals."
    )
    return "\n\n".join(["## Inputs and evidence", *([about, table.markdown()] if rows else []), verdict(judgement)])


def _limits(card: Card, judgement: Judgement) -> str:
    return (
        f"## Limits\n\nIt knows {len(card.tasks)} tasks and {len(card.cells)} cells. For another task or cell, expect what the "
        "rows with a task or a cell left out show, not those over trials. Scores are relative to the best training of the same "
        f"task in the same search. {_familiarity(judgement)}"
    ).strip()


def _familiarity(judgement: Judgement) -> str:
    """Whether it notices that a network is unlike those that it learned from."""
    found = [estimate for estimate in judgement.outside.values() if estimate.value is not None]
    if not found:
        return ""
    noticed = sum((estimate.low or 0.0) > _CHANCE for estimate in found)
    values = [estimate.value for estimate in found if estimate.value is not None]
    return (
        "The distance of a network from those that it learned from reveals wrong answers better than chance in "
        f"{noticed or 'none'} of {len(found)} cases of the evidence (AUC {min(values):.2f} to {max(values):.2f}; 0.5 is chance)."
    )
