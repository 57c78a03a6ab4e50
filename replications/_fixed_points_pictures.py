"""The pictures of the replication of fixed points."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from torch import Tensor

from pipeline import FixedPoints
from pipeline.report.figures import INK, below, key, png, styled
from pipeline.report.phase import COLOURS, LABELS, MARKERS, components, scatter


@dataclass(frozen=True)
class Course:
    """A network's human-readable name, its outputs (T, B, H), and its fixed points, whose states begin with the outputs."""

    name: str
    states: Tensor
    points: FixedPoints


@styled
def memory_picture(courses: Sequence[Course]) -> bytes:
    """Trajectories and fixed points in three principal components, one panel per network, as a PNG."""
    figure = Figure(figsize=(11, 4.4), dpi=150, layout="constrained")
    figure.suptitle("Networks that remember three bits: trajectories, and the fixed points without input", x=0.008, ha="left")
    for place, course in enumerate(courses, start=1):
        axes = figure.add_subplot(1, len(courses), place, projection="3d")
        mean, directions, _ = components(course.states.numpy(), 3)
        size = course.states.shape[-1]
        for line in ((course.states.numpy() - mean) @ directions).swapaxes(0, 1)[:16]:
            axes.plot(*line.T, color="#999999", linewidth=0.5, alpha=0.5)
        scatter(axes, (course.points.states[:, :size].numpy() - mean) @ directions, course.points.unstable.numpy())
        axes.set_title(f"{course.name}: {' / '.join(map(str, course.points.signature))}")
        axes.set(xticklabels=[], yticklabels=[], zticklabels=[], xlabel="PC 1", ylabel="PC 2", zlabel="PC 3")
    labels = [*LABELS[:3], "3 unstable"]
    below(figure, "", [key(label, COLOURS[n], marker=MARKERS[n], linestyle="") for n, label in enumerate(labels)])
    return png(figure)


@styled
def line_picture(lines: Sequence[tuple[Course, Tensor, Tensor]]) -> bytes:
    """States coloured by the sum of valences so far, slow and fixed points, one panel per network, as a PNG.

    Args:
        lines: a network, its slow points (N, S) and the sums of valences (T, B) along its states.
    """
    figure = Figure(figsize=(9.5, 4.3), dpi=150, layout="constrained")
    title = "Networks that add up valences: states along texts, slow and fixed points under the mean word"
    figure.suptitle(title, x=0.008, ha="left")
    grid = figure.subplots(1, len(lines), squeeze=False)[0]
    for axes, (course, slow, totals) in zip(grid, lines, strict=True):
        mean, directions, shares = components(course.states.numpy())
        flat = (course.states.flatten(0, 1).numpy() - mean) @ directions
        dots = axes.scatter(*flat.T, c=totals.flatten(), cmap="coolwarm", vmin=-12, vmax=12, s=7, alpha=0.5, linewidth=0)
        axes.scatter(*((slow.numpy() - mean) @ directions).T, color=INK, s=9)
        ends = (course.points.states.numpy() - mean) @ directions
        colours = [COLOURS[min(int(n), 3)] for n in course.points.unstable]
        axes.scatter(*ends.T, facecolor="none", edgecolor=colours, s=110, linewidth=2.2)
        axes.set_title(f"{course.name}: {len(slow)} slow points, {len(course.points)} fixed points")
        axes.set(xlabel=f"PC 1 ({100 * shares[0]:.0f} % of variance)", ylabel=f"PC 2 ({100 * shares[1]:.0f} %)")
    figure.colorbar(dots, ax=grid, label="sum of valences so far", shrink=0.85)
    rings = [key(f"fixed point, {LABELS[n]}", COLOURS[n], marker="o", fillstyle="none", linestyle="") for n in (0, 1)]
    below(figure, "", [key("slow points, q < 1e-4", INK, marker="o", linestyle="", markersize=4), *rings])
    return png(figure)
