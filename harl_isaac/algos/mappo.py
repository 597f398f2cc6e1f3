"""MAPPO: proximal policy optimization with a central critic, all agents at once (Yu et al., 2022)."""

from dataclasses import dataclass

from harl_isaac.algos.happo import HappoCfg, update_agent
from harl_isaac.env import EnvSpec
from harl_isaac.learning.on_policy import OnPolicyLearner
from harl_isaac.learning.sequential import simultaneous_update


@dataclass
class MappoCfg(HappoCfg):
    """MAPPO, with own networks or a shared one (share_param)."""

    name: str = "mappo"

    def learner(self, spec: EnvSpec, seed: int) -> OnPolicyLearner:
        return OnPolicyLearner(spec, self, update_agent, seed, simultaneous_update)
