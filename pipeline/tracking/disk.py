"""The artefacts on disk as runs: what the stages do while they work, done again from the files."""

from collections.abc import Iterator
from pathlib import Path

from ..artefacts import TaskData, TrialFixedPoints, digest, load_json
from ..config import Config
from .content import located, prepared, reported, tabulated
from .runs import StageRun, files, stage_run
from .trial_runs import Draw

DATA, TRIALS, SPECTRA, TIMINGS = Path("data"), Path("trials"), Path("spectra"), Path("timings")
FIXED_POINTS = Path("fixed_points")
FEATURES, PREDICTOR = Path("features/features.parquet"), Path("predictor")
RESULT, PAGE = Path("metrics/predictor.json"), Path("report/index.html")


def from_disk(settings: Config, draw: Draw) -> Iterator[StageRun]:
    """Track every stage instance whose artefacts are there; its run, when it is done.

    `draw` makes the picture (PNG) of a trial's spectra.
    """
    pairs = [(task, cell) for task in settings.tasks for cell in settings.cells]
    yield from (_prepare(settings, task) for task in settings.tasks if _data(task).exists())
    for task, cell in pairs:
        folder = f"{task}-{cell}"
        if files(TRIALS / folder):
            yield _train(settings, task, cell)
        if files(SPECTRA / folder):
            yield _spectrum(settings, task, cell, draw)
        if (FIXED_POINTS / f"{folder}.safetensors").exists():
            yield _fixed_points(settings, task, cell)
    if FEATURES.exists():
        yield _features(settings, [SPECTRA / f"{task}-{cell}" for task, cell in pairs])
    if RESULT.exists() and PREDICTOR.exists():
        yield _predictor(settings)
    if PAGE.exists():
        yield _report(settings)


def _prepare(settings: Config, task: str) -> StageRun:
    with stage_run("prepare", task, settings=settings, timing=TIMINGS / f"prepare-{task}.json") as run:
        run.record(prepared(TaskData.load(_data(task))))
    return run


def _train(settings: Config, task: str, cell: str) -> StageRun:
    folder = f"{task}-{cell}"
    found = files(TRIALS / folder)
    with stage_run("train", task, cell, settings=settings, parts=found, timing=TIMINGS / f"train-{folder}.json") as run:
        for path in found:
            run.trial(path)
    return run


def _spectrum(settings: Config, task: str, cell: str, draw: Draw) -> StageRun:
    folder = f"{task}-{cell}"
    found = files(SPECTRA / folder)
    with stage_run("spectrum", task, cell, settings=settings, parts=found, timing=TIMINGS / f"spectrum-{folder}.json") as run:
        for path in found:
            run.spectra(path, TRIALS / folder, draw)
    return run


def _fixed_points(settings: Config, task: str, cell: str) -> StageRun:
    file = FIXED_POINTS / f"{task}-{cell}.safetensors"
    parts = [digest(_data(task)), TrialFixedPoints.load(file).trial["id"]]
    timing = TIMINGS / f"fixed_points-{task}-{cell}.json"
    with stage_run("fixed_points", task, cell, settings=settings, parts=parts, timing=timing) as run:
        run.record(located(file))
    return run


def _features(settings: Config, folders: list[Path]) -> StageRun:
    with stage_run("features", settings=settings, parts=files(*folders), timing=TIMINGS / "features.json") as run:
        run.record(tabulated(FEATURES))
    return run


def _predictor(settings: Config) -> StageRun:
    with stage_run("predictor", settings=settings, parts=[digest(FEATURES)], timing=TIMINGS / "predictor.json") as run:
        run.predictor(PREDICTOR, FEATURES, load_json(RESULT))
    return run


def _report(settings: Config) -> StageRun:
    with stage_run("report", settings=settings, parts=[digest(RESULT)], timing=TIMINGS / "report.json") as run:
        run.record(reported(PAGE))
    return run


def _data(task: str) -> Path:
    return DATA / f"{task}.safetensors"
