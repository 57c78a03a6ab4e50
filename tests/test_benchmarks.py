"""The baselines of the benchmarks give right numbers, and the benchmarks run."""

import math

import oracles
import pytest
import torch
from draws import module_of, noise
from torch import nn
from torch.testing import assert_close
from twins import cut, trial_of

from benchmarks import (
    ablation,
    handwritten,
    measuring,
    memory,
    new_trainings,
    short_spectra,
    spectra,
    stranger,
    systems,
    timing,
    watching,
)
from pipeline import lyapunov_spectrum
from pipeline.core import registry
from pipeline.core.config import SpectrumSettings
from pipeline.jobs import measurements as measurements_job
from pipeline.jobs import spectra as spectra_job
from pipeline.predictor import feature_table
from pipeline.predictor.inputs import BEFORE, EPOCH, RELATIVE_LOSS, SETS, SPECTRAL
from pipeline.predictor.trials import trial_inputs
from pipeline.spectrum.engine import random_basis
from pipeline.spectrum.reference import reference_spectrum
from pipeline.training import train

MODULES = [nn.RNN, nn.LSTM, nn.GRU]
STEPS, TRANSIENT, SEQUENCES, INPUTS, HIDDEN = 12, 4, 3, 2, 5


def network(kind, seed=3):
    return module_of(kind, INPUTS, HIDDEN, scale=0.6, seed=seed)


def state_size(module):
    return HIDDEN * (2 if isinstance(module, nn.LSTM) else 1)


def tolerance(exponents):
    """The effect that rounding may have on exponents (..., k) here.

    A Householder QR is the exact one of a matrix with an error of some S eps of its norm, which changes the growth of a
    direction by that times the ratio of the step's largest growth to its own; over a path, every step adds as much again
    to the error of the later directions. With the ratio e^(l_1 - l_k) of a typical step, a hundredfold allowance for
    worse steps, T steps and S at most 2 H, this is T 100 2 H eps e^(l_1 - l_k).
    """
    spread = (exponents.max() - exponents.min()).exp()
    return float(STEPS * 100 * 2 * HIDDEN * torch.finfo(torch.float64).eps * spread)


@pytest.mark.parametrize("count", [2, None])
@pytest.mark.parametrize("kind", MODULES)
def test_the_handwritten_loop_has_the_exponents_of_the_engine_and_of_the_reference(kind, count):
    module, inputs = network(kind), noise(STEPS, SEQUENCES, INPUTS)
    size = state_size(module)
    count = count or size
    basis = random_basis(size, count, inputs).T
    found = handwritten.exponents(module, inputs, count, TRANSIENT, basis=basis)
    step, state = oracles.one_step(module), torch.zeros(size, dtype=torch.float64)
    dense = torch.stack([reference_spectrum(step, state, s, basis, transient=TRANSIENT) for s in inputs.unbind(1)])
    allowed = tolerance(dense)
    assert allowed < 1e-6  # tame enough to reveal a wrong factor of any gate
    assert_close(found, dense, rtol=0, atol=allowed)
    engine = lyapunov_spectrum(module, inputs, count=count, transient=TRANSIENT, every=1)
    order = found.mean(0).argsort(descending=True)
    assert_close(found[:, order], engine.per_sequence, rtol=0, atol=allowed)


@pytest.mark.parametrize("kind", MODULES)
def test_the_handwritten_loop_gives_each_of_many_networks_its_own(kind):
    modules, inputs = [network(kind, seed) for seed in (3, 4)], noise(STEPS, SEQUENCES, INPUTS)
    found = handwritten.exponents_of_all(modules, inputs, 3, TRANSIENT)
    for module, own in zip(modules, found, strict=True):
        expected = handwritten.exponents(module, inputs, 3, TRANSIENT)
        assert_close(own, expected, rtol=0, atol=tolerance(expected))


@pytest.mark.parametrize(
    ("kind", "options"), [*((k, {"bias": b}) for k in MODULES for b in (True, False)), (nn.RNN, {"nonlinearity": "relu"})]
)
def test_the_step_of_a_module_is_the_modules_own(kind, options):
    module, inputs = module_of(kind, INPUTS, HIDDEN, scale=0.6, **options), noise(STEPS, INPUTS)
    step, state = systems.one_step(module), torch.zeros(state_size(module), dtype=torch.float64)
    for x in inputs:
        state = step(state, x)
    assert_close(state[:HIDDEN], module(inputs)[0][-1], rtol=0, atol=1e-13)  # rounding of 12 steps


@pytest.mark.parametrize("options", [{"num_layers": 2}, {"bias": False}, {"bidirectional": True}, {"nonlinearity": "relu"}])
def test_the_handwritten_loop_refuses_what_its_formulas_do_not_cover(options):
    with pytest.raises(ValueError, match="should"):
        handwritten.exponents(nn.RNN(INPUTS, HIDDEN, **options), noise(STEPS, SEQUENCES, INPUTS), 2, 0)


def test_the_high_water_mark_sees_memory_that_is_free_again():
    before = memory.reset()
    size = torch.ones(8_000_000, dtype=torch.float64).nbytes  # more than malloc keeps: mapped and returned
    # the kernel counts pages on each core by itself and so may be off by some dozens of 4 kB for each
    assert memory.high_water() - before == pytest.approx(size, abs=4e6)


def test_candidates_take_turns_and_the_warm_up_does_not_count():
    order = []
    seconds = timing.interleaved({name: lambda name=name: order.append(name) for name in "ab"}, repeats=2)
    assert order == list("ababab")
    assert all(s >= 0 for s in seconds.values())


def test_threads_are_as_before_afterwards():
    before = torch.get_num_threads()
    with timing.threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def rows_of(text):
    """The cells of all Markdown tables in the text, without headers."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [rows[n] for n in range(len(rows)) if not is_rule(rows[n]) and not (n + 1 < len(rows) and is_rule(rows[n + 1]))]


def is_rule(row):
    return row[0] == "---"


@pytest.mark.slow
def test_the_quick_page_has_every_table_and_engine_and_baseline_agree(capsys):
    spectra.main("--quick")
    rows = rows_of(capsys.readouterr().out)
    compared = rows[: len(spectra.QUICK.cases)]
    assert [row[0] for row in compared] == [case.name for case in spectra.QUICK.cases]
    # the engine's default settings may err by 1e-5 nats per step, its promised accuracy; two swapped gates err by 6e-3 or more
    assert all(float(row[10]) < 1e-5 for row in compared)
    verified = rows[len(compared) :][:4]
    assert [row[0] for row in verified] == ["GRU 3, read", "GRU 3, called", "LSTM 3, read", "LSTM 3, called"]
    assert [row[0] for row in rows[len(compared) + len(verified) :][:2]] == ["T", "B"]
    on_gpu = len(spectra.QUICK.gpu_cases) if torch.cuda.is_available() else 0
    assert len(rows) == len(compared) + len(verified) + 2 + 2 + 8 + on_gpu  # cost exponents, memory, operators


def test_the_page_of_measurements_has_each_with_its_share(monkeypatch, capsys):
    small = {"STEPS": 6, "COUNTS": (60, 20, 20), "UNITS": 4, "BATCH": 10, "BATCHES": 2, "REPEATS": 1}
    for name, value in (small | {"WHOLE": SpectrumSettings(sequences=2, transient=2, steps=8)}).items():
        monkeypatch.setattr(measuring, name, value)
    measuring.main()
    rows = {row[0]: row[1:] for row in rows_of(capsys.readouterr().out)}
    assert list(rows) == [
        "a training",
        "all but spectra",
        "all but spectra and proxies",
        *registry.names("measuring"),
        measuring.WHOLE_NAME,
        measuring.LEADING_NAME,
    ]
    seconds = {name: [float(cell.partition("(")[2].partition(" ")[0]) for cell in cells] for name, cells in rows.items()}
    for place in range(2):  # each is rounded to a hundredth of a second
        parts = sum(seconds[name][place] for name in registry.names("measuring"))
        assert seconds["all but spectra"][place] == pytest.approx(parts, abs=0.005 * (len(rows) + 1))


@pytest.mark.parametrize("moment", [BEFORE, EPOCH])
def test_what_is_left_out_in_turn_is_all_but_the_loss(moment):
    columns = SETS[moment]["all"]
    families = ablation.families(columns)
    assert sorted(c for own in families.values() for c in own) == sorted(set(columns) - {RELATIVE_LOSS})
    assert {"spectrum", "hyper-parameters", "step_ratio", "credit"} < set(families)


def test_a_short_spectrum_gives_the_inputs_that_a_trial_has(prepared, tmp_path):
    """The eight largest of all exponents, measured alone: those that the network's own spectrum begins with."""
    data, path = cut(prepared("mnist_rows"), 60, 60), tmp_path / "data.safetensors"
    data.save(path)
    result = train(trial_of(data, cell="lstm", batch_size=5, epochs=2, early_epoch=1), data)
    result.save(tmp_path / "trial.safetensors")
    name, exponents, seconds = short_spectra.measure(short_spectra.Untrained(tmp_path / "trial.safetensors", path))
    assert (name, len(seconds)) == (result.trial.id, len(short_spectra.VARIANTS))
    whole = spectra_job.measure(result, path, SpectrumSettings(sequences=2, transient=10, steps=20), "cpu")
    measured = measurements_job.measure(result, path, "cpu")
    rows = trial_inputs(feature_table.table([result], [whole], [measured], 0.8))
    made = short_spectra.columns(rows, {name: exponents[short_spectra.VARIANTS.index((2, 10, 20, 8))]})
    for column in SPECTRAL:
        assert made[column].item() == pytest.approx(rows[column].item(), abs=0.02 * (1 + abs(rows[column].item()))), column
    assert exponents[short_spectra.VARIANTS.index((2, 10, 20, 4))].shape == (2, 4)


def test_a_strangers_runs_are_the_last_finished_ones():
    bits, answers = stranger.runs(50, torch.Generator().manual_seed(1))
    for own, found in zip(bits[:, :, 0].T.int().tolist(), answers.T.tolist(), strict=True):
        text = "".join(map(str, own))
        for t in range(len(own)):
            ended = [run for run in text[: t + 1].rpartition("0")[0].split("0") if run]  # runs before the last zero
            assert found[t] == (len(ended[-1]) % stranger.CLASSES if ended else 0)


def test_the_page_of_a_gpu_compares_the_same_numbers():
    rows = rows_of("\n".join(spectra.accelerator(spectra.QUICK, torch.device("cpu"))))
    assert [row[0] for row in rows] == ["LSTM, H = 4", "3 networks LSTM, H = 3"]
    assert all(float(row[6]) < 1e-5 for row in rows)  # as above


# Trainings that no study holds, and what watching costs


def outcome(task, loss, probability=0.5):
    answers = dict.fromkeys(("before training", "one epoch"), (probability, probability))
    return new_trainings.Outcome(task, answers, [1.0, loss], ("all", "all"), 0.1)


@pytest.mark.parametrize("task", new_trainings.TASKS)
def test_the_data_of_new_trainings_are_sequences_with_one_target_each(task):
    data = new_trainings.data_of(task)
    for inputs, targets in ((data.inputs, data.targets), data.validation):
        assert inputs.shape[1] == len(targets)
        assert inputs.isfinite().all()
        assert targets.isfinite().all()
    assert data.inputs.shape[1] % new_trainings.BATCH == 0
    classes = data.targets.dim() == 1
    variance = float(((data.validation[1] - data.targets.float().mean(0)) ** 2).mean())
    assert data.chance == (pytest.approx(math.log(data.outputs), rel=0.02) if classes else pytest.approx(variance))


def test_scores_of_new_trainings_are_shares_of_the_gap_that_the_best_of_their_task_closed():
    chance = new_trainings.data_of("waves").chance
    losses = [0.5 * chance, 0.75 * chance, 2 * chance, math.nan]
    found = [score for _, score in new_trainings.scored([outcome("waves", loss) for loss in losses])]
    assert found == pytest.approx([1.0, 0.5, 0.0, 0.0])


def test_perfect_answers_have_perfect_measures():
    found = [(outcome("waves", 0.0, float(success)), float(success)) for success in [True, False] * 20]
    name, auc, brier, calibration, _, means = new_trainings.measured(found, "one epoch")
    assert (name, auc, brier, calibration) == ("one epoch", "1.00 (1.00 to 1.00)", "0.00 (0.00 to 0.00)", 0.0)
    assert means == "0.50 of 0.50"


def test_watching_is_timed_at_every_moment(monkeypatch):
    monkeypatch.setattr(watching, "STEPS", 8)
    monkeypatch.setattr(watching, "EPOCH", 16)
    found = watching.times("GRU", 4, 0)
    assert len(found) == 4
    assert all(seconds > 0 for seconds in found)
