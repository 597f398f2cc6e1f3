"""What the two-hand tasks share: scene, agents, joint targets, the hands' part of the observation, the hands' reset.

Source: Bi-DexterousHands (Chen et al., 2022); layout and constants as in its code, both hands right hands.
"""

import math
from dataclasses import dataclass, field
from typing import Dict, List, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Box, EnvSpec
from harl_isaac.settings import TaskCfg
from harl_isaac.sim.engines import make_physics, missing_mujoco
from harl_isaac.sim.task import METRICS, SuccessTask
from harl_isaac.tasks.hands.shadow_hand import ACTUATED, DIGITS, JOINTS, PARTS, SIDES, PhysicsCfg

VELOCITY_SCALE = 0.2
FORCE_SCALE = 10.0
CLIP = 5.0  # observations are clipped to +-5
HAND_OBS = 187
NUM_JOINTS = len(JOINTS)
NUM_ACTUATED = len(ACTUATED)
NUM_TIPS = len(DIGITS)
TIP_SENSORS = 13
CONTACT_SENSORS = 6
HAND_SENSORS = NUM_TIPS * (TIP_SENSORS + CONTACT_SENSORS) + NUM_JOINTS
XYZW = (1, 2, 3, 0)  # MuJoCo keeps w first; observations have it last


@dataclass
class HandsCfg(TaskCfg):
    """Settings of every two-hand task."""

    agents: str = "hands"  # hands (2), fingers (12), or groups of parts of a hand such as palm+FF+MF,RF+LF+TH (4)
    object: str = "egg"  # egg (capsule), ellipsoid, ball, cube
    episode_length: int = 75  # [control steps of 1/60 s]
    joint_noise: float = 0.2  # reset: share of each joint's range
    position_noise: float = 0.01  # [m] reset: the object's start
    physics: PhysicsCfg = field(default_factory=PhysicsCfg)


def hand_groups(agents: str) -> List[Tuple[str, ...]]:
    """Groups of parts of one hand, one agent each: "hands" -> one group of all, "fingers" -> a group for each part."""
    if agents == "hands":
        return [tuple(PARTS)]
    if agents == "fingers":
        return [(part,) for part in PARTS]
    groups = [tuple(group.split("+")) for group in agents.split(",")]
    named = [part for group in groups for part in group]
    if sorted(named) != sorted(PARTS):
        raise ValueError(
            "agents={}: give hands, fingers, or groups that name each of {} once, such as palm+FF+MF,RF+LF+TH".format(
                agents, ", ".join(PARTS)
            )
        )
    return groups


class TwoHands(SuccessTask):
    """Two fixed hands and a free object. The critic's state is: right block 187, left block 187, the task's tail."""

    mounts: Tuple  # two of (position [m], yaw [rad])
    start: Tuple[float, float, float]  # [m] the object's
    tail_size: int

    def __init__(self, cfg: HandsCfg, num_envs: int, device: torch.device, sim: str = "auto"):
        self.cfg = cfg
        groups = hand_groups(cfg.agents)
        model = self._scene(visual=False).compile()
        self.control_seconds = cfg.physics.timestep * cfg.physics.substeps
        physics = make_physics(sim, model, num_envs, cfg.physics.substeps, device)
        super().__init__(physics, self._spec(groups, num_envs, device))
        self._read_limits(model)
        self._index_actions(groups)
        self._index_observation()
        self.action = torch.zeros(num_envs, 2 * NUM_ACTUATED, device=device)  # last actions in slots, right then left
        self.goal_pos = torch.zeros(num_envs, 3, device=device)  # [m]
        self.goal_quat = torch.zeros(num_envs, 4, device=device)  # xyzw

    def buffers(self) -> Dict[str, Tensor]:
        return {"action": self.action, "goal_pos": self.goal_pos, "goal_quat": self.goal_quat}

    def act(self, action: Tensor) -> None:
        """Absolute joint targets: -1 and 1 are a joint's limits (actions [E, 40] in agents' order)."""
        self.action.copy_(action.index_select(1, self._slot_source).clamp_(-1.0, 1.0))
        self.physics.ctrl.copy_(self._target_mid + self._target_half * self.action)

    def observe(self):
        """State [E, 1, 374 + tail]; an agent sees its own hand's block and the tail [E, 187 + tail]."""
        physics = self.physics
        raw = torch.cat((physics.qpos, physics.qvel, physics.sensors, self.action), dim=1)
        hands = torch.addcmul(self._offset, raw.index_select(1, self._raw_index), self._scale)
        state = torch.cat((hands, self.tail()), dim=1).clamp_(-CLIP, CLIP)
        right = torch.cat((state[:, :HAND_OBS], state[:, 2 * HAND_OBS :]), dim=1)
        left = state[:, HAND_OBS:]  # stands in a row already
        per_side = self.spec.num_agents // 2
        return (right,) * per_side + (left,) * per_side, state[:, None]

    def visual_model(self):
        """The same scene as an MjModel to look at: with meshes, a light and a camera."""
        return self._scene(visual=True).compile()

    def tail(self) -> Tensor:
        """[E, tail_size] what both hands see of the object and the goal."""
        raise NotImplementedError

    def object_pos(self) -> Tensor:
        """[E, 3] m"""
        return self.physics.qpos[:, 48:51]

    def object_quat(self) -> Tensor:
        """[E, 4] xyzw"""
        return self.physics.qpos[:, 51:55].roll(-1, dims=1)

    def object_angvel(self) -> Tensor:
        """[E, 3] rad/s in the world's axes (MuJoCo keeps it in the body's)."""
        return rotate(self.object_quat(), self.physics.qvel[:, 51:54])

    def random_hand_joints(self) -> Tensor:
        """[E, 48] start angles: noise within the limits around zero, drawn for each hand."""
        low = self._joint_low
        high = self._joint_high
        u = self.uniform(-1.0, 1.0, 2 * NUM_JOINTS)
        return torch.clamp(torch.addcmul(low, high - low, u) * self.cfg.joint_noise, low, high)

    def _scene(self, visual: bool):
        try:
            from harl_isaac.tasks.hands.scene import two_hands
        except ImportError as error:
            raise missing_mujoco(type(self).__name__, error) from None
        return two_hands(self.cfg.physics, self.mounts, self.cfg.object, self.start, visual)

    def _spec(self, groups, num_envs: int, device: torch.device) -> EnvSpec:
        names = ["+".join(group) if len(groups) > 1 else "hand" for group in groups]
        widths = [sum(len(PARTS[part]) for part in group) for group in groups]
        return EnvSpec(
            num_envs=num_envs,
            agents=tuple(f"{side} {name}" for side in SIDES for name in names),
            obs_sizes=(HAND_OBS + self.tail_size,) * (2 * len(groups)),
            actions=tuple(Box(width) for width in widths * 2),
            state_size=2 * HAND_OBS + self.tail_size,
            max_episode_steps=self.cfg.episode_length,
            device=device,
            metrics=METRICS,
        )

    def start_hands(self, mask: Tensor, qpos: Tensor) -> None:
        """Where mask [E]: the joint targets are the start angles (in qpos [E, nq]), and no action was taken yet."""
        rows = mask[:, None]
        targets = qpos.index_select(1, self._actuated)
        self.physics.ctrl.copy_(torch.where(rows, targets, self.physics.ctrl))
        self.action.masked_fill_(rows, 0.0)

    def _read_limits(self, model) -> None:
        def tensor(values):
            return torch.as_tensor(values, dtype=torch.float32, device=self.spec.device)

        low, high = tensor(model.actuator_ctrlrange).T
        self._target_mid = (low + high) / 2
        self._target_half = (high - low) / 2
        self._joint_low, self._joint_high = tensor(model.jnt_range[: 2 * NUM_JOINTS]).T
        self._rest_pos = tensor(model.qpos0)
        driven = [NUM_JOINTS * side + JOINTS.index(joint) for side in range(2) for joint in ACTUATED]
        self._actuated = torch.tensor(driven, device=self.spec.device)

    def _index_actions(self, groups) -> None:
        """For each of the 40 slots, its place in the agents' actions in a row."""
        order = [slot for group in groups for part in group for slot in PARTS[part]]
        source = [order.index(slot) for slot in range(NUM_ACTUATED)]
        both = source + [NUM_ACTUATED + place for place in source]
        self._slot_source = torch.tensor(both, device=self.spec.device)

    def _index_observation(self) -> None:
        """Columns, scales and offsets that make both hands' blocks from (qpos, qvel, sensors, action) in a row.

        Contact sensors report what a fingertip does to others; observed is what is done to it, hence the minus.
        """
        low = self._joint_low[:NUM_JOINTS]
        high = self._joint_high[:NUM_JOINTS]
        ones = torch.ones
        scale = torch.cat(
            (
                2.0 / (high - low).cpu(),
                ones(NUM_JOINTS) * VELOCITY_SCALE,
                ones(NUM_JOINTS) * FORCE_SCALE,
                ones(NUM_TIPS * TIP_SENSORS),
                -ones(NUM_TIPS * CONTACT_SENSORS) * FORCE_SCALE,
                ones(NUM_ACTUATED),
            )
        )
        offset = torch.zeros(HAND_OBS)
        offset[:NUM_JOINTS] = (-(high + low) / (high - low)).cpu()
        columns = hand_columns(0) + hand_columns(1)
        device = self.spec.device
        self._raw_index = torch.tensor(columns, device=device)
        self._scale = scale.repeat(2).to(device)
        self._offset = offset.repeat(2).to(device)


def hand_columns(side: int) -> List[int]:
    """Where each of a hand's 187 observations stands in (qpos 55, qvel 54, sensors 238, action 40)."""
    qvel = 55
    sensors = 109
    action = 109 + 2 * HAND_SENSORS
    joints = list(range(side * NUM_JOINTS, (side + 1) * NUM_JOINTS))
    tips = sensors + side * HAND_SENSORS
    contacts = tips + NUM_TIPS * TIP_SENSORS
    torques = contacts + NUM_TIPS * CONTACT_SENSORS
    columns = joints + [qvel + joint for joint in joints] + [torques + joint for joint in range(NUM_JOINTS)]
    for tip in range(NUM_TIPS):
        first = tips + tip * TIP_SENSORS
        columns += [first, first + 1, first + 2] + [first + 3 + part for part in XYZW]
        columns += list(range(first + 7, first + 13))
    columns += list(range(contacts, torques))
    return columns + list(range(action + side * NUM_ACTUATED, action + (side + 1) * NUM_ACTUATED))


def quat_mul(a: Tensor, b: Tensor) -> Tensor:
    """Product of quaternions xyzw: [..., 4] x [..., 4] -> [..., 4]."""
    av = a[..., :3]
    aw = a[..., 3:]
    bv = b[..., :3]
    bw = b[..., 3:]
    vector = aw * bv + bw * av + torch.linalg.cross(av, bv)
    return torch.cat((vector, aw * bw - (av * bv).sum(-1, keepdim=True)), dim=-1)


def quat_conj(q: Tensor) -> Tensor:
    """Inverse of a unit quaternion xyzw [..., 4]."""
    return torch.cat((-q[..., :3], q[..., 3:]), dim=-1)


def rotate(q: Tensor, v: Tensor) -> Tensor:
    """Vectors v [..., 3] turned by unit quaternions q [..., 4] xyzw."""
    t = 2.0 * torch.linalg.cross(q[..., :3], v)
    return v + q[..., 3:] * t + torch.linalg.cross(q[..., :3], t)


def rotation_angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle between orientations xyzw [..., 4] -> [...], rad in [0, pi]."""
    av = a[..., :3]
    bv = b[..., :3]
    vector = b[..., 3:] * av - a[..., 3:] * bv - torch.linalg.cross(av, bv)  # of a times b's inverse
    return 2.0 * torch.asin(vector.norm(dim=-1).clamp(max=1.0))


def tumbled(u: Tensor) -> Tensor:
    """Orientations Rx(pi u0) Ry(pi u1) from u [E, 2] in (-1, 1) -> xyzw [E, 4], as the originals draw them."""
    half = u * (math.pi / 2)
    sin = half.sin()
    cos = half.cos()
    return torch.stack((sin[:, 0] * cos[:, 1], cos[:, 0] * sin[:, 1], sin[:, 0] * sin[:, 1], cos[:, 0] * cos[:, 1]), 1)
