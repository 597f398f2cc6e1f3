"""VDN: value decomposition networks (Sunehag et al., 2018, Section 3): the joint value is the sum of the agents'."""

from dataclasses import dataclass

from torch import nn

from harl_isaac.env import EnvSpec
from harl_isaac.learning.value_factorization import FactorizationLearner
from harl_isaac.learning.value_factorization_cfg import FactorizationCfg
from harl_isaac.networks.mixers import SumMixer


@dataclass
class VdnCfg(FactorizationCfg):
    """Settings of VDN."""

    name: str = "vdn"

    def learner(self, spec: EnvSpec, seed: int) -> "Vdn":
        """A new learner. Raises ValueError for settings that cannot run."""
        return Vdn(spec, self, seed)


class Vdn(FactorizationLearner):
    """Every agent's value is its part of the team's."""

    def new_critic(self) -> nn.Module:
        """The sum, without parameters."""
        return SumMixer()
