"""Finds the fixed points of the best trial of a task and a cell: `python -m stages.fixed_points TASK CELL`."""

from pathlib import Path

from pipeline import config, stage, tracking
from pipeline.artefacts import digest, replacing, save_json, trials_in
from pipeline.report.phase import phase_portrait
from pipeline.training.locate import best, locate


def main(task: str, cell: str) -> dict[str, float]:
    """Write fixed_points/TASK-CELL.safetensors and .png, and metrics/fixed_points-TASK-CELL.json."""
    settings = config.load()
    pair = f"{task}-{cell}"
    data, file = Path("data") / f"{task}.safetensors", Path("fixed_points") / f"{pair}.safetensors"
    chosen = best(trials_in(Path("trials") / pair))
    with tracking.stage_run("fixed_points", task, cell, settings=settings, parts=[digest(data), chosen.trial["id"]]) as run:
        found = locate(chosen, data, settings.spectrum, settings.fixed_points, settings.seed)
        found.save(file)
        save_json(Path("metrics") / f"fixed_points-{pair}.json", {"trial": chosen.trial["id"]} | found.figures)
        with replacing(file.with_suffix(".png")) as temporary:
            temporary.write_bytes(phase_portrait(found))
        run.record(tracking.located(file))
    print(run)
    return {"tracking_seconds": run.seconds}


if __name__ == "__main__":
    stage.main(main)
