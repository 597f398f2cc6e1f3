"""ShadowHandSwitch: each hand presses the lever of a switch (Bi-DexterousHands, Chen et al., 2022).

Observation 218 (13 of it are the constant pose and velocity of the right switch), state 417, rewards and the rest as in
its code (commit dc41afd). A hand's action is force 3 and torque 3 on its base, then 20 joint targets. There, success
is when the points of the levers are lower by 0.033 m in sum, but pressing raises them. Repaired in `fixed`: the half
that is raised is the one near the hands, where the points are, so that pressing lowers each by up to 0.0106 m; success
is at 0.0164 m in sum, which takes both levers; and a reset turns them back. With task.compat=original
success cannot be reached, and levers stay as the last episode left them. A base's angles are those from its mount; in
`original` within [0, 2 pi), as there. In both modes the time limit is a truncation and bases start at rest. Neither
mode is PhysX: contacts and limits are MuJoCo's; rockers.py says what a lever is, over.py what else differs.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harl_isaac.tasks.hands.observation import point
from harl_isaac.tasks.hands.reaching import fixed_body
from harl_isaac.tasks.hands.signals import Signals, Verdict
from harl_isaac.tasks.hands.table import PressedHandsCfg, TableTask

if TYPE_CHECKING:
    from harl_isaac.tasks.hands.scene import SceneBuilder

TABLE = (0.5, 1.0, 0.55)  # [m] size
SWITCHES = {"right": (0.0, 0.2, 0.65), "left": (0.0, -0.2, 0.65)}  # [m] their frames
TURNED = (0.707388, 0.0, -0.706825, 0.0)  # xyzw, the orientation that the originals observe
LEVERS = ("right lever", "left lever")
HEIGHT = 1.4  # [m] from which the heights of both points are taken; 0.0166 more than theirs at the start
PRESSED = 0.033  # [m] success: below HEIGHT in sum
UNREACHABLE = 0.05  # [m] of compat=original


@dataclass
class ShadowHandSwitchCfg(PressedHandsCfg):
    """A switch in front of each hand."""

    name: str = "ShadowHandSwitch"
    episode_length: int = 125  # [control steps of 1/60 s]

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ShadowHandSwitch":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ShadowHandSwitch(self, num_envs, device, sim)


class ShadowHandSwitch(TableTask):
    """Box(26) for each of two hands (or for groups of fingers, the base with the palm)."""

    tail = (fixed_body("switch", SWITCHES["right"], TURNED), *(point(name) for name in LEVERS))

    def build(self, scene: "SceneBuilder") -> None:
        """Add the table and the switches."""
        from harl_isaac.tasks.hands.rockers import add_rocker
        from harl_isaac.tasks.hands.table_objects import add_table

        super().build(scene)
        add_table(scene, TABLE)
        for side, pos in SWITCHES.items():
            add_rocker(scene, side, pos, TABLE[2], near=self.cfg.compat == "fixed")

    @classmethod
    def verdict(cls, s: Signals, pressed: float = PRESSED) -> Verdict:
        """Nearness of the hands to the levers, and how low these are."""
        right = cls.reach(s, "right", "right lever")
        left = cls.reach(s, "left", "left lever")
        low = HEIGHT - (s.point("right lever") + s.point("left lever"))[:, 2]
        return Verdict(2.0 - right - left + 50.0 * low, low > pressed, torch.zeros_like(low, dtype=torch.bool))

    def evaluate(self) -> None:
        """Compute the verdict on the step."""
        self._verdict = self.verdict(self.signals, PRESSED if self.cfg.compat == "fixed" else UNREACHABLE)

    def start_objects(self, mask: Tensor, qpos: Tensor) -> None:
        """Leave the levers of compat=original as they are, within their limits."""
        if self.cfg.compat == "original":
            for lever in LEVERS:
                angles = self.physics.qpos[:, self.signals.columns(lever)]
                qpos[:, self.signals.columns(lever)] = angles.nan_to_num().clamp(0.0, 0.5585)
