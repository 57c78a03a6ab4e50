"""Ridge read-outs: compared with refits without each row, and for states that contain the target or do not."""

import math

import numpy as np
import pytest
import torch
from draws import exact, noise, seeded
from probed import Linear, Reader, head_of, orthogonal, probe
from torch import nn

from pipeline import measuring
from pipeline.measuring.readout import PENALTIES, STATES, _flat, _spread, ridge_score

SIZE = 6


class Passed(nn.Module):
    """A recurrent part that outputs its input."""

    def forward(self, inputs):
        return inputs, inputs[-1]


def readout(states, targets, *, weight=None, **options):
    head = head_of(noise(1, states.shape[-1]) if weight is None else weight)
    model = Reader(Passed(), head, every_step=options.get("every_step", False))
    return measuring.get("readout").measure(probe(model, states, targets, **options))


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def refitted(x, y, penalty):
    """Ridge with a free intercept, by the normal equations; a function of new rows."""
    mean_x, mean_y = x.mean(0), y.mean(0)
    weights = np.linalg.solve((x - mean_x).T @ (x - mean_x) + penalty * np.eye(x.shape[1]), (x - mean_x).T @ (y - mean_y))
    return lambda rows: mean_y + (rows - mean_x) @ weights


@pytest.mark.parametrize("noisy", [0.01, 0.5, 3.0, 30.0])
@pytest.mark.parametrize("outputs", [1, 2])
def test_the_penalty_is_that_of_refits_without_each_row(noisy, outputs):
    x, other_x = 3 + random(14, SIZE) * np.logspace(0, -2, SIZE), 3 + random(40, SIZE, seed=1) * np.logspace(0, -2, SIZE)
    w = random(SIZE, outputs, seed=2)
    y, other_y = x @ w + noisy * random(14, outputs, seed=3), other_x @ w + noisy * random(40, outputs, seed=4)
    unit = np.mean(np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2)
    errors = []
    for penalty in PENALTIES * unit:
        left_out = [refitted(np.delete(x, i, 0), np.delete(y, i, 0), penalty)(x[i]) - y[i] for i in range(14)]
        errors.append(np.sum(np.square(left_out)))
    best = PENALTIES[int(np.argmin(errors))] * unit
    left = np.square(refitted(x, y, best)(other_x) - other_y).sum() / np.square(other_y - y.mean(0)).sum()
    # both solve systems of a condition below 1e4 x 1e6 at the smallest penalty: 1e10 eps
    assert ridge_score(x, y, other_x, other_y) == pytest.approx(max(-1, 1 - left), abs=1e-5)


def test_penalties_that_were_chosen_differ():
    """The test above therefore covers them: little noise needs a small penalty, much noise a large one."""
    x = random(14, SIZE)
    chosen = set()
    for noisy in (0.001, 1.0, 30.0):
        y = x @ random(SIZE, 1, seed=2) + noisy * random(14, 1, seed=3)
        unit = np.mean(np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2)
        errors = [
            sum(((refitted(np.delete(x, i, 0), np.delete(y, i, 0), p)(x[i]) - y[i]) ** 2).sum() for i in range(14))
            for p in PENALTIES * unit
        ]
        chosen.add(int(np.argmin(errors)))
    assert len(chosen) == 3


def test_states_that_hold_the_target_linearly_tell_all_of_it():
    states = noise(3, 60, SIZE)
    targets = states[-1] @ noise(SIZE, 2, seed=5) + 7
    # the least penalty, 1e-6 of the mean square, leaves a bias of 1e-6 of a weight at most, and its square in the score
    assert readout(states, targets)["readout_score"] == pytest.approx(1, abs=1e-10)


def test_states_that_know_nothing_of_the_target_tell_none_of_it():
    """The largest penalty all but ignores the states; the mean of 250 targets misses that of others by 2 / 250 of a variance.

    Whatever the penalty, fitting 6 weights to 250 rows costs 6 / 250 of the variance, and by chance as much is gained.
    """
    found = readout(noise(2, 500, SIZE), noise(500, 1, seed=9))["readout_score"]
    assert abs(found) < 4 * 6 / 250


def test_the_score_is_that_of_states_that_were_not_learned_from():
    """Of the two halves of the sequences one has the target s and the other -s: 1 - 4 of its variance, which counts as -1."""
    states = noise(2, 60, SIZE)
    order = probe(Reader(Passed(), head_of(noise(1, SIZE))), states)._chosen
    sign = torch.ones(60, 1, dtype=torch.float64)
    sign[order[30:]] = -1
    assert readout(states, sign * states[-1, :, :1])["readout_score"] == -1
    # or s and 1.1 s: the error is 1/11 of the target
    sign[order[30:]] = 1.1
    found = readout(states, sign * states[-1, :, :1])["readout_score"]
    mean = float(states[-1, order[:30], 0].mean())
    y = 1.1 * states[-1, order[30:], 0].numpy()
    assert found == pytest.approx(1 - np.sum((y / 11) ** 2) / np.sum((y - mean) ** 2), abs=1e-5)  # the penalty of 1e-6


def test_states_at_each_step_are_taken_sequence_by_sequence():
    """The two halves then share at most one sequence; of many rows, the requested number is taken evenly."""
    places = np.arange(4)[:, None] + 10 * np.arange(5)  # t + 10 b
    assert _flat(places).tolist() == [t + 10 * b for b in range(5) for t in range(4)]
    many = np.arange(100)[:, None] + 100 * np.arange(70)
    taken = _spread(_flat(many), 2 * STATES)
    assert len(taken) == 2 * STATES
    assert set(np.diff(taken)) <= {6, 7, 8}  # 7000 / 1000
    assert (taken[0], taken[-1]) == (0, 6999)


def test_half_of_the_variance_can_be_told():
    """y = s + noise of the same size: R2 of 1/2, less 6 / 250 of overfitting; 250 rows know a share to 2 / sqrt(250) x 1/2."""
    states = noise(2, 500, SIZE)
    targets = states[-1, :, :1] + noise(500, 1, seed=9)
    assert readout(states, targets)["readout_score"] == pytest.approx(0.5, abs=4 * 0.5 / 250**0.5)


def test_classes_are_told_from_states_that_hold_them_and_a_class_left_out_is_no_class():
    classes = torch.randint(0, 3, (120,), generator=seeded())
    states = nn.functional.one_hot(classes, 3).double()[None].repeat(2, 1, 1)

    def loss(answers, targets):
        return nn.functional.cross_entropy(answers, targets)

    assert readout(states, classes, loss=loss, weight=noise(3, 3))["readout_score"] == pytest.approx(1, abs=1e-10)
    scrambled = classes[torch.randperm(120, generator=seeded(2))]
    assert readout(states, scrambled, loss=loss, weight=noise(3, 3))["readout_score"] < 0.3
    ignored = torch.where(classes == 2, -100, classes)  # torch's mark of what does not count
    assert readout(states, ignored, loss=loss, weight=noise(3, 3))["readout_score"] == pytest.approx(1, abs=1e-10)


def test_targets_that_a_loss_ignores_do_not_lower_the_score():
    """Whether a target is ignored is not to be told from the states; a fifth of the targets that count are wrong."""
    classes = torch.randint(0, 2, (9, 80), generator=seeded())
    states, wrong = nn.functional.one_hot(classes, 2).double(), torch.rand(9, 80, generator=seeded(1)) < 0.2
    targets = torch.where(wrong, 1 - classes, classes)
    given = {
        "every_step": True,
        "weight": noise(2, 2),
        "loss": lambda a, t: nn.functional.cross_entropy(a.flatten(0, 1), t.flatten()),
    }
    plain = readout(states, targets, **given)["readout_score"]
    assert plain == pytest.approx((1 - 2 * 0.2) ** 2, abs=0.1)  # the squared correlation of two signs, of which a share differs
    for share in (0.3, 0.8):
        ignored = torch.rand(9, 80, generator=seeded(2)) < share
        found = readout(states, torch.where(ignored, -100, targets), **given)["readout_score"]
        assert found == pytest.approx(plain, abs=0.15)
    last = torch.full_like(targets, -100)
    last[-1, :3] = targets[-1, :3]
    assert math.isnan(readout(states, last, **given)["readout_score"])  # too few to judge


def test_a_target_at_each_step_is_paired_with_the_state_of_its_step():
    states = noise(7, 60, SIZE)
    targets = states @ noise(SIZE, 1, seed=5)
    given = {"every_step": True}
    assert readout(states, targets, **given)["readout_score"] == pytest.approx(1, abs=1e-10)
    assert readout(states, targets.roll(1, 0), **given)["readout_score"] < 0.2
    assert readout(states, targets.roll(1, 1), **given)["readout_score"] < 0.2


def test_the_gap_is_what_the_loss_has_not_closed():
    """A head that misses half of the target has closed 3/4 of the squared error."""
    states, weight = noise(3, 60, SIZE), noise(1, SIZE, seed=5)
    targets = states[-1] @ weight.T
    found = readout(states, targets, weight=weight / 2, chance=float(targets.square().mean()))
    assert found["readout_score"] - found["readout_gap"] == pytest.approx(0.75, abs=1e-12)
    chance = readout(states, targets, weight=0 * weight, chance=float(targets.square().mean()))
    assert chance["readout_gap"] == pytest.approx(chance["readout_score"], abs=1e-12)


def test_the_rank_is_that_of_centred_states():
    """States on two axes, of spreads 3 and 1 around a far mean: shares 3/4 and 1/4."""
    signs = exact(1, 1, -1, -1).repeat(16), exact(1, -1, 1, -1).repeat(16)
    last = torch.zeros(64, SIZE, dtype=torch.float64)
    last[:, 0], last[:, 3] = 100 + 3 * signs[0], -50 + signs[1]
    given = probe(Reader(Passed(), head_of(noise(1, SIZE))), last[None], noise(64, 1))
    states = given.states[0][-1][:32]  # of half of the sequences, in the order of the probe
    covariance = np.cov(states.T, bias=True)
    shares = np.sqrt(np.linalg.eigvalsh(covariance)[-2:])
    shares = shares / shares.sum()
    found = measuring.get("readout").measure(given)["state_rank"]
    assert found == pytest.approx(math.exp(-(shares * np.log(shares)).sum()) / SIZE, abs=1e-9)
    assert found == pytest.approx(4 / 3**0.75 / SIZE, abs=0.05)  # as of all sequences, of which half are seen


@pytest.mark.parametrize("double", [True, False])
def test_states_that_never_vary_have_no_rank(double):
    last = torch.full((64, SIZE), 0.1, dtype=torch.float64 if double else torch.float32)
    model = Reader(Passed(), nn.Linear(SIZE, 1)).to(last.dtype)
    given = probe(model, last[None], noise(64, 1).to(last.dtype))
    found = measuring.get("readout").measure(given)
    assert found["state_rank"] == 0
    # the mean of 32 targets for 32 others, whose mean differs by sqrt(2 / 32) of a spread: a score of -2 / 32, 4 times at most
    assert -0.25 < found["readout_score"] <= 0


def test_a_rank_of_rounding_alone_is_none():
    """States of 1.7 that differ by half a unit in the last place of float32, 6e-8, or by thirty of them."""
    signs = noise(64, SIZE).sign()
    found = [readout((1.7 + step * signs)[None], noise(64, 1))["state_rank"] for step in (6e-8, 4e-6)]
    assert found[0] == 0
    assert found[1] > 0.9


def test_a_target_that_never_varies_has_no_score():
    found = readout(noise(3, 60, SIZE), torch.ones(60, 1, dtype=torch.float64))
    assert math.isnan(found["readout_score"])
    assert found["state_rank"] > 0.9


def test_a_network_is_read_at_its_last_state():
    """h_T of an orthogonal network is linear in its last input and in all others."""
    inputs = noise(3, 100, 4)
    model = Reader(Linear(orthogonal(12), noise(12, 4, seed=8)), head_of(noise(1, 12)))
    given = probe(model, inputs, inputs[0, :, :1])
    squares = np.linalg.svd(given.states[0][-1] - given.states[0][-1].mean(0), compute_uv=False) ** 2
    # the least penalty shrinks a direction by the share p / s^2, and the squared error is at most that squared; of other
    # sequences by chance some times more
    bias = (1e-6 * squares.mean() / squares.min()) ** 2
    assert bias < 1e-4
    assert measuring.get("readout").measure(given)["readout_score"] == pytest.approx(1, abs=10 * bias)
    gone = measuring.get("readout").measure(probe(model, inputs, noise(100, 1, seed=3)))
    assert gone["readout_score"] < 0.3
