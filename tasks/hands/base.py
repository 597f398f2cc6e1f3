"""Base of the two-hand tasks: scene, agents, joint targets, the hands' part of the observation, the hands' reset.

Source: Bi-DexterousHands (Chen et al., 2022); layout and constants as in its code, both hands right hands.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Dict, List, Sequence, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Box, EnvSpec
from harl_isaac.settings import TaskCfg
from harl_isaac.sim.engines import make_physics, missing_mujoco
from harl_isaac.sim.task import METRICS, SuccessTask
from harl_isaac.tasks.hands.partition import PARTS, agent_names, hand_groups
from harl_isaac.tasks.hands.quaternions import rotate
from harl_isaac.tasks.hands.shadow_hand import ACTUATED, DIGITS, JOINTS, Mount, PhysicsCfg

if TYPE_CHECKING:
    import mujoco
    import numpy as np

VELOCITY_SCALE = 0.2  # of joint and angular velocities in observations
FORCE_SCALE = 10.0  # of forces and torques in observations
CLIP = 5.0  # observations are clipped to +-5
HAND_OBS = 187  # numbers of a hand's block in observations
NUM_JOINTS = len(JOINTS)
NUM_ACTUATED = len(ACTUATED)
NUM_TIPS = len(DIGITS)
TIP_SENSORS = 13  # of a fingertip: position 3, quaternion 4, velocity 3 + 3
CONTACT_SENSORS = 6  # of a fingertip: force 3, torque 3
HAND_SENSORS = NUM_TIPS * (TIP_SENSORS + CONTACT_SENSORS) + NUM_JOINTS
XYZW = (1, 2, 3, 0)  # MuJoCo stores w first; observations have it last
OBJECT_POS = slice(48, 51)  # columns of the object's position in qpos, and of its linear velocity in qvel
OBJECT_QUAT = slice(51, 55)  # columns of its orientation in qpos
OBJECT_ANGVEL = slice(51, 54)  # columns of its angular velocity in qvel


@dataclass
class HandsCfg(TaskCfg):
    """Settings of every two-hand task."""

    agents: str = "hands"  # hands (2), fingers (12), or groups of parts of a hand such as palm+FF+MF,RF+LF+TH (4)
    object: str = "egg"  # egg (capsule), ellipsoid, ball, cube
    episode_length: int = 75  # [control steps of 1/60 s]
    joint_noise: float = 0.2  # reset: fraction of each joint's range
    position_noise: float = 0.01  # [m] reset: the object's start
    physics: PhysicsCfg = field(default_factory=PhysicsCfg)  # solver and actuators


class TwoHands(SuccessTask):
    """Two fixed hands and a free object. The critic's state is: right block 187, left block 187, the task's tail."""

    cfg: HandsCfg
    mounts: Tuple[Mount, Mount]  # of the right hand, the left hand
    start: Tuple[float, float, float]  # [m] the object's
    tail_size: int  # numbers in the tail: what both hands observe of the object and the goal

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
        self.action = torch.zeros(num_envs, 2 * NUM_ACTUATED, device=device)  # last actions by slot, right then left
        self.goal_pos = torch.zeros(num_envs, 3, device=device)  # [E, 3] m
        self.goal_quat = torch.zeros(num_envs, 4, device=device)  # [E, 4] xyzw

    def buffers(self) -> Dict[str, Tensor]:
        """The last actions and the goal's pose."""
        return {"action": self.action, "goal_pos": self.goal_pos, "goal_quat": self.goal_quat}

    def act(self, action: Tensor) -> None:
        """Set joint targets from actions [E, 40] in agents' order: -1 and 1 are a joint's limits."""
        self.action.copy_(action.index_select(1, self._slot_source).clamp_(-1.0, 1.0))
        self.physics.ctrl.copy_(self._target_mid + self._target_half * self.action)

    def observe(self) -> Tuple[Tuple[Tensor, ...], Tensor]:
        """Observations A x [E, 187 + tail], the own hand's block and the tail, and the state [E, 1, 374 + tail]."""
        physics = self.physics
        raw = torch.cat((physics.qpos, physics.qvel, physics.sensors, self.action), dim=1)
        hands = torch.addcmul(self._offset, raw.index_select(1, self._raw_index), self._scale)
        state = torch.cat((hands, self.tail()), dim=1).clamp_(-CLIP, CLIP)
        right = torch.cat((state[:, :HAND_OBS], state[:, 2 * HAND_OBS :]), dim=1)
        left = state[:, HAND_OBS:]  # side by side already
        per_side = self.spec.num_agents // 2
        return (right,) * per_side + (left,) * per_side, state[:, None]

    def visual_model(self) -> "mujoco.MjModel":
        """The same scene for rendering: with meshes, a light and a camera."""
        return self._scene(visual=True).compile()

    def tail(self) -> Tensor:
        """The part of the observation that both hands share: object and goal, [E, tail_size]."""
        raise NotImplementedError

    def object_pos(self) -> Tensor:
        """Position of the object, [E, 3] m."""
        return self.physics.qpos[:, OBJECT_POS]

    def object_quat(self) -> Tensor:
        """Orientation of the object, [E, 4] xyzw."""
        return self.physics.qpos[:, OBJECT_QUAT].roll(-1, dims=1)

    def object_angvel(self) -> Tensor:
        """Angular velocity of the object in the world frame (MuJoCo's is in the body frame), [E, 3] rad/s."""
        return rotate(self.object_quat(), self.physics.qvel[:, OBJECT_ANGVEL])

    def random_hand_joints(self) -> Tensor:
        """Start angles: noise around zero within the limits, drawn for each hand, [E, 48] rad."""
        low = self._joint_low
        high = self._joint_high
        u = self.uniform(-1.0, 1.0, 2 * NUM_JOINTS)
        return torch.clamp(torch.addcmul(low, high - low, u) * self.cfg.joint_noise, low, high)

    def _scene(self, visual: bool) -> "mujoco.MjSpec":
        """The scene, with meshes and a camera for rendering. Raises MissingSimulator without MuJoCo."""
        try:
            from harl_isaac.tasks.hands.scene import two_hands
        except ImportError as error:
            raise missing_mujoco(type(self).__name__, error) from None
        return two_hands(self.cfg.physics, self.mounts, self.cfg.object, self.start, visual)

    def _spec(self, groups: Sequence[Sequence[str]], num_envs: int, device: torch.device) -> EnvSpec:
        widths = [len(action_slots(group)) for group in groups]
        return EnvSpec(
            num_envs=num_envs,
            agents=agent_names(groups),
            obs_sizes=(HAND_OBS + self.tail_size,) * (2 * len(groups)),
            actions=tuple(Box(width) for width in widths * 2),
            state_size=2 * HAND_OBS + self.tail_size,
            max_episode_steps=self.cfg.episode_length,
            device=device,
            metrics=METRICS,
        )

    def start_hands(self, mask: Tensor, qpos: Tensor) -> None:
        """Set joint targets to the start angles in qpos [E, nq], and clear the last action, where mask [E] is true."""
        rows = mask[:, None]
        targets = qpos.index_select(1, self._actuated)
        self.physics.ctrl.copy_(torch.where(rows, targets, self.physics.ctrl))
        self.action.masked_fill_(rows, 0.0)

    def _read_limits(self, model: "mujoco.MjModel") -> None:
        """Ranges of controls [40] and joints [48] rad, and the model's rest pose [nq]."""

        def tensor(values: "np.ndarray") -> Tensor:
            return torch.as_tensor(values, dtype=torch.float32, device=self.spec.device)

        low, high = tensor(model.actuator_ctrlrange).T
        self._target_mid = (low + high) / 2  # [40] rad
        self._target_half = (high - low) / 2  # [40] rad
        self._joint_low, self._joint_high = tensor(model.jnt_range[: 2 * NUM_JOINTS]).T  # [48] rad
        self._rest_pos = tensor(model.qpos0)  # [nq]
        driven = [NUM_JOINTS * side + JOINTS.index(joint) for side in range(2) for joint in ACTUATED]
        self._actuated = torch.tensor(driven, device=self.spec.device)  # [40] columns of qpos

    def _index_actions(self, groups: Sequence[Sequence[str]]) -> None:
        """Index of each of the 40 slots in all agents' actions side by side."""
        order = [slot for group in groups for slot in action_slots(group)]
        source = [order.index(slot) for slot in range(NUM_ACTUATED)]
        both = source + [NUM_ACTUATED + index for index in source]
        self._slot_source = torch.tensor(both, device=self.spec.device)  # [40]

    def _index_observation(self) -> None:
        """Columns, scales and offsets of both hands' blocks in (qpos, qvel, sensors, action) side by side.

        Contact sensors report the force of a fingertip on others; the force on it is observed, hence the minus.
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
        self._raw_index = torch.tensor(columns, device=device)  # [374]
        self._scale = scale.repeat(2).to(device)  # [374]
        self._offset = offset.repeat(2).to(device)  # [374]


def action_slots(group: Sequence[str]) -> List[int]:
    """Action slots of a group of parts of one hand, in the order of its agent's action."""
    return [slot for part in group for slot in PARTS[part]]


def hand_columns(side: int) -> List[int]:
    """Columns of a hand's 187 observations in (qpos 55, qvel 54, sensors 238, action 40) side by side."""
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
