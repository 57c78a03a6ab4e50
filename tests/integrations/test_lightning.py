"""The callback for Lightning."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import pipeline
from pipeline import Verdict, Watch
from pipeline.core.errors import ModuleError

framework = pytest.importorskip("lightning.pytorch")

from pipeline.integrations.lightning import StabilityCallback  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*exists and is not empty"),
    pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval"),
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    pytest.mark.filterwarnings("ignore:You.re resuming from a checkpoint that ended"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
ROOT = Path(__file__).parent.parent.parent
X = torch.randn(80, 12, 2, generator=torch.Generator().manual_seed(0))
Y = X[:, -3:, :1].sum(1)


class Net(framework.LightningModule):
    """Series (B, T, 2) -> one number, trained on the sum of the last three."""

    def __init__(self, lr=1e-2, validate=True):
        super().__init__()
        self.rnn, self.head = nn.GRU(2, 8, batch_first=True), nn.Linear(8, 1)
        self.lr, self.seen, self.losses, self.validate = lr, [], [], validate

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])

    def training_step(self, batch, batch_idx):
        loss = mse_loss(self(batch[0]), batch[1])
        self.seen.append(batch[0].clone())
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", mse_loss(self(batch[0]), batch[1]) + 1.0)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


class Logger(framework.loggers.Logger):
    """Keeps metrics."""

    def __init__(self):
        super().__init__()
        self.kept = []

    name = version = "kept"

    def log_metrics(self, metrics, step=None):
        self.kept.append((step, metrics))

    def log_hyperparams(self, *_, **__):
        pass


def loader(**options):
    return DataLoader(TensorDataset(X, Y), batch_size=8, **{"shuffle": True} | options)


def trainer(callbacks, epochs=2, **options):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "enable_checkpointing": False}
    return framework.Trainer(max_epochs=epochs, callbacks=callbacks, **quiet | {"logger": False} | options)


def fitted(callbacks, *, model=None, data=None, validation=True, ckpt_path=None, **options):
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    model = Net() if model is None else model
    made = trainer(callbacks, **options)
    made.fit(model, loader() if data is None else data, loader(shuffle=False) if validation else None, ckpt_path=ckpt_path)
    return model, made


@pytest.fixture
def asked(monkeypatch):
    """What the watch was handed over after each epoch."""
    calls = []
    epoch = Watch.epoch

    def recorded(self, losses=None, *, validation_loss=None):
        calls.append((losses, validation_loss))
        return epoch(self, losses, validation_loss=validation_loss)

    monkeypatch.setattr(Watch, "epoch", recorded)
    return calls


@pytest.fixture
def options(monkeypatch):
    """What the watch was made with."""
    found = {}
    make = pipeline.integrations.lightning.watch

    def recorded(model, inputs, targets, **given):
        found.update(given, inputs=inputs, targets=targets, model=model)
        return make(model, inputs, targets, **given)

    monkeypatch.setattr("pipeline.integrations.lightning.watch", recorded)
    return found


def test_a_training_goes_as_it_does_without_the_callback():
    runs = [fitted(callbacks)[0] for callbacks in ([], [StabilityCallback(mse_loss, stop_below=0)])]
    assert len(runs[0].seen) == 20
    assert all(torch.equal(a, b) for a, b in zip(runs[0].seen, runs[1].seen, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(runs[0].parameters(), runs[1].parameters(), strict=True))


def test_a_generator_of_the_data_loader_goes_as_it_does_without_the_callback():
    def seen(callbacks):
        return fitted(callbacks, data=loader(generator=torch.Generator().manual_seed(2)), epochs=1)[0].seen

    both = seen([]), seen([StabilityCallback(mse_loss)])
    assert all(torch.equal(a, b) for a, b in zip(*both, strict=True))


def test_the_network_is_measured_on_the_first_batches_in_their_order(options):
    model, _ = fitted([StabilityCallback(mse_loss)])
    assert torch.equal(options["inputs"], torch.cat(model.seen[:10]))


def test_losses_and_the_validation_loss_reach_the_predictor(asked):
    model, _ = fitted([StabilityCallback(mse_loss, stop_below=0)])
    assert [losses for losses, _ in asked] == [pytest.approx(model.losses[:10]), pytest.approx(model.losses[10:])]
    with torch.no_grad():
        assert asked[1][1] == pytest.approx(float(mse_loss(model(X), Y)) + 1, rel=1e-5)


def test_without_a_logged_validation_loss_it_is_measured(asked):
    callback = StabilityCallback(mse_loss, stop_below=0)
    fitted([callback], validation=False)
    assert asked[0][1] is None
    assert callback.verdict.moment == "one epoch"


def test_budget_mini_batches_optimiser_and_clipping_come_from_the_trainer(options):
    model, _ = fitted(
        [StabilityCallback(mse_loss, stop_below=0)],
        epochs=3,
        gradient_clip_val=0.5,
        accumulate_grad_batches=4,
        limit_train_batches=9,
    )
    found = {name: options[name] for name in ("budget", "updates_per_epoch", "batch_size", "clip_norm")}
    assert found == {"budget": 3, "updates_per_epoch": 3, "batch_size": 32, "clip_norm": 0.5}
    assert options["optimizer"].param_groups[0]["lr"] == model.lr


def test_a_limit_of_steps_is_a_budget(options):
    fitted([StabilityCallback(mse_loss)], epochs=None, max_steps=25)
    assert options["budget"] == 3


def test_losses_of_accumulated_batches_are_their_means(asked):
    model, _ = fitted([StabilityCallback(mse_loss)], epochs=1, accumulate_grad_batches=4)
    losses = model.losses
    assert asked[0][0] == pytest.approx([sum(part) / len(part) for part in (losses[:4], losses[4:8], losses[8:])], rel=1e-5)


def test_a_hopeless_training_stops_after_the_first_epoch_and_a_good_one_goes_on():
    for lr, epochs in ((1e-7, 1), (1e-2, 4)):
        model, made = fitted([StabilityCallback(mse_loss)], model=Net(lr), epochs=4)
        assert made.current_epoch == epochs
        assert len(model.seen) == 10 * epochs


def test_a_loss_that_is_not_finite_ends_the_training_at_any_epoch():
    class Breaks(Net):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            return loss * float("nan") if self.current_epoch == 1 and batch_idx == 9 else loss

    callback = StabilityCallback(mse_loss, stop_below=0.01)
    _, made = fitted([callback], model=Breaks(), epochs=4)
    assert made.current_epoch == 2
    assert (callback.verdict.probability, callback.verdict.based_on) == (0, "divergence")


def test_both_verdicts_are_logged_when_they_are_known():
    logger, callback = Logger(), StabilityCallback(mse_loss, stop_below=0)
    fitted([callback], logger=logger, epochs=3)
    kept = [(step, metrics) for step, metrics in logger.kept if "stability/probability" in metrics]
    assert [step for step, _ in kept] == [0, 10]
    assert kept[1][1] == callback.verdict.to_dict("stability/")
    assert set(kept[0][1]) == {"stability/probability", "stability/expected_score"}


def test_a_resumed_training_goes_on_without_measuring_again(tmp_path, monkeypatch):
    first = StabilityCallback(mse_loss, stop_below=0)
    _, made = fitted([first], epochs=1)
    made.save_checkpoint(tmp_path / "one.ckpt")
    monkeypatch.setattr(Watch, "before", lambda self: pytest.fail("measured again"))
    again = StabilityCallback(mse_loss, stop_below=0)
    _, made = fitted([again], epochs=2, ckpt_path=tmp_path / "one.ckpt")
    assert made.current_epoch == 2
    assert again.verdict == first.verdict
    assert again.watch.state_dict()["seen"] == 20


def test_a_training_that_is_resumed_within_the_first_epoch_keeps_its_losses(tmp_path, asked):
    saved = framework.callbacks.ModelCheckpoint(tmp_path, every_n_train_steps=4, save_top_k=-1)
    fitted([StabilityCallback(mse_loss, stop_below=0), saved], epochs=1, enable_checkpointing=True)
    losses = asked.pop()[0]
    path = next(tmp_path.glob("*step=4.ckpt"))
    fitted([StabilityCallback(mse_loss, stop_below=0)], model=Net(), epochs=1, ckpt_path=path)
    assert asked[0][0][:4] == losses[:4]
    assert len(asked[0][0]) == 10


def test_parts_of_the_module_go_by_their_names(options):
    class Outer(Net):
        def __init__(self):
            super().__init__()
            self.net, self.spare = nn.Sequential(), nn.GRU(2, 3)
            self.net.add_module("inner", Whole())
            del self.rnn, self.head

        def forward(self, x):
            return self.net(x)

    model, _ = fitted([StabilityCallback(mse_loss, model="net", recurrent="inner.rnn")], model=Outer(), epochs=1)
    assert options["recurrent"] is model.net.inner.rnn
    assert options["model"] is model.net


class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(2, 8, batch_first=True), nn.Linear(8, 1)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


def test_a_stream_needs_data_and_a_number_of_mini_batches():
    stream = DataLoader(Stream(), batch_size=8)
    with pytest.raises(ModuleError, match="one data loader with batches of a dataset with indices, found DataLoader; see data="):
        fitted([StabilityCallback(mse_loss, updates_per_epoch=10, batch_size=8)], data=stream)
    callback = StabilityCallback(mse_loss, data=(X, Y), updates_per_epoch=10, batch_size=8, budget=2, stop_below=0)
    fitted([callback], data=stream)
    assert callback.verdict.moment == "one epoch"


def test_batches_that_are_no_pairs_are_refused():
    data = DataLoader([{"x": x, "y": y} for x, y in zip(X, Y, strict=True)], batch_size=8)
    with pytest.raises(ModuleError, match="needs batches of inputs and targets, found dict; see data="):
        fitted([StabilityCallback(mse_loss)], data=data)


def test_an_error_of_the_users_loss_is_one_sentence():
    def loss(answers, targets):
        raise KeyError("weights")

    with pytest.raises(ModuleError, match="weights"):
        fitted([StabilityCallback(loss)])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        ({"recurrent": "lstm"}, "the model has no submodule 'lstm'; it has rnn, head"),
        ({"model": "net"}, "the model has no submodule 'net'; it has rnn, head"),
        ({"batchsize": 3}, "batchsize"),
        ({"data": X}, "data should be a pair of inputs and targets"),
    ],
)
def test_names_that_do_not_exist_are_refused(make, said):
    with pytest.raises(ModuleError, match=said):
        fitted([StabilityCallback(mse_loss, **make)])


def test_a_verdict_can_be_sent_to_other_processes():
    import pickle

    callback = StabilityCallback(mse_loss)
    fitted([callback], epochs=1)
    assert isinstance(callback.verdict, Verdict)
    assert pickle.loads(pickle.dumps(callback.verdict)) == callback.verdict


DISTRIBUTED = """
import sys, warnings
from pathlib import Path

warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[3])
import torch
from test_lightning import Net, X, Y, framework
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

from pipeline.core.errors import ModuleError
from pipeline.integrations.lightning import StabilityCallback

torch.manual_seed(0)
callback = StabilityCallback(mse_loss, **({"recurrent": "none"} if sys.argv[2] == "wrong" else {}))
trainer = framework.Trainer(
    max_epochs=4, accelerator="cpu", devices=2, callbacks=[callback], logger=False, enable_checkpointing=False,
    strategy=framework.strategies.DDPStrategy(process_group_backend="gloo"), enable_progress_bar=False,
    enable_model_summary=False,
)
model = Net(float(sys.argv[2]) if sys.argv[2] != "wrong" else 1e-2)
try:
    trainer.fit(model, DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True))
except ModuleError as error:
    said = str(error)
else:
    said = f"{trainer.current_epoch} {callback.verdict.probability!r} {callback.watch is not None} {len(model.seen)}"
Path(sys.argv[1], str(trainer.global_rank)).write_text(said)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["1e-7", "1e-2", "wrong"])
def test_two_processes_decide_together(tmp_path, kind):
    script = tmp_path / "train.py"
    script.write_text(DISTRIBUTED)
    done = subprocess.run(
        [sys.executable, script, tmp_path, kind, Path(__file__).parent],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    first, second = ((tmp_path / rank).read_text() for rank in "01")
    if kind == "wrong":
        assert first == second == "the model has no submodule 'none'; it has rnn, head"
        return
    epochs = {"1e-7": "1", "1e-2": "4"}[kind]
    probability = first.split()[1]
    assert first == f"{epochs} {probability} True {5 * int(epochs)}"
    assert second == f"{epochs} {probability} False {5 * int(epochs)}"
