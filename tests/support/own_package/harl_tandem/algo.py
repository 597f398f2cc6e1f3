"""HAPPO with a leash: the clipped surrogate and a penalty on the ratio's distance from one."""

from dataclasses import dataclass

from harl_isaac.algos.happo import Happo
from harl_isaac.learning.on_policy_cfg import FirstOrderCfg


@dataclass
class LeashCfg(FirstOrderCfg):
    leash: float = 0.1

    def learner(self, spec, seed):
        return Leash(spec, self, seed)


class Leash(Happo):
    def surrogate(self, ratio, advantage):
        return super().surrogate(ratio, advantage) + self.cfg.leash * (ratio - 1.0).square()
