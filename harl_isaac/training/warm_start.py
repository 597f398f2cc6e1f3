"""Warm start: a new run's policies begin with those of another run or of a policy file (`init_from`).

Taken are the actors' weights, with the moments of their inputs; critics, optimizers and counters are new, since
rewards may be others. Numbers of environments, tasks and bounds of actions may differ, agents may have other names.
"""

from dataclasses import MISSING, fields
from typing import Any, Dict, List, Tuple

from torch import Tensor

from harl_isaac.env import Box, EnvSpec
from harl_isaac.learning.learner import AlgoCfg, Learner
from harl_isaac.training import checkpoint
from harl_isaac.training.run_folder import saved_config

# Settings without which the same weights do not fit, or are another function.
FUNCTION = (
    *("hidden", "recurrent", "activation", "input_norm", "max_std", "share_param", "agent_id"),
    *("last_activation", "layer_norm"),
)


def start_from(run: str, learner: Learner, algo: AlgoCfg) -> str:
    """Let the learner's policies begin with those of `run`; returns a line that says so. Raises ValueError."""
    file = checkpoint.policy_file(run)
    saved = checkpoint.load(file)
    with checkpoint.damage_named(file):
        weights: Dict[str, Tensor] = saved["learner"]["actors"]
        check_fits(saved["sizes"], learner.spec, f"init_from={run}")
    check_function(_algo_values(saved, file), algo, f"init_from={run}")
    checkpoint.check_finite_weights(weights, file)
    try:
        learner.init_policies(weights)
    except RuntimeError as error:  # names or shapes of weights
        raise ValueError(f"init_from={run}: {_reason(error)}; give the settings of its networks, algo.hidden") from None
    return f"policies begin with those of {file}; critics are new"


def check_fits(sizes: Dict[str, Any], spec: EnvSpec, what: str) -> None:
    """Raise ValueError where a policy's observations or actions are not as wide or not of the kind that agents have."""
    pairs: List[Tuple[str, List[Any], List[Any]]] = [
        ("agents", [len(sizes["agents"])], [spec.num_agents]),
        ("widths of observations", list(sizes["obs_sizes"]), list(spec.obs_sizes)),
        ("actions", [_kind(space) for space in sizes["actions"]], [_kind(str(space)) for space in spec.actions]),
    ]
    for name, there, here in pairs:
        if there != here:
            raise ValueError(f"{what}: its {name} are {_listed(there)}, those of this task {_listed(here)}")


def check_function(there: Dict[str, Any], algo: AlgoCfg, what: str) -> None:
    """Raise ValueError where the same weights would make other policies than they were."""
    defaults = {field.name: field.default for field in fields(algo)}  # of settings younger than the policies
    for name in FUNCTION if there else ():
        here = getattr(algo, name, None)
        used = there.get(name, defaults.get(name))
        if here is not None and used is not MISSING and used != here:
            raise ValueError(f"{what}: its policies have algo.{name}={used}, this run {here}; give the same")


def _algo_values(saved: Dict[str, Any], file: Any) -> Dict[str, Any]:
    """The algorithm's saved settings, as data; {} where a policy comes without."""
    if "settings" in saved:
        return saved["settings"]["algo"]
    folder = checkpoint.run_folder(file)
    return saved_config(folder)["algo"] if (folder / "config.yaml").is_file() else {}


def _kind(space: str) -> str:
    """A space without its bounds, which policies do not know: Box(size=3)."""
    text = space.split(", low=", maxsplit=1)[0]
    return text + ")" if text.startswith(Box.__name__) and not text.endswith(")") else text


def _listed(values: List[Any]) -> str:
    return ", ".join(map(str, values))


def _reason(error: Exception) -> str:
    """The line of torch's message that says which weight does not fit."""
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    return lines[min(1, len(lines) - 1)][:160]
