"""The stopper for Ray Tune."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray.tune")

from pipeline.core.errors import ModuleError
from pipeline.integrations.ray import StabilityStopper

ROOT = Path(__file__).parent.parent.parent
SEARCH = """
import sys

import ray
from ray import tune

from pipeline.integrations.ray import StabilityStopper


def train(config):
    for epoch in range(3):
        tune.report({"epoch": epoch, "stability_probability": config["probability"] if epoch else 0.5})


ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
tuner = tune.Tuner(
    train,
    param_space={"probability": tune.grid_search([0.01, 0.9])},
    run_config=tune.RunConfig(stop=StabilityStopper(0.05), storage_path=sys.argv[1], verbose=0),
)
for result in tuner.fit():
    print("ended", result.config["probability"], result.metrics["epoch"], result.error)
"""


@pytest.mark.parametrize(
    ("result", "stops"), [({"stability_probability": 0.049}, True), ({"stability_probability": 0.05}, False)]
)
def test_a_trial_stops_below_the_bound(result, stops):
    assert StabilityStopper(0.05)("a", result | {"loss": 1.0}) is stops


def test_a_result_without_a_probability_stops_nothing():
    assert not StabilityStopper()("a", {"loss": 1.0})
    assert not StabilityStopper().stop_all()


def test_the_metric_may_have_another_name():
    assert StabilityStopper(metric="chance_of_success")("a", {"chance_of_success": 0.0})


@pytest.mark.parametrize("value", ["high", 1.5, float("nan")])
def test_what_is_no_probability_is_refused(value):
    with pytest.raises(ModuleError, match=r"stability_probability.* should be a"):
        StabilityStopper()("a", {"stability_probability": value})


@pytest.mark.slow
def test_a_search_ends_the_trial_that_is_unlikely_to_succeed_and_no_other(tmp_path):
    script = tmp_path / "search.py"
    script.write_text(SEARCH)
    done = subprocess.run(
        [sys.executable, script, tmp_path / "results"],
        cwd=tmp_path,
        env={"PATH": str(Path(sys.executable).parent) + ":/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert sorted(line for line in done.stdout.splitlines() if line.startswith("ended")) == [
        "ended 0.01 1 None",
        "ended 0.9 2 None",
    ], done.stderr
