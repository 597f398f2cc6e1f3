"""HAA2C: heterogeneous-agent advantage actor-critic (Zhong et al., 2024, Section 4.3, Appendix G)."""

from dataclasses import dataclass

from torch import Tensor

from harl_isaac.env import EnvSpec
from harl_isaac.learning.on_policy_cfg import FirstOrderCfg
from harl_isaac.learning.policy_fit import FirstOrderLearner


@dataclass
class Haa2cCfg(FirstOrderCfg):
    """Settings of HAA2C. `clip` bounds the change of values only."""

    name: str = "haa2c"

    def learner(self, spec: EnvSpec, seed: int) -> "Haa2c":
        """A new learner. Raises ValueError for settings that cannot run."""
        return Haa2c(spec, self, seed)


class Haa2c(FirstOrderLearner):
    """One agent after the other, each by the policy gradient with the factor."""

    def surrogate(self, ratio: Tensor, advantage: Tensor) -> Tensor:
        """Surrogate of each row, [B] x 2 -> [B]; at the first step its gradient is the policy gradient."""
        return -ratio * advantage
