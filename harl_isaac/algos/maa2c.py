"""MAA2C: advantage actor-critic with a central critic, all agents at once (Papoudakis et al., 2021)."""

from dataclasses import dataclass

from harl_isaac.algos.haa2c import Haa2cCfg, update_agent
from harl_isaac.env import EnvSpec
from harl_isaac.learning.on_policy import OnPolicyLearner
from harl_isaac.learning.sequential import simultaneous_update


@dataclass
class Maa2cCfg(Haa2cCfg):
    """MAA2C, with own networks or a shared one (share_param)."""

    name: str = "maa2c"

    def learner(self, spec: EnvSpec, seed: int) -> OnPolicyLearner:
        return OnPolicyLearner(spec, self, update_agent, seed, simultaneous_update)
