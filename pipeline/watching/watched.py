"""What the predictor says of a training before, during and after its first epoch."""

import math
import time
from collections.abc import Iterable, Mapping
from collections.abc import Set as AnySet
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..core.errors import ModuleError, first_line
from ..core.numbers import count, number, shown
from ..measuring.base.checks import apart, refusing
from ..measuring.base.curve import eighth_of
from ..predictor import Verdict, network_inputs
from ..predictor.checks import OWN
from ..predictor.inputs import BEFORE, DIVERGED, EIGHTH, EPOCH
from ..spectrum import Spectrum
from .layout import copied
from .needs import EVERYTHING, Needs, needs
from .read import check_begins
from .training import Training

VERSION = 1  # of the state
_GONE = "divergence"  # what is asked once a loss is not finite, for good
_ERRORS = ("standard_error", "degrees_of_freedom", "rounding_error", "alignment_error")


class Watch:
    """A training that is watched; `watch` makes it.

    Attributes:
        seconds: spent on measuring and asking so far.
    """

    def __init__(self, training: Training, *, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._training = training
        self._losses: list[float] = []  # of the first epoch
        self._seen = 0  # mini-batches so far
        self._measurements: dict[str, float] | None = None  # before training
        self._spectrum: Spectrum | None = None
        self._asked: dict[str, dict[str, Any]] = {}  # moment -> inputs of the predictor and what is said of the cost, in order
        self._verdicts: dict[str, Verdict] = {}
        self._last = time.perf_counter()
        self._row()  # raises what is wrong before anything is measured

    @property
    def verdict(self) -> Verdict | None:
        """The last verdict; None if there is none yet."""
        return self._verdict(next(reversed(self._asked))) if self._asked else None

    @property
    def chance(self) -> float:
        """Loss of the best answer that ignores the input."""
        return self._training.chance

    def __repr__(self) -> str:
        training, last, epochs = self._training, self.verdict, f"{self._training.budget} epochs"
        said = f"{last.moment}: success with probability {last.probability:.2f}" if last else "not asked yet"
        return (
            f"Watch({training.known.get('cell', OWN)}, {training.known['parameter_count']:,} parameters, {epochs} "
            f"of {training.updates_per_epoch} mini-batches; {said})"
        )

    def before(self) -> Verdict:
        """The verdict before training: it measures the network, and should be called before the first step of the optimiser.

        Raises:
            ModuleError: the training has begun, a schedule has set the learning rate, or the network cannot be measured.
        """
        if BEFORE in self._asked:
            return self._verdict(BEFORE)
        check_begins(self._training.recurrent, self._training.optimiser)
        begin = time.perf_counter()
        training, wanted = self._training, self._needs()[0]
        measurements = training.measurements(wanted.files)
        with refusing("the network cannot be measured"), apart(training.model):
            own = copied(training.model, training.recurrent)
            spectrum = training.spectrum(own) if wanted.spectrum else None
            gradient = training.seconds_of_gradient(own[0])
        row = self._row(measurements=measurements, spectrum=spectrum)
        epoch = None if gradient is None else gradient * training.updates_per_epoch
        self._ask(BEFORE, row, begin, epoch, extra=self.seconds)
        self._measurements, self._spectrum, self._last = measurements, spectrum, time.perf_counter()
        return self._verdict(BEFORE)

    def epoch(self, losses: Iterable[float] | Tensor | None = None, *, validation_loss: float | None = None) -> Verdict:
        """The verdict now, after an epoch or a part of one.

        The predictor answers after an eighth of an epoch and, when the network is measured again, after the first epoch; until
        then and afterwards its last verdict stays. A loss that is NaN or infinite is a failure for good.

        Args:
            losses: of the mini-batches since the last call, in their order; without them, the first epoch has ended.
            validation_loss: of now; it counts with the call that completes the first epoch, and by default is measured then.

        Raises:
            ModuleError: `before` has not been called, a loss is not a number or, in the first epoch, below 0, or in the first
                call there are not as many losses as the assumed number of mini-batches in an epoch.
        """
        begin = time.perf_counter()
        if BEFORE not in self._asked:
            raise ModuleError("call before() before the training begins: what is measured then cannot be measured later")
        least = -math.inf if {_GONE, EPOCH} & self._asked.keys() else 0.0  # later ones count only as finite or not
        new = _numbers(losses, least)
        now = None if validation_loss is None else number("validation_loss", validation_loss, least=least)
        self._count(new, ended=losses is None)
        elapsed = (begin - self._last) * (self._training.updates_per_epoch / len(new) if new else 1)
        if _GONE not in self._asked and not all(map(math.isfinite, [*new, 0.0 if now is None else now])):
            self._ask(_GONE, self._asked[BEFORE]["row"] | {DIVERGED: True}, begin, elapsed)
        elif not {_GONE, EPOCH} & self._asked.keys():
            self._advance(now, begin, elapsed, ended=losses is None)
        self._last = time.perf_counter()
        return self._verdict(next(reversed(self._asked)))

    def state_dict(self) -> dict[str, Any]:
        """What a training that is resumed needs to go on without measuring again: numbers, text, lists and dictionaries."""
        training, spectrum = self._training, self._spectrum
        return {
            "version": VERSION,
            "known": dict(training.known),
            "chance": training.chance,
            "updates_per_epoch": training.updates_per_epoch,
            "assumed": training.assumed,
            "losses": list(self._losses),
            "seen": self._seen,
            "seconds": self.seconds,
            "measurements": self._measurements and dict(self._measurements),
            "spectrum": None if spectrum is None else _plain(spectrum),
            "asked": {moment: {"row": dict(asked["row"]), "cost": asked["cost"]} for moment, asked in self._asked.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()` of a watch of the same training.

        Raises:
            ModuleError: it is no such state.
        """
        if not isinstance(state, Mapping) or state.get("version") != VERSION or state.keys() != self.state_dict().keys():
            raise ModuleError("the state should be what state_dict() of a watch of this version of the library returns")
        before = dict(vars(self))
        try:
            self._restore(state)
        except Exception as error:  # whatever a state that was damaged leads to
            vars(self).update(before)
            raise ModuleError(f"the state is damaged: {first_line(error)} ({type(error).__name__})") from error

    def _restore(self, state: Mapping[str, Any]) -> None:
        """Take over a state, and ask again what it says was asked."""
        self._training = replace(
            self._training,
            known=dict(self._training.known) | state["known"],
            chance=number("chance", state["chance"], least=0),
            updates_per_epoch=count("updates_per_epoch", state["updates_per_epoch"]),
            assumed=str(state["assumed"]),
        )
        self._losses, self._seen = _numbers(state["losses"]), int(number("seen", state["seen"], least=0))
        self.seconds = number("seconds", state["seconds"], least=0)
        self._measurements = state["measurements"]
        self._spectrum = None if state["spectrum"] is None else _spectrum(state["spectrum"])
        self._asked = {str(moment): {"row": dict(a["row"]), "cost": list(a["cost"])} for moment, a in state["asked"].items()}
        self._verdicts, self._last = {}, time.perf_counter()
        for moment in self._asked:
            self._verdict(moment)
        self._row(initial=self._spectrum, initial_measurements=self._measurements)

    def _needs(self) -> tuple[Needs, Needs]:
        """What the sets of inputs that are served for such a network need before training and after the first epoch."""
        predictor = self._training.predictor
        evidence = (self._verdict(BEFORE) if BEFORE in self._asked else predictor.verdict(self._row())).evidence
        served = predictor.card.judgement.served.get(evidence.split) if evidence else None
        return needs(served or EVERYTHING)

    def _advance(self, validation_loss: float | None, begin: float, elapsed: float, *, ended: bool) -> None:
        """Ask at the moment that has been reached, if it is a new one."""
        epoch = self._training.updates_per_epoch
        first = {"initial": self._spectrum, "initial_measurements": self._measurements}
        if ended or self._seen >= epoch:
            self._ask(EPOCH, self._row(**first, **self._curve(), **self._after_epoch(validation_loss)), begin, elapsed)
        elif len(self._losses) >= eighth_of(epoch) and EIGHTH not in self._asked:
            self._ask(EIGHTH, self._row(**first, **self._curve()), begin, elapsed)

    def _after_epoch(self, validation_loss: float | None) -> dict[str, Any]:
        """What is measured after the first epoch."""
        training, wanted = self._training, self._needs()[1]
        with refusing("the network cannot be measured"), apart(training.model):
            own = copied(training.model, training.recurrent) if wanted.spectrum or validation_loss is None else None
            loss = training.loss_of(own[0]) if own and validation_loss is None else validation_loss
            if loss is None or not math.isfinite(loss):
                return {"relative_loss": math.inf}
            spectrum = training.spectrum(own) if own and wanted.spectrum else None
        measured = training.measurements(wanted.files)
        return {"relative_loss": max(loss, 0.0) / training.chance, "spectrum": spectrum, "measurements": measured}

    def _curve(self) -> dict[str, Any]:
        """The losses, if there are enough of them to count."""
        epoch = self._training.updates_per_epoch
        if len(self._losses) < eighth_of(epoch):
            return {}
        return {"losses": self._losses, "chance": self._training.chance, "updates_per_epoch": epoch}

    def _row(self, **measured: Any) -> dict[str, Any]:
        """The inputs of the predictor."""
        training = self._training
        known, kind = dict(training.known), training.known["optimiser"]
        if kind == OWN:  # which no trial had, and the predictor takes as such
            del known["optimiser"]
        row = network_inputs(
            **measured,
            steps=training.sequences.steps,
            task=training.task,
            updates=training.budget * training.updates_per_epoch,
            **known,
        )
        return {name: value.item() if hasattr(value, "item") else value for name, value in row.items()} | {"optimiser": kind}

    def _ask(self, moment: str, row: dict[str, Any], begin: float, epoch: float | None, *, extra: float = 0.0) -> None:
        """Ask the predictor, and keep what the answer follows from; `epoch` is the seconds that one takes."""
        found = self._training.predictor.verdict(row)
        spent = time.perf_counter() - begin
        self.seconds += spent
        said = self._said(moment, spent + extra, epoch)
        self._asked[moment] = {"row": row, "cost": said}
        self._verdicts[moment] = replace(found, reasons=(*found.reasons, *said))

    def _said(self, moment: str, spent: float, epoch: float | None) -> list[str]:
        """Sentences on what was assumed and on what the measuring cost."""
        training, said = self._training, list[str]()
        if moment == BEFORE and training.assumed:
            said.append(
                f"mini-batches of {training.known['batch_size']} sequences, {training.updates_per_epoch} per epoch, are assumed; "
                "if that is wrong, set batch_size= and updates_per_epoch="
            )
        share = 100 * spent / epoch if epoch else None
        of = "" if share is None else f", {'about ' * (moment == BEFORE)}{share:,.{0 if share >= 10 else 1}f} % of an epoch"
        return [*said, f"measuring took {spent:.2g} s{of}"]

    def _verdict(self, moment: str) -> Verdict:
        """The answer that was given at a moment; after `load_state_dict`, the predictor is asked again."""
        if moment not in self._verdicts:
            asked = self._asked[moment]
            found = self._training.predictor.verdict(asked["row"])
            self._verdicts[moment] = replace(found, reasons=(*found.reasons, *asked["cost"]))
        return self._verdicts[moment]

    def _count(self, new: list[float], *, ended: bool) -> None:
        """Take in new losses; ModuleError if the assumed number of mini-batches in an epoch is wrong."""
        training, found = self._training, len(new)
        if not self._seen and not ended and training.assumed:
            size, expected = training.known["batch_size"], training.updates_per_epoch
            if training.assumed == "batch_size" and found == training.sequences.count // size:  # the last one was left out
                self._training = replace(training, updates_per_epoch=found)
            elif found > expected or (training.assumed == "nothing" and found != expected):
                raise ModuleError(
                    f"there are {found} losses, but {expected} mini-batches of {size} sequences make an epoch of the sequences "
                    "handed over; give batch_size= and updates_per_epoch=, or the losses of the whole epoch"
                )
        self._seen += found
        self._losses += new[: max(0, self._training.updates_per_epoch - len(self._losses))]


def _numbers(losses: Any, least: float = 0.0) -> list[float]:
    """Losses as floats."""
    if losses is None:
        return []
    if not isinstance(losses, Iterable) or isinstance(losses, Mapping | AnySet | str | bytes) or getattr(losses, "ndim", 1) != 1:
        raise ModuleError(f"losses should be one number per mini-batch, in their order, found {shown(losses)}")
    found = [value.detach() if isinstance(value, Tensor) else value for value in losses]
    return [number(f"losses[{place}]", value, least=least) for place, value in enumerate(found)]


def _plain(spectrum: Spectrum) -> dict[str, Any]:
    """What the predictor uses of a spectrum, and the errors that come with it, as lists."""
    numbers = {name: getattr(spectrum, name).tolist() for name in ("per_sequence", "history", *_ERRORS)}
    return numbers | {"state_size": spectrum.state_size, "transient": spectrum.transient}


def _spectrum(state: Mapping[str, Any]) -> Spectrum:
    """The spectrum from `_plain`."""
    numbers: dict[str, Any] = {n: torch.tensor(state[n], dtype=torch.float64) for n in ("per_sequence", "history", *_ERRORS)}
    return Spectrum(**numbers, state_size=state["state_size"], transient=state["transient"])
