"""ShadowHandLiftUnderarm: both hands lift a pot by its handles (Bi-DexterousHands, Chen et al., 2022).

Observation 218, state 417, rewards, ends and success as in its code (commit dc41afd). A hand's action is force 3 and
torque 3 on its base, then 20 joint targets. Nothing is repaired but for what both modes of task.compat share: the time
limit is a truncation, and the pot starts on the table and not 1.5 cm within it. A base's angles are those from its
mount; with task.compat=original they are within [0, 2 pi), as there. Neither mode is PhysX: contacts and limits are
MuJoCo's, the pot is that of pot.py, which rubs with 2 everywhere, and over.py says what else differs. As there, a step
costs while the distances of the palms from the handles sum to more than 0.2 m; 0.29 at the start.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harl_isaac.tasks.hands.base import TwoHands
from harl_isaac.tasks.hands.layout import MOUNTS, free_base
from harl_isaac.tasks.hands.observation import point, pose, velocity
from harl_isaac.tasks.hands.settings import FreeHandsCfg
from harl_isaac.tasks.hands.signals import Signals, Verdict
from harl_isaac.tasks.hands.throws import distance_to

if TYPE_CHECKING:
    from harl_isaac.tasks.hands.scene import SceneBuilder

TABLE = (0.3, 0.3, 0.4)  # [m] size
PLACE = (0.0, -0.6)  # [m] of the pot and of the table's middle
GOAL = (*PLACE, 0.85)  # [m]
TABLE_FRICTION = 3.0
NEAR = 0.08  # [m] of each palm from its handle below which lifting counts
FAR = 0.2  # [m] that ends the episode, and the bonus of each step
LIFT = 3.0  # [1/m] of the reward
LOW = 0.385  # [m] of the pot below its goal where it stands
FALLEN = 0.3  # [m] height that ends the episode
LIFTED = 0.05  # [m] of the pot from its goal, success


@dataclass
class ShadowHandLiftUnderarmCfg(FreeHandsCfg):
    """A pot between the hands."""

    name: str = "ShadowHandLiftUnderarm"
    episode_length: int = 500  # [control steps of 1/60 s]

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ShadowHandLiftUnderarm":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ShadowHandLiftUnderarm(self, num_envs, device, sim)


class ShadowHandLiftUnderarm(TwoHands):
    """Box(26) for each of two hands (or for groups of fingers, the base with the palm)."""

    mounts = MOUNTS["lift"]
    hands_meet = True
    base = free_base(0.25, 1.0)
    base_point = "palm"
    tail = (pose("object"), velocity("object"), point("right handle"), point("left handle"))
    camera = ((1.2, -0.6, 0.95), (0, 1, 0, -0.38, 0, 0.92))

    def build(self, scene: "SceneBuilder") -> None:
        """Add the table, the pot and its goal."""
        from harl_isaac.tasks.hands.pot import POT_LIFT, add_pot, add_pot_goal
        from harl_isaac.tasks.hands.table_objects import add_table

        add_table(scene, TABLE, TABLE_FRICTION, PLACE)
        add_pot(scene, "object", (*PLACE, TABLE[2] + POT_LIFT))
        add_pot_goal(scene, "goal", GOAL)

    @classmethod
    def verdict(cls, s: Signals) -> Verdict:
        """Nearness of the palms to the handles and, once both are near, the height of the pot."""
        right = (s.point("right palm") - s.point("right handle")).norm(dim=1)
        left = (s.point("left palm") - s.point("left handle")).norm(dim=1)
        pot = s.pose("object").pos
        missing = distance_to(pot, GOAL)
        lifting = ((right < NEAR) & (left < NEAR)) * LIFT * (LOW - missing)
        failed = (pot[:, 2] <= FALLEN) | (right >= FAR) | (left >= FAR)
        return Verdict(FAR - right - left + lifting, missing < LIFTED, failed)

    def start_objects(self, mask: Tensor, qpos: Tensor) -> None:
        """Place the goal; the pot starts as built."""
        goal = self.goals["goal"]
        self.set_goal("goal", mask, goal.pos.new_tensor(GOAL), goal.quat.new_tensor((0.0, 0.0, 0.0, 1.0)))
