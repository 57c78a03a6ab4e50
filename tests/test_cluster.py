"""Jobs on a Ray cluster of two nodes on this machine: the same results, whatever happens to a process or a node."""

import os
import re
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
import work
from torch import nn
from torch.nn.functional import cross_entropy
from twins import cut

pytest.importorskip("ray")
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - as Ray has it; on a busy machine, nice workers hardly run

from ray import cloudpickle
from ray.cluster_utils import Cluster as TwoNodes

from pipeline import screen, training
from pipeline.core import cluster, config, execution, layout
from pipeline.core.cluster import AHEAD, Cluster
from pipeline.core.errors import DataError, ExecutionError, ModuleError
from pipeline.core.files import ArrayFile
from pipeline.core.registry import LIBRARY
from pipeline.integrations.ray import on_cluster
from pipeline.jobs import measurements, spectra


class Classifier(nn.Module):
    """A recurrent network that answers once per sequence."""

    def __init__(self, hidden_size):
        super().__init__()
        self.recurrent, self.readout = nn.GRU(2, hidden_size), nn.Linear(hidden_size, 2)

    def forward(self, inputs):
        return self.readout(self.recurrent(inputs)[0][-1])


@pytest.fixture(scope="module", autouse=True)
def own_modules_travel():
    """Send functions of these modules as they are: the nodes have no folder of tests."""
    own = (work, sys.modules[__name__])
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    yield
    for module in own:
        cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture(scope="module")
def nodes():
    """A cluster of two nodes with a CPU each."""
    found = TwoNodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    found.add_node(num_cpus=1)
    yield found
    found.shutdown()


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_work_runs_on_both_nodes(nodes, here):
    with Cluster(address=nodes.address) as on:
        assert (on.slots, on.window) == (2, 2 * AHEAD)
        found = dict(execution.run(work.node, [here / str(n) for n in range(6)], on))
    assert len(found) == 2


def test_a_number_of_workers_is_that_many_jobs_at_once(nodes, here):
    with Cluster(address=nodes.address, workers=1) as on:
        assert on.window == 1
        list(execution.run(partial(work.slow, here), range(3), on))
    begun = {int(p.name[0]): p.stat().st_mtime_ns for p in here.glob("*-begins-*")}
    ended = {int(p.name[0]): p.stat().st_mtime_ns for p in here.glob("*-ends-*")}
    assert all(ended[n] <= begun[n + 1] for n in range(2))


@pytest.mark.parametrize("cpus", [1, 2])
def test_a_job_has_as_many_threads_as_cpus(nodes, here, cpus):
    nodes.add_node(num_cpus=2) if cpus == 2 else None
    with Cluster(address=nodes.address, cpus=cpus) as on:
        assert set(execution.run(work.threads, range(2), on)) == {str(cpus)}
    if cpus == 2:
        nodes.remove_node(next(n for n in nodes.worker_nodes if n._ray_params.num_cpus == 2))


def test_files_travel_to_the_node_and_records_come_back(nodes, here):
    work.Numbers(np.arange(3.0)).save(Path("data/numbers.safetensors"))
    todo = [work.Double(Path("data/numbers.safetensors"), Path(f"results/{n}.safetensors")) for n in range(3)]
    with Cluster(address=nodes.address) as on:
        execution.complete([todo[0], execution.Group(tuple(todo[1:]))], on, label="toy")
        execution.complete(todo, on, label="toy")
    assert [work.Numbers.load(job.path).x.tolist() for job in todo] == [[0.0, 2.0, 4.0]] * 3
    assert sorted(p.name for p in Path("results").iterdir()) == [f"{n}.safetensors" for n in range(3)]


def test_files_that_jobs_read_lie_in_the_working_folder(nodes, here):
    job = work.Double(here / "data/numbers.safetensors", Path("results/a.safetensors"))
    with Cluster(address=nodes.address) as on, pytest.raises(ValueError, match="relative to the working folder"):
        on.submit(work.run, job)


def test_a_users_error_comes_through_as_it_is(nodes, here):
    with Cluster(address=nodes.address) as on, pytest.raises(DataError, match=r"^two is not allowed; take three$"):
        list(execution.run(work.refuse, range(4), on))


def test_a_module_that_the_nodes_lack_is_named(nodes, here):
    cloudpickle.unregister_pickle_by_value(work)
    try:
        with Cluster(address=nodes.address) as on, pytest.raises(ExecutionError, match=r"cannot run the job: .*'work'") as raised:
            list(execution.run(work.square, range(2), on))
    finally:
        cloudpickle.register_pickle_by_value(work)
    assert "\n" not in str(raised.value)


def test_a_job_whose_process_is_lost_begins_again(nodes, here):
    with Cluster(address=nodes.address) as on:
        assert len(list(execution.run(work.die_once, [here / str(n) for n in range(3)], on))) == 3


def test_a_job_that_is_always_lost_is_one_sentence(nodes, here, monkeypatch):
    monkeypatch.setattr(cluster, "RETRIES", 1)
    with Cluster(address=nodes.address) as on, pytest.raises(ExecutionError, match=r"lost 2 times.*kept") as raised:
        list(execution.run(work.die, [2], on))
    assert "\n" not in str(raised.value)


def test_a_lost_job_goes_on_from_what_it_kept(nodes, here):
    (here / "marks").mkdir()
    work.Numbers(np.arange(3.0)).save(Path("data/numbers.safetensors"))
    job = work.Count(Path("data/numbers.safetensors"), Path("results/a.safetensors"), here / "marks")
    with Cluster(address=nodes.address) as on:
        execution.complete([job], on, label="toy")
    assert work.Numbers.load(job.path).x.tolist() == [5.0]
    assert sorted(p.name[0] for p in (here / "marks").iterdir()) == ["1", "2", "3", "4", "5"]  # and 1 to 3 not twice
    assert not layout.unfinished(job.path).parent.exists()


def test_a_node_that_is_lost_costs_its_running_jobs_only(here):
    two = TwoNodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        lost = two.add_node(num_cpus=1)
        with Cluster(address=two.address) as on:
            results = execution.run(partial(work.slow, here), range(10), on)
            done = [next(results)]
            while not (running := _running(here, lost.node_id)):
                time.sleep(0.01)
            two.remove_node(lost, allow_graceful=False)
            done += results
        assert sorted(done) == list(range(10))
        begun = [int(p.name.partition("-")[0]) for p in here.glob("*-begins-*")]
        again = {n for n in begun if begun.count(n) > 1}
        assert again <= running
        assert all(begun.count(n) <= 2 for n in begun)
    finally:
        two.shutdown()


def _running(marks, node):
    """Numbers of the jobs that have begun on a node and have not ended."""
    names = [p.name for p in marks.iterdir() if p.name.endswith(node)]
    began = {int(n.partition("-")[0]) for n in names if "-begins-" in n}
    return began - {int(n.partition("-")[0]) for n in names if "-ends-" in n}


def test_no_cluster_at_an_address_is_one_sentence(here):
    with pytest.raises(ExecutionError, match=re.escape("no Ray cluster answers at 127.0.0.1:9")) as raised:
        Cluster(address="127.0.0.1:9")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("address", ["cluster", "host:port", ""])
def test_an_address_that_is_none_is_one_sentence(here, address):
    with pytest.raises(ExecutionError, match=r"^the address of the cluster is .*; it should be auto, or a host and a port"):
        Cluster(address=address)


@pytest.mark.parametrize("wrong", [{"cpus": 0}, {"cpus": 1.5}, {"gpus": -1}, {"gpus": float("nan")}, {"workers": 0}])
def test_wrong_numbers_are_refused_before_a_connection(here, wrong):
    with pytest.raises(ModuleError, match=f"^{next(iter(wrong))} is "):
        Cluster(address="127.0.0.1:9", **wrong)


def test_what_cannot_be_sent_is_one_sentence(nodes, here, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    lock = threading.Lock()
    with (
        on_cluster(lambda: lock) as there,
        pytest.raises(ExecutionError, match="the job cannot be sent to the cluster: ") as raised,
    ):
        there()
    assert "\n" not in str(raised.value)
    with on_cluster(abs) as there, pytest.raises(ExecutionError, match="the job cannot be sent to the cluster: "):
        there(lock)
    with pytest.raises(ModuleError, match="function is 5; it should be a function"), on_cluster(5):
        pass


def test_a_share_of_a_gpu_that_no_node_has_is_said(nodes, here, capsys):
    with Cluster(address=nodes.address, gpus=0.25) as on:
        assert on.slots == 0
    assert capsys.readouterr().err == "WARNING: no node of the Ray cluster has 1 CPU and 0.25 GPU; jobs wait until there is one\n"


def test_a_connection_that_is_there_already_stays(nodes, here):
    import ray

    ray.init(nodes.address, log_to_driver=False, logging_level="error", runtime_env={"py_modules": [str(LIBRARY)]})
    try:
        with Cluster() as on:
            assert sorted(execution.run(work.square, range(3), on)) == [0, 1, 4]
        assert ray.is_initialized()
    finally:
        ray.shutdown()


def test_large_functions_are_sent_once(nodes, here):
    class Large:
        pickled = 0

        def __init__(self):
            self.numbers = np.arange(1000.0)

        def __getstate__(self):
            Large.pickled += 1
            return {"numbers": self.numbers}

        def sum(self, number):
            return float(self.numbers.sum()) + number

    with Cluster(address=nodes.address) as on:
        assert sorted(execution.run(Large().sum, range(4), on)) == [499500.0 + n for n in range(4)]
    assert Large.pickled == 1


def test_variables_of_the_environment_are_left_alone(nodes, here):
    before = dict(os.environ)
    with Cluster(address=nodes.address):
        pass
    assert {k: v for k, v in os.environ.items() if k in before and not k.startswith("RAY_")} == {
        k: v for k, v in before.items() if not k.startswith("RAY_")
    }


@pytest.mark.slow
def test_candidates_are_screened_on_the_cluster_with_the_same_verdicts(nodes, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    inputs, targets = torch.randn(12, 20, 2, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 2

    def build(candidate):
        model = Classifier(candidate["hidden_size"])
        return model, torch.optim.Adam(model.parameters(), candidate["lr"])

    candidates = [{"hidden_size": size, "lr": lr} for size in (4, 8) for lr in (1e-3, 1e-1)]
    options = {"loss": cross_entropy, "budget": 30, "batch_size": 10, "progress": False}
    here = screen(build, candidates, inputs, targets, jobs=1, **options)
    there = screen(build, candidates, inputs, targets, engine="ray", **options)
    assert [v.to_dict() for v in there.verdicts] == [v.to_dict() for v in here.verdicts]
    assert here.order == there.order
    with pytest.raises(ModuleError, match=r"candidates\[1\], .*lr.*\(TypeError\)"):
        screen(build, [candidates[0], {"hidden_size": 3, "lr": "high"}], inputs, targets, engine="ray", **options)
    with pytest.raises(ModuleError, match="engine is 'slurm'; it should be 'local' or 'ray'"):
        screen(build, candidates, inputs, targets, engine="slurm", **options)


def test_an_optuna_search_trains_on_the_cluster(nodes, here, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    marks = str(here)

    def train(x):
        import ray

        (Path(marks) / ray.get_runtime_context().get_node_id()).touch()
        time.sleep(0.3)
        if x > 3:
            raise optuna.TrialPruned
        return x**2

    study = optuna.create_study(sampler=optuna.samplers.GridSampler({"x": [1.0, 2.0, 3.0, 4.0]}))
    with on_cluster(train) as there:
        study.optimize(lambda trial: there(trial.suggest_float("x", 0, 5)), n_trials=4, n_jobs=2)
    assert study.best_params == {"x": 1.0}
    assert sorted(t.state.name for t in study.trials) == ["COMPLETE"] * 3 + ["PRUNED"]
    assert len(list(here.iterdir())) == 2


@pytest.mark.slow
def test_trainings_and_measurements_give_the_same_bits_on_the_cluster(nodes, prepared, small_params, tmp_path, monkeypatch):
    settings = config.load(path=small_params({"cells": ["elman", "lstm"], "train.trials": 2}))
    data, found = cut(prepared("fulda_runoff"), 40, 20), {}
    for name, engine in (("here", lambda: execution.executor(1)), ("there", lambda: Cluster(address=nodes.address))):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        data.save(layout.data("fulda_runoff"))
        with engine() as on:
            execution.complete(training.jobs(settings, "fulda_runoff"), on, label="train")
            execution.complete(spectra.jobs(settings, "fulda_runoff"), on, label="spectra")
            execution.complete(measurements.jobs(settings, "fulda_runoff"), on, label="measurements")
        paths = sorted(Path().glob("*/fulda_runoff/*.safetensors"))
        found[name] = {path: (array := ArrayFile(path)).read(*array.names) for path in paths}
    assert found["here"].keys() == found["there"].keys()
    assert len(found["here"]) == 3 * 4
    for path, arrays in found["here"].items():
        assert all(np.array_equal(value, found["there"][path][name], equal_nan=True) for name, value in arrays.items()), path
