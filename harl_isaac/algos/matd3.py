"""MATD3: MADDPG with twin critics, smoothed targets and delayed actors (Ackermann et al., 2019)."""

from dataclasses import dataclass

from harl_isaac.algos.hatd3 import Hatd3, Hatd3Cfg
from harl_isaac.env import EnvSpec


@dataclass
class Matd3Cfg(Hatd3Cfg):
    """Settings of MATD3."""

    name: str = "matd3"

    def learner(self, spec: EnvSpec, seed: int) -> "Matd3":
        """A new learner. Raises ValueError for settings that cannot run."""
        return Matd3(spec, self, seed)


class Matd3(Hatd3):
    """All actors at once, each against the others' replayed actions."""

    sequential = False
