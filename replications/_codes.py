"""The whole spectrum in a few numbers: principal components, and a code that is learned with the score; for lyapunov_paper.py."""

import warnings
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

ITERATIONS = 150  # of L-BFGS
Numbers = NDArray[np.float64]


class Components(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The first principal components of standardised columns."""

    def __init__(self, size: int) -> None:
        self.size = size

    def fit(self, x: Numbers, y: Numbers | None = None) -> Self:
        """Learn the components of x (N, columns); there are no more than N or the columns allow."""
        self.scaler_ = StandardScaler().fit(x)
        self.pca_ = PCA(min(self.size, *np.shape(x)), svd_solver="full").fit(self.scaler_.transform(x))
        return self

    def transform(self, x: Numbers) -> Numbers:
        """The components (N, size)."""
        return self.pca_.transform(self.scaler_.transform(x))


class Code(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A latent code of spectra that is trained to reproduce the spectrum and to predict the score.

    After AeLLE (Vogt, Zheng, Shlizerman 2024): an encoder maps a whole spectrum to a few latent numbers, a decoder
    maps them back to the spectrum, and the same numbers predict how well the training ends; encoder, decoder and
    prediction learn together. Here one perceptron with layers columns - hidden - size - hidden - (columns + 1) is all three:
    its narrow layer is the code, and its outputs are the standardised spectrum and, weighted, the standardised score. Two
    things are simpler than in AeLLE: decoder and prediction share a hidden layer, and both are trained from the start. The
    code is judged by a model that is fitted to it, not by the perceptron.

    Args:
        size: latent numbers.
        hidden: width of the layers before and after them.
        weight: of the squared error of the score against that of the whole spectrum; 0 is a plain autoencoder.
        alpha: penalty on squared weights.
        random_state: seed of the initial weights.
    """

    def __init__(
        self, size: int, hidden: int = 16, weight: float = 1.0, alpha: float = 1.0, random_state: int | None = None
    ) -> None:
        self.size, self.hidden, self.weight, self.alpha, self.random_state = size, hidden, weight, alpha, random_state

    def fit(self, x: Numbers, y: Numbers) -> Self:
        """Learn from spectra x (N, columns) and scores y (N,)."""
        self.scaler_ = StandardScaler().fit(x)
        spectra = self.scaler_.transform(x)
        score = StandardScaler().fit_transform(np.asarray(y, float)[:, None])
        outputs = np.hstack([spectra, np.sqrt(self.weight * spectra.shape[1]) * score])
        network = MLPRegressor(
            hidden_layer_sizes=(self.hidden, self.size, self.hidden),
            activation="tanh",
            solver="lbfgs",
            alpha=self.alpha,
            max_iter=ITERATIONS,
            random_state=self.random_state,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # stopped on purpose: cost, and less overfitting
            self.network_ = network.fit(spectra, outputs)
        return self

    def transform(self, x: Numbers) -> Numbers:
        """The code (N, size), each number within -1 and 1."""
        values = self.scaler_.transform(x)
        for weights, biases in list(zip(self.network_.coefs_, self.network_.intercepts_, strict=True))[:2]:
            values = np.tanh(values @ weights + biases)
        return values
