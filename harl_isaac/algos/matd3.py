"""MATD3: MADDPG with twin critics, smoothed targets and delayed actors (Ackermann et al., 2019)."""

from dataclasses import dataclass

from harl_isaac.algos.hatd3 import Hatd3Cfg, SmoothedLearner
from harl_isaac.env import EnvSpec
from harl_isaac.learning.off_policy import OffPolicyLearner


@dataclass
class Matd3Cfg(Hatd3Cfg):
    """MATD3."""

    name: str = "matd3"

    def learner(self, spec: EnvSpec, seed: int) -> OffPolicyLearner:
        return SmoothedLearner(spec, self, seed, critics=2, sequential=False)
