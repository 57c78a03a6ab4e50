"""The spectra of trials: against torch's own modules driven by the task's own data."""

from dataclasses import replace

import numpy as np
import pytest
import study
import torch
from twins import TWINS, cut, trial_of, twin

from pipeline import lyapunov_spectra, lyapunov_spectrum
from pipeline.core import config, layout
from pipeline.core.errors import ArtefactError, DataError
from pipeline.core.records import CHECKPOINTS, TrialResult, TrialSpectra
from pipeline.jobs import spectra as measuring
from pipeline.jobs.spectra import measure
from pipeline.training import train


@pytest.fixture(scope="session")
def images(prepared):
    """60 images to train on and 20 of each other split."""
    return cut(prepared("mnist_rows"), 60, 20)


@pytest.fixture(scope="session")
def file_of(tmp_path_factory):
    """A function that writes the data of a task to a file."""

    def save(data):
        path = tmp_path_factory.mktemp("data") / "data.safetensors"
        data.save(path)
        return path

    return save


@pytest.fixture
def driven(small_params):
    """A function to settings of spectra."""
    return lambda **changes: config.load(path=small_params({f"spectrum.{k}": v for k, v in changes.items()})).spectrum


@pytest.mark.parametrize("cell", TWINS)
def test_measured_exponents_are_those_of_the_torch_twin_on_the_validation_data(cell, images, file_of, driven):
    trial = trial_of(images, cell, hidden_size=4, learning_rate=0.05)
    result = train(trial, images)
    settings = driven(sequences=2, transient=5, steps=35)
    spectra = measure(result, file_of(images), settings, "cpu")
    inputs = images.arrays["validation_inputs"]
    stream = inputs.swapaxes(0, 1).reshape(-1, 28)  # end to end: 40 steps take two images
    driving = torch.from_numpy(np.stack([stream[:40], stream[18 * 28 : 18 * 28 + 40]], axis=1)).double()
    assert (spectra.trial, spectra.settings) == (trial, settings)
    assert spectra.seconds > 0
    assert spectra.exponents.shape == (3, 2, 8 if cell == "lstm" else 4)
    assert spectra.history.shape == (3, 35)
    modules = [twin(cell, result.weights[checkpoint])[0] for checkpoint in CHECKPOINTS]
    for place, (checkpoint, alone) in enumerate(zip(CHECKPOINTS, lyapunov_spectra(modules, driving, transient=5), strict=True)):
        # the same engine on the same three networks
        np.testing.assert_allclose(spectra.exponents[place], alone.per_sequence, rtol=0, atol=1e-12)
        np.testing.assert_allclose(spectra.standard_error[place], alone.standard_error, rtol=0, atol=1e-12)
        np.testing.assert_allclose(spectra.history[place], alone.history[:, 0], rtol=0, atol=1e-12)
        careful = lyapunov_spectrum(modules[place], driving, transient=5, every=1)
        # what `accuracy` allows for the mean over sequences, and thrice that for one of them
        np.testing.assert_allclose(spectra.exponents[place], careful.per_sequence, rtol=0, atol=3e-5)
        np.testing.assert_allclose(spectra.history[place, -1], spectra.mean(checkpoint)[0], rtol=0, atol=1e-12)
        assert (np.diff(spectra.mean(checkpoint)) <= 0).all()


def test_the_head_plays_no_part_in_a_spectrum(images, file_of, driven):
    spectra, counts = {}, {}
    for head in ("last", "neuroview"):
        result = train(trial_of(images, head=head, learning_rate=0.05, epochs=1), images)
        counts[head] = result.outcome.parameter_count
        # the driving sequences are longer than the 28 steps that this neuroview has weights for
        spectra[head] = measure(result, file_of(images), driven(sequences=2, transient=5, steps=35), "cpu")
    cell = 6 * (28 + 6 + 2)
    assert counts == {"last": cell + 10 * 6 + 10, "neuroview": cell + 10 * 6 * 28 + 10}
    before, after = ([s.exponents[place] for s in spectra.values()] for place in (0, 2))
    # the cell is drawn before the head; both are within what `accuracy` allows, thrice that for one sequence, as above
    np.testing.assert_allclose(*before, rtol=0, atol=6e-5)
    assert np.abs(after[0] - after[1]).max() > 0.01


def test_tokens_are_encoded_before_they_drive_a_spectrum(prepared, file_of, driven):
    text = cut(prepared("english_characters"), 20, 8)
    result = train(trial_of(text, hidden_size=3, epochs=1), text)
    spectra = measure(result, file_of(text), driven(sequences=2, transient=2, steps=10), "cpu")
    tokens = text.arrays["validation_inputs"][:12, [0, 7]].astype(int)
    driving = torch.from_numpy(np.eye(text.info.input_size)[tokens])
    alone = lyapunov_spectrum(twin("elman", result.weights["final"])[0], driving, transient=2)
    np.testing.assert_allclose(spectra.exponents[2], alone.per_sequence, rtol=0, atol=1e-9)


def test_options_of_a_cell_take_part_in_its_spectrum(images, file_of, driven):
    """A leak of 1 makes a leaky network Elman's."""
    result = train(trial_of(images, "leaky", options={"leak": 1.0}, epochs=1), images)
    spectra = measure(result, file_of(images), driven(sequences=2, transient=0, steps=28), "cpu")
    driving = torch.from_numpy(images.arrays["validation_inputs"][:, [0, 19]]).double()
    alone = lyapunov_spectrum(twin("elman", result.weights["final"])[0], driving, transient=0)
    # both within `accuracy`, 1e-5, of the careful one in the mean over sequences; thrice that for one of them
    np.testing.assert_allclose(spectra.exponents[2], alone.per_sequence, rtol=0, atol=6e-5)


def test_the_spectrum_of_a_network_that_diverged_is_empty_and_its_start_is_not(images, file_of, driven):
    result = train(trial_of(images, learning_rate=1e38), images)
    result.weights["final"]["cell.weight_hh"][:] = np.nan
    spectra = measure(result, file_of(images), driven(), "cpu")
    assert spectra.diverged
    assert np.isnan(spectra.exponents[2]).all()
    assert np.isfinite(spectra.exponents[0]).all()


def test_too_little_validation_data_is_one_sentence(images, file_of, driven):
    result = train(trial_of(images, epochs=1), images)
    with pytest.raises(DataError, match=r"20 sequences of 28 steps.*spectrum.sequences = 3"):
        measure(result, file_of(images), driven(sequences=3, steps=300), "cpu")


# Jobs


@pytest.fixture
def paths(small_params, tmp_path, monkeypatch):
    """A function from settings to the files that measurements of tmp_path would write."""
    monkeypatch.chdir(tmp_path)
    return lambda **changes: {
        job.path for job in measuring.jobs(config.load("device", "execution", "spectrum", path=small_params(changes)), "counting")
    }


def saved(result):
    result.save(result.trial.path(layout.trials("counting")))
    return result


def test_names_of_spectra_tell_apart_what_could_change_them(paths, monkeypatch):
    result = saved(study.result())
    first = paths()
    assert paths() == first
    changed = [paths(**{f"spectrum.{key}": value}) for key, value in (("sequences", 3), ("transient", 5), ("steps", 13))]
    with monkeypatch.context() as other:
        other.setattr(torch.cuda, "is_available", lambda: True)
        changed.append(paths(device="cuda"))
    with monkeypatch.context() as other:
        other.setattr(measuring, "code_hash", lambda *paths: "edited")
        changed.append(paths())
    weights = {checkpoint: {name: w + 1 for name, w in values.items()} for checkpoint, values in result.weights.items()}
    saved(replace(result, weights=weights))
    changed.append(paths())
    assert len(set().union(first, *changed)) == 7
    saved(replace(result, outcome=replace(result.outcome, seconds=9.0)))  # as another machine would have trained it
    saved(study.result(index=1))
    assert first < paths()
    assert len(paths()) == 2


def test_the_largest_networks_are_measured_first(paths, small_params):
    sizes = {"elman": (6, 3), "lstm": (4,)}
    for cell, hidden in sizes.items():
        for index, size in enumerate(hidden):
            saved(study.result(cell=cell, index=index, hidden_size=size))
    found = [TrialResult.load(job.result).trial for job in measuring.jobs(config.load(path=small_params()), "counting")]
    assert [(t.cell, t.hyper_parameters.hidden_size) for t in found] == [("lstm", 4), ("elman", 6), ("elman", 3)]


def test_a_job_writes_the_spectra_of_its_trial(images, small_params, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trial = trial_of(images, epochs=1)
    images.save(layout.data("mnist_rows").absolute())
    train(trial, images).save(trial.path(layout.trials("mnist_rows")))
    (job,) = measuring.jobs(config.load(path=small_params()), "mnist_rows")
    job = replace(job, data=job.data.absolute())
    job.run().save(job.path)
    assert job.path.is_relative_to(layout.spectra("mnist_rows"))
    assert job.path.name.startswith("elman-")
    assert TrialSpectra.load(job.path).trial == trial
    assert not measuring.diverged(job.path)


def test_a_folder_without_trials_is_one_sentence(paths):
    with pytest.raises(ArtefactError, match="trials/counting holds no results; run `dvc repro`"):
        paths()
