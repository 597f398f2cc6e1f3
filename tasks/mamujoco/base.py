"""What the MAMuJoCo tasks share: agents and what they see, the step's rewards of running, the reset.

Source: gymnasium-robotics' mamujoco_v1 on gymnasium's v5 environments (Towers et al., 2024), whose observations, rewards,
ends and reset noise these are. With task.obs=full every agent sees the critic's state and its own number as a one-hot, as
in the experiments of Zhong et al., 2024; with task.obs=local what mamujoco_v1 shows: its own joints, the positions of
joints up to `obsk` away, and the trunk.
"""

from dataclasses import dataclass
from itertools import accumulate
from typing import Dict, List, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Box, EnvSpec
from harl_isaac.settings import TaskCfg
from harl_isaac.sim.engines import make_physics, missing_mujoco
from harl_isaac.sim.task import ENGINE_METRICS, PhysicsTask
from harl_isaac.tasks.mamujoco.factorization import Group, agents_joints, joints_by_distance

BODY_WIDTHS = {"cinert": 10, "cvel": 6, "cfrc_ext": 6}  # numbers for each body
PLANAR_TRUNK = (("qpos", (1, 2)), ("qvel", (0, 1, 2)))  # height, tilt and their rates, and the speed forward
FREE_TRUNK = (("qpos", tuple(range(2, 7))), ("qvel", tuple(range(6))))  # height, orientation, velocities


@dataclass
class MamujocoCfg(TaskCfg):
    """Settings of every MAMuJoCo task. A class of its own names the agents: see each."""

    obs: str = "full"  # full (state and agent number), local (joints near the agent's own)
    obsk: int = 1  # with obs=local: how many joints away an agent sees
    episode_length: int = 1000  # [control steps]


class MamujocoTask(PhysicsTask):
    """gymnasium's body with an agent for each group of joints. A task names its model and says what is below."""

    file: str  # of gymnasium's models
    substeps: int
    fields: Tuple[str, ...] = ()  # derived values to have from the engine
    order = "actuators"  # or joints: what NxM counts through
    named: Dict[str, str] = {}  # factorizations that are not consecutive joints
    labels: Dict[str, str] = {}  # by which joints are sorted where it is not their name
    near: Tuple[str, ...] = ("qpos", "qvel")  # what an agent sees of its own joints, of others only their qpos
    trunk: Tuple = PLANAR_TRUNK  # what all agents see of the trunk: names of features and places in them
    hidden = 1  # leading positions that nobody sees: where the body is
    extras: Tuple[str, ...] = ()  # names of `features`
    velocity = "qvel"  # the feature that agents see as velocities with obs=local
    state_velocity = "qvel"  # and the one in the state
    metrics: Tuple[str, ...] = ()

    def __init__(self, cfg, num_envs: int, device: torch.device, sim: str = "auto", dtype: torch.dtype = torch.float32):
        if cfg.obs not in ("full", "local") or cfg.obsk < 0:
            raise ValueError(f"obs={cfg.obs} obsk={cfg.obsk}; possible: obs=full, obs=local with obsk=0, 1, 2, ...")
        self.cfg = cfg
        self.load()
        physics = make_physics(sim, self.model, num_envs, self.substeps, device, self.fields, dtype)
        self.control_seconds = self.model.opt.timestep * self.substeps
        self.physics = physics
        groups = self.groups()
        self._index_observation(groups, device)
        super().__init__(physics, self._spec(groups, num_envs, device))
        order = [joint for group in groups for joint in group]
        self._action_source = torch.tensor([order.index(joint) for joint in self._actuated], device=device)
        self._rest = torch.as_tensor(self.model.qpos0, dtype=dtype, device=device)

    def act(self, action: Tensor) -> None:
        self.physics.ctrl.copy_(action.index_select(1, self._action_source))

    def observe(self):
        """State [E, 1, S] as gymnasium's observation; A x [E, O_i]."""
        seen = self.features() + self._bits
        table = torch.cat((self.physics.motion,) + seen, 1) if seen else self.physics.motion
        parts = torch.split_with_sizes(table.index_select(1, self._columns), self._widths, 1)
        return tuple(parts[:-1]), parts[-1].unsqueeze(1)

    def terminated(self) -> Tensor:
        return self._none

    def at_rest_with_noise(self, mask: Tensor, noise: float, normal_velocity: bool) -> None:
        """Where mask [E]: uniform noise around the rest pose, uniform or normal noise in velocities, no control."""
        nq = self.model.nq
        nv = self.model.nv
        qvel = self.normal(nv) * noise if normal_velocity else self.uniform(-noise, noise, nv)
        self.physics.set_state(mask, self._rest + self.uniform(-noise, noise, nq), qvel)
        self.physics.ctrl.masked_fill_(mask[:, None], 0.0)

    def started(self, mask: Tensor) -> None:
        if "cfrc_ext" in self.fields:  # gymnasium computes them after steps only
            self.physics.cfrc_ext.masked_fill_(mask[:, None, None], 0.0)

    def visual_model(self):
        """The model to look at: on a floor without an end."""
        from harl_isaac.tasks.mamujoco.models import on_endless_floor

        return on_endless_floor(self.model)

    # What a task may say otherwise.

    def scene(self):
        """The model as an MjSpec."""
        from harl_isaac.tasks.mamujoco.models import gymnasium_model

        return gymnasium_model(self.file)

    def load(self) -> None:
        """Read the model. Raises MissingSimulator without MuJoCo."""
        try:
            from harl_isaac.tasks.mamujoco import models
        except ImportError as error:
            raise missing_mujoco(type(self).__name__, error) from None
        spec = self.scene()
        if "cfrc_ext" in self.fields:
            models.measure_external_forces(spec)
        self.model = models.compiled(spec)
        self._actuated = models.actuated_joints(self.model)

    def groups(self) -> List[Group]:
        """Each agent's joints in the order of its actions."""
        joints = self._actuated
        if self.order == "joints":
            joints = sorted(joints, key=lambda joint: int(self.model.joint(joint).qposadr[0]))
        return agents_joints(self.cfg.agents, joints, self.named)

    def features(self) -> Tuple[Tensor, ...]:
        """What may be seen beside positions and velocities: [E, n] for each name in `extras`."""
        return ()

    def edges(self):
        """Sets of joints that are neighbors of each other."""
        from harl_isaac.tasks.mamujoco.models import joint_edges

        return joint_edges(self.model)

    def layers(self, group: Group) -> List[List[str]]:
        """Joints that an agent sees at distance 0, 1, ..., obsk."""
        return joints_by_distance(group, self.edges(), self.cfg.obsk, self.labels)

    def bodies(self, joint: str) -> Tuple[int, ...]:
        """Bodies whose values an agent with this joint sees."""
        return ()

    def joint_columns(self, joint: str, name: str) -> List[int]:
        """Columns of one joint's values."""
        place = self.model.joint(joint)
        if name == "qpos":
            return [self.column(name, int(place.qposadr[0]))]
        return [self.column(self.velocity if name == "qvel" else name, int(place.dofadr[0]))]

    def state_columns(self) -> List[int]:
        """Columns of the critic's state."""
        return self.all_columns("qpos", self.hidden) + self.all_columns(self.state_velocity)

    # Columns of the features in a row.

    def column(self, name: str, place: int = 0) -> int:
        """Where one number of a feature stands."""
        return self._starts[name] + place

    def all_columns(self, name: str, first: int = 0) -> List[int]:
        """Where a feature's numbers stand, from its `first` on."""
        return list(range(self._starts[name] + first, self._starts[name] + self._sizes[name]))

    def _index_observation(self, groups, device: torch.device) -> None:
        """Columns of the features in a row that make all agents' observations and the state, one after another."""
        full = self.cfg.obs == "full"
        model = self.model
        rows = self.physics.num_envs
        bits = torch.tensor([0.0, 1.0], dtype=self.physics.qpos.dtype, device=device).repeat(rows, 1)
        self._bits = (bits,) if full else ()
        self._sizes = {"qpos": model.nq, "qvel": model.nv}
        self._sizes.update(zip(self.extras + ("one-hot",), [part.shape[1] for part in self.features() + self._bits]))
        self._starts = dict(zip(self._sizes, [0, *accumulate(self._sizes.values())]))
        state = self.state_columns()
        if full:
            parts = [
                state + [self.column("one-hot", int(i == j)) for j in range(len(groups))] for i in range(len(groups))
            ]
        else:
            parts = [self._local_columns(group) for group in groups]
        parts.append(state)
        self._widths = [len(part) for part in parts]
        self._columns = torch.tensor([column for part in parts for column in part], device=device)

    def _local_columns(self, group) -> List[int]:
        columns = []
        bodies = {name: [] for name in BODY_WIDTHS}
        for distance, joints in enumerate(self.layers(group)):
            for joint in joints:
                for name in self.near if distance == 0 else ("qpos",):
                    if name not in BODY_WIDTHS:
                        columns += self.joint_columns(joint, name)
                        continue
                    new = [body for body in self.bodies(joint) if body not in bodies[name]]
                    bodies[name] += new
                    width = BODY_WIDTHS[name]
                    columns += [self.column(name, body * width + i) for body in new for i in range(width)]
        trunk = [(self.velocity if name == "qvel" else name, places) for name, places in self.trunk]
        return columns + [self.column(name, place) for name, places in trunk for place in places]

    def _spec(self, groups, num_envs: int, device: torch.device) -> EnvSpec:
        low, high = (float(bound) for bound in self.model.actuator_ctrlrange[0])
        return EnvSpec(
            num_envs=num_envs,
            agents=tuple(f"agent_{i}" for i in range(len(groups))),
            obs_sizes=tuple(self._widths[:-1]),
            actions=tuple(Box(len(group), low, high) for group in groups),
            state_size=self._widths[-1],
            max_episode_steps=self.cfg.episode_length,
            device=device,
            metrics=ENGINE_METRICS + self.metrics,
        )
