"""The pruner and the sampler for Optuna."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from pipeline import Verdict, screen
from pipeline.core.errors import ModuleError

optuna = pytest.importorskip("optuna")

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # noqa: E402
from optuna.samplers import RandomSampler, TPESampler  # noqa: E402

from benchmarks import optuna_search  # noqa: E402
from pipeline.integrations.optuna import STABILITY, ScreeningSampler, StabilityPruner, expected_score, report  # noqa: E402

ROOT = Path(__file__).parent.parent.parent
SPACE = {"x": FloatDistribution(-4, 4), "n": IntDistribution(1, 9), "kind": CategoricalDistribution(["a", "b"])}
FIXED = {"one": FloatDistribution(0.5, 0.5), "only": CategoricalDistribution(["yes"])}


@pytest.fixture(autouse=True)
def _quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


def verdict(probability, score=0.5):
    return Verdict(probability, score, "before", "all", None, ())


def suggested(trial):
    return {name: trial._suggest(name, distribution) for name, distribution in SPACE.items()}


def objective(trial):
    """A bowl with its lowest point at x = 1, n = 3 and kind = b."""
    found = suggested(trial)
    return (found["x"] - 1) ** 2 + (found["n"] - 3) ** 2 + (found["kind"] == "a")


def searched(sampler, trials=12, objective=objective, **options):
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=trials, **options)
    return study


def params(study):
    return [trial.params for trial in study.trials]


def one(params):
    return 1.0


@pytest.mark.parametrize(
    "inner", [lambda: RandomSampler(seed=3), lambda: TPESampler(seed=3, n_startup_trials=4)], ids=["random", "tpe"]
)
def test_with_one_candidate_the_search_is_that_of_the_inner_sampler(inner):
    alone = searched(inner())
    assert params(searched(ScreeningSampler(inner(), one, candidates=1, search_space=SPACE))) == params(alone)


def test_the_candidate_with_the_highest_score_begins():
    seen = []

    def score(candidate):
        seen.append(candidate)
        return -abs(candidate["x"] - 1)

    study = searched(ScreeningSampler(RandomSampler(seed=0), score, candidates=15, search_space=SPACE), trials=4)
    assert len(seen) == 60
    for number, trial in enumerate(study.trials):
        assert trial.params == min(seen[15 * number : 15 * number + 15], key=lambda c: abs(c["x"] - 1))


def test_candidates_follow_the_distribution_of_the_inner_sampler():
    seen = []
    sampler = ScreeningSampler(RandomSampler(seed=1), lambda c: seen.append(c) or 0.0, candidates=20, search_space=SPACE)
    searched(sampler, trials=50)
    share = sum(c["x"] < 0 for c in seen) / len(seen)
    assert share == pytest.approx(0.5, abs=4 * 0.5 / 1000**0.5)  # four standard errors of 1,000 draws
    assert {c["n"] for c in seen} == set(range(1, 10))


def test_the_space_is_what_finished_trials_have_in_common():
    scored = []

    def conditional(trial):
        x = trial.suggest_float("x", -4, 4)
        extra = trial.suggest_float("extra", 0, 1) if trial.number % 2 else 0.0
        if trial.number == 1:
            raise optuna.TrialPruned
        return x * x + extra

    sampler = ScreeningSampler(RandomSampler(seed=0), lambda c: scored.append(c) or 0.0, candidates=5)
    study = searched(sampler, trials=4, objective=conditional)
    assert [set(c) for c in scored] == [{"x"}] * 15  # the first trial is the inner sampler's own
    assert "extra" in study.trials[3].params


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_conditional_parameter_that_the_inner_sampler_draws_jointly_is_accepted():
    sampler = ScreeningSampler(
        TPESampler(seed=0, multivariate=True, n_startup_trials=2),
        lambda c: -abs(c["x"]),
        search_space={"x": SPACE["x"]},
    )
    assert len(searched(sampler, trials=6).trials) == 6


def test_tpe_still_learns_from_trials_that_were_screened():
    def mean_of_last(seed):
        sampler = ScreeningSampler(TPESampler(seed=seed), lambda c: float(c["kind"] == "b"), candidates=5, search_space=SPACE)
        return sum(trial.value for trial in searched(sampler, trials=60).trials[40:]) / 20

    # a random draw of this bowl has a mean of 16/3 + 1 + 80/12 + 1 = 14; a third of that shows that values count
    assert sum(mean_of_last(seed) for seed in range(3)) / 3 < 14 / 3


def test_the_same_seed_gives_the_same_search():
    def run():
        return params(searched(ScreeningSampler(TPESampler(seed=5), lambda c: c["x"], candidates=4, search_space=SPACE)))

    assert run() == run()


def test_values_that_are_fixed_are_scored_as_they_are():
    scored = []
    study = optuna.create_study(
        sampler=ScreeningSampler(
            RandomSampler(seed=0), lambda c: scored.append(c) or 0.0, candidates=4, search_space=SPACE | FIXED
        )
    )
    study.enqueue_trial({"x": 2.5})
    study.optimize(lambda trial: suggested(trial)["x"], n_trials=1)
    assert study.trials[0].params["x"] == 2.5
    assert [(c["x"], c["one"], c["only"]) for c in scored] == [(2.5, 0.5, "yes")] * 4


def test_several_threads_and_a_storage_can_share_a_search(tmp_path):
    space = {"lr": FloatDistribution(1e-4, 1e-1, log=True)}
    study = optuna.create_study(
        storage=f"sqlite:///{tmp_path}/search.db",
        sampler=ScreeningSampler(TPESampler(seed=0, n_startup_trials=2), lambda c: c["lr"], candidates=3, search_space=space),
        pruner=StabilityPruner(),
    )

    def run(trial):
        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        report(trial, verdict(0.01 if trial.number == 3 else 0.9))
        if trial.should_prune():
            raise optuna.TrialPruned
        return lr

    study.optimize(run, n_trials=8, n_jobs=2)
    again = optuna.load_study(study_name=study.study_name, storage=f"sqlite:///{tmp_path}/search.db")
    states = [trial.state.name for trial in again.trials]
    assert states == ["PRUNED" if number == 3 else "COMPLETE" for number in range(8)]


def test_a_sampler_can_be_pickled():
    sampler = ScreeningSampler(RandomSampler(seed=0), one, search_space=SPACE)
    assert params(searched(pickle.loads(pickle.dumps(sampler)))) == params(searched(sampler))


@pytest.mark.parametrize(("probability", "pruned"), [(0.049, True), (0.05, False), (0.9, False), (None, False)])
def test_a_trial_is_pruned_below_the_bound(probability, pruned):
    study = optuna.create_study(pruner=StabilityPruner(0.05))
    trial = study.ask()
    if probability is not None:
        report(trial, verdict(probability))
    assert trial.should_prune() is pruned


def test_another_pruner_is_asked_as_well():
    study = optuna.create_study(pruner=StabilityPruner(0.05, inner=optuna.pruners.ThresholdPruner(upper=1.0)))
    trial = study.ask()
    report(trial, verdict(0.9))
    trial.report(2.0, 0)
    assert trial.should_prune()


def test_a_report_keeps_the_verdict_and_with_a_step_the_expected_score():
    study = optuna.create_study()
    trial = study.ask()
    report(trial, verdict(0.25, 0.75))
    assert study.trials[0].intermediate_values == {}
    report(trial, verdict(0.25, 0.75), step=3)
    assert study.trials[0].intermediate_values == {3: 0.75}
    expected = {"probability": 0.25, "expected_score": 0.75, "moment": "before", "based_on": "all"}
    assert study.trials[0].user_attrs == {STABILITY: expected}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ScreeningSampler("tpe", one), "inner should be a sampler of Optuna, found str"),
        (lambda: ScreeningSampler(RandomSampler(), 3), "score should be a function of parameters, found int"),
        (lambda: ScreeningSampler(RandomSampler(), one, candidates=0), "candidates is 0; it should be a whole number"),
        (lambda: ScreeningSampler(RandomSampler(), one, first=0), "first is 0; it should be a whole number"),
        (lambda: StabilityPruner("low"), "below is 'low'; it should be a number"),
        (
            lambda: searched(ScreeningSampler(RandomSampler(), lambda c: float("nan"), search_space=SPACE), trials=1),
            "is NaN; it should be a number",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_cannot_work_is_refused(make, said):
    with pytest.raises(ModuleError, match=said):
        make()


class Net(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.rnn, self.head = nn.GRU(2, hidden), nn.Linear(hidden, 1)

    def forward(self, x):
        return self.head(self.rnn(x)[0][-1])


def build(params):
    model = Net(8)
    return model, torch.optim.Adam(model.parameters(), lr=params["lr"])


def test_expected_scores_are_those_of_screening_and_leave_random_numbers_alone():
    inputs = torch.randn(12, 40, 2, generator=torch.Generator().manual_seed(0))
    targets = inputs[-3:, :, :1].sum(0)
    options = {"loss": mse_loss, "budget": 5, "batch_size": 10}
    before = torch.get_rng_state()
    score = expected_score(build, inputs, targets, **options)
    rates = [{"lr": 1e-6}, {"lr": 1e-2}]
    scores = [score(rate) for rate in rates]
    assert torch.equal(torch.get_rng_state(), before)
    screening = screen(build, rates, inputs, targets, **options, jobs=1, progress=False)
    assert scores == [one.expected_score for one in screening.verdicts]
    assert scores[0] < scores[1]


@pytest.mark.slow
def test_the_benchmark_of_searches_runs():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.optuna_search", "--small"], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ours")]
    assert len(rows) == 12  # two searches in three tables, among trainings of two lengths
    assert all(float(cell.split()[0]) >= 0 for row in rows for cell in row[1:])  # NaN is not


def test_only_the_first_trials_are_screened():
    scored = []
    sampler = ScreeningSampler(
        RandomSampler(seed=1), lambda c: scored.append(c) or 0.0, candidates=3, first=2, search_space=SPACE
    )
    assert len(searched(sampler, trials=5).trials) == 5
    assert len(scored) == 6


def test_the_best_score_within_a_time_is_that_of_the_trainings_that_had_ended():
    found = {"best": np.array([0.2, 0.5, 0.5]), "seconds": np.array([1.0, 2.5, 4.0])}
    assert [optuna_search.within(found, seconds) for seconds in (0.5, 1.0, 3.0)] == [0.0, 0.2, 0.5]
