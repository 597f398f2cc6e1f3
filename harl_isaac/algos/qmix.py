"""QMIX: the joint value rises with each agent's value, mixed by the state (Rashid et al., 2018, Section 4)."""

from dataclasses import dataclass

from torch import nn

from harl_isaac.env import EnvSpec
from harl_isaac.learning.value_factorization import FactorizationLearner
from harl_isaac.learning.value_factorization_cfg import FactorizationCfg
from harl_isaac.networks.mixers import MonotonicMixer
from harl_isaac.settings import INFINITY, check_ranges


@dataclass
class QmixCfg(FactorizationCfg):
    """Settings of QMIX; the sizes of the mixer are those of its authors' implementation."""

    name: str = "qmix"
    mixing_size: int = 32  # hidden units of the mixer
    hypernet_hidden: int = 64  # hidden units of the networks that give its weights
    state_norm: bool = True  # they see the state standardized (LayerNorm), of any units; false: as it is

    def check(self, spec: EnvSpec) -> None:
        """Raise ValueError, with both numbers, for settings that cannot run."""
        super().check(spec)
        check_ranges(self, [("mixing_size", 1, INFINITY), ("hypernet_hidden", 1, INFINITY)])

    def learner(self, spec: EnvSpec, seed: int) -> "Qmix":
        """A new learner. Raises ValueError for settings that cannot run."""
        return Qmix(spec, self, seed)


class Qmix(FactorizationLearner):
    """The choices that are best for each agent's value are best for the joint one."""

    def new_critic(self) -> nn.Module:
        """The mixer."""
        spec = self.spec
        cfg = self.cfg
        inputs = spec.state_agents * spec.state_size
        sizes = (inputs, cfg.mixing_size, cfg.hypernet_hidden)
        return MonotonicMixer(spec.num_agents, *sizes, cfg.state_norm, spec.device)
