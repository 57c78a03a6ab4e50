"""A training that is watched: its verdicts against those asked for by hand, and that nothing of the user's is changed."""

import copy
import json
import math
import random
import warnings

import numpy as np
import pytest
import torch
from draws import noise
from torch import nn
from torch.nn.functional import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    l1_loss,
    mse_loss,
    nll_loss,
)
from trained import CASES, SERIES, TOKENS, N, Series, T, Tagger, per_step, trained

from pipeline import (
    AlignmentWarning,
    ModuleError,
    StabilityPredictor,
    early_measurements,
    lyapunov_spectrum,
    measuring,
    network_inputs,
    watch,
)
from pipeline.predictor.inputs import BEFORE, EIGHTH, EPOCH
from pipeline.watching import training as training_module
from pipeline.watching.chance import best_constant
from pipeline.watching.needs import EVERYTHING, Needs, needs


@pytest.fixture(scope="module")
def predictor():
    return StabilityPredictor.load()


def watched(name, **changes):
    """A case, its model and optimiser, and the watch."""
    case = CASES[name]
    model, optimiser, options = case.training()
    return case, model, optimiser, watch(model, case.inputs, case.targets, **{"batch_size": 8} | options | changes)


def row_of(seen, moment):
    """The inputs of the predictor on which an answer is based."""
    return seen.state_dict()["asked"][moment]["row"]


# The verdicts


@pytest.mark.parametrize("name", ["series", "tokens"])
def test_the_verdicts_are_those_of_the_same_questions_asked_by_hand(predictor, name):
    case, model, optimiser, seen = watched(name)
    chance = -float(sum(p * math.log(p) for p in (case.targets.flatten().bincount() / case.targets.numel()).tolist()))
    recurrent = model.gru if name == "tokens" else model.rnn
    layout = {"every_step": case.every_step, "batch_first": case.batch_first}
    known = {
        "steps": T,
        "updates": 50 * N // 8,
        "learning_rate": 5e-3,
        "weight_decay": 0.01,
        "batch_size": 8,
        "hidden_size": 16,
        "cell": "gru" if name == "tokens" else "lstm",
        "init_scale": 3**0.5 * float(recurrent.weight_hh_l0.detach().double().square().mean()) ** 0.5,
        "parameter_count": sum(p.numel() for p in model.parameters()),
    }

    def measured():
        numbers = early_measurements(
            model, case.inputs, case.targets, loss=case.loss, optimiser=optimiser, chance=chance, batch_size=8, **layout
        )
        two = [0, N - 1]
        driving = model.embedding(case.inputs[two]).detach()[:, :30] if name == "tokens" else case.inputs[:30, two]
        return {"measurements": numbers, "spectrum": lyapunov_spectrum(recurrent, driving, count=8, transient=10)}

    def same(found, **asked):
        by_hand = predictor.verdict(network_inputs(**known, **asked))
        assert (found.moment, found.based_on) == (by_hand.moment, by_hand.based_on)
        # the loss by chance and the scale of the weights are found in float32
        assert found.probability == pytest.approx(by_hand.probability, abs=1e-3)
        assert found.expected_score == pytest.approx(by_hand.expected_score, abs=1e-3)

    first = measured()
    same(seen.before(), **first)
    before = {"initial": first["spectrum"], "initial_measurements": first["measurements"], "chance": chance}
    losses = trained(model, optimiser, case, case.batches()[:3])
    same(seen.epoch(losses), losses=losses, updates_per_epoch=8, **before)
    losses += trained(model, optimiser, case, case.batches()[3:])
    validation = float(case.loss(model(case.inputs), case.targets).detach())
    same(
        seen.epoch(losses[3:]),
        losses=losses,
        updates_per_epoch=8,
        relative_loss=validation / chance,
        **before,
        **measured(),
    )


def test_the_spectrum_is_driven_by_what_enters_the_recurrent_part_and_begins_where_the_model_says():
    case, model, _, seen = watched("dropout", batch_size=40)  # other settings, so that a spectrum is served
    with warnings.catch_warnings():
        warnings.simplefilter("error", AlignmentWarning)
        seen.before()
    two = case.inputs[[0, N - 1]]
    own = copy.deepcopy(model.rnn).eval()
    driving = model.project(two).transpose(0, 1)[:30].detach()
    by_hand = lyapunov_spectrum(own, driving, state=model.begin.detach().expand(2, 2, 16).contiguous(), count=8, transient=10)
    found = torch.tensor(seen.state_dict()["spectrum"]["per_sequence"], dtype=torch.float64)
    torch.testing.assert_close(found, by_hand.per_sequence.double(), rtol=0, atol=1e-6)


# Nothing is changed


def everything(model, optimiser):
    """All that should stay as it is, as values that can be compared."""
    tensors = {**model.state_dict(), **{f"{n} gradient": p.grad for n, p in model.named_parameters() if p.grad is not None}}
    hooks = [(n, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for n, m in model.named_modules()]
    modes = [(n, m.training) for n, m in model.named_modules()]
    random_state = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    state = copy.deepcopy(optimiser.state_dict())
    return {n: t.clone() for n, t in tensors.items()}, hooks, modes, random_state, repr(state), torch.is_grad_enabled()


def same_state(one, two):
    assert one[1:] == two[1:]
    assert one[0].keys() == two[0].keys()
    assert all(torch.equal(one[0][name], two[0][name]) for name in one[0])


@pytest.mark.parametrize("name", CASES)
def test_model_optimiser_gradients_modes_hooks_and_random_numbers_stay_as_they_are(name):
    case = CASES[name]
    model, optimiser, options = case.training()
    next(iter(model.children())).eval()  # a mode of one part alone
    state = everything(model, optimiser)
    seen = watch(model, case.inputs, case.targets, **{"batch_size": 8} | options)
    same_state(everything(model, optimiser), state)
    seen.before()
    same_state(everything(model, optimiser), state)
    losses = trained(model, optimiser, case, case.batches())
    state = everything(model, optimiser)
    assert seen.epoch(losses).moment == EPOCH
    same_state(everything(model, optimiser), state)


@pytest.mark.parametrize("name", CASES)
def test_a_training_that_is_watched_equals_one_that_is_not(name):
    weights = []
    for watching in (False, True):
        case = CASES[name]
        model, optimiser, options = case.training()
        seen = watch(model, case.inputs, case.targets, **{"batch_size": 8} | options) if watching else None
        if seen:
            seen.before()
        for part in (case.batches()[:2], case.batches()[2:], case.batches()):
            losses = trained(model, optimiser, case, part)
            if seen:
                seen.epoch(losses)
        weights.append(model.state_dict())
    assert all(torch.equal(weights[0][n], weights[1][n]) for n in weights[0])


def test_numbers_that_the_users_code_draws_from_numpy_and_python_are_not_drawn():
    case, model, optimiser = CASES["series"], *CASES["series"].training()[:2]

    def loss(answers, targets):
        return case.loss(answers, targets) + 0 * (np.random.rand() + random.random())  # noqa: NPY002 as others do

    states = [np.random.get_state(), random.getstate()]  # noqa: NPY002
    seen = watch(model, case.inputs, case.targets, loss=loss, optimizer=optimiser, budget=5, batch_size=8)
    seen.before()
    seen.epoch()
    assert str([np.random.get_state(), random.getstate()]) == str(states)  # noqa: NPY002


@pytest.mark.parametrize("rate", [1.0, 1e3])
def test_a_learning_rate_beyond_all_trials_is_not_vouched_for(predictor, rate):
    """It is at most as promising as the trials with the largest steps, before training and once the loss has risen."""
    case = CASES["series"]
    model, _, options = case.training()
    optimiser = torch.optim.Adam(model.parameters(), rate)
    seen = watch(model, case.inputs, case.targets, **options | {"optimizer": optimiser}, batch_size=8)
    ratios, successes = (predictor.trials[name] for name in ("initial_step_ratio", "success"))
    edge = successes[np.argsort(-np.nan_to_num(ratios, nan=-9))[: round(0.025 * len(ratios))]].mean()
    before = seen.before()
    after = seen.epoch(trained(model, optimiser, case, case.batches()))
    assert before.probability <= edge + 0.01
    assert before.evidence is None
    assert before.reasons[0].startswith(
        f"steps are larger than in all trials (learning rate {rate:.3g} (0.0001 to 0.0998), initial"
    )
    assert after.probability <= edge + 0.01


def test_the_verdict_is_the_same_under_no_grad_and_in_inference_mode():
    verdicts = []
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        case = CASES["series"]
        model, _, options = case.training()
        with mode():
            seen = watch(model, case.inputs.clone(), case.targets.clone(), batch_size=8, **options)
            verdicts.append(seen.before().to_dict())
    assert verdicts[0] == verdicts[1] == verdicts[2]


# What is read and found


@pytest.mark.parametrize("name", CASES)
def test_the_layout_is_found_from_the_shapes(name):
    case, _, _, seen = watched(name)
    found = seen._training.sequences
    assert (found.every_step, found.batch_first) == (case.every_step, case.batch_first)


def test_the_layout_is_found_where_there_are_as_many_steps_as_sequences():
    square = noise(T, T, 3).float()
    model, _, options = CASES["series"].training()
    assert watch(model, square, square[-1].argmax(-1), **options)._training.sequences.batch_first is False
    tokens = TOKENS[:T]
    model, _, options = CASES["tokens"].training()
    assert watch(model, tokens, tokens % 3, **options)._training.sequences.batch_first is True


class Channels(nn.Module):
    """Tokens (B, T) -> logits (B, 3, T)."""

    def __init__(self):
        super().__init__()
        self.tagger = Tagger()

    def forward(self, tokens):
        return self.tagger(tokens).transpose(1, 2)


class Numbers(nn.Module):
    """Series (T, B, 3) -> one number per step, (T, B)."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(3, 16)

    def forward(self, x):
        return self.rnn(x)[0].sum(-1)


class Twice(Series):
    """Runs its recurrent part twice."""

    def forward(self, x):
        return self.head(self.rnn(x)[0][-1] + self.rnn(x)[0][-1])


class Whole(Series):
    """Answers with more than its answers."""

    def forward(self, x):
        return super().forward(x), x


CLASSES = SERIES[-4].argmax(-1)


@pytest.mark.parametrize(
    ("build", "inputs", "targets", "changes", "sentence"),
    [
        (Channels, TOKENS, TOKENS % 3, {"loss": cross_entropy}, "do not fit together as one target per sequence or per step"),
        (Series, SERIES, CLASSES[:9], {}, "do not fit together .*; see batch_first= and every_step="),
        (Series, SERIES, CLASSES, {"every_step": True}, "do not fit together"),
        (Series, SERIES, CLASSES, {"batch_first": "no"}, "batch_first is 'no'; it should be True or False"),
        (Series, SERIES[0, :, 0], CLASSES, {}, r"inputs should be \(T, B, ...\) or \(B, T, ...\)"),
        (Series, [1.0], CLASSES, {}, "inputs should be a dense tensor, found list"),
        (Twice, SERIES, CLASSES, {}, "the model runs its recurrent part more than once; give a part"),
        (Whole, SERIES, CLASSES, {}, "the model should return its answers alone, a tensor, found tuple"),
        (Series, SERIES, CLASSES, {"budget": 0}, "budget is 0; it should be a whole number above 0"),
        (Series, SERIES, CLASSES, {"batch_size": 2.5}, "batch_size is 2.5; it should be a whole number"),
        (Series, SERIES, CLASSES, {"updates_per_epoch": -1}, "updates_per_epoch is -1; it should be a whole number"),
        (Series, SERIES, CLASSES, {"chance": 0.0}, "chance is 0; it should be the loss of the best answer"),
        (Series, SERIES, CLASSES, {"validation": SERIES}, "validation should be a pair of inputs and targets"),
        (Series, SERIES, CLASSES, {"validation": (SERIES, CLASSES[:3])}, "the inputs are 64 sequences of 32 steps, but"),
        (Series, SERIES, CLASSES, {"lerning_rate": 1.0}, "no argument 'lerning_rate'; did you mean 'learning_rate'"),
        (Series, SERIES, CLASSES, {"head": "mine"}, "head"),
        (Series, SERIES, CLASSES, {"losses": [1.0]}, "no argument 'losses'"),
        (Series, SERIES, CLASSES, {"predictor": 3}, "predictor should be a StabilityPredictor, found int"),
        (Series, SERIES, CLASSES, {"optimizer": 3}, "optimiser should be a torch.optim.Optimizer, found int"),
        (Series, SERIES, torch.zeros(N).long(), {}, "hand over targets that vary, or give it as chance="),
        (Series, SERIES, CLASSES, {"loss": lambda a, t: nll_loss(a, t)}, "the loss of the best constant answer .* chance="),
        (
            Series,
            SERIES.double(),
            CLASSES,
            {},
            r"the model does not run on inputs of the shape \(32, 64, 3\); the model raised: ",
        ),
        (
            Series,
            SERIES,
            CLASSES,
            {"loss": nn.CrossEntropyLoss(reduction="none")},
            r"loss should be a mean .*, found a tensor \(64,\)",
        ),
        (Series, SERIES, CLASSES, {"validation": (noise(T, 9, 5), CLASSES[:9])}, "the validation sequences cannot be used: "),
        (Series, SERIES, CLASSES, {"validation": (SERIES, CLASSES + 9)}, "the validation sequences cannot be used: "),
        (Series, SERIES, SERIES[-1], {"loss": lambda a, t: a[0, 99]}, r"cannot be found \(.*\); give it as chance="),
    ],
)
def test_what_cannot_be_watched_is_refused_in_one_sentence(build, inputs, targets, changes, sentence):
    torch.manual_seed(0)
    model = build()
    options = {"loss": cross_entropy, "optimizer": torch.optim.Adam(model.parameters()), "budget": 5} | changes
    with pytest.raises(ModuleError, match=sentence) as raised:
        watch(model, inputs, targets, **options).before()
    assert "\n" not in str(raised.value)


def test_one_number_per_step_may_be_one_vector_per_sequence_and_is_asked_for():
    model = Numbers()
    options = {"loss": mse_loss, "optimizer": torch.optim.Adam(model.parameters()), "budget": 5}
    found = watch(model, SERIES, SERIES[..., 0], **options)  # the batch is second, so that the steps cannot be a vector
    assert found._training.sequences.every_step
    first = nn.GRU(3, T, batch_first=True)

    class Vector(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = first

        def forward(self, x):
            return self.rnn(x)[0][:, -1]

    model = Vector()
    options = {"loss": mse_loss, "optimizer": torch.optim.Adam(model.parameters()), "budget": 5}
    x = SERIES.transpose(0, 1)
    with pytest.raises(ModuleError, match=r"leave open what every_step is; give every_step=True or False"):
        watch(model, x, x[..., 0], **options)
    assert watch(model, x, x[..., 0], every_step=False, **options).before().moment == BEFORE


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda p: torch.optim.Adam(p, lr=0.01), "adamw"),
        (lambda p: torch.optim.AdamW(p, lr=0.01), "adamw"),
        (lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9), "sgd"),
        (lambda p: torch.optim.SGD(p, lr=0.01), "another"),
        (lambda p: torch.optim.RMSprop(p, lr=0.01), "another"),
    ],
)
def test_the_kind_of_optimiser_is_read_and_one_that_no_trial_had_is_named(make, kind):
    case = CASES["series"]
    model, _, options = case.training()
    seen = watch(model, case.inputs, case.targets, **options | {"optimizer": make(model.parameters())})
    verdict = seen.before()
    assert row_of(seen, BEFORE)["optimiser"] == kind
    assert ("no trial had optimiser 'another'" in verdict.reasons) == (kind == "another")


def test_settings_are_read_from_the_group_of_the_recurrent_part_and_what_is_given_counts():
    case = CASES["dropout"]
    model, _, options = case.training()
    others = [p for n, p in model.named_parameters() if not n.startswith("rnn")]
    groups = [{"params": others, "lr": 0.5}, {"params": model.rnn.parameters(), "lr": 0.02, "weight_decay": 0.125}]
    changes = {"optimizer": torch.optim.AdamW(groups), "clip_norm": 0.5, "initialisation": "uniform"}
    seen = watch(model, case.inputs, case.targets, **options | changes)
    seen.before()
    row = row_of(seen, BEFORE)
    scale = 3**0.5 * float(model.rnn.weight_hh_l0.detach().square().mean()) ** 0.5
    expected = {
        "log_learning_rate": math.log10(0.02),
        "weight_decay": 0.125,
        "clip_norm": 0.5,
        "dropout": 0.25,
        "log_hidden_size": math.log10(16),
        "log_init_scale": math.log10(scale),
        "log_steps": math.log10(T),
        "log_batch_size": math.log10(50),
        "log_updates": 2.0,
        "log_parameter_count": math.log10(sum(p.numel() for p in model.parameters())),
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert (row["initialisation"], row["cell"]) == ("uniform", "elman")
    seen = watch(model, case.inputs, case.targets, **options | changes, learning_rate=0.1)
    seen.before()
    assert row_of(seen, BEFORE)["log_learning_rate"] == -1


def test_two_learning_rates_of_the_recurrent_part_are_refused():
    case = CASES["series"]
    model, _, options = case.training()
    groups = [{"params": [p], "lr": 0.01 * (1 + place)} for place, p in enumerate(model.parameters())]
    with pytest.raises(ModuleError, match="trains the recurrent part with several learning rates"):
        watch(model, case.inputs, case.targets, **options | {"optimizer": torch.optim.Adam(groups)})


# The loss by chance

Y = torch.tensor([0] * 10 + [1] * 30 + [2] * 60)
P = torch.tensor([0.1, 0.3, 0.6], dtype=torch.float64)
VALUES = noise(100, 2, seed=8).float() * 3 + 100
BITS = (torch.arange(100)[:, None] < 20).float()
WEIGHTS = torch.tensor([1.0, 2.0, 5.0])
WEIGHTED = P * WEIGHTS / (P * WEIGHTS).sum()
TWO = -(0.2 * math.log(0.2) + 0.8 * math.log(0.8))


def entropy(p):
    return -float((p * p.log()).sum())


@pytest.mark.parametrize(
    ("loss", "answers", "targets", "axes", "exact"),
    [
        (cross_entropy, noise(3, 3), Y, 1, entropy(P)),
        (nll_loss, noise(3, 3).log_softmax(-1), Y, 1, entropy(P)),
        (lambda a, t: nll_loss(a.log(), t), noise(3, 3).softmax(-1), Y, 1, entropy(P)),
        (lambda a, t: cross_entropy(a, t, weight=WEIGHTS), noise(3, 3), Y, 1, entropy(WEIGHTED)),
        (per_step, noise(3, 50, 3), Y.reshape(2, 50), 2, entropy(P)),
        (mse_loss, noise(3, 2), VALUES, 1, float(VALUES.double().var(0, correction=0).mean())),
        (mse_loss, noise(50, 3, 2), VALUES.reshape(50, 2, 2), 2, float(VALUES.double().var(0, correction=0).mean())),
        (l1_loss, noise(3, 2), VALUES, 1, float((VALUES - VALUES.median(0).values).double().abs().mean())),
        (binary_cross_entropy_with_logits, noise(3, 1), BITS, 1, TWO),
        (binary_cross_entropy, noise(3, 1).sigmoid(), BITS, 1, TWO),
        # the mean of (a - t)^4 for bits: a = r / (1 + r) with r = (0.2 / 0.8)^(1/3), where the derivative is 0
        (lambda a, t: (a - t).pow(4).mean(), noise(3, 1), BITS, 1, 0.2 * (1 - 0.38648821) ** 4 + 0.8 * 0.38648821**4),
    ],
)
def test_the_loss_by_chance_is_that_of_the_best_constant(loss, answers, targets, axes, exact):
    # float32: rounding of about 1e-7 per term, and a mean of squares of deviations from 100
    assert best_constant(loss, answers.float(), targets, axes=axes) == pytest.approx(exact, rel=1e-5)


def test_chance_that_is_given_counts():
    assert watched("series", chance=2.5)[-1].chance == 2.5


# What is needed


def test_nothing_is_measured_for_sets_without_measurements():
    nothing = Needs(frozenset(), False)
    assert needs({BEFORE: "hyper-parameters", EIGHTH: "curve", EPOCH: "curve, gradients"}) == (nothing, nothing)


FILES = {"credit", "functional_step", "gradient_signal", "readout", "separation", "step_ratio"}


@pytest.mark.parametrize(
    ("served", "before", "after"),
    [
        ({BEFORE: "hyper-parameters, measurements"}, (FILES | {"lags"}, False), (set(), False)),
        ({BEFORE: "hyper-parameters", EIGHTH: "loss, measurements"}, (FILES | {"lags"}, False), (set(), False)),
        ({BEFORE: "spectrum"}, ({"lags"}, True), (set(), False)),
        ({BEFORE: "chance", EPOCH: "loss, spectrum"}, ({"lags"}, True), (set(), True)),
        ({EPOCH: "loss, measurements"}, (FILES | {"lags"}, False), (FILES, False)),
        ({BEFORE: "zero-cost proxies"}, (FILES | {"lags", "proxies"}, False), (set(), False)),
        (EVERYTHING, (FILES | {"lags"}, True), (FILES, True)),
    ],
)
def test_what_is_needed_follows_from_the_sets_that_are_served(served, before, after):
    assert needs(served) == (Needs(frozenset(before[0]), before[1]), Needs(frozenset(after[0]), after[1]))


def test_no_more_is_measured_than_the_served_sets_need(monkeypatch):
    """Within the settings that the predictor learned from, and on a new task, the set after an epoch has a spectrum alone."""
    taken = []

    def spy(*args, **options):
        taken.append(set(options["only"]))
        return early_measurements(*args, **options)

    monkeypatch.setattr(training_module, "early_measurements", spy)
    case, model, optimiser, seen = watched("series", weight_decay=0.0)
    assert seen.before().based_on == "hyper-parameters, measurements"
    verdict = seen.epoch(trained(model, optimiser, case, case.batches()))
    assert verdict.based_on == "loss, spectrum"
    assert taken == [FILES | {"lags"}]


def test_a_part_of_the_measurements_equals_that_part_of_all():
    case = CASES["series"]
    model, optimiser, _ = case.training()
    asked = {"loss": case.loss, "optimiser": optimiser, "chance": 1.0, "batch_size": 8}
    whole = early_measurements(model, case.inputs, case.targets, **asked)
    only = ["step_ratio", "lags"]
    part = early_measurements(model, case.inputs, case.targets, **asked, only=only)
    assert part == {column: whole[column] for name in sorted(only) for column in measuring.get(name).columns}
    weights = np.zeros(T)
    weights[5] = 1.0
    assert early_measurements(model, case.inputs, case.targets, **asked, only=["lags"], dependence=weights) == {"lag_needed": 5}
    with pytest.raises(ModuleError, match="there is no measurement 'lag'; there are credit, "):
        early_measurements(model, case.inputs, case.targets, **asked, only=["lag"])


def test_measurements_without_proxies_suffice_and_a_part_of_the_others_does_not(predictor):
    case = CASES["series"]
    model, optimiser, _ = case.training()
    asked = {"loss": case.loss, "optimiser": optimiser, "chance": 1.0, "batch_size": 8}
    whole = early_measurements(model, case.inputs, case.targets, **asked)
    proxies = {*measuring.get("proxies").columns}
    known = {"steps": T, "learning_rate": 1e-3, "updates": 400, "init_scale": 0.2, "hidden_size": 16, "parameter_count": 1000}
    few = {name: value for name, value in whole.items() if name not in proxies}
    answers = [predictor.verdict(network_inputs(**known, measurements=given)) for given in (whole, few)]
    assert answers[0] == answers[1]
    lag = predictor.verdict(network_inputs(**known, measurements={"lag_needed": 3.0}))
    assert lag.based_on == "hyper-parameters"
    for name in ("step_ratio", "snip"):
        with pytest.raises(ModuleError, match="measurements= lacks numbers"):
            network_inputs(**known, measurements={n: v for n, v in whole.items() if n != name})


# As the training goes on


def test_losses_of_parts_of_an_epoch_add_up_and_the_last_verdict_stays():
    case, model, optimiser, seen = watched("series", batch_size=4)  # 16 mini-batches, an eighth are 2
    before = seen.before()
    assert seen.verdict is before
    assert seen.before() is before
    losses = [float(loss) for loss in trained(model, optimiser, case, case.batches(4))]
    assert seen.epoch(losses[:1]) is before
    eighth = seen.epoch(losses[1:3])
    assert eighth.moment == EIGHTH
    assert row_of(seen, EIGHTH)["eighth_last"] == pytest.approx(math.log10(losses[1] / seen.chance), abs=1e-12)
    assert seen.epoch(losses[3:15]) is eighth
    epoch = seen.epoch(losses[15:])
    assert epoch.moment == EPOCH
    assert seen.epoch([0.01] * 16) is epoch
    assert seen.verdict is epoch
    seconds = seen.seconds
    assert seen.epoch(validation_loss=1e-3) is epoch
    assert seen.seconds == seconds


def test_losses_may_be_a_tensor_and_all_of_them_come_at_once_or_none():
    case, model, optimiser, seen = watched("series", updates_per_epoch=8)
    seen.before()
    losses = trained(model, optimiser, case, case.batches() * 2)
    one = seen.epoch(torch.stack(losses))
    assert (one.moment, len(seen.state_dict()["losses"])) == (EPOCH, 8)
    case, model, optimiser, seen = watched("series")
    seen.before()
    trained(model, optimiser, case, case.batches())
    assert seen.epoch().moment == EPOCH


@pytest.mark.parametrize("how", ["given", "validation", "training"])
def test_the_relative_loss_is_that_on_validation_data_or_on_the_training_sequences(how):
    other = (SERIES.flip(1)[:, :20], CLASSES.flip(0)[:20])
    case, model, optimiser, seen = watched("series", **({"validation": other} if how == "validation" else {}))
    seen.before()
    losses = trained(model, optimiser, case, case.batches())
    seen.epoch(losses, **({"validation_loss": 0.125} if how == "given" else {}))
    inputs, targets = other if how == "validation" else (case.inputs, case.targets)
    loss = 0.125 if how == "given" else float(case.loss(model(inputs), targets).detach())
    # another selection of the same sequences may round differently in float32
    assert row_of(seen, EPOCH)["early_log_relative_loss"] == pytest.approx(math.log10(loss / seen.chance), abs=1e-6)


@pytest.mark.parametrize(
    ("when", "wrong"),
    [("first", math.nan), ("in the middle", math.inf), ("later", math.nan), ("validation", math.inf), ("network", math.nan)],
)
def test_a_loss_that_is_not_finite_is_a_failure_for_good(when, wrong):
    _, model, _, seen = watched("series")
    seen.before()
    fine = [1.0] * 8
    if when == "later":
        assert seen.epoch(fine).probability > 0
    if when == "network":
        with torch.no_grad():
            model.head.weight[0, 0] = wrong
    losses = {"first": [wrong] * 8, "in the middle": [1.0] * 3 + [wrong] + [1.0] * 4, "later": [wrong]}.get(when, fine)
    verdict = seen.epoch(losses, **({"validation_loss": wrong} if when == "validation" else {}))
    assert (verdict.probability, verdict.expected_score, verdict.based_on) == (0, 0, "divergence")
    assert seen.epoch(fine) is verdict
    assert seen.verdict is verdict


def test_a_network_that_is_not_finite_has_failed_before_training():
    case = CASES["series"]
    model, _, options = case.training()
    with torch.no_grad():
        model.rnn.weight_hh_l0[0, 0] = math.nan
    assert watch(model, case.inputs, case.targets, **options).before().based_on == "divergence"


def test_what_is_measured_before_training_cannot_be_measured_later():
    case, model, optimiser, seen = watched("series")
    with pytest.raises(ModuleError, match=r"call before\(\) before the training begins"):
        seen.epoch([1.0] * 8)
    trained(model, optimiser, case, case.batches()[:1])
    with pytest.raises(ModuleError, match=r"the optimiser has made steps already; call before\(\) before the first one"):
        seen.before()


def test_a_learning_rate_that_a_schedule_lowers_at_first_is_refused():
    case = CASES["series"]
    model, optimiser, options = case.training()
    seen = watch(model, case.inputs, case.targets, **options)
    torch.optim.lr_scheduler.LambdaLR(optimiser, lambda epoch: (1 + epoch) / 10)
    with pytest.raises(ModuleError, match=r"a schedule has set the learning rate to 0.0005 from 0.005; call before\(\) before"):
        seen.before()


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        (
            lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.05, total_steps=9),
            "the learning rate to 0.002 from 0.05; call before",
        ),
        (
            lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda epoch: epoch / 10),
            "the learning rate to 0 from 0.005; call before",
        ),
    ],
)
def test_a_schedule_that_begins_below_its_largest_learning_rate_is_refused(schedule, sentence):
    case = CASES["series"]
    model, optimiser, options = case.training()
    schedule(optimiser)
    with pytest.raises(ModuleError, match=sentence):
        watch(model, case.inputs, case.targets, **options).before()


def test_an_optimiser_without_learning_rate_and_weights_without_numbers_are_refused():
    case = CASES["series"]
    model, optimiser, options = case.training()
    for group in optimiser.param_groups:
        del group["lr"]
    with pytest.raises(ModuleError, match="has no learning rate, lr, in its parameter groups"):
        watch(model, case.inputs, case.targets, **options)
    model = model.to("meta")
    options["optimizer"] = torch.optim.Adam(model.parameters())
    with pytest.raises(ModuleError, match="the settings of the training cannot be read: "):
        watch(model, case.inputs, case.targets, **options)


@pytest.mark.parametrize("losses", [3.0, "12", {1.0}, [1.0, None], [-1.0], torch.ones(2, 2)])
def test_losses_are_numbers_in_their_order(losses):
    *_, seen = watched("series")
    seen.before()
    with pytest.raises(ModuleError, match="losses"):
        seen.epoch(losses)


def test_a_loss_below_0_is_refused_in_the_first_epoch_and_of_no_account_later():
    *_, seen = watched("series")
    seen.before()
    with pytest.raises(ModuleError, match=r"losses\[0\] is -1; it should be at least 0"):
        seen.epoch([-1.0] * 8)
    last = seen.epoch([1.0] * 8)
    assert seen.epoch([-1.0] * 8, validation_loss=-2.0) == last
    assert seen.epoch([-math.inf]).based_on == "divergence"


def test_a_wrong_assumption_about_the_mini_batches_of_an_epoch_is_refused():
    case = CASES["series"]
    model, _, options = case.training()
    seen = watch(model, case.inputs, case.targets, **options)  # two mini-batches of 50
    assert "mini-batches of 50 sequences, 2 per epoch, are assumed" in str(seen.before())
    with pytest.raises(ModuleError, match=r"there are 8 losses, but 2 mini-batches .*; give batch_size= and updates_per_epoch="):
        seen.epoch([1.0] * 8)
    assert seen.epoch([1.0] * 2).moment == EPOCH
    seen = watch(model, case.inputs, case.targets, **options, batch_size=10)
    seen.before()
    with pytest.raises(ModuleError, match=r"there are 8 losses, but 7 mini-batches of 10 sequences"):
        seen.epoch([1.0] * 8)
    assert seen.epoch([1.0] * 6).moment == EPOCH  # without the last four sequences
    seen = watch(model, case.inputs, case.targets, **options, updates_per_epoch=16)
    assert "assumed" not in str(seen.before())
    assert seen.epoch([1.0] * 8).moment == EIGHTH


# State, cost and text


@pytest.mark.parametrize("moment", [BEFORE, EIGHTH, EPOCH, "divergence"])
def test_a_training_goes_on_from_its_state_without_measuring_again(monkeypatch, tmp_path, moment):
    case, model, optimiser, seen = watched("series")  # weight decay, so that spectra are served
    seen.before()
    losses = [float(loss) for loss in trained(model, optimiser, case, case.batches())]
    if moment in (EIGHTH, EPOCH):
        seen.epoch(losses[:4])
    if moment in (EPOCH, "divergence"):
        seen.epoch(losses[4:] if moment == EPOCH else [math.nan])
    torch.save(seen.state_dict(), tmp_path / "state.pt")
    states = json.loads(json.dumps(seen.state_dict())), torch.load(tmp_path / "state.pt", weights_only=True)
    later = {BEFORE: losses, EIGHTH: losses[4:]}.get(moment, [1.0] * 8)
    resumed = []
    for state in states:
        other = watch(model, case.inputs, case.targets, **case.training()[2] | {"optimizer": optimiser}, batch_size=8)
        other.load_state_dict(state)
        assert other.verdict == seen.verdict
        assert other.seconds == seen.seconds
        assert json.dumps(other.state_dict()) == json.dumps(seen.state_dict())
        with monkeypatch.context() as patch:
            patch.setattr(training_module, "early_measurements", None)
            assert other.before() == seen.before()
        resumed.append(other.epoch(later))
    direct = seen.epoch(later)
    for verdict in resumed:
        assert verdict.to_dict() == direct.to_dict()
        assert (verdict.moment, verdict.based_on) == (direct.moment, direct.based_on)


def test_a_state_of_something_else_is_refused():
    *_, seen = watched("series")
    for state in (None, {}, {"version": 99}, {"version": 1}):
        with pytest.raises(ModuleError, match=r"the state should be what state_dict\(\) of a watch"):
            seen.load_state_dict(state)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("known", None),
        ("seen", "x"),
        ("losses", [None]),
        ("asked", []),
        ("asked", {BEFORE: 3}),
        ("spectrum", {}),
        ("chance", "a"),
    ],
)
def test_a_damaged_state_is_refused_and_the_watch_stays_as_it_was(name, value):
    *_, seen = watched("series")
    seen.before()
    state = seen.state_dict()
    with pytest.raises(ModuleError, match="the state is damaged: "):
        seen.load_state_dict(state | {name: value})
    assert json.dumps(seen.state_dict()) == json.dumps(state)


def test_each_verdict_says_what_it_cost_and_the_watch_is_shown_in_a_line():
    case, model, optimiser, seen = watched("tokens")
    assert repr(seen) == "Watch(gru, 1,127 parameters, 50 epochs of 8 mini-batches; not asked yet)"
    before = seen.before()
    assert before.reasons[-1].startswith("measuring took 0.")
    assert "s, about " in before.reasons[-1]
    assert before.reasons[-1].endswith("% of an epoch")
    after = seen.epoch(trained(model, optimiser, case, case.batches()))
    assert "about" not in after.reasons[-1]
    assert seen.seconds > 0
    assert repr(seen).endswith(f"one epoch: success with probability {after.probability:.2f})")
    assert after.to_dict("watch/") == {"watch/probability": after.probability, "watch/expected_score": after.expected_score}
