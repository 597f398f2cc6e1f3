"""harl-report study=studies/mpe out=report.html: one HTML page about runs, with all that it needs inside: results,
learning curves, algorithms compared over tasks, settings, versions, and what the best policy of each algorithm does.

Keys: study (a study's folder), runs (run folders, folders above them, patterns; the first word may be it),
out=report.html, title (default: the folder's name), average=mean (or iqm, over the runs of an algorithm, with 95 %
intervals), labels (one for each run, separated by commas; default: the algorithms), only (labels, separated by commas),
pictures=strip (strip, video or none: of an episode of each algorithm's best run on each task).
"""

import tempfile
from functools import partial
from pathlib import Path

from harl_isaac.cli.arguments import check_choice, named_file, read_arguments
from harl_isaac.outputs import write_text
from harl_isaac.studies.collection import collect, named_collection
from harl_isaac.studies.index import is_study, load_study
from harl_isaac.studies.page import Picture, data_uri, page
from harl_isaac.studies.statistics import STATISTICS
from harl_isaac.training.curves import LabeledRun
from harl_isaac.training.films import film

DEFAULTS = {
    "runs": None,
    "study": None,
    "out": "report.html",
    "title": None,
    "average": "mean",
    "labels": None,
    "only": None,
    "pictures": "strip",
}
FILES = {"strip": "episode.png", "video": "episode.mp4"}


def main() -> None:
    """Write the page of the runs named on the command line."""
    args = read_arguments(__doc__ or "", DEFAULTS, first="runs")
    check_choice("average", args["average"], list(STATISTICS))
    check_choice("pictures", args["pictures"], [*FILES, "none"])
    out = named_file(args, "out")
    where = Path((args["study"] or args["runs"] or "").split(",")[0])
    collection = named_collection(collect(args))
    study = load_study(where) if is_study(where) else None
    camera = None if args["pictures"] == "none" else partial(filmed, kind=args["pictures"])
    text = page(args["title"] or where.resolve().name, collection, study, args["average"], camera)
    write_text(out, text)
    print(out)


def filmed(run: LabeledRun, kind: str) -> Picture:
    """An episode of a run, played and drawn in a process of its own; without one, the reason."""
    name = f"{run.title} {run.label}".strip()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / FILES[kind]
        reason = film(run.folder, out)
        if reason:
            return Picture(name, f"no picture: {reason}")
        content = data_uri(out.read_bytes(), out.suffix)
    text = f"an episode of the best checkpoint of {run.folder}"
    return Picture(name, text, "video" if kind == "video" else "image", content)
