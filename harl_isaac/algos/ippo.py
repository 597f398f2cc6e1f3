"""IPPO: independent proximal policy optimization, a critic for each agent (de Witt et al., 2020)."""

from dataclasses import dataclass

from harl_isaac.algos.happo import Happo, HappoCfg
from harl_isaac.env import EnvSpec
from harl_isaac.learning.values import PerAgentCritics


@dataclass
class IppoCfg(HappoCfg):
    """Settings of IPPO; share_param shares the policy's network, never the critic's."""

    name: str = "ippo"

    def learner(self, spec: EnvSpec, seed: int) -> "Ippo":
        """A new learner. Raises ValueError for settings that cannot run."""
        return Ippo(spec, self, seed)


class Ippo(Happo):
    """All agents at once, each with a critic of its own observation."""

    sequential = False
    critics = PerAgentCritics
