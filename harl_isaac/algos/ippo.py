"""IPPO: each agent by itself, with a critic that sees what the agent sees (de Witt et al., 2020)."""

from dataclasses import dataclass

from harl_isaac.algos.happo import HappoCfg, update_agent
from harl_isaac.env import EnvSpec
from harl_isaac.learning.on_policy import OnPolicyLearner
from harl_isaac.learning.sequential import simultaneous_update
from harl_isaac.learning.values import PerAgentCritics


@dataclass
class IppoCfg(HappoCfg):
    """IPPO; share_param shares the policy's network, never the critic's."""

    name: str = "ippo"

    def learner(self, spec: EnvSpec, seed: int) -> OnPolicyLearner:
        return OnPolicyLearner(spec, self, update_agent, seed, simultaneous_update, PerAgentCritics)
