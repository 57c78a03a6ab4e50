"""NARMA-10: the published recurrence, number by number, and its fixed point in closed form."""

import numpy as np
import pytest
import torch

from pipeline import tasks
from pipeline.tasks import narma10


def undone(data, split):
    """Inputs and outputs (T, N) in their own units."""
    return [
        data.arrays[f"{split}_{kind}"][..., 0].astype(float) * by["std"][0] + by["mean"][0]
        for kind, by in data.info.notes["standardised_by"].items()
    ]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_outputs_follow_the_published_recurrence(split, prepared):
    inputs, outputs = (a.T[:200].tolist() for a in undone(prepared("narma10"), split))
    for u, y in zip(inputs, outputs, strict=True):
        at = lambda series, t: series[t] if t >= 0 else 0.0  # noqa: E731
        last = [0.0]  # y(0), y(1), ...
        for t in range(len(u)):
            past = sum(at(last, t - i) for i in range(10))
            last.append(0.3 * last[t] + 0.05 * last[t] * past + 1.5 * at(u, t - 9) * u[t] + 0.1)
        assert last[1:] == pytest.approx(y, abs=1e-5)  # float32 of inputs and outputs, of which errors of 1e-7 add up


def test_constant_input_leads_to_the_root_of_a_quadratic_equation():
    u = np.array([0.0, 0.2, 0.3])
    found = narma10.respond(np.tile(u, (600, 1)))[-1]
    exact = 0.7 - np.sqrt(0.49 - 2 * (1.5 * u**2 + 0.1))  # y = 0.3 y + 0.5 y^2 + 1.5 u^2 + 0.1
    assert found == pytest.approx(exact, abs=1e-9)  # the slope there is 0.3 + y < 0.9, so 0.95^600 at most is left


def test_inputs_are_uniform_between_0_and_a_half(prepared):
    inputs, outputs = undone(prepared("narma10"), "train")
    assert inputs.min() == pytest.approx(0, abs=1e-4)  # the smallest of 140,000: 0.5 / 140,000 in the mean
    assert inputs.max() == pytest.approx(0.5, abs=1e-4)
    assert inputs.mean() == pytest.approx(0.25, abs=4 * 0.5 / (12 * inputs.size) ** 0.5)
    # the share of the variance's deviation: ((9 / 5 - 1) / size) ** 0.5 for a uniform distribution
    assert inputs.var() == pytest.approx(1 / 48, rel=4 * (0.8 / inputs.size) ** 0.5)
    assert outputs.max() < 1


def test_sequences_that_exceed_one_are_drawn_again(monkeypatch):
    monkeypatch.setattr(narma10, "LARGEST", 0.5)
    inputs, outputs = narma10.sequences(50, 100, np.random.default_rng(0))
    assert inputs.shape == outputs.shape == (100, 50, 1)
    assert outputs.max() < 0.5


def test_the_first_ten_steps_do_not_count(prepared):
    task, data = tasks.get("narma10"), prepared("narma10")
    targets = torch.from_numpy(data.arrays["test_targets"])
    outputs = targets + 2
    wild = outputs.clone()
    wild[:10] = 1e6
    assert task.loss(wild, targets).item() == pytest.approx(4, rel=1e-6)
    wild[10] = 1e6
    assert task.loss(wild, targets).item() > 1e6
    assert task.metric(targets, targets).item() == 1
    mean = targets[10:].mean().expand(targets.shape)
    assert task.metric(mean, targets).item() == pytest.approx(0, abs=1e-5)  # float32 means of 15,000 numbers


def test_chance_is_the_variance_of_a_standardised_output(prepared):
    data = prepared("narma10")
    squares = (data.arrays["validation_targets"][10:, :, 0].astype(float) ** 2).mean(0)  # of each sequence; independent
    assert data.info.chance == pytest.approx(1, abs=4 * squares.std() / 500**0.5)
    counted = data.arrays["train_targets"][10:].astype(float)
    assert (counted.mean(), counted.std()) == pytest.approx((0, 1), abs=1e-6)  # float32


@pytest.mark.parametrize(("size", "steps"), [("long", 100), ("full", 200)])
def test_other_forms_are_longer(size, steps, monkeypatch):
    monkeypatch.setitem(narma10.FORMS, size, (narma10.FORMS[size][0], (30, 20, 10)))
    assert tasks.get("narma10").load(size, 1).arrays["train_inputs"].shape == (steps, 30, 1)
