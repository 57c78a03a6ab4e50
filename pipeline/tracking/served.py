"""The registered model, run by MLflow as a script beside a copy of this package named `rnn_stability`."""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext


class ServedPredictor(PythonModel):  # type: ignore[misc]
    """Answers a table of measurements with the expected score, the probability of success and what they are based on."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the predictor that lies in the model."""
        # by the name that the package has inside the model
        from rnn_stability.predictor import StabilityPredictor  # type: ignore[import-not-found]

        self.predictor = StabilityPredictor.load(Path(context.artifacts["model.skops"]).parent)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """A row for each row; a column that is empty in all rows counts as unknown."""
        return self.predictor.predict(model_input.dropna(axis="columns", how="all"))


set_model(ServedPredictor())
