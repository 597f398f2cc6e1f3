"""ShadowHandReOrientation: each hand turns a cube in its palm to an orientation (Chen et al., 2022).

Observation 235, action 20 for each hand, state 422, reward, noise and ends as in Bi-DexterousHands' code (commit
dc41afd): the cubes start alike, their goals have one orientation, and a new one whenever it is reached, which the next
step's reward and the observation after it are of. Repaired in `fixed`: it is reached where both cubes are turned to
within 0.1 rad; of task.compat=original where the second (left) one is, as there. In both modes the time limit is a
truncation, and success, a count there, is whether a goal was reached in the episode. Neither mode is PhysX; over.py
says what else differs.
"""

from dataclasses import dataclass

import torch

from harl_isaac.tasks.hands.catch import SIDE_VIEW
from harl_isaac.tasks.hands.layout import MOUNTS
from harl_isaac.tasks.hands.quaternions import tumbled
from harl_isaac.tasks.hands.signals import Signals, Verdict
from harl_isaac.tasks.hands.throws import Throw, ThrowsCfg, ThrowTask, throw_tail

DISTANCE = 10.0  # [1/m] cost
SLACK = 0.1  # [rad] added to an angle in the reward
EFFORT = 0.0002  # cost of a squared action
BONUS = 500.0  # of a goal that is reached
TURNED = 0.1  # [rad] below which it is


@dataclass
class ShadowHandReOrientationCfg(ThrowsCfg):
    """Two fixed hands, palms up, and a cube above each."""

    name: str = "ShadowHandReOrientation"
    object: str = "cube"  # cube, egg (capsule), ellipsoid, ball
    episode_length: int = 600  # [control steps of 1/60 s]

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ShadowHandReOrientation":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ShadowHandReOrientation(self, num_envs, device, sim)


class ShadowHandReOrientation(ThrowTask):
    """Box(20) for each of two hands (or for groups of fingers)."""

    mounts = MOUNTS["underarm"]
    throws = (
        Throw("object", "goal", start=(0.0, -0.39, 0.60), end=(0.0, -0.39, 0.56)),
        Throw("second object", "second goal", start=(0.0, -0.76, 0.60), end=(0.0, -0.76, 0.56)),
    )
    tail = throw_tail(throws[0]) + throw_tail(throws[1])
    camera = SIDE_VIEW

    @classmethod
    def verdict(cls, s: Signals, both: bool = True) -> Verdict:
        """Distances and angles of the cubes from their goals, the effort of the actions, and goals reached."""
        distances, angles = cls.errors(s)
        turned = angles < TURNED
        reached = turned.all(0) if both else turned[-1]
        reward = (1.0 / (angles + SLACK) - DISTANCE * distances).sum(0) - EFFORT * s.action.square().sum(1)
        return Verdict(reward + BONUS * reached, reached, cls.lost(s))

    def evaluate(self) -> None:
        """Compute the verdict on the step, and choose new goals where they are reached."""
        self._verdict = self.verdict(self.signals, self.cfg.compat == "fixed")
        quat = tumbled(self.uniform(-1.0, 1.0, 2))
        for throw in self.throws:
            self.set_goal(throw.goal, self._verdict.success, self.goal_place(throw), quat)
        self.show_goals()
