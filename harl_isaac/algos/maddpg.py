"""MADDPG: HADDPG's networks and one central critic, but all actors at once, each against the others' replayed actions
(Lowe et al., 2017; a critic for all as in Zhong et al., 2024, Section 5)."""

from dataclasses import dataclass

from harl_isaac.algos.haddpg import DeterministicLearner, HaddpgCfg
from harl_isaac.env import EnvSpec
from harl_isaac.learning.off_policy import OffPolicyLearner


@dataclass
class MaddpgCfg(HaddpgCfg):
    """MADDPG."""

    name: str = "maddpg"

    def learner(self, spec: EnvSpec, seed: int) -> OffPolicyLearner:
        return DeterministicLearner(spec, self, seed, sequential=False)
