"""Zero-cost proxies of neural architecture search, with which the other measurements are compared."""

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..core.columns import Column
from .base.measurement import Measurement, log10

if TYPE_CHECKING:
    from .base.probe import Probe

Values = NDArray[np.float64]


class Proxies(Measurement):
    """Saliency, synaptic flow, and the spread of gradients, activations and hidden states over sequences."""

    columns: ClassVar = {
        "snip": Column("", "log10 of the sum over parameters of abs(gradient x weight) (Lee et al. 2019)"),
        "synflow": Column(
            "", "log10 of the synaptic flow: the same for the summed answer to ones, with abs(weights) (Tanaka et al. 2020)"
        ),
        "jacobian_covariance": Column(
            "", "how much the input gradients of different sequences differ, from their correlations (Mellor et al. 2021)"
        ),
        "activation_distance": Column(
            "",
            "how much sequences differ in which states exceed the mean, a log determinant per sequence (Mellor et al. 2021)",
        ),
        "hidden_covariance": Column(
            "", "how much the last states of different sequences differ, from their correlations (Serianni and Kalita 2023)"
        ),
    }

    def measure(self, probe: "Probe") -> dict[str, float]:
        """All proxies are computed on the same batch."""
        gradient = probe.input_gradient
        rows = gradient.swapaxes(0, 1).reshape(gradient.shape[1], -1)
        states = probe.states[0][-1][: probe.whole_batch]
        snip = sum(float((g.double() * p.double()).abs().sum()) for g, p in zip(probe.gradient, probe.parameters, strict=True))
        return {
            "snip": log10(snip),
            "synflow": log10(probe.synflow),
            "jacobian_covariance": evenness(rows),
            "activation_distance": agreement(states > states.mean()) if np.isfinite(states).all() else float("nan"),
            "hidden_covariance": evenness(states),
        }


def evenness(rows: Values) -> float:
    """-mean over eigenvalues of log(v + k) + 1 / (v + k), k = 1e-5, of the correlation matrix of rows (N, features).

    The more the rows differ from each other, the larger; at most -1. NaN if a row does not vary or is not finite.
    """
    if not np.isfinite(rows).all():
        return float("nan")
    rows = rows / np.abs(rows).max(axis=1, keepdims=True).clip(min=np.finfo(float).tiny)  # squares stay in range
    if (rows.std(axis=1) < 1e-12).any():
        return float("nan")
    values = np.linalg.eigvalsh(np.corrcoef(rows)).clip(min=0) + 1e-5
    return float(-(np.log(values) + 1 / values).mean())


def agreement(codes: NDArray[np.bool_]) -> float:
    """log det of the matrix of shares of equal bits between codes (N, bits), / N; smallest if all codes are equal."""
    same = (codes[:, None] == codes[None]).mean(-1)
    _, log_determinant = np.linalg.slogdet(same + 1e-5 * np.eye(len(same)))
    return float(log_determinant / len(same))
