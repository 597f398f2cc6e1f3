"""MAA2C: advantage actor-critic with a central critic, all agents at once (Papoudakis et al., 2021)."""

from dataclasses import dataclass

from harl_isaac.algos.haa2c import Haa2c, Haa2cCfg
from harl_isaac.env import EnvSpec


@dataclass
class Maa2cCfg(Haa2cCfg):
    """Settings of MAA2C, with own networks or a shared one (share_param)."""

    name: str = "maa2c"

    def learner(self, spec: EnvSpec, seed: int) -> "Maa2c":
        """A new learner. Raises ValueError for settings that cannot run."""
        return Maa2c(spec, self, seed)


class Maa2c(Haa2c):
    """All agents at once, each by the policy gradient."""

    sequential = False
