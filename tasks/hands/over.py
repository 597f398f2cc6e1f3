"""ShadowHandOver: the right hand throws an object over to the left hand (Chen et al., 2022, "Hand Over").

Observation 211 and action 20 for each hand, state 398, reward, noise, end and success as in Bi-DexterousHands.
Repaired here: the time limit is a truncation, not a failure; start angles stay within the joints' limits and are drawn
for each hand (task.compat=original: as there); the bonus that is paid at distance zero exactly (never) is left out.
Different by engine: a fingertip's force and torque are those of its contacts, in the world frame, the torque about the
contacts' force-weighted center; a joint's force is its actuator's torque.
"""

from dataclasses import dataclass

import torch

from harl_isaac.tasks.hands.layout import MOUNTS
from harl_isaac.tasks.hands.throws import Throw, ThrowsCfg, ThrowTask, throw_tail


@dataclass
class ShadowHandOverCfg(ThrowsCfg):
    """Two fixed hands, and 0.25 m to throw."""

    name: str = "ShadowHandOver"

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ShadowHandOver":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ShadowHandOver(self, num_envs, device, sim)


class ShadowHandOver(ThrowTask):
    """Two agents (or finger groups) with Box(20) actions; see the module's first lines."""

    cfg: ShadowHandOverCfg
    mounts = MOUNTS["over"]
    throws = (Throw("object", "goal", start=(0.0, -0.39, 0.54), end=(0.0, -0.64, 0.54)),)
    tail = throw_tail(*throws)
