"""Base of the two-hand tasks: agents, joint targets, observations, goals and resets, all addressed by names.

Source: Bi-DexterousHands (Chen et al., 2022); layout and constants as in its code, both hands right hands.
"""

from functools import partial
from typing import TYPE_CHECKING, Dict, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

from harl_isaac.env import Box, EnvSpec, Step
from harl_isaac.sim.engines import make_physics, missing_mujoco
from harl_isaac.sim.task import METRICS, SuccessTask
from harl_isaac.tasks.hands.addresses import Addresses
from harl_isaac.tasks.hands.curriculum import Curriculum
from harl_isaac.tasks.hands.flight import BASE_CHANNELS, Flight
from harl_isaac.tasks.hands.hand import SIDES, Hand, Vector
from harl_isaac.tasks.hands.layout import FreeBase, Mounts
from harl_isaac.tasks.hands.observation import CLIP, HandTable, TailBlock
from harl_isaac.tasks.hands.partition import action_slots, agent_names, hand_groups
from harl_isaac.tasks.hands.randomization import chosen
from harl_isaac.tasks.hands.settings import HandsCfg, check_hands
from harl_isaac.tasks.hands.shadow_hand import SHADOW_HAND
from harl_isaac.tasks.hands.signals import Pose, Signals, Verdict
from harl_isaac.tasks.hands.variation import Variation, hands_drag

if TYPE_CHECKING:
    import mujoco
    import numpy as np

    from harl_isaac.tasks.hands.scene import SceneBuilder

CAMERA = ((0.7, -0.5, 0.74), (0, 1, 0, -0.3, 0, 0.95))  # position [m], and the picture's axes: right, up


class TwoHands(SuccessTask):
    """Two hands and what a task adds to their scene. The critic's state is: right block, left block, the task's tail.

    A task defines the class attributes, `build`, `verdict`, and `start_objects` where objects do not start as built.
    """

    cfg: HandsCfg
    hand: Hand = SHADOW_HAND
    mounts: Mounts  # of the right hand, the left hand
    hands_meet = False  # whether the hands touch each other
    base: Optional[FreeBase] = None  # what moves the hands; None: they are fixed
    base_point = "root"  # observed as a free base's position: root, palm
    layout: Optional[Tuple[Union[str, int], ...]] = None  # of a hand's observation, see `HandTable`
    tail: Tuple[TailBlock, ...]  # of the observation, which both hands share
    camera: Tuple[Vector, Tuple[float, ...]] = CAMERA

    def __init__(self, cfg: HandsCfg, num_envs: int, device: torch.device, sim: str = "auto"):
        check_hands(cfg)
        self.cfg = cfg
        groups = hand_groups(cfg.agents, self.hand)
        wanted = chosen(cfg.randomization)
        self.curriculum = Curriculum(cfg.curriculum, self.movable(), device)
        model = self._model(visual=False)
        self.control_seconds = cfg.physics.timestep * cfg.physics.substeps
        physics = make_physics(sim, model, num_envs, cfg.physics.substeps, device)
        addresses = Addresses(model)
        self._channels = BASE_CHANNELS if self.base else 0  # of one hand's action, for its base
        self._slots = self._channels + len(self.hand.actuated)  # of one hand's action
        point = self.base_point if self.base else None
        self._table = HandTable(addresses, self.hand, self._slots, device, point, self.layout)
        fixed = cfg.compat == "fixed"
        self._flight = Flight(physics, addresses, self.hand, self.base, fixed) if self.base else None
        super().__init__(physics, self._spec(groups, num_envs, device))
        self._index_joints(addresses)
        self._index_actions(groups)
        self.action = torch.zeros(num_envs, 2 * self._slots, device=device)  # last actions by slot, right then left
        self.goals = {
            name: Pose(torch.zeros(num_envs, 3, device=device), torch.zeros(num_envs, 4, device=device))
            for name in addresses.goals()
        }
        self.signals = Signals(physics, addresses, self.goals, self.action)
        self._no_velocity = torch.zeros_like(physics.qvel)  # [E, nv]
        self._variation: Optional[Variation] = None
        if wanted:
            widths = (self.spec.state_size, 2 * self._slots)
            drag = hands_drag(model, self.hand) if self.base else torch.zeros(model.nv)
            self._variation = Variation(cfg.randomization, wanted, physics, addresses, self.hand, drag, widths)

    # What a task defines.

    def build(self, scene: "SceneBuilder") -> None:
        """Add objects, goals and named points to the scene of the two hands."""
        raise NotImplementedError

    @classmethod
    def verdict(cls, s: Signals) -> Verdict:
        """Reward, success and failure, from named values alone."""
        raise NotImplementedError

    def start_objects(self, mask: Tensor, qpos: Tensor) -> None:
        """Write the objects' start into qpos [E, nq], which has them as built, and the goals where mask [E] is true."""

    def movable(self) -> Dict[str, float]:
        """Settings that a curriculum may move, with their own values; `randomization` is its strength."""
        return {"joint_noise": self.cfg.joint_noise, "randomization": self.cfg.randomization.strength}

    # The step.

    def reset(self, seed: Optional[int] = None) -> Step:
        """Start E new episodes; a seed repeats everything that follows, but for the level of a curriculum."""
        if self._variation:
            self._variation.expire()
        return super().reset(seed)

    def buffers(self) -> Dict[str, Tensor]:
        """The last actions, the goals' poses, what is randomized, and the level of the curriculum."""
        poses = {f"{name}_pos": pose.pos for name, pose in self.goals.items()}
        quats = {f"{name}_quat": pose.quat for name, pose in self.goals.items()}
        varied = self._variation.buffers() if self._variation else {}
        return {"action": self.action, **poses, **quats, **varied, **self.curriculum.buffers()}

    def act(self, action: Tensor) -> None:
        """Set joint targets, and push free bases, from actions in agents' order, [E, 2 x slots].

        -1 and 1 are a joint's limits, and the greatest force and torque.
        """
        self.action.copy_(action.index_select(1, self._slot_source).clamp_(-1.0, 1.0))
        applied = self.action
        if self._variation:
            applied = self._variation.signals.act(applied, self._strength(), self.normal)
        self.physics.ctrl.copy_(self._target_mid + self._target_half * applied.index_select(1, self._ctrl_slots))
        if self._flight:
            self._flight.push(applied.view(-1, 2, self._slots)[:, :, :BASE_CHANNELS])

    def observe(self) -> Tuple[Tuple[Tensor, ...], Tensor]:
        """Observations A x [E, W + tail], the own hand's block and the tail, and the state [E, 1, 2 W + tail]."""
        physics = self.physics
        width = self._table.width
        bases = (self._flight.angles(),) if self._flight else ()
        hands = self._table.read(physics.qpos, physics.qvel, physics.sensors, self.action, *bases)
        parts = (hands, *(block.read(self.signals) for block in self.tail))
        state = torch.cat(parts, dim=1).clamp_(-CLIP, CLIP)
        seen = state
        if self._variation:
            seen = self._variation.signals.observe(state, self._strength(), self.normal)
        right = torch.cat((seen[:, :width], seen[:, 2 * width :]), dim=1)
        left = seen[:, width:]  # side by side already
        per_side = self.spec.num_agents // 2
        return (right,) * per_side + (left,) * per_side, state[:, None]

    def evaluate(self) -> None:
        """Compute the verdict on the step."""
        self._verdict = self.verdict(self.signals)

    def reward(self) -> Tensor:
        """Reward of the step, [E]."""
        return self._verdict.reward

    def terminated(self) -> Tensor:
        """Environments in which the task failed, [E] bool."""
        return self._verdict.failed

    def succeeded(self) -> Tensor:
        """Environments in which the task's success test holds, [E] bool."""
        return self._verdict.success

    def reset_rows(self, mask: Tensor) -> None:
        """Place hands, objects and goals where mask [E] is true."""
        rows = mask[:, None]
        qpos = self._rest_pos.repeat(self.spec.num_envs, 1)
        if self._variation:
            self._variation.renew(mask, self._strength(), partial(self.uniform, 0.0, 1.0), self.normal)
        self.start_objects(mask, qpos)
        qpos.index_copy_(1, self._joints, self.random_hand_joints())
        targets = qpos.index_select(1, self._driven)
        self.physics.ctrl.copy_(torch.where(rows, targets, self.physics.ctrl))
        self.action.masked_fill_(rows, 0.0)
        if self._variation:
            self._variation.model.lift(qpos)
            self._variation.signals.rest(mask, self._action_of(targets))
        if self._flight:
            self._flight.release(mask)
        self.physics.set_state(mask, qpos, self._no_velocity)
        self.show_goals()

    def stepped(self, done: Tensor) -> None:
        """Count the step of what is randomized, and of the curriculum."""
        if self._variation:
            self._variation.step()
        self.curriculum.advance(done, self.success)

    def measure(self, diverged: Tensor) -> Dict[str, Tensor]:
        """Success, and the level of a curriculum."""
        metrics = super().measure(diverged)
        if self.curriculum.active:
            metrics["level"] = self.curriculum.level.expand(self.spec.num_envs)
        return metrics

    def show_goals(self) -> None:
        """Move the goals' marks to the goals."""
        for row, pose in enumerate(self.goals.values()):
            self.physics.mocap_pos[:, row] = pose.pos
            self.physics.mocap_quat[:, row] = pose.quat.roll(1, dims=1)

    def set_goal(self, name: str, mask: Tensor, pos: Tensor, quat: Tensor) -> None:
        """Write a goal's position [E, 3] or [3] m and orientation [E, 4] or [4] xyzw where mask [E] is true."""
        goal = self.goals[name]
        torch.where(mask[:, None], pos, goal.pos, out=goal.pos)
        torch.where(mask[:, None], quat, goal.quat, out=goal.quat)

    def random_hand_joints(self) -> Tensor:
        """Start angles of both hands around zero, [E, 2 x joints] rad.

        Drawn for each hand and kept within the limits; of compat=original the same for both, and beyond them at times.
        """
        low = self._joint_low
        high = self._joint_high
        both = self.cfg.compat == "fixed"
        u = self.uniform(-1.0, 1.0, len(low) if both else len(low) // 2)
        angles = torch.addcmul(low, high - low, u if both else u.repeat(1, 2)) * self.curriculum.value("joint_noise")
        return torch.clamp(angles, low, high) if both else angles

    def _strength(self) -> Union[float, Tensor]:
        """Share of each range of the randomization that is used now."""
        return self.curriculum.value("randomization")

    def _action_of(self, targets: Tensor) -> Tensor:
        """The action [E, 2 x slots] of joint targets [E, nu] rad, and of no force."""
        action = torch.zeros_like(self.action)
        return action.index_copy_(1, self._ctrl_slots, (targets - self._target_mid) / self._target_half)

    # Construction.

    def visual_model(self) -> "mujoco.MjModel":
        """The same scene for rendering: with meshes, a light and a camera."""
        return self._model(visual=True)

    def _model(self, visual: bool) -> "mujoco.MjModel":
        """The compiled scene, with meshes and a camera for rendering. Raises MissingSimulator without MuJoCo."""
        try:
            from harl_isaac.tasks.hands.scene import SceneBuilder
        except ImportError as error:
            raise missing_mujoco(type(self).__name__, error) from None
        scene = SceneBuilder(self.cfg.physics, self.hand, self.mounts, self.base is not None, self.hands_meet, visual)
        if self.base and self.base_point == "palm":
            scene.add_palms()
        self.build(scene)
        if visual:
            scene.add_camera(*self.camera)
        return scene.compile()

    def _spec(self, groups: Sequence[Sequence[str]], num_envs: int, device: torch.device) -> EnvSpec:
        widths = [len(action_slots(group, self.hand, self._channels)) for group in groups]
        tail = sum(block.width for block in self.tail)
        return EnvSpec(
            num_envs=num_envs,
            agents=agent_names(groups),
            obs_sizes=(self._table.width + tail,) * (2 * len(groups)),
            actions=tuple(Box(width) for width in widths * 2),
            state_size=2 * self._table.width + tail,
            max_episode_steps=self.cfg.episode_length,
            device=device,
            metrics=METRICS + (("level",) if self.curriculum.active else ()),
        )

    def _index_joints(self, addresses: Addresses) -> None:
        """Columns and ranges of the hands' joints, and the model's rest pose."""
        device = self.spec.device

        def tensor(values: "np.ndarray") -> Tensor:
            return torch.as_tensor(values, dtype=torch.float32, device=device)

        joints = [self.hand.full_name(side, joint) for side in SIDES for joint in self.hand.joints]
        columns = [column for joint in joints for column in addresses.qpos(joint)]
        self._joints = torch.tensor(columns, device=device)  # [48] columns of qpos
        self._joint_low, self._joint_high = torch.tensor([addresses.limits(each) for each in joints], device=device).T
        self._rest_pos = tensor(addresses.model.qpos0)  # [nq]
        low, high = tensor(addresses.model.actuator_ctrlrange).T
        self._target_mid = (low + high) / 2  # [nu] rad
        self._target_half = (high - low) / 2  # [nu] rad
        driven = [
            (addresses.actuator(self.hand.actuator(side, joint)), first + number, self.hand.full_name(side, joint))
            for side, first in zip(SIDES, (self._channels, self._channels + self._slots))
            for number, joint in enumerate(self.hand.actuated)
        ]
        driven.sort()  # in the order of ctrl
        self._ctrl_slots = torch.tensor([slot for _, slot, _ in driven], device=device)  # [nu] in both hands' actions
        columns = [addresses.qpos(joint)[0] for _, _, joint in driven]
        self._driven = torch.tensor(columns, device=device)  # [nu] columns of qpos

    def _index_actions(self, groups: Sequence[Sequence[str]]) -> None:
        """Index of each slot of both hands in all agents' actions side by side."""
        order = [slot for group in groups for slot in action_slots(group, self.hand, self._channels)]
        source = [order.index(slot) for slot in range(self._slots)]
        both = source + [self._slots + index for index in source]
        self._slot_source = torch.tensor(both, device=self.spec.device)  # [2 x slots]
