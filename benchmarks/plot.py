"""Figures of the committed results: they read ``results/*.json`` and need nothing else but matplotlib.

    python -m benchmarks.plot forgetting fedavg    # writes results/forgetting.svg and results/fedavg.svg

The same results and the same matplotlib give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.results import RESULTS, read_results

TITLES = {
    "fedavg": "FedAvg alone",
    "l2": "L2 to the task's end",
    "fedcurv": "FedCurv",
    "ewc_moving_base": "EWC, moving base",
    "fisher_merge": "Fisher-weighted merge",
    "rondo": "EWC as Rondo has it",
}
COLOURS = ("#888888", "#e69f00", "#009e73", "#56b4e9", "#cc79a7", "#d55e00")  # told apart by the colour-blind too


def plot_forgetting(document: Mapping[str, Any], path: Path) -> None:
    """Draw, over the rounds, each method's mean accuracy on all tasks so far and that on the first task."""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), sharex=True, sharey=True)
    for (method, result), colour in zip(document["permuted_mnist"].items(), COLOURS, strict=True):
        curves = [record["curve"] for record in result["seeds"].values()]
        rounds = [point[0] for point in curves[0]]
        for axis, seen in zip(axes, (None, 1), strict=True):  # all tasks so far; the first
            values = [fmean(fmean(curve[place][1][:seen]) for curve in curves) for place in range(len(rounds))]
            axis.plot(rounds, values, color=colour, label=TITLES[method], linewidth=2 if method == "rondo" else 1.3)
    for axis, title in zip(axes, ("mean over the tasks so far", "first task"), strict=True):
        axis.set_title(f"Permuted MNIST: accuracy, {title}")
        axis.set_xlabel("round; a new task every 25")
        axis.set_ylim(0.5, 1.0)
        axis.grid(alpha=0.3)
    axes[1].legend(fontsize=8, loc="lower left")
    _save(pyplot, figure, path)


def plot_fedavg(document: Mapping[str, Any], path: Path) -> None:
    """Draw test accuracy, best so far, over the rounds: int16 and float32 in one panel for each row of the table."""
    pyplot = _pyplot()
    rows = document["rows"]
    figure, axes = pyplot.subplots(1, len(rows), figsize=(3.6 * len(rows), 3.6), sharey=True, squeeze=False)
    for axis, (name, row) in zip(axes[0], rows.items(), strict=True):
        for (kind, curve), style in zip(row["curves"].items(), ("-", "--"), strict=True):
            best = [max(curve[: place + 1]) for place in range(len(curve))]
            axis.plot(range(1, len(best) + 1), best, style, label=kind)
        axis.axhline(0.97, color="#888888", linewidth=0.8)
        split, share = name.rsplit("_", 1)
        axis.set_title(f"{split.replace('_', '-').replace('iid', 'IID')}, C = {share}")
        axis.set_xlabel("round")
        axis.set_ylim(0.8, 1.0)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("test accuracy, best so far")
    axes[0][0].legend(fontsize=8, loc="lower right")
    _save(pyplot, figure, path)


FIGURES: Mapping[str, Callable[[Mapping[str, Any], Path], None]] = {
    "forgetting": plot_forgetting,
    "fedavg": plot_fedavg,
}


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "rondo"  # names inside the file, else drawn at random
    from matplotlib import pyplot

    return pyplot


def _save(pyplot: Any, figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def main() -> int:
    """Draw the figures named."""
    parser = argparse.ArgumentParser(description="Draw figures of committed results.")
    parser.add_argument("names", nargs="+", choices=sorted(FIGURES))
    for name in parser.parse_args().names:
        FIGURES[name](read_results(name), RESULTS / f"{name}.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
