"""MAPPO: proximal policy optimization with a central critic, all agents at once (Yu et al., 2022)."""

from dataclasses import dataclass

from harl_isaac.algos.happo import Happo, HappoCfg
from harl_isaac.env import EnvSpec


@dataclass
class MappoCfg(HappoCfg):
    """Settings of MAPPO, with own networks or a shared one (share_param)."""

    name: str = "mappo"

    def learner(self, spec: EnvSpec, seed: int) -> "Mappo":
        """A new learner. Raises ValueError for settings that cannot run."""
        return Mappo(spec, self, seed)


class Mappo(Happo):
    """All agents at once, each by the clipped surrogate."""

    sequential = False
