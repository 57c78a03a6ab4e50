"""The time that a study would take: sums that are done by hand, and counts of what stages do."""

from dataclasses import replace

import pytest
from pretended import Pretended
from twins import cut, trial_of

from pipeline.core import config
from pipeline.core.errors import ConfigError
from pipeline.jobs import cost


def entry(**changes):
    fields = {
        "task": "mnist_rows",
        "cell": "gru",
        "hidden_size": 32,
        "trials": 8.0,
        "batches": 600,
        "evaluated": 300,
        "batch_seconds": 0.01,
        "steps": 180,
        "step_seconds": 0.002,
    }
    return cost.Cost(**fields | changes)


def test_hours_are_trials_times_steps_times_seconds():
    found = entry()
    assert found.train_hours == pytest.approx(8 * (600 * 0.01 + 300 * 0.01 / 3) / 3600)
    assert found.spectrum_hours == pytest.approx(8 * 180 * 0.002 / 3600)


def test_a_worker_that_is_free_takes_the_next_job():
    long, short = (entry(trials=float(n), batches=b, evaluated=0, steps=0) for n, b in ((1, 360_000), (3, 72_000)))
    assert cost.hours_on([long, short], 1) == pytest.approx(1 + 3 * 0.2)
    assert cost.hours_on([long, short], 2) == pytest.approx(1.0)  # 0.6 hours beside the long one
    assert cost.hours_on([long, short], 64) == pytest.approx(1.0)
    assert cost.hours_on([long, replace(long, task="adding")], 64) == pytest.approx(2.0)  # stage after stage


def test_report_adds_up_its_lines_and_shares_them_among_workers():
    lines = cost.report([entry(trials=3600.0, evaluated=0), entry(trials=3600.0, evaluated=0)], 4, "cpu").splitlines()
    assert [line.split()[4] for line in lines[1:3]] == ["6.000", "6.000"]  # 3600 trials of 600 steps of 10 ms
    assert lines[3] == "7200 trials on cpu: 12.00 hours of training, 0.72 of spectra"
    assert "would take: 12.7 hours on 1, 3.18 hours on 4, 0.2 hours on 64;" in lines[4]


@pytest.mark.parametrize("name", ["mnist_rows", "english_characters"])
def test_thinned_task_keeps_the_first_sequences_with_their_targets(prepared, name):
    data = prepared(name)
    part = cost.thin(data, 20, 5)
    for split, count in (("train", 20), ("validation", 5), ("test", 5)):
        (inputs, targets), (whole_inputs, whole_targets) = part.split(split), data.split(split)
        assert inputs.shape == (whole_inputs.shape[0], count, *whole_inputs.shape[2:])
        assert (inputs == whole_inputs[:, :count]).all()
        assert (targets == (whole_targets[:count] if name == "mnist_rows" else whole_targets[:, :count])).all()


def test_on_a_gpu_networks_of_one_size_are_timed_together(prepared, small_params, monkeypatch):
    data = cut(prepared("mnist_rows"), 600, 60)
    timed = []
    ensemble = cost.Ensemble
    monkeypatch.setattr(cost, "Ensemble", lambda trials, data: timed.append(len(trials)) or ensemble(trials, data))
    settings = config.load(path=small_params({"train.trials": 6}))
    with Pretended():
        found = cost.cost(settings, data, trial_of(data, cell="gru", hidden_size=3, device="cuda"))
    assert timed == [3]  # 6 trials of two sizes
    assert found.together == 3
    assert found.batch_seconds > 0


def test_trainings_together_are_one_job():
    group = entry(trials=256.0, batches=3600, evaluated=0, steps=0, together=128)  # 0.01 s each for 256 times 3600 batches
    assert cost.hours_on([group], 1) == pytest.approx(256 * 0.01)
    assert cost.hours_on([group], 64) == pytest.approx(128 * 0.01)


@pytest.mark.slow
def test_each_task_cell_and_size_is_timed_and_counted_once(small_params):
    train = {"train.trials": 6, "train.repeated": 1, "train.epochs": 2}
    path = small_params({"tasks": ["mnist_rows"], "cells": ["elman", "lstm"]} | train)
    found = list(cost.costs(config.load(path=path)))
    assert [(c.task, c.cell, c.hidden_size) for c in found] == [
        ("mnist_rows", cell, size) for cell in ("elman", "lstm") for size in (3, 5)
    ]
    for c in found:
        assert c.trials == (6 + 2) / 2  # one of them with two further seeds
        assert c.batches == 2 * 4000 / 50
        assert c.evaluated == (3 * 500 + 500) / 50  # the validation images before training and after each epoch, the test images
        assert c.steps == 16
        assert c.batch_seconds > 0
        assert c.step_seconds > 0


def test_the_command_prints_what_params_yaml_or_a_profile_would_take(small_params, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "costs", lambda settings: [entry(trials=float(settings.train.trials))])
    small_params({"train.trials": 6})
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "large.yaml").write_text("train: {trials: 60}")
    cost.main()
    assert "6 trials on cpu" in capsys.readouterr().out
    cost.main("large")
    assert "60 trials on cpu" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"small\.yaml"):
        cost.main("small")
