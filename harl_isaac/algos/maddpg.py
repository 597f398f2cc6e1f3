"""MADDPG: HADDPG's networks and one central critic, but all actors at once, each against the others' replayed actions
(Lowe et al., 2017; a critic for all as in Zhong et al., 2024, Section 5)."""

from dataclasses import dataclass

from harl_isaac.algos.haddpg import Haddpg, HaddpgCfg
from harl_isaac.env import EnvSpec


@dataclass
class MaddpgCfg(HaddpgCfg):
    """Settings of MADDPG."""

    name: str = "maddpg"

    def learner(self, spec: EnvSpec, seed: int) -> "Maddpg":
        """A new learner. Raises ValueError for settings that cannot run."""
        return Maddpg(spec, self, seed)


class Maddpg(Haddpg):
    """All actors at once, each against the others' replayed actions."""

    sequential = False
