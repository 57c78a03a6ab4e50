"""A callback for Lightning that asks the predictor before training and after the first epoch, and ends hopeless trainings."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import IterableDataset

from ..core.errors import ModuleError, first_line
from ..core.numbers import number
from ..predictor import Verdict
from ..watching.watch import Watch, watch

try:
    import lightning.pytorch as framework
    from lightning.pytorch.utilities.seed import isolate_rng
except ModuleNotFoundError:
    try:
        import pytorch_lightning as framework
        from pytorch_lightning.utilities.seed import isolate_rng
    except ModuleNotFoundError:
        raise ModuleNotFoundError("Lightning is not installed: pip install 'rnn-stability[lightning]'") from None

MOST = 500  # sequences on which a network is measured


class StabilityCallback(framework.Callback):  # type: ignore[misc] # an optional library
    """Asks the predictor before training and after each epoch, and stops a training that is unlikely to succeed.

    The verdict's probability and expected score go to the trainer's loggers as `stability/probability` and
    `stability/expected_score`. Budget, mini-batches, clipping and optimiser are read from the trainer. The order of the data
    and all random numbers stay as they are without the callback. On several devices, the first one measures with its own
    losses, and all stop together. A training that is resumed from a checkpoint goes on without measuring again.

    Attributes:
        watch: of the training, once it has begun; None on all devices but the first.
        verdict: the last one; None before training.
    """

    def __init__(
        self,
        loss: Callable[[Tensor, Tensor], Tensor],
        *,
        stop_below: float = 0.05,
        data: tuple[Tensor, Tensor] | None = None,
        monitor: str | None = "val_loss",
        model: str | None = None,
        recurrent: str | None = None,
        **watch_options: Any,
    ) -> None:
        """Store the options.

        Args:
            loss: answers, targets -> loss, a mean over sequences.
            stop_below: probability of success below which a training stops, after the first epoch or at a loss that is not
                finite; 0 never stops.
            data: inputs and targets as for `watch`; by default up to 500 sequences of the first batches of the training data
                loader, which must then have a dataset with indices that draws no random numbers from a generator of its own,
                and batches that are pairs.
            monitor: name of the logged mean of `loss` on validation data; where it is missing, or None, the loss after the
                first epoch is measured on `data`.
            model: name of the submodule that maps inputs to answers; by default the LightningModule itself does.
            recurrent: name of the recurrent part, below `model`; by default the only torch.nn.RNN, LSTM or GRU.
            **watch_options: further options of `watch`; they count where they differ from what the trainer says.
        """
        if data is not None and (not isinstance(data, tuple | list) or len(data) != 2):
            raise ModuleError("data should be a pair of inputs and targets")
        self.watch: Watch | None = None
        self.verdict: Verdict | None = None
        self._loss, self._stop_below = loss, number("stop_below", stop_below)
        self._data, self._monitor, self._model, self._recurrent = data, monitor, model, recurrent
        self._options = watch_options
        self._losses: list[Tensor] = []  # of mini-batches since the last verdict
        self._state: Mapping[str, Any] = {}  # from a checkpoint

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Measure the network before training, or go on from a checkpoint."""
        self._decide(trainer, lambda: self._begin(trainer, pl_module))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Keep the loss of a mini-batch."""
        found = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(found, Tensor) and trainer.is_global_zero:
            self._losses.append(found.detach())

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Ask again, and stop a training that is unlikely to succeed."""
        verdict = self._decide(trainer, lambda: self._ask(trainer))
        if verdict.probability < self._stop_below:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """What a training that is resumed needs to go on without measuring again."""
        if self.watch is None:
            return dict(self._state)
        return {"watch": self.watch.state_dict(), "losses": [float(loss) for loss in self._losses]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a checkpoint once training begins."""
        self._state = state_dict

    def _decide(self, trainer: Any, ask: Callable[[], Verdict]) -> Verdict:
        """The verdict that the first device asks for, and its error if there is one, on all devices; it is logged."""
        answer: Any = None
        cause: Exception | None = None
        if trainer.is_global_zero:
            try:
                answer = ask()
            except Exception as error:  # the other devices wait for an answer
                answer, cause = first_line(error), error
        answer = trainer.strategy.broadcast(answer)
        if isinstance(answer, str):
            raise ModuleError(answer) from cause
        if answer != self.verdict:
            for logger in trainer.loggers:
                logger.log_metrics(answer.to_dict("stability/"), step=trainer.global_step)
        self.verdict = answer
        return answer

    def _begin(self, trainer: Any, pl_module: Any) -> Verdict:
        model = _part(pl_module, self._model)
        (optimizer,) = trainer.optimizers if len(trainer.optimizers) == 1 else _refuse("one optimiser", trainer.optimizers)
        options = _read(trainer) | self._options
        inputs, targets = (values.to(pl_module.device) for values in self._data or _first_sequences(trainer))
        part = None if self._recurrent is None else _part(model, self._recurrent)
        self.watch = watch(model, inputs, targets, loss=self._loss, optimizer=optimizer, recurrent=part, **options)
        if not self._state:
            return self.watch.before()
        self.watch.load_state_dict(self._state["watch"])
        self._losses = [torch.tensor(loss, device=pl_module.device) for loss in self._state["losses"]]
        self._state = {}
        return self.watch.verdict or self.watch.before()

    def _ask(self, trainer: Any) -> Verdict:
        if self.watch is None:
            raise ModuleError("the callback should be handed to the Trainer before training begins")
        size = trainer.accumulate_grad_batches  # Lightning has divided the losses by it
        losses = [value * size for value in torch.stack(self._losses).tolist()] if self._losses else []
        groups = [losses[place : place + size] for place in range(0, len(losses), size)]
        monitored = None if self._monitor is None else trainer.callback_metrics.get(self._monitor)
        self._losses = []
        updates = [sum(group) / len(group) for group in groups]
        return self.watch.epoch(updates or None, validation_loss=None if monitored is None else float(monitored))


def _part(module: nn.Module, name: str | None) -> nn.Module:
    """A submodule; ModuleError if there is none of this name."""
    try:
        return module if name is None else module.get_submodule(name)
    except AttributeError:
        names = ", ".join(part for part, _ in module.named_children())
        raise ModuleError(f"the model has no submodule {name!r}; it has {names}") from None


def _read(trainer: Any) -> dict[str, Any]:
    """What the trainer says of mini-batches, budget and clipping, as options of `watch`."""
    together, batches = trainer.accumulate_grad_batches, trainer.num_training_batches
    found: dict[str, Any] = {}
    if math.isfinite(batches):
        found["updates_per_epoch"] = math.ceil(batches / together)
        limits = [trainer.max_epochs] if trainer.max_epochs not in (None, -1) else []
        limits += [math.ceil(trainer.max_steps / found["updates_per_epoch"])] if trainer.max_steps > 0 else []
        found |= {"budget": min(limits)} if limits else {}
    loader = trainer.train_dataloader
    if size := getattr(getattr(loader, "batch_sampler", None), "batch_size", None):
        found["batch_size"] = size * together * trainer.world_size
    if trainer.gradient_clip_val and trainer.gradient_clip_algorithm in (None, "norm"):
        found["clip_norm"] = trainer.gradient_clip_val
    return found


def _first_sequences(trainer: Any) -> tuple[Tensor, Tensor]:
    """Inputs and targets of the first batches of the training data loader, which then starts as if nothing had been read."""
    loader = trainer.train_dataloader
    dataset: Any = getattr(loader, "dataset", None)
    batches: Any = getattr(loader, "batch_sampler", None)
    if dataset is None or batches is None or isinstance(dataset, IterableDataset):
        _refuse("one data loader with batches of a dataset with indices", loader)
    with _as_before(loader):
        chosen = list(islice(chain.from_iterable(batches), MOST))
        try:
            found = loader.collate_fn([dataset[index] for index in chosen])
        except Exception as error:  # whatever the user's code raises
            raise ModuleError(
                f"the first {MOST} sequences cannot be read: {first_line(error)}; hand them over as data="
            ) from error
    if not isinstance(found, tuple | list) or len(found) != 2:
        _refuse("batches of inputs and targets", found)
    return found[0], found[1]


@contextmanager
def _as_before(loader: Any) -> Iterator[None]:
    """Keep all states of random numbers, also those of the data loader's own generators."""
    owners = (loader, getattr(loader, "sampler", None), loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None))
    found = [getattr(owner, "generator", None) for owner in owners]
    states = [(generator, generator.get_state()) for generator in found if isinstance(generator, torch.Generator)]
    with isolate_rng():
        yield
    for generator, state in states:
        generator.set_state(state)


def _refuse(expected: str, found: Any) -> Any:
    shown = f"{len(found)} {type(found).__name__}" if isinstance(found, list | tuple) else type(found).__name__
    raise ModuleError(f"the callback needs {expected}, found {shown}; see data= and `watch` for other trainings")
