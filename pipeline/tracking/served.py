"""The registered model, run by MLflow as a script beside a copy of this package named `rnn_stability`."""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext


class ServedPredictor(PythonModel):  # type: ignore[misc]
    """The expected score, the probability of success, and the moment and the set of inputs that they are based on."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the predictor from the files of the model."""
        # the name of the package inside the model
        from rnn_stability.predictor import StabilityPredictor  # type: ignore[import-not-found]

        self.predictor = StabilityPredictor.load(Path(context.artifacts["card.json"]).parent)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One row per row of the inputs, as `trial_inputs` and `network_inputs` make them; an empty cell was not measured."""
        from rnn_stability.core.errors import PipelineError  # type: ignore[import-not-found]

        try:
            return self.predictor.predict(model_input)
        except PipelineError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None  # a server answers 400 with the sentence


set_model(ServedPredictor())
