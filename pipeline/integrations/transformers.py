"""A callback for the Trainer of Hugging Face's transformers, which ends trainings that are unlikely to succeed."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from ..core.errors import ModuleError
from ..core.numbers import number
from ..watching.watch import Watch, watch

try:
    from transformers import TrainerCallback
except ModuleNotFoundError:
    raise ModuleNotFoundError("transformers is not installed: pip install 'rnn-stability[transformers]'") from None


class Answers(nn.Module):
    """A model that returns its answers alone, and not in a mapping with the loss."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        """The logits, or all that the model returns if that is no mapping."""
        found = self.model(inputs)
        return found["logits"] if isinstance(found, Mapping) else found


class StabilityCallback(TrainerCallback):  # type: ignore[misc] # an optional library
    """Asks the predictor before training and after the first epoch, and stops a training that is unlikely to succeed.

    The losses of mini-batches are not known to callbacks, so that the verdict after an epoch rests on the loss on
    `validation`, or on the training sequences. A training that is resumed from a checkpoint cannot be measured any more, and
    is refused: leave the callback out of it.

    Attributes:
        watch: of the training; None before it.
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        *,
        loss: Callable[[Tensor, Tensor], Tensor],
        stop_below: float = 0.05,
        **watch_options: Any,
    ) -> None:
        """Store the options.

        Args:
            inputs: training sequences, as for `watch`; the model takes them as its first argument.
            targets: their targets.
            loss: answers, targets -> loss, a mean over sequences.
            stop_below: probability of success below which a training stops after an epoch; 0 never stops.
            **watch_options: further options of `watch`; they count where they differ from what the Trainer says.
        """
        self.watch: Watch | None = None
        self._data, self._options = (inputs, targets), {"loss": loss} | watch_options
        self._stop_below = number("stop_below", stop_below)

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: Any, optimizer: Any, **others: Any) -> None:
        """Measure the network before training."""
        updates = -(-state.max_steps // state.num_train_epochs)
        read = {
            "budget": state.num_train_epochs,
            "updates_per_epoch": updates,
            "batch_size": state.train_batch_size * args.gradient_accumulation_steps * args.world_size,
            "clip_norm": args.max_grad_norm or 0.0,
        }
        data = [values.to(next(model.parameters()).device) for values in self._data]
        self.watch = watch(Answers(model), *data, optimizer=optimizer, **read | self._options)
        self.watch.before()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Ask again, and stop a training that is unlikely to succeed."""
        if self.watch is None:
            raise ModuleError("the callback should be handed to the Trainer before training begins")
        if self.watch.epoch().probability < self._stop_below:
            control.should_training_stop = True
