"""The predictor in MLflow's registry: put there once, with the alias `champion` if it earned it, and fetched again."""

import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema

from ..artefacts import digest, load_table
from ..errors import TrackingError
from ..predictor import evaluation, inputs
from . import store

NAME, CHAMPION, PACKAGE = "rnn-stability", "champion", "rnn_stability"
FILES = ("model.skops", "about.json")
# What a served predictor imports; it needs no torch.
_REQUIREMENTS = ("mlflow", "numpy", "pandas", "scipy", "scikit-learn", "skops", "pydantic", "pyyaml", "safetensors")


def register(opened: store.Store, run: str, folder: Path, features: Path, result: Mapping[str, Any]) -> str:
    """Register the predictor in a folder as NAME, unless it is there, and return its version.

    The alias `champion` moves to it if it beats the best baseline without spectra; otherwise it stays where it is.

    Args:
        opened: the store.
        run: id of the run that it belongs to.
        folder: holds FILES.
        features: the feature table, for an example of the input.
        result: what metrics/predictor.json holds.
    """
    # not model.skops, a zip that holds the time of writing
    mark, client = digest(folder / "about.json", folder / "predictions.parquet"), opened.client
    found = _versions(client, mark)
    if not found:
        _ensure_model(client)
        model = _log(opened, run, folder, inputs.trial_inputs(load_table(features)).head(3))
        # the place itself: MLflow would look "models:/<id>" up in the store of the working folder
        place = model.artifact_location
        found = [client.create_model_version(NAME, place, run, tags={"digest": mark}, model_id=str(model.model_id))]
    number = str(found[0].version)
    best = result["champion"]
    if best["beats_rival"]:
        client.set_registered_model_alias(NAME, CHAMPION, number)
    client.set_model_version_tag(NAME, number, "beats_rival", "yes" if best["beats_rival"] else "no")
    client.update_model_version(NAME, number, f"{verdict(result)}{_standing(client, number)}")
    return number


def verdict(result: Mapping[str, Any]) -> str:
    """Whether the spectra help, in one sentence."""
    return evaluation.verdict(result["champion"])


def fetch_model(uri: str) -> Path:
    """The folder with FILES of a registered model ("models:/...") or of a run's ("runs:/..."); TrackingError if there is none."""
    place = store.address()
    path = store.database(place)
    if path is not None and not path.exists():
        raise TrackingError(f"there is no MLflow store at {place}; set MLFLOW_TRACKING_URI to the one that holds the model")
    with store.speaking(place):
        try:
            folder = Path(mlflow.artifacts.download_artifacts(uri, tracking_uri=place))
        except mlflow.MlflowException as error:
            if error.error_code == "INTERNAL_ERROR":  # the store's, not the address's
                raise
            raise TrackingError(f"there is no model {uri} in {store.readable(place)}{_what_there_is(place, uri)}") from None
    found = next((p.parent for p in folder.rglob(FILES[0])), None)
    if found is None:
        raise TrackingError(f"{uri} is another model: it lacks {FILES[0]}; models:/{NAME}/latest is this project's")
    return found


def signature() -> ModelSignature:
    """Columns in and out; all inputs are optional, since a predictor uses the best set of those it is given."""
    columns = dict.fromkeys(column for name in inputs.SERVED for column in inputs.SETS[name])
    known = [ColSpec("string" if c in inputs.CATEGORIES else "double", c, required=False) for c in columns]
    answer = [ColSpec("double", "expected_score"), ColSpec("double", "probability_of_success"), ColSpec("string", "based_on")]
    return ModelSignature(Schema(known), Schema(answer))


def _log(opened: store.Store, run: str, folder: Path, example: pd.DataFrame) -> LoggedModel:
    """Log the model as an output of the run.

    `mlflow.pyfunc.log_model` would do it too, and load the model into this process to try it: 13 of 16 seconds.
    """
    client = opened.client
    model = client.create_logged_model(opened.experiments[store.STAGES], NAME, run)
    with tempfile.TemporaryDirectory() as place:
        about = Model(artifact_path=model.artifact_location, model_uuid=model.model_id, run_id=run, model_id=model.model_id)
        save_pyfunc(Path(place) / "model", folder, example, about)
        client.log_model_artifacts(model.model_id, str(Path(place) / "model"))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run, [LoggedModelOutput(model.model_id, 0)])
    return model


def save_pyfunc(place: Path, folder: Path, example: pd.DataFrame, about: Model) -> None:
    """Write the predictor in a folder as an MLflow model that brings this package along."""
    package = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as other:
        code = Path(other) / PACKAGE
        shutil.copytree(package, code, ignore=shutil.ignore_patterns("__pycache__"))
        mlflow.pyfunc.save_model(
            place,
            python_model=str(package / "tracking" / "served.py"),
            artifacts={name: str((folder / name).resolve()) for name in FILES},
            code_paths=[str(code)],
            signature=signature(),
            input_example=example[signature().inputs.input_names()],
            pip_requirements=[f"{name}=={version(name)}" for name in _REQUIREMENTS],
            mlflow_model=about,
        )


def _ensure_model(client: MlflowClient) -> None:
    if not client.search_registered_models(f"name = '{NAME}'"):
        client.create_registered_model(
            NAME,
            description="Predicts from Lyapunov spectra, measured early, whether a recurrent network's training will succeed.",
        )


def _versions(client: MlflowClient, mark: str) -> list[ModelVersion]:
    return [v for v in client.search_model_versions(f"name = '{NAME}'") if v.tags.get("digest") == mark]


def _champion(client: MlflowClient) -> str | None:
    """Number of the version that is champion."""
    models = client.search_registered_models(f"name = '{NAME}'")
    return str(models[0].aliases[CHAMPION]) if models and CHAMPION in models[0].aliases else None


def _standing(client: MlflowClient, number: str) -> str:
    holder = _champion(client)
    if holder in (None, number):
        return ""
    return f" The alias {CHAMPION} stays at version {holder}, the last one that did."


def _what_there_is(place: str, uri: str) -> str:
    client = MlflowClient(place)
    numbers = sorted(int(v.version) for v in client.search_model_versions(f"name = '{NAME}'"))
    if not numbers:
        return f": no {NAME} is registered; run `dvc repro` to make one"
    if uri.endswith(f"@{CHAMPION}") and _champion(client) is None:
        return f": there is no champion, for the spectra did not beat the best baseline; load models:/{NAME}/latest"
    return f": there are versions {', '.join(map(str, numbers))}; models:/{NAME}/latest is the newest"
