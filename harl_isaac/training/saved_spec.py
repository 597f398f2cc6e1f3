"""An environment's spec as plain data in a checkpoint, so that its policies act without the environment."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Dict

import torch

from harl_isaac.env import Box, Discrete, EnvSpec, MultiDiscrete

SPACES = {"Box": Box, "Discrete": Discrete, "MultiDiscrete": MultiDiscrete}
OF_A_MACHINE = ("num_envs", "device", "exclusive")  # which do not belong to the policies


def spec_state(spec: EnvSpec) -> Dict[str, Any]:
    """The spec without number of environments and device, as lists, numbers and strings."""
    state = {
        each.name: getattr(spec, each.name) for each in fields(spec) if each.name not in (*OF_A_MACHINE, "actions")
    }
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in state.items()}
    return {**plain, "actions": [{"kind": type(space).__name__, **asdict(space)} for space in spec.actions]}


def saved_spec(state: Dict[str, Any], file: Path, num_envs: int, device: torch.device) -> EnvSpec:
    """The spec in a checkpoint, for `num_envs` environments. Raises ValueError where there is none."""
    saved = state.get("spec")
    if saved is None:
        raise ValueError(
            f"checkpoint {file} is from a version that kept no spec of the environment: resume its run once, which "
            "writes one, or give spec=make(task).spec"
        )
    try:
        actions = [SPACES[each["kind"]](**_without_kind(each)) for each in saved["actions"]]
        known = {each.name for each in fields(EnvSpec)}
        rest = {name: _tuples(value) for name, value in saved.items() if name in known and name != "actions"}
        return EnvSpec(num_envs=num_envs, device=device, actions=tuple(actions), **rest)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"checkpoint {file} has a damaged spec ({type(error).__name__}: {error})") from None


def _without_kind(space: Dict[str, Any]) -> Dict[str, Any]:
    return {name: _tuples(value) for name, value in space.items() if name != "kind"}


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
