"""Domain randomization of a two-hand task: what is drawn when an episode begins, and what disturbs its signals."""

from typing import TYPE_CHECKING, Dict, Tuple, Union

import torch
from torch import Tensor

from harl_isaac.sim.physics import Physics
from harl_isaac.tasks.hands.addresses import Addresses
from harl_isaac.tasks.hands.hand import SIDES, Hand, base_name
from harl_isaac.tasks.hands.randomization import Draw, RandomizationCfg, Value, given
from harl_isaac.tasks.hands.varied_model import VariedModel
from harl_isaac.tasks.hands.varied_signals import VariedSignals

if TYPE_CHECKING:
    import mujoco


class Variation:
    """Values that differ between environments, drawn from the task's own generator.

    They stay while episodes are shorter than `cfg.every` control steps together; each then begins with new ones.
    """

    def __init__(
        self,
        cfg: RandomizationCfg,
        wanted: Dict[str, Value],
        physics: Physics,
        addresses: Addresses,
        hand: Hand,
        drag: Tensor,
        widths: Tuple[int, int],
    ):
        """`widths`: numbers of the state and of all actions. `wanted` is `randomization.chosen(cfg)`, and drag
        [nv] the part of the damping that follows the hands' masses."""
        device = physics.qpos.device
        self.model = VariedModel(physics, addresses, hand, wanted, list(given(cfg)), drag)
        self.signals = VariedSignals(physics.num_envs, *widths, wanted, device)
        self._physics = physics
        self._every = cfg.every
        self._age = torch.full((physics.num_envs,), cfg.every, dtype=torch.int32, device=device)  # [E] control steps

    def expire(self) -> None:
        """Draw anew for all environments when their next episodes begin."""
        self._age.fill_(self._every)

    def renew(self, mask: Tensor, strength: Union[float, Tensor], uniform: Draw, normal: Draw) -> None:
        """Draw new values where an episode begins, mask [E] bool, and the old ones have lasted long enough."""
        due = mask & (self._age >= self._every)
        if not self._physics.any_without_sync(due):
            return
        self.model.draw(due, strength, uniform, normal)
        self.signals.draw(due, strength, uniform, normal)
        self._age.masked_fill_(due, 0)

    def step(self) -> None:
        """Count a control step."""
        self._age.add_(1)

    def buffers(self) -> Dict[str, Tensor]:
        """Tensors that a checkpoint holds."""
        values = {**self.model.values, **self.signals.values}
        past = {} if self.signals.past is None else {"past actions": self.signals.past}
        return {"age of values": self._age, **{f"drawn {name}": value for name, value in values.items()}, **past}


def hands_drag(model: "mujoco.MjModel", hand: Hand) -> Tensor:
    """Damping of hands that fly by DRAG x mass, [nv] float64 on the host; 0 for what is no part of a hand."""
    from harl_isaac.tasks.hands.free_base import drag

    sides = [drag(model, base_name(side), [hand.full_name(side, joint) for joint in hand.joints]) for side in SIDES]
    return torch.as_tensor(sum(sides))
