"""How trials are drawn: against scipy's own Sobol sequence and what such a sequence guarantees."""

import math
import zlib
from collections import Counter
from dataclasses import asdict, field, fields, make_dataclass, replace
from importlib import import_module
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import study
import torch
from scipy.stats import qmc

from pipeline import training
from pipeline.core import config, layout
from pipeline.core.config import Range, SpectrumSettings
from pipeline.core.errors import ArtefactError, ConfigError, DataError
from pipeline.core.hyper_parameters import DECLARED, FIRST_OPTION, Declaration, HyperParameters
from pipeline.core.records import TaskData
from pipeline.training import Network
from pipeline.training.draw import fitting_heads

MODULE = import_module("pipeline.training.draw")  # whose name in the package is that of its function
COUNTS = {"train": 100, "validation": 20, "test": 20}
IMAGES = study.info("mnist_rows", input_size=28, output_size=10, steps=28, batch_size=7, chance=1.25, sequences=COUNTS)
CELL = "elman"


@pytest.fixture
def drawn(small_params):
    """A function from the settings of section `train` to the trials of a cell by their index."""

    def draw(info=IMAGES, cell=CELL, seed=5, **train):
        overrides = {"seed": seed, "cells": [cell]} | {f"train.{key}": value for key, value in train.items()}
        settings = config.load("seed", "cells", "train", path=small_params(overrides))
        return sorted(training.draw(settings, info, "cpu"), key=lambda trial: trial.index)

    return draw


def values(trials, name):
    return [getattr(trial.hyper_parameters, name) for trial in trials]


CHOICES = {
    "hidden_size": [3, 5, 8],
    "clip_norm": [0.0, 1.0, 2.5],
    "dropout": [0.0, 0.2, 0.5],
    "head": ["default", "neuroview"],
}


# Hyper-parameters


@pytest.mark.parametrize("name", CHOICES)
def test_choices_are_drawn_equally_often(drawn, name):
    found = values(drawn(trials=64, **{name: CHOICES[name]}), name)
    choices = [{"default": "last"}.get(choice, choice) for choice in CHOICES[name]]
    shares = [found.count(choice) / 64 for choice in choices]
    assert sum(shares) == 1
    # a scrambled Sobol net puts one of its first 64 points into each interval of length 1/64
    assert max(abs(share - 1 / len(choices)) for share in shares) <= 2 / 64


@pytest.mark.parametrize(("name", "low", "high"), [("init_scale", 0.01, 3.0), ("learning_rate", 1e-4, 0.1)])
def test_ranges_are_drawn_uniformly_in_the_logarithm(drawn, name, low, high):
    places = np.sort([math.log(value / low) / math.log(high / low) for value in values(drawn(trials=64), name)])
    # one of the first 64 points lies in each interval of length 1/64; six digits are kept
    assert (np.floor(places * 64 + 1e-4).clip(max=63) >= np.arange(64)).all()
    assert (places * 64 - 1e-4 <= np.arange(64) + 1).all()


def test_a_range_of_one_value_gives_that_value(drawn):
    trials = drawn(**{"init_scale.low": 0.5, "init_scale.high": 0.5, "hidden_size": [7]})
    assert (set(values(trials, "init_scale")), set(values(trials, "hidden_size"))) == ({0.5}, {7})


def test_the_first_four_hyper_parameters_are_scipys_scrambled_sequence_of_four_dimensions(drawn):
    """Studies that are finished keep their trials."""
    random = np.random.default_rng(np.random.SeedSequence([5, zlib.crc32(b"mnist_rows elman")]))
    points = qmc.Sobol(4, scramble=True, rng=random).random_base2(4)[:11]
    trials = drawn(trials=11, hidden_size=[3, 5, 8], clip_norm=[0.0, 1.0])
    assert values(trials, "init_scale") == [float(f"{0.01 * 300 ** point[0]:.6g}") for point in points]
    assert values(trials, "learning_rate") == [float(f"{1e-4 * (0.1 / 1e-4) ** point[1]:.6g}") for point in points]
    assert values(trials, "hidden_size") == [(3, 5, 8)[int(3 * point[2])] for point in points]
    assert values(trials, "clip_norm") == [(0.0, 1.0)[int(2 * point[3])] for point in points]


def test_hyper_parameters_are_drawn_independently_of_each_other(drawn):
    choices = {"hidden_size": [3, 5], "clip_norm": [0.0, 1.0], "dropout": [0.0, 0.5], "head": ["last", "neuroview"]}
    trials = drawn(trials=64, **choices)
    for one, two in combinations(choices, 2):
        pairs = Counter(zip(values(trials, one), values(trials, two), strict=True))
        # 16 on average; the same draws would leave two of the four pairs out
        assert len(pairs) == 4
        assert min(pairs.values()) >= 10


def test_every_hyper_parameter_has_its_own_dimension():
    dimensions = [declared.dimension for declared in DECLARED.values()]
    assert len(set(dimensions)) == len(dimensions)
    assert set(dimensions) <= set(range(FIRST_OPTION))
    assert [DECLARED[name].dimension for name in ("init_scale", "learning_rate", "hidden_size", "clip_norm")] == [0, 1, 2, 3]


def test_a_new_hyper_parameter_changes_no_other_draw(small_params, monkeypatch):
    settings = config.load(path=small_params({"train.dropout": [0.0, 0.5], "train.trials": 16}))
    before = training.draw(settings, IMAGES, "cpu")
    declared = Declaration(float, 6, "log", "strength of a new penalty", interval=True)
    wider = make_dataclass(
        "Wider", [("penalty", float, field(metadata={"declaration": declared}))], bases=(HyperParameters,), frozen=True
    )
    monkeypatch.setattr(MODULE, "HyperParameters", wider)
    monkeypatch.setattr(MODULE, "DECLARED", DECLARED | {"penalty": declared})
    named = dict(settings.train) | {"penalty": Range(low=0.1, high=1.0)}
    train = SimpleNamespace(**named, drawn=named.get)
    after = training.draw(SimpleNamespace(seed=settings.seed, cells=settings.cells, train=train), IMAGES, "cpu")
    assert len({trial.hyper_parameters.penalty for trial in after if trial.cell == CELL}) == 16
    for one, two in zip(before, after, strict=True):
        known = {name: value for name, value in asdict(two.hyper_parameters).items() if name != "penalty"}
        assert (one.cell, one.index, one.seed, asdict(one.hyper_parameters)) == (two.cell, two.index, two.seed, known)


@pytest.mark.parametrize("name", CHOICES)
def test_other_choices_of_one_hyper_parameter_change_no_other(drawn, name):
    one, two = drawn(trials=8), drawn(trials=8, **{name: CHOICES[name]})
    assert values(one, name) != values(two, name)
    for other in set(DECLARED) - {name}:
        assert values(one, other) == values(two, other)


@pytest.mark.parametrize(("few", "many"), [(2, 4), (3, 5), (8, 24)])
def test_more_trials_extend_a_study(drawn, few, many):
    assert drawn(trials=many)[:few] == drawn(trials=few)


def test_a_repeated_draw_is_trained_with_three_seeds(drawn):
    plain, repeated = drawn(trials=5), drawn(trials=5, repeated=2)
    assert repeated[:5] == plain
    assert [trial.draw for trial in repeated] == [0, 1, 2, 3, 4, 0, 0, 1, 1]
    assert [trial.index for trial in repeated] == list(range(9))
    for trial in repeated[5:]:
        assert trial.hyper_parameters == plain[trial.draw].hyper_parameters
    assert len({trial.seed for trial in repeated}) == 9


def test_more_repeated_draws_than_trials_are_refused(small_params):
    with pytest.raises(ConfigError, match=r"train: repeated \(3\) should not exceed trials \(2\)"):
        config.load(path=small_params({"train.trials": 2, "train.repeated": 3}))


def test_the_mini_batch_is_the_tasks_own_unless_it_is_set(drawn):
    assert set(values(drawn(trials=4), "batch_size")) == {IMAGES.batch_size}
    assert set(values(drawn(trials=8, batch_size=["default", 20]), "batch_size")) == {IMAGES.batch_size, 20}


def test_torchs_initialisation_has_its_own_scale(drawn):
    for trial in drawn(trials=16, initialisation=["torch", "uniform"], hidden_size=[16, 64]):
        hyper = trial.hyper_parameters
        if hyper.initialisation == "torch":
            assert hyper.init_scale == pytest.approx(hyper.hidden_size**-0.5, rel=1e-5)  # six digits
    kinds = values(drawn(trials=64, initialisation=["torch", "orthogonal", "uniform", "uniform"]), "initialisation")
    assert Counter(kinds) == {"torch": 16, "orthogonal": 16, "uniform": 32}  # a net of 64 points deals them equally


def test_trials_differ_in_seed_and_id_and_know_their_place(drawn):
    trials = drawn(trials=24)
    assert [trial.index for trial in trials] == list(range(24))
    assert len({trial.seed for trial in trials}) == len({trial.id for trial in trials}) == 24


def test_a_draw_depends_on_seed_task_and_cell(drawn):
    one = drawn()
    assert drawn() == one
    for other in (drawn(seed=6), drawn(cell="gru"), drawn(replace(IMAGES, task="fulda_runoff"))):
        assert not {trial.seed for trial in one} & {trial.seed for trial in other}
        assert not set(values(one, "learning_rate")) & set(values(other, "learning_rate"))


def test_other_tasks_and_cells_of_a_study_change_no_draw(drawn, small_params):
    settings = config.load(path=small_params({"seed": 5, "cells": ["leaky", "gru", "elman"], "tasks": ["adding"]}))
    trials = [trial for trial in training.draw(settings, IMAGES, "cpu") if trial.cell == "gru"]
    assert sorted(trials, key=lambda trial: trial.index) == drawn(cell="gru")


def test_the_most_expensive_trials_come_first(small_params):
    settings = config.load(path=small_params({"cells": ["lstm", "leaky"], "train.trials": 8}))
    order = [(trial.cell, trial.hyper_parameters.hidden_size) for trial in training.draw(settings, IMAGES, "cpu")]
    # torch has a fused kernel of the LSTM alone
    assert order == sorted(order, key=lambda one: (one[0] != "leaky", -one[1]))
    assert len(set(order)) == 4


def test_a_trial_carries_what_prepare_wrote(drawn):
    trial = drawn()[0]
    assert (trial.batch_size, trial.chance, trial.data_hash) == (7, 1.25, IMAGES.hash)
    assert (trial.input_size, trial.output_size, trial.steps) == (28, 10, 28)
    assert trial.torch == torch.__version__.partition("+")[0]


def test_the_code_of_a_trial_is_that_of_its_loop_cell_task_and_head(drawn, monkeypatch):
    monkeypatch.setattr(MODULE, "code_hash", lambda *paths: " ".join(sorted(paths)))
    trials = drawn(cell="gru", trials=8, head=["neuroview", "default", "every"])
    assert len({trial.hyper_parameters.head for trial in trials}) == 2
    for trial in trials:
        head = trial.hyper_parameters.head
        assert trial.code_hash == f"cells/gru.py heads/{head}.py tasks/mnist_rows.py training/loop.py"


# Heads


@pytest.mark.parametrize(
    ("own", "named", "fitting"),
    [
        ("last", ["default"], ("last",)),
        ("last", ["neuroview", "default", "last"], ("neuroview", "last")),
        ("last", ["every", "neuroview"], ("neuroview",)),
        ("every", ["default", "neuroview"], ("every",)),
    ],
)
def test_heads_are_those_that_answer_as_often_as_the_task_asks(own, named, fitting):
    assert fitting_heads(named, study.info(head=own)) == fitting


@pytest.mark.parametrize(
    ("own", "named", "how"), [("every", ["last", "neuroview"], "at every step"), ("last", ["every"], "once per sequence")]
)
def test_heads_of_which_none_fits_a_task_are_refused(own, named, how):
    with pytest.raises(ConfigError, match=rf"^params.yaml: train.head: no head answers {how}, as counting asks; add 'default'"):
        fitting_heads(named, study.info(head=own))


def test_a_study_of_several_heads_draws_each_for_the_tasks_that_it_fits(drawn):
    heads = ["default", "neuroview", "every"]
    assert set(values(drawn(trials=16, head=heads), "head")) == {"last", "neuroview"}
    text = study.info("english_characters", head="every")
    assert set(values(drawn(text, trials=16, head=heads), "head")) == {"every"}


# Options of single cells


def test_options_of_a_cell_are_drawn_and_reach_it(drawn):
    trials = drawn(cell="leaky", trials=16, options={"leaky": {"leak": [0.3, 0.9]}})
    leaks = [trial.options["leak"] for trial in trials]
    assert sorted(leaks) == [0.3] * 8 + [0.9] * 8
    assert [Network.of(trial).cell.leak for trial in trials] == leaks


def test_a_range_of_an_option_is_drawn_uniformly_in_the_logarithm(drawn):
    trials = drawn(cell="leaky", trials=16, options={"leaky": {"leak": {"low": 0.01, "high": 1.0}}})
    places = np.sort([math.log10(trial.options["leak"]) / 2 + 1 for trial in trials])
    assert np.floor(places * 16).tolist() == list(range(16))


def test_options_change_no_other_draw_and_touch_no_other_cell(drawn, small_params):
    options = {"leaky": {"leak": [0.3, 0.9]}}
    plain, optioned = drawn(cell="leaky"), drawn(cell="leaky", options=options)
    assert [replace(trial, options={}) for trial in optioned] == plain
    settings = config.load(path=small_params({"seed": 5, "cells": ["leaky", CELL], "train.options": options}))
    beside = [trial for trial in training.draw(settings, IMAGES, "cpu") if trial.cell == CELL]
    assert sorted(beside, key=lambda trial: trial.index) == drawn()


def test_an_option_at_its_default_is_none(drawn):
    plain = drawn(cell="leaky")
    assert drawn(cell="leaky", options={"leaky": {"leak": [0.5]}}) == plain
    whole, real = (drawn(cell="leaky", options={"leaky": {"leak": [value]}}) for value in (1, 1.0))
    assert [trial.id for trial in whole] == [trial.id for trial in real] != [trial.id for trial in plain]


def test_a_wrong_option_is_refused_before_anything_is_trained(drawn):
    with pytest.raises(ConfigError, match=r"^params.yaml: train.options.leaky: cell .*: leak is .*; it should be in \(0, 1\]$"):
        drawn(cell="leaky", trials=8, options={"leaky": {"leak": [0.3, 3.0]}})


@pytest.mark.parametrize(
    ("cell", "option", "value", "wrong"),
    [
        ("leaky", "leak", [0.3, "half"], "'half'"),
        ("elman", "nonlinearity", ["relu", 1], "1"),
        ("sbo_gradient", "rank", [2, 2.5], "2.5"),
        ("sbo_gradient", "rank", {"low": 2, "high": 4}, "2.0"),
    ],
)
def test_an_option_of_another_kind_than_its_default_is_refused(drawn, cell, option, value, wrong):
    sentence = rf"^params.yaml: train.options.{cell}.{option} is {wrong}; its values should be like its default, "
    with pytest.raises(ConfigError, match=sentence):
        drawn(cell=cell, options={cell: {option: value}})


# What the data lack


def test_mini_batches_larger_than_the_training_data_are_refused(drawn):
    assert set(values(drawn(batch_size=[100]), "batch_size")) == {100}
    with pytest.raises(
        ConfigError, match=r"^params.yaml: train.batch_size: 101 is more than the 100 training sequences of mnist"
    ):
        drawn(batch_size=[50, 101])


@pytest.fixture
def images(tmp_path, monkeypatch):
    """A folder with the data of the task mnist_rows: 20 validation sequences of 28 steps."""
    monkeypatch.chdir(tmp_path)
    arrays = {f"{split}_inputs": np.zeros((28, count, 1), np.float32) for split, count in COUNTS.items()}
    arrays |= {f"{split}_targets": np.zeros(count, np.uint8) for split, count in COUNTS.items()}
    TaskData(arrays, IMAGES).save(layout.data("mnist_rows"))


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(("sequences", "transient", "steps", "fit"), [(20, 8, 20, True), (20, 9, 20, False), (21, 0, 8, False)])
def test_spectra_for_which_the_validation_data_are_too_short_are_refused(sequences, transient, steps, fit):
    settings = SpectrumSettings(sequences=sequences, transient=transient, steps=steps)
    if fit:
        training.check_data(settings, "mnist_rows")
    else:
        with pytest.raises(DataError, match=r"20 sequences of 28 steps, too few for spectrum.sequences = .*; lower spectrum"):
            training.check_data(settings, "mnist_rows")


@pytest.mark.usefixtures("images")
def test_data_that_are_missing_or_of_another_task_are_refused():
    settings = SpectrumSettings(sequences=2, transient=0, steps=8)
    with pytest.raises(ArtefactError, match=r"^cannot read data/adding.safetensors: No such file"):
        training.check_data(settings, "adding")
    layout.data("mnist_rows").rename(layout.data("adding"))
    with pytest.raises(
        ArtefactError, match=r"^data/adding.safetensors is damaged \(it was written as mnist_rows.safetensors\); delete it"
    ):
        training.check_data(settings, "adding")


def test_each_option_of_a_cell_is_drawn_on_its_own(drawn):
    choices = [0.5, 1.0, 2.0]
    both = drawn(cell="cornn", trials=8, options={"cornn": {"stiffness": choices, "damping": list(choices)}})
    alone = drawn(cell="cornn", trials=8, options={"cornn": {"damping": list(choices)}})
    assert [trial.options["damping"] for trial in both] == [trial.options["damping"] for trial in alone]
    assert [trial.options["damping"] for trial in both] != [trial.options["stiffness"] for trial in both]


@pytest.mark.parametrize(
    ("cell", "option", "sentence"),
    [
        ("leaky", "leek", r"params.yaml: train.options.leaky: there is no option 'leek'; it has leak$"),
        ("gru", "leak", r"params.yaml: train.options.gru: there is no option 'leak'; it has none$"),
        ("leaky", "hidden_size", "no option 'hidden_size'"),
    ],
)
def test_an_unknown_option_is_one_sentence(drawn, cell, option, sentence):
    with pytest.raises(ConfigError, match=sentence):
        drawn(cell=cell, options={cell: {option: [0.3]}})


# The trial itself


def test_the_id_changes_with_every_field():
    trial = study.trial()
    others = [replace(trial, options={"leak": 0.3})]
    for name in {f.name for f in fields(trial)} - {"hyper_parameters", "options"}:
        value = getattr(trial, name)
        others.append(replace(trial, **{name: value + "x" if isinstance(value, str) else value + 1}))
    for name, value in asdict(trial.hyper_parameters).items():
        changed = replace(trial.hyper_parameters, **{name: value + "x" if isinstance(value, str) else value + 1})
        others.append(replace(trial, hyper_parameters=changed))
    assert len({trial.id, *(other.id for other in others)}) == len(others) + 1
    assert replace(trial).id == trial.id


def device(setting, small_params, **execution):
    found = config.load(path=small_params({f"execution.{name}": value for name, value in execution.items()}))
    return training.choose_device(found.model_copy(update={"device": setting}))


def test_a_gpu_that_is_not_there_is_refused(small_params, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device("auto", small_params) == device("cpu", small_params) == "cpu"
    with pytest.raises(ConfigError, match="device is 'cuda' but torch sees no GPU; use auto or cpu"):
        device("cuda", small_params)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device("auto", small_params) == device("cuda", small_params) == "cuda"
    assert device("cpu", small_params) == "cpu"


@pytest.mark.parametrize("here", [True, False])
def test_jobs_of_a_cluster_have_the_gpus_that_they_reserve_whatever_this_machine_has(small_params, monkeypatch, here):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: here)
    assert device("auto", small_params, engine="ray", gpus=0.25) == device("cuda", small_params, engine="ray", gpus=1) == "cuda"
    assert device("auto", small_params, engine="ray") == device("cpu", small_params, engine="ray", gpus=1) == "cpu"
