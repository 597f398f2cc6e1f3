"""python scripts/plot.py runs=<run folder>[,<run folder>...] out=curve.png: learning curves from the runs' own metrics.csv.

Keys: runs, out=curve.png, x=steps (steps, minutes or both), smooth=20 (iterations averaged), labels (one for each run,
separated by commas; default: the folders' names). Runs with the same label have the same colour.
"""

import numpy as np
from curves import labelled, minutes, smoothed

from harl_isaac.playback import read_arguments, run_script

DEFAULTS = {"runs": None, "out": "curve.png", "x": "steps", "smooth": 20, "labels": None}
PANELS = (("return", "episode/return", 1.0), ("success [%]", "episode/success", 100.0))
AXES = {"steps": ("million steps", lambda columns: columns["steps"] / 1e6), "minutes": ("minutes", minutes)}


def draw(panel, runs, labels, colours, name, factor, axis, smooth) -> None:
    """One curve for each run, one entry in the legend for each label."""
    named = set()
    for columns, label in zip(runs, labels):
        if name in columns:
            panel.plot(AXES[axis][1](columns), factor * smoothed(columns[name], smooth), color=colours[label],
                       label=None if label in named else label, linewidth=1.2)
            named.add(label)
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8, framealpha=0.5)


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    args = read_arguments(__doc__, DEFAULTS)
    if args["x"] not in (*AXES, "both"):
        raise ValueError("x=%s; possible: %s, both" % (args["x"], ", ".join(AXES)))
    labels, runs = zip(*labelled(args))
    panels = [(panel, axis) for panel in PANELS if any(panel[1] in columns for columns in runs)
              for axis in (AXES if args["x"] == "both" else [args["x"]])]
    figure, axes = pyplot.subplots(1, len(panels), figsize=(1 + 4 * len(panels), 3.4), constrained_layout=True)
    colours = {label: "C%d" % (place % 10) for place, label in enumerate(dict.fromkeys(labels))}
    for place, ((title, name, factor), axis) in enumerate(panels):
        draw(np.atleast_1d(axes)[place], runs, labels, colours, name, factor, axis, args["smooth"])
        np.atleast_1d(axes)[place].set(xlabel=AXES[axis][0], ylabel=title)
    figure.savefig(args["out"], dpi=110)
    print(args["out"])


if __name__ == "__main__":
    run_script(main)
