"""Base of the tasks in which objects fly from hand to hand: each has a start and a goal to reach."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Dict, NamedTuple, Tuple

import torch
from torch import Tensor

from harl_isaac.settings import check_ranges
from harl_isaac.tasks.hands.base import TwoHands
from harl_isaac.tasks.hands.hand import PhysicsCfg, Vector, free_physics
from harl_isaac.tasks.hands.observation import TailBlock, goal, pose, rotation, velocity
from harl_isaac.tasks.hands.quaternions import rotation_angle, tumbled
from harl_isaac.tasks.hands.settings import HandsCfg
from harl_isaac.tasks.hands.signals import Signals, Verdict

if TYPE_CHECKING:
    from harl_isaac.tasks.hands.scene import SceneBuilder

REWARD_RATE = 0.2  # of the exponential reward
DRIFT = 0.1  # [m] farther from its place a point on a leash ends the episode
SUCCESS_DISTANCE = 0.03  # [m] mean over the objects


@dataclass
class ThrowsCfg(HandsCfg):
    """Settings of every task with thrown objects."""

    object: str = "egg"  # egg (capsule), ellipsoid, ball, cube
    throw: float = 1.0  # goals' share of the originals' distance from the objects' starts; less is easier


@dataclass
class CatchCfg(ThrowsCfg):
    """Settings of the tasks whose hands fly."""

    physics: PhysicsCfg = field(default_factory=free_physics)


class Throw(NamedTuple):
    """An object, where it starts and where it is to be [m]."""

    object: str
    goal: str
    start: Vector
    end: Vector


class ThrowTask(TwoHands):
    """Objects to throw; a task lists its throws, and its tail `throw_tail` of each."""

    cfg: ThrowsCfg
    throws: Tuple[Throw, ...]
    distance_scale = 50.0  # [1/m] of the reward
    drop_height = 0.2  # [m] at or below which an object is lost
    leashes: Tuple[Tuple[str, Vector], ...] = ()  # points of hands, and places [m] that they must stay near

    def __init__(self, cfg: ThrowsCfg, num_envs: int, device: torch.device, sim: str = "auto"):
        check_ranges(cfg, [("throw", 0, 1)], "task")
        super().__init__(cfg, num_envs, device, sim)
        self._ways = {
            each.goal: torch.tensor((each.start, each.end), device=device) for each in self.throws
        }  # [2, 3] m

    def movable(self) -> Dict[str, float]:
        """Settings that a curriculum may move, with their own values."""
        return {**super().movable(), "position_noise": self.cfg.position_noise, "throw": self.cfg.throw}

    def build(self, scene: "SceneBuilder") -> None:
        """Add the objects, the first orange and a second blue, and their goals of the same shape."""
        from harl_isaac.tasks.hands.objects import ORANGE, add_shape, add_shape_goal
        from harl_isaac.tasks.hands.table_objects import BLUE

        for throw, rgba in zip(self.throws, (ORANGE, BLUE)):
            add_shape(scene, throw.object, self.cfg.object, throw.start, rgba)
            add_shape_goal(scene, throw.goal, self.cfg.object, throw.start)

    @classmethod
    def verdict(cls, s: Signals) -> Verdict:
        """Closeness of the objects to their goals; success where all are there, failure by a drop or a drift."""
        distances, angles = cls.errors(s)
        rewards = [closeness(*each, cls.distance_scale) for each in zip(distances, angles)]
        success = distances.sum(0) < SUCCESS_DISTANCE * len(cls.throws)
        return Verdict(torch.stack(rewards).sum(0), success, cls.lost(s))

    @classmethod
    def errors(cls, s: Signals) -> Tuple[Tensor, Tensor]:
        """Distances [N, E] m and angles [N, E] rad of N objects from their goals."""
        pairs = [(s.pose(throw.object), s.goal(throw.goal)) for throw in cls.throws]
        distances = [(thing.pos - goal.pos).norm(dim=1) for thing, goal in pairs]
        angles = [rotation_angle(thing.quat, goal.quat) for thing, goal in pairs]
        return torch.stack(distances), torch.stack(angles)

    @classmethod
    def lost(cls, s: Signals) -> Tensor:
        """Environments in which an object dropped or a hand drifted, [E] bool."""
        dropped = [s.pose(throw.object).pos[:, 2] <= cls.drop_height for throw in cls.throws]
        drifted = [distance_to(s.point(name), place) > DRIFT for name, place in cls.leashes]
        return torch.stack(dropped + drifted).any(0)

    def start_objects(self, mask: Tensor, qpos: Tensor) -> None:
        """Place objects near their starts, turned by chance, and goals of another orientation; all objects alike."""
        u = self.uniform(-1.0, 1.0, 7)  # position 3, orientation 2, goal orientation 2
        quats = tumbled(u[:, 3:].reshape(-1, 2)).view(-1, 2, 4)
        for throw in self.throws:
            columns = self.signals.columns(throw.object)
            start = self._rest_pos[columns][:3] + self.curriculum.value("position_noise") * u[:, :3]
            qpos[:, columns] = torch.cat((start, quats[:, 0].roll(1, dims=1)), dim=1)
            self.set_goal(throw.goal, mask, self.goal_place(throw), quats[:, 1])

    def goal_place(self, throw: Throw) -> Tensor:
        """Place that the object is to reach, [3] m."""
        start, end = self._ways[throw.goal]
        return torch.lerp(start, end, self.curriculum.value("throw"))  # the end itself for a share of 1


def closeness(distance: Tensor, angle: Tensor, scale: float) -> Tensor:
    """Reward exp(-0.2 (scale d + theta)) for distance d [E] m and angle theta [E] rad to the goal, [E]."""
    return torch.exp(-REWARD_RATE * (scale * distance + angle))


def distance_to(pos: Tensor, place: Vector) -> Tensor:
    """Distance of positions [E, 3] m to a place of the scene, [E] m."""
    return torch.stack([pos[:, axis] - place[axis] for axis in range(3)], dim=1).norm(dim=1)


def throw_tail(throw: Throw) -> Tuple[TailBlock, ...]:
    """Blocks of a throw: object pose 7, velocity 6, goal pose 7, rotation from goal to object 4."""
    return pose(throw.object), velocity(throw.object), goal(throw.goal), rotation(throw.object, throw.goal)
