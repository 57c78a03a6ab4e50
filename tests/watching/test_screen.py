"""Configurations ranked before training: the order, errors, and that other processes give the same verdicts."""

import builtins
import io
import json
import random
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from trained import CASES, Series

from pipeline import ModuleError, Verdict, screen, watch
from pipeline.watching import training as training_module
from pipeline.watching.screen import Screening, _processes

CASE = CASES["series"]
CANDIDATES = [{"lr": lr} for lr in (1e-6, 5e-3, 1e3)]


def built(candidate):
    """A model and its optimiser."""
    model = Series()
    return model, torch.optim.AdamW(model.parameters(), lr=candidate["lr"], weight_decay=0.0)


def screened(candidates=CANDIDATES, build=built, **options):
    given = {"loss": cross_entropy, "budget": 50, "batch_size": 8, "jobs": 1} | options
    return screen(build, candidates, CASE.inputs, CASE.targets, **given)


def said(verdict):
    """All that a verdict says but what it cost."""
    return verdict.to_dict(), verdict.moment, verdict.based_on, verdict.reasons[:-1]


@pytest.fixture(scope="module")
def screening():
    return screened()


def test_a_hopeless_learning_rate_ranks_below_a_sensible_one(screening):
    assert screening.order[0] == 1
    assert screening.best == {"lr": 5e-3}
    assert next(candidate["lr"] for candidate, _ in screening) == 5e-3
    scores = [verdict.expected_score for verdict in screening.verdicts]
    assert scores[1] > max(scores[0], scores[2])
    assert len(screening) == 3


def test_the_table_names_the_effect_of_the_main_reason(screening):
    """In the words that the predictor itself uses."""
    said = str(screening.verdicts[1])
    effects = dict(re.findall(r"- (.*?);.*(raises|lowers) the expected score", said))
    line = str(screening).splitlines()[1]  # the best candidate
    sign, start = re.search(r"([+-])0\.\d\d: (.{12})", line).groups()
    (effect,) = [effect for reason, effect in effects.items() if reason.startswith(start)]
    assert sign == {"raises": "+", "lowers": "-"}[effect]


def test_each_verdict_is_that_of_a_watch_of_its_own(screening):
    for candidate, verdict in zip(CANDIDATES, screening.verdicts, strict=True):
        torch.manual_seed(0)
        model, optimiser = built(candidate)
        options = {"loss": cross_entropy, "optimizer": optimiser, "budget": 50, "batch_size": 8}
        assert said(watch(model, CASE.inputs, CASE.targets, **options).before()) == said(verdict)


@pytest.mark.slow
def test_other_processes_give_the_same_verdicts_also_for_lambdas_and_closures(screening):
    scale = 1.0

    def build(candidate):
        model, optimiser = built({"lr": scale * candidate["lr"]})
        return model, optimiser

    found = screened(build=build, loss=lambda answers, targets: cross_entropy(answers, targets), jobs=2)
    assert [said(v) for v in found.verdicts] == [said(v) for v in screening.verdicts]
    with pytest.raises(ModuleError, match=r"candidates\[2\], \{'lr': 'high'\}: .*\(TypeError\)"):
        screened([*CANDIDATES[:2], {"lr": "high"}], jobs=2)
    lock = io.TextIOWrapper(io.BytesIO())
    with pytest.raises(ModuleError, match="cannot be screened in other processes; try jobs=1: "):
        screened(build=lambda candidate: (lock, built(candidate))[1], jobs=2)


def test_random_numbers_threads_and_candidates_stay_as_they_are(two_threads):
    state, candidates = torch.get_rng_state(), [{"lr": 1e-3}]
    others = str([np.random.get_state(), random.getstate()])  # noqa: NPY002
    first = screened(candidates, lambda candidate: (built(candidate), np.random.rand(), random.random())[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), state)
    assert str([np.random.get_state(), random.getstate()]) == others  # noqa: NPY002
    assert torch.get_num_threads() == 2
    assert candidates == [{"lr": 1e-3}]
    torch.rand(3)
    assert said(screened(candidates).verdicts[0]) == said(first.verdicts[0])
    assert said(screened(candidates, seed=1).verdicts[0]) != said(first.verdicts[0])


def test_what_is_the_same_for_all_is_found_once(monkeypatch):
    found = []
    for name in ("best_constant", "dependence_on_lags"):
        function = getattr(training_module, name)

        def spy(*args, name=name, function=function, **options):
            found.append(name)
            return function(*args, **options)

        monkeypatch.setattr(training_module, name, spy)
    screened()
    assert sorted(found) == ["best_constant", "dependence_on_lags"]


def test_a_candidate_may_have_options_of_its_own():
    def build(candidate):
        return *built(candidate), {"batch_size": candidate["size"], "chance": 2.0} if candidate["size"] else {}

    found = screened([{"lr": 5e-3, "size": size} for size in (16, 32, None)], build)
    plain = screened([{"lr": 5e-3}])
    assert said(found.verdicts[2]) == said(plain.verdicts[0])
    model, optimiser = built({"lr": 5e-3})
    torch.manual_seed(0)
    model, optimiser = built({"lr": 5e-3})
    options = {"loss": cross_entropy, "optimizer": optimiser, "budget": 50, "batch_size": 32, "chance": 2.0}
    assert said(watch(model, CASE.inputs, CASE.targets, **options).before()) == said(found.verdicts[1])


@pytest.mark.parametrize(
    ("candidates", "build", "options", "sentence"),
    [
        ([], built, {}, "there are no candidates; give one or more"),
        ({"lr": 1.0}, built, {}, "candidates should be a sequence of settings"),
        (3, built, {}, "candidates should be a sequence of settings, found 3"),
        (CANDIDATES, lambda candidate: None, {}, r"candidates\[0\], \{'lr': 1e-06\}: build should return \(model, optimiser\)"),
        ([*CANDIDATES, {}], built, {}, r"candidates\[3\], \{\}: lr \(KeyError\)|candidates\[3\], \{\}: 'lr' \(KeyError\)"),
        (
            CANDIDATES,
            lambda c: (nn.Linear(3, 3), built(c)[1]),
            {},
            r"candidates\[0\], .*: the optimiser holds no trained parameter",
        ),
        (CANDIDATES, built, {"jobs": 0}, "jobs is 0; it should be a whole number above 0"),
        (CANDIDATES, built, {"sise": 3}, r"no argument 'sise'"),
        (CANDIDATES, built, {"seed": "one"}, "seed is 'one'; it should be a whole number"),
        (CANDIDATES, built, {"seed": 0.5}, "seed is 0.5; it should be a whole number"),
        (
            CANDIDATES,
            lambda c: (*built(c), None),
            {},
            "the options of watch that build returns should be a dictionary, found None",
        ),
    ],
)
def test_what_cannot_be_screened_is_refused_with_its_place(candidates, build, options, sentence):
    with pytest.raises(ModuleError, match=sentence):
        screened(candidates, build, **options)


def test_processes_start_only_where_that_saves_time(monkeypatch):
    monkeypatch.setattr("pipeline.watching.screen.cpu_count", lambda: 4)
    assert _processes(3, 0.2) == 1
    assert _processes(1000, 0.2) == 4
    assert _processes(2, 600.0) == 2
    monkeypatch.setattr("pipeline.watching.screen.cpu_count", lambda: 1)
    assert _processes(1000, 10.0) == 1


# Text and tables


def verdict(score, probability, *reasons):
    return Verdict(probability, score, "before training", "all", None, reasons or ("the evidence",))


CHOSEN = Screening(
    ({"lr": 0.123456, "cell": "a"}, {"lr": 1e-5}, {"lr": 2.0, "cell": "c"}),
    (
        verdict(0.5, 0.2),
        verdict(
            0.5,
            0.7,
            "evidence",
            "lr is 1e-05, below all trials; compared with their median, this lowers the expected score by 0.20",
        ),
        verdict(0.9, 0.1),
    ),
)


def test_the_order_is_by_expected_score_and_then_by_probability():
    assert CHOSEN.order == (2, 1, 0)
    assert repr(CHOSEN) == "Screening(3 candidates, expected scores 0.90 to 0.50; best: {'cell': 'c', 'lr': 2.0})"


def test_the_table_shows_settings_and_the_main_reason_of_the_first_twenty():
    lines = str(CHOSEN).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["1", "0.90", "0.10", "2", "'c'", "the", "evidence"],
        ["2", "0.50", "0.70", "1e-05", "-0.20:", "lr", "is", "1e-05,", "below", "all", "trials"],
        ["3", "0.50", "0.20", "0.123", "'a'", "the", "evidence"],
    ]
    assert lines[0].split() == ["rank", "expected", "score", "probability", "lr", "cell", "main", "reason"]
    many = Screening(tuple(range(23)), (verdict(0.5, 0.5),) * 23)
    assert len(str(many).splitlines()) == 22
    assert str(many).endswith("... and 3 more")
    assert [line.split()[3] for line in str(many).splitlines()[1:4]] == ["0", "1", "2"]


def test_the_main_reason_is_the_first_that_differs_between_candidates():
    same = "steps is 20, above 0% of the trials; compared with their median, this raises the expected score by 0.30"
    own = [
        f"rate is {n}, above 5% of the trials; compared with their median, this lowers the expected score by 0.0{n}"
        for n in (1, 2)
    ]
    lines = str(Screening(({}, {}), tuple(verdict(0.5, 0.5, "the evidence", same, reason) for reason in own))).splitlines()
    assert [line.split(maxsplit=3)[3] for line in lines[1:]] == [f"-0.0{n}: rate is {n}, above 5% of the trials" for n in (1, 2)]
    alone = str(Screening(({},), (verdict(0.5, 0.5, same),))).splitlines()[1]
    assert alone.endswith("+0.30: steps is 20, above 0% of the trials")


def test_columns_are_plain_lists_and_a_frame_of_these(monkeypatch):
    columns = json.loads(json.dumps(CHOSEN.to_dict()))
    assert columns["candidate"] == [2, 1, 0]
    assert columns["rank"] == [1, 2, 3]
    assert columns["cell"] == ["c", None, "a"]
    assert columns["expected_score"] == [0.9, 0.5, 0.5]
    assert CHOSEN.to_frame()["lr"].tolist() == [2.0, 1e-5, 0.123456]
    load = builtins.__import__

    def without(name, *args, **options):
        if name == "pandas":
            raise ModuleNotFoundError(name)
        return load(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleError, match=r"to_frame\(\) needs pandas: pip install pandas; to_dict\(\) works without it"):
        CHOSEN.to_frame()


def test_the_bar_is_on_stderr_and_nothing_is_printed(capfd):
    screened(CANDIDATES[:1])
    assert capfd.readouterr() == ("", "")  # no terminal, no bar
