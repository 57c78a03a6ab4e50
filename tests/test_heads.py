"""Heads against their affine maps written out by hand."""

import numpy as np
import pytest
import torch
from draws import seeded
from torch.testing import assert_close

from pipeline import heads
from pipeline.core.errors import ConfigError
from pipeline.heads import neuroview

OUTPUTS = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[-1.0, 0.5], [0.0, 8.0]]])  # (T = 2, B = 2, H = 2)
PARAMS = {"weight": torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), "bias": torch.tensor([0.0, 1.0, -1.0])}
ANSWERS = [[[1.0, 5.0, 2.0], [3.0, 9.0, 6.0]], [[-1.0, 2.0, -1.5], [0.0, 17.0, 7.0]]]


def test_every_reads_each_step_out():
    assert heads.get("every")(2, 3).read(PARAMS, OUTPUTS).tolist() == ANSWERS


def test_last_reads_the_last_step_out():
    assert heads.get("last")(2, 3).read(PARAMS, OUTPUTS).tolist() == ANSWERS[-1]


def test_unknown_head_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match="no head 'first'; there are every, last, neuroview"):
        heads.get("first")


# Neuroview: T = 7, B = 12, H = 3, O = 4, in float64


@pytest.fixture
def case():
    """Parameters, outputs and targets; each class has a quarter of the sequences."""
    draw = seeded(3)
    params = {"weight": torch.randn(4, 21, generator=draw).double(), "bias": torch.randn(4, generator=draw).double()}
    return params, torch.randn(7, 12, 3, generator=draw).double(), torch.arange(12) % 4


def read(params, outputs):
    return heads.get("neuroview")(3, 4, 7).read(params, outputs)


def accuracy(logits, targets):
    return (logits.argmax(-1) == targets).double().mean().item()


def test_neuroview_is_the_sum_of_one_map_per_step(case):
    params, outputs, _ = case
    naive = params["bias"].numpy().copy() + np.zeros((12, 4))
    for t in range(7):
        naive += outputs[t].numpy() @ params["weight"].numpy()[:, 3 * t : 3 * t + 3].T
    assert_close(read(params, outputs), torch.from_numpy(naive), rtol=0, atol=1e-13)  # sums of 22 numbers below 10


def test_neuroview_that_weighs_the_last_step_alone_is_last(case):
    params, outputs, _ = case
    alone = {"weight": params["weight"].clone(), "bias": params["bias"]}
    alone["weight"][:, :-3] = 0
    expected = heads.get("last")(3, 4).read({"weight": params["weight"][:, -3:], "bias": params["bias"]}, outputs)
    assert_close(read(alone, outputs), expected, rtol=0, atol=1e-13)


def test_neuroview_gives_every_step_the_gradient_of_its_own_map(case):
    params, outputs, _ = case
    outputs = outputs.requires_grad_()
    read(params, outputs)[:, 1].sum().backward()
    assert_close(outputs.grad, params["weight"][1].view(7, 1, 3).expand(7, 12, 3), rtol=0, atol=0)


def test_neuroview_needs_the_one_length_of_its_sequences(case):
    params, outputs, _ = case
    with pytest.raises(ConfigError, match="neuroview has weights for each step and needs steps="):
        heads.get("neuroview")(3, 4)
    with pytest.raises(ConfigError, match="weights for 7 steps and found 5"):
        read(params, outputs[:5])


def test_evidence_sums_to_the_mean_centred_logit_of_the_true_class(case):
    params, outputs, targets = case
    logits = read(params, outputs).numpy()
    centred = logits - logits.mean(0)
    found = neuroview.evidence(params, outputs, targets)
    assert found.shape == (7,)
    assert found.sum().item() == pytest.approx(centred[np.arange(12), targets.numpy()].mean(), abs=1e-13)


def test_evidence_and_spread_lie_where_the_classes_differ(case):
    params, outputs, targets = case
    outputs = outputs[:, :1].expand(-1, 12, -1).clone()  # equal in all sequences
    code = torch.eye(4, dtype=torch.float64)[targets][:, :3]
    outputs[2] += code
    weight = params["weight"].view(4, 7, 3)[:, 2].numpy()
    by_class = np.eye(4)[:, :3] @ weight.T  # (class, O): the contribution of step 2 to the logits, before centring
    centred = by_class - by_class.mean(0)
    expected = torch.zeros(7, dtype=torch.float64)
    expected[2] = centred.diagonal().mean()
    assert_close(neuroview.evidence(params, outputs, targets), expected, rtol=0, atol=1e-14)
    expected[2] = centred.std(0).mean()
    assert_close(neuroview.spread(params, outputs), expected, rtol=0, atol=1e-14)
    sizes = np.abs(params["weight"].numpy().reshape(4, 7, 3)).mean((0, 2))
    assert_close(neuroview.weight_size(params, 3), torch.from_numpy(sizes), rtol=0, atol=1e-14)


def test_without_any_step_the_answer_is_chance(case):
    params, outputs, targets = case
    logits = read(params, neuroview.delete(outputs, torch.arange(7)))
    assert_close(logits, logits[:1].expand(12, -1), rtol=0, atol=1e-13)
    assert accuracy(logits[:1].expand(12, -1), targets) == 0.25  # the share of any class


def test_without_some_steps_the_logits_lose_what_those_contribute(case):
    params, outputs, _ = case
    left = read(params, neuroview.delete(outputs, torch.tensor([5, 1])))
    lost = neuroview.contributions(params, outputs)[[1, 5]].sum(0)
    assert_close(left, read(params, outputs) - lost, rtol=0, atol=1e-13)
