"""The registered model, run by MLflow as a script beside a copy of this package named `rnn_stability`."""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext


class ServedPredictor(PythonModel):  # type: ignore[misc]
    """The expected score, the probability of success, and the set of inputs that they are based on."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the predictor from the files of the model."""
        # the name of the package inside the model
        from rnn_stability.predictor import StabilityPredictor  # type: ignore[import-not-found]

        self.predictor = StabilityPredictor.load(Path(context.artifacts["model.skops"]).parent)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One row per row of the input; a column that is empty in all rows counts as unknown."""
        return self.predictor.predict(model_input.dropna(axis="columns", how="all"))


set_model(ServedPredictor())
