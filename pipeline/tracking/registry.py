"""The predictor in MLflow's registry: registered once, with the alias `champion` if it earned it, and fetched again."""

import json
import re
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema

from ..core import layout
from ..core.cards import Card, Judgement
from ..core.errors import TrackingError
from ..core.files import digest, load_table
from ..predictor import packaged
from ..predictor.inputs import BEFORE, EPOCH
from . import card, store
from .shown import hashed, named
from .views import MODEL, STAGES

CHAMPION, NEWEST, PACKAGE = "champion", "newest", "rnn_stability"
FILES = (packaged.TRIALS, packaged.CARD)
# What the tab of models shows: one column each.
_MEASURES = tuple(f"{named(moment)}/{measure}" for moment in (BEFORE, EPOCH) for measure in ("auc", "brier"))
DONE = "shown"  # the last tag that registration sets: the hash of what is shown
# What a served predictor imports; it needs no torch.
_REQUIREMENTS = ("mlflow", "numpy", "pandas", "scipy", "scikit-learn", "safetensors")


def register(opened: store.Store, run: str, judgement: Judgement) -> None:
    """Register the predictor in layout.PREDICTOR as MODEL, as an output of the run with an id, unless it is there.

    The alias NEWEST moves to it, and CHAMPION too if spectra earn their place by `Judgement.is_champion`.
    """
    mark = digest(*(layout.PREDICTOR / name for name in FILES), layout.EVIDENCE)
    client = opened.client
    about = card.version(Card.load(layout.PREDICTOR / packaged.CARD), judgement)
    shown = hashed([about, card.MODEL_TEXT])
    known = [v for v in client.search_model_versions(f"name = '{MODEL}'") if v.tags.get("digest") == mark]
    if known and known[0].tags.get(DONE) == shown:
        return
    if not client.search_registered_models(f"name = '{MODEL}'"):
        with store.made_once():
            client.create_registered_model(MODEL)
    client.update_registered_model(MODEL, card.MODEL_TEXT)
    if not known:
        model = _log(opened, run)
        # the address itself: MLflow would look up "models:/<id>" in the store of the working folder
        address = model.artifact_location
        known = [client.create_model_version(MODEL, address, run, tags={"digest": mark}, model_id=str(model.model_id))]
    _measure(client, known[0], run)
    number = str(known[0].version)
    for alias in (NEWEST, *([CHAMPION] if judgement.is_champion else [])):
        client.set_registered_model_alias(MODEL, alias, number)
    holder = _champion(client)
    stays = f"\n\nThe alias {CHAMPION} stays at version {holder}, the last one that did." if holder not in (None, number) else ""
    client.update_model_version(MODEL, number, f"{about}{stays}")
    client.set_model_version_tag(MODEL, number, "is_champion", "yes" if judgement.is_champion else "no")
    client.set_model_version_tag(MODEL, number, DONE, shown)


def _measure(client: MlflowClient, known: ModelVersion, run: str) -> None:
    """Show the measures of the predictor's run also as those of the model of a version, which the tab "Models" lists."""
    model = re.search(r"/models/(m-[^/]+)/", f"{known.source}/")
    if not model:
        return
    names = [name for name in client.get_run(run).data.metrics if name.endswith(_MEASURES)]
    points = [client.get_metric_history(run, name)[0] for name in names]
    client.set_logged_model_tags(model[1], {"mlflow.modelVersions": json.dumps([{"name": MODEL, "version": known.version}])})
    client.log_batch(run, [Metric(p.key, p.value, p.timestamp, p.step, model_id=model[1]) for p in points])


def fetch_model(uri: str) -> Path:
    """The folder with FILES of a registered model ("models:/...") or of a run's ("runs:/..."); TrackingError if there is none."""
    address = store.address()
    path = store.database(address)
    if path is not None and not path.exists():
        raise TrackingError(f"there is no MLflow store at {address}; set MLFLOW_TRACKING_URI to the one that holds the model")
    with store.failures(address):
        if path is not None and store.is_displaced(path):
            store.connect()
        try:
            folder = Path(mlflow.artifacts.download_artifacts(uri, tracking_uri=address))
        except mlflow.MlflowException as error:
            if error.error_code == "INTERNAL_ERROR":  # the fault of the store, not of the URI
                raise
            raise TrackingError(f"there is no model {uri} in {store.readable(address)}{_alternatives(address, uri)}") from None
    for path in sorted(folder.rglob(FILES[1])):
        if "code" not in path.relative_to(folder).parts:  # the library that the model brings along has a card of its own
            return path.parent
    raise TrackingError(f"{uri} is another model: it lacks {FILES[1]}; models:/{MODEL}/latest is this project's")


def _log(opened: store.Store, run: str) -> LoggedModel:
    """Log the predictor as an MLflow model that brings this package along, as an output of the run.

    `mlflow.pyfunc.log_model` would do it too, and load the model into this process to try it: 13 of 16 seconds.
    """
    from ..predictor import trials

    client, package = opened.client, Path(__file__).parent.parent
    columns = _signature()
    example = trials.trial_inputs(load_table(layout.FEATURES)).head(3)
    model = client.create_logged_model(opened.experiments[STAGES], MODEL, run)
    with tempfile.TemporaryDirectory() as folder:
        code, target = Path(folder) / PACKAGE, Path(folder) / "model"
        shutil.copytree(package, code, ignore=shutil.ignore_patterns("__pycache__"))
        mlflow.pyfunc.save_model(
            target,
            python_model=str(package / "tracking" / "served.py"),
            artifacts={name: str((layout.PREDICTOR / name).resolve()) for name in FILES},
            code_paths=[str(code)],
            signature=columns,
            input_example=example[columns.inputs.input_names()],
            pip_requirements=[f"{name}=={version(name)}" for name in _REQUIREMENTS],
            mlflow_model=Model(model.artifact_location, run, model_uuid=model.model_id, model_id=model.model_id),
        )
        client.log_model_artifacts(model.model_id, str(target))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run, [LoggedModelOutput(model.model_id, 0)])
    return model


def _signature() -> ModelSignature:
    """Columns in and out; all inputs are optional, since a predictor uses, row by row, the best set of those it is given."""
    from ..predictor import inputs
    from ..predictor.features import MEASUREMENT

    words = (*inputs.CATEGORIES, *inputs.IDENTITY)
    # how a spectrum was measured is in no set, and holds whole numbers, which MLflow does not take for others
    numbers = [column for column in inputs.LIMITS if column not in MEASUREMENT]
    known = [ColSpec("string" if c in words else "double", c, required=False) for c in dict.fromkeys((*numbers, *words))]
    known += [ColSpec("boolean", inputs.DIVERGED, required=False)]
    answer = [ColSpec("double", name) for name in ("expected_score", "probability_of_success")]
    answer += [ColSpec("string", name) for name in ("moment", "based_on")]
    return ModelSignature(Schema(known), Schema(answer))


def _champion(client: MlflowClient) -> str | None:
    """Number of the version that is champion."""
    models = client.search_registered_models(f"name = '{MODEL}'")
    return str(models[0].aliases[CHAMPION]) if models and CHAMPION in models[0].aliases else None


def _alternatives(address: str, uri: str) -> str:
    client = MlflowClient(address)
    numbers = sorted(int(v.version) for v in client.search_model_versions(f"name = '{MODEL}'"))
    if not numbers:
        return f": no {MODEL} is registered; run `dvc repro` to make one"
    if uri.endswith(f"@{CHAMPION}") and _champion(client) is None:
        return f": there is no champion, since spectra did not measurably earn their place; load models:/{MODEL}/latest"
    return f": there are versions {', '.join(map(str, numbers))}; models:/{MODEL}/latest is the newest"
