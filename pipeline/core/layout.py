"""Every path of a study and the name of every stage, relative to the folder that holds params.yaml."""

from pathlib import Path

# In the order in which they run.
STAGES = ("prepare", "train", "measure", "fixed_points", "features", "predictor", "report")

FEATURES = Path("features/features.parquet")
FEATURES_CSV = Path("features/features.csv")
PREDICTOR = Path("predictor")  # trials.parquet, card.json
PREDICTIONS = Path("predictor/predictions.parquet")
EVIDENCE = Path("predictor/evidence.json")
METRICS = Path("metrics.json")
CURVES = Path("plots/curves.csv")
EXPONENTS = Path("plots/exponents.csv")
REPORT = Path("report")
PAGE = Path("report/index.html")
FIGURES = Path("report/figures")
RECORDS = Path("runs")
LOG = Path("runs/make_run.log")  # all that the stages and DVC said in the last `make run`


def data(task: str) -> Path:
    """A task's sequences."""
    return Path("data") / f"{task}.safetensors"


def trials(task: str) -> Path:
    """Folder of a task's trials, one file per trial."""
    return Path("trials") / task


def spectra(task: str) -> Path:
    """Folder of the spectra of a task's trials, one file per trial."""
    return Path("spectra") / task


def measurements(task: str) -> Path:
    """Folder of the early measurements of a task's trials, one file per trial."""
    return Path("measurements") / task


def fixed_points(task: str) -> Path:
    """Folder of the fixed points of a task's best trials, one file per cell."""
    return Path("fixed_points") / task


def portrait(task: str, cell: str) -> Path:
    """The picture of the fixed points of a task's and a cell's best trial."""
    return FIGURES / f"fixed_points-{task}-{cell}.png"


def unfinished(result: Path) -> Path:
    """The file of a job that has not finished, from which it goes on after an interruption."""
    return result.parent / ".unfinished" / result.name


def record(stage: str, *words: str) -> Path:
    """What the last run of a stage instance leaves: its settings, its time, the commit."""
    return RECORDS / f"{'-'.join((stage, *words))}.json"
