"""The callback for the Trainer of transformers."""

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

import pipeline
from pipeline import Watch
from pipeline.core.errors import ModuleError

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from pipeline.integrations.transformers import Answers, StabilityCallback  # noqa: E402

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.filterwarnings("ignore::FutureWarning")]
X = torch.randn(80, 12, 2, generator=torch.Generator().manual_seed(0))
Y = X[:, -3:, :1].sum(1)


class Net(nn.Module):
    """Series (B, T, 2) -> one number, in a mapping with the loss if there are targets."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(2, 8, batch_first=True), nn.Linear(8, 1)

    def forward(self, x, labels=None):
        logits = self.head(self.rnn(x)[0][:, -1])
        return {"logits": logits} if labels is None else {"loss": mse_loss(logits, labels), "logits": logits}


@pytest.fixture
def options(monkeypatch):
    """What the watch was made with."""
    found = {}
    make = pipeline.integrations.transformers.watch

    def recorded(model, inputs, targets, **given):
        found.update(given, model=model)
        return make(model, inputs, targets, **given)

    monkeypatch.setattr("pipeline.integrations.transformers.watch", recorded)
    return found


def trained(folder, callbacks, *, lr=1e-2, epochs=3, **options):
    torch.manual_seed(0)
    model = Net()
    trainer = transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(folder),
            num_train_epochs=epochs,
            per_device_train_batch_size=8,
            learning_rate=lr,
            lr_scheduler_type="constant",
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            **options,
        ),
        train_dataset=[{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)],
        callbacks=callbacks,
    )
    trainer.train()
    return model, trainer


def test_a_hopeless_training_stops_after_the_first_epoch_and_a_good_one_goes_on(tmp_path):
    for lr, epochs in ((1e-7, 1), (1e-2, 3)):
        callback = StabilityCallback(X, Y, loss=mse_loss)
        _, trainer = trained(tmp_path, [callback], lr=lr)
        assert trainer.state.epoch == epochs
        assert callback.watch.verdict.moment == "one epoch"


def test_budget_mini_batches_and_clipping_come_from_the_trainer(tmp_path, options):
    trained(tmp_path, [StabilityCallback(X, Y, loss=mse_loss)], epochs=2, max_grad_norm=0.5, gradient_accumulation_steps=2)
    found = {name: options[name] for name in ("budget", "updates_per_epoch", "batch_size", "clip_norm")}
    assert found == {"budget": 2, "updates_per_epoch": 5, "batch_size": 16, "clip_norm": 0.5}


def test_an_option_counts_where_the_trainer_says_something_else(tmp_path, options):
    trained(tmp_path, [StabilityCallback(X, Y, loss=mse_loss, budget=40)], epochs=1)
    assert options["budget"] == 40


def test_a_training_goes_as_it_does_without_the_callback(tmp_path):
    models = [trained(tmp_path, callbacks)[0] for callbacks in ([], [StabilityCallback(X, Y, loss=mse_loss, stop_below=0)])]
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))


def test_the_network_is_measured_before_its_first_step(tmp_path, monkeypatch):
    seen = []
    before = Watch.before
    monkeypatch.setattr(Watch, "before", lambda self: seen.append(1) or before(self))
    trained(tmp_path, [StabilityCallback(X, Y, loss=mse_loss)], epochs=1)
    assert seen == [1]


def test_answers_are_the_logits_or_all_that_a_model_returns():
    model = Net()
    assert torch.equal(Answers(model)(X), model(X)["logits"])
    assert torch.equal(Answers(model.head)(X.mean(1) @ torch.ones(2, 8)), model.head(X.mean(1) @ torch.ones(2, 8)))


def test_a_callback_that_missed_the_beginning_says_so():
    with pytest.raises(ModuleError, match="before training begins"):
        StabilityCallback(X, Y, loss=mse_loss).on_epoch_end(None, None, None)
