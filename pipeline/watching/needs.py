"""What has to be measured so that the set of inputs that is served can answer, and no more."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .. import measuring
from ..predictor.inputs import EARLY_SPECTRAL, SETS, SPECTRAL

_LAGS, _PROXIES = "lags", "proxies"


@dataclass(frozen=True)
class Needs:
    """What is measured at one moment.

    Attributes:
        files: names of measurements, files of `pipeline/measuring`.
        spectrum: whether the leading exponents are measured.
    """

    files: frozenset[str]
    spectrum: bool


EVERYTHING = {moment: tuple(sets)[-1] for moment, sets in SETS.items()}  # the sets named "all"


def needs(served: Mapping[str, str]) -> tuple[Needs, Needs]:
    """What is measured before training, and what after the first epoch.

    A spectrum or a change after an epoch needs what was measured before training as well. All measurements but the proxies
    are taken together, since a set of inputs counts as complete once one of them is known.

    Args:
        served: moment -> name of the set of inputs that answers then.
    """
    columns = {column for moment, name in served.items() for column in SETS[moment][name]}
    spectra = bool(columns & {*SPECTRAL, *EARLY_SPECTRAL}), bool(columns & {*EARLY_SPECTRAL})
    plain = columns - {*SPECTRAL, *EARLY_SPECTRAL}
    early = _files(_names(plain, "early", "change"))
    first = early | _files(_names(plain, "initial", "change"))
    if first or spectra[0]:  # the lag that the task needs is a unit of the spectrum's features, and costs little
        first |= {_LAGS}
    return Needs(frozenset(first), spectra[0]), Needs(frozenset(early), spectra[1])


def _names(columns: Iterable[str], *moments: str) -> set[str]:
    """Names of the measured numbers of some moments, without the moment."""
    parts = [column.partition("_") for column in columns]
    return {name for moment, _, name in parts if moment in moments and name in measuring.columns()}


def _files(names: Iterable[str]) -> set[str]:
    """The measurements of which at least one number is used, together with those that come with them."""
    used = {file for file in measuring.names() if {*names} & measuring.get(file).columns.keys()}
    together = {*measuring.names()} - {_LAGS, _PROXIES} if used - {_LAGS, _PROXIES} else set()
    return used | together
