"""harl-archive study=studies/mpe out=data/mpe: a small copy of a study to publish, with its index, and of each run the
settings, versions and thinned curves; harl-plot, harl-table and harl-report take it for the study.

Keys: study (a study's folder; the first word may be it), out (folder of the archive; one of the same study is brought
up to date), points=100 (rows of a curve at most; each has the means of as many iterations).
"""

from pathlib import Path

from harl_isaac.cli.arguments import check_numbers, read_arguments
from harl_isaac.studies.archive import archive_study
from harl_isaac.studies.index import load_study

DEFAULTS = {"study": None, "out": None, "points": 100}
MOST_POINTS = 1_000_000


def main() -> None:
    """Write the archive of the study named on the command line."""
    args = read_arguments(__doc__ or "", DEFAULTS, first="study")
    check_numbers(args, points=(2, MOST_POINTS))
    for key in ("study", "out"):
        if not args[key]:
            raise ValueError(f"give {key}=<folder>; --help says more")
    study = load_study(Path(args["study"]))
    out = Path(args["out"])
    runs = archive_study(study, out, args["points"])
    print(f"{out}: {runs} of {len(study.points)} runs")
