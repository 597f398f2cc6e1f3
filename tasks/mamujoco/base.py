"""Base of the MAMuJoCo tasks: agents and their observations, actions, the reset.

Source: gymnasium-robotics' mamujoco_v1 on gymnasium's v5 environments (Towers et al., 2024), whose observations,
rewards, ends and reset noise these are. With task.obs=full every agent observes the critic's state and its own number
as a one-hot, as in the experiments of Zhong et al., 2024; with task.obs=local what mamujoco_v1 shows: its own joints,
the positions of joints up to `obsk` away, and the trunk.
"""

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Dict, FrozenSet, List, Sequence, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Box, EnvSpec
from harl_isaac.settings import (
    INFINITY,
    MOST_AGENTS,
    MOST_STEPS,
    TaskCfg,
    check_choices,
    check_limits,
    check_ranges,
)
from harl_isaac.sim.engines import make_physics, missing_mujoco
from harl_isaac.sim.task import ENGINE_METRICS, PhysicsTask
from harl_isaac.tasks.mamujoco.factorization import Group, agents_joints, joints_by_distance

if TYPE_CHECKING:
    import mujoco

Trunk = Tuple[Tuple[str, Tuple[int, ...]], ...]  # names of features, and indices of numbers in them
BODY_WIDTHS = {"cinert": 10, "cvel": 6, "cfrc_ext": 6}  # numbers for each body
PLANAR_TRUNK: Trunk = (("qpos", (1, 2)), ("qvel", (0, 1, 2)))  # height, tilt and their rates, and the speed forward
FREE_TRUNK: Trunk = (("qpos", tuple(range(2, 7))), ("qvel", tuple(range(6))))  # height, orientation, velocities


# least and largest value of the numbers that tasks may have
RANGES = {
    "obsk": (0, MOST_AGENTS),
    "episode_length": (1, MOST_STEPS),
    "reset_noise": (0.0, 10.0),
    **dict.fromkeys(
        (
            "forward_weight",
            "control_cost",
            "contact_cost",
            "impact_cost",
            "near_cost",
            "distance_cost",
            "healthy_reward",
        ),
        (-INFINITY, INFINITY),
    ),
}
LIMITS = ("largest_tilt", "largest_state", "largest_impact_cost")


@dataclass
class MamujocoCfg(TaskCfg):
    """Settings of every MAMuJoCo task. Each task's own class has its agents."""

    agents: str = ""  # groups of joints, one agent each
    obs: str = "full"  # full (state and agent number), local (joints near the agent's own)
    obsk: int = 1  # [joints] with obs=local: largest distance of a joint that an agent observes
    episode_length: int = 1000  # [control steps]


def check(cfg: MamujocoCfg) -> None:
    """Raise ValueError for settings that mean nothing."""
    check_choices("task", cfg, (("obs", ("full", "local")),))
    check_ranges(cfg, [(name, *bounds) for name, bounds in RANGES.items() if hasattr(cfg, name)], "task")
    check_limits(cfg, [name for name in LIMITS if hasattr(cfg, name)], "task")
    lowest = getattr(cfg, "lowest", 0.0)
    highest = getattr(cfg, "highest", INFINITY)
    if not lowest < highest:
        bound = f"task.highest={highest:g}" if hasattr(cfg, "highest") else "inf"
        raise ValueError(f"task.lowest={lowest:g} must be below {bound}: between them a body is healthy")


class MamujocoTask(PhysicsTask):
    """A body of gymnasium's with an agent for each group of joints. A task sets the attributes that differ."""

    cfg: MamujocoCfg
    model: "mujoco.MjModel"
    _actuated: List[str]  # joints in the order of their actuators
    file: str  # of gymnasium's models
    substeps: int  # physics steps in one control step
    fields: Tuple[str, ...] = ()  # derived values that the engine is to provide
    order = "actuators"  # or joints: the list that NxM divides
    named: Dict[str, str] = {}  # factorizations that are not consecutive joints
    labels: Dict[str, str] = {}  # by which joints are sorted where it is not their name
    near: Tuple[str, ...] = ("qpos", "qvel")  # features of an agent's own joints; of others only their qpos
    trunk: Trunk = PLANAR_TRUNK  # what all agents observe of the trunk
    hidden = 1  # leading positions that nobody observes: where the body is
    extras: Tuple[str, ...] = ()  # names of `features`
    velocity = "qvel"  # the feature that agents observe as velocities with obs=local
    state_velocity = "qvel"  # and the one in the state
    metrics: Tuple[str, ...] = ()  # beside the engine's

    def __init__(
        self,
        cfg: MamujocoCfg,
        num_envs: int,
        device: torch.device,
        sim: str = "auto",
        dtype: torch.dtype = torch.float32,
    ):
        check(cfg)
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
        """Write controls from actions [E, nu] in agents' order."""
        self.physics.ctrl.copy_(action.index_select(1, self._action_source))

    def observe(self) -> Tuple[Tuple[Tensor, ...], Tensor]:
        """Observations A x [E, O_i], and the state [E, 1, S], which is gymnasium's observation."""
        features = self.features() + self._bits
        table = torch.cat((self.physics.motion,) + features, 1) if features else self.physics.motion
        parts = torch.split_with_sizes(table.index_select(1, self._columns), self._widths, 1)
        return tuple(parts[:-1]), parts[-1].unsqueeze(1)

    def terminated(self) -> Tensor:
        """Never: only a time limit ends an episode, [E] bool."""
        return self._none

    def at_rest_with_noise(self, mask: Tensor, noise: float, normal_velocity: bool) -> None:
        """Start at the rest pose where mask [E] is true, without control.

        With uniform noise [m, rad] in positions, uniform or normal noise [m/s, rad/s] in velocities.
        """
        nq = self.model.nq
        nv = self.model.nv
        qvel = self.normal(nv) * noise if normal_velocity else self.uniform(-noise, noise, nv)
        self.physics.set_state(mask, self._rest + self.uniform(-noise, noise, nq), qvel)
        self.physics.ctrl.masked_fill_(mask[:, None], 0.0)

    def started(self, mask: Tensor) -> None:
        """Clear the forces on bodies where mask [E] is true: gymnasium computes them after steps only."""
        if "cfrc_ext" in self.fields:
            self.physics.derived["cfrc_ext"].masked_fill_(mask[:, None, None], 0.0)

    def visual_model(self) -> "mujoco.MjModel":
        """The model for rendering: on a floor without an end."""
        from harl_isaac.tasks.mamujoco.models import on_endless_floor

        return on_endless_floor(self.model)

    # What a task may override.

    def scene(self) -> "mujoco.MjSpec":
        """The model before it is compiled."""
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
        """Features beside positions and velocities: [E, n] for each name in `extras`."""
        return ()

    def edges(self) -> List[FrozenSet[str]]:
        """Sets of joints that are neighbors of each other."""
        from harl_isaac.tasks.mamujoco.models import joint_edges

        return joint_edges(self.model)

    def layers(self, group: Group) -> List[List[str]]:
        """Joints that an agent observes at distance 0, 1, ..., obsk."""
        return joints_by_distance(group, self.edges(), self.cfg.obsk, self.labels)

    def bodies(self, joint: str) -> Tuple[int, ...]:
        """Numbers of the bodies whose values an agent with this joint observes."""
        return ()

    def joint_columns(self, joint: str, name: str) -> List[int]:
        """Columns of one joint's values of a feature."""
        address = self.model.joint(joint)
        if name == "qpos":
            return [self.column(name, int(address.qposadr[0]))]
        return [self.column(self.velocity if name == "qvel" else name, int(address.dofadr[0]))]

    def state_columns(self) -> List[int]:
        """Columns of the critic's state."""
        return self.all_columns("qpos", self.hidden) + self.all_columns(self.state_velocity)

    # Columns of all features side by side.

    def column(self, name: str, index: int = 0) -> int:
        """Column of one number of a feature."""
        return self._starts[name] + index

    def all_columns(self, name: str, first: int = 0) -> List[int]:
        """Columns of a feature's numbers, from its `first` on."""
        return list(range(self._starts[name] + first, self._starts[name] + self._sizes[name]))

    def _index_observation(self, groups: Sequence[Group], device: torch.device) -> None:
        """Columns of all features side by side that make all agents' observations and the state, in this order."""
        full = self.cfg.obs == "full"
        model = self.model
        rows = self.physics.num_envs
        bits = torch.tensor([0.0, 1.0], dtype=self.physics.qpos.dtype, device=device).repeat(rows, 1)
        self._bits: Tuple[Tensor, ...] = (bits,) if full else ()  # [E, 2] of which one-hots are made
        self._sizes: Dict[str, int] = {"qpos": model.nq, "qvel": model.nv}
        self._sizes.update(zip(self.extras + ("one-hot",), [part.shape[1] for part in self.features() + self._bits]))
        self._starts = dict(zip(self._sizes, [0, *accumulate(self._sizes.values())]))
        if full:
            parts = [self.state_columns() + self._one_hot_columns(i, len(groups)) for i in range(len(groups))]
        else:
            parts = [self._local_columns(group) for group in groups]
        parts.append(self.state_columns())
        self._widths = [len(part) for part in parts]
        self._columns = torch.tensor([column for part in parts for column in part], device=device)

    def _one_hot_columns(self, agent: int, agents: int) -> List[int]:
        """Columns of an agent's number as a one-hot."""
        return [self.column("one-hot", int(agent == other)) for other in range(agents)]

    def _local_columns(self, group: Group) -> List[int]:
        """Columns of an agent's observation with obs=local: joints from near to far, then the trunk."""
        columns: List[int] = []
        bodies: Dict[str, List[int]] = {name: [] for name in BODY_WIDTHS}  # of which columns are in already
        for distance, joints in enumerate(self.layers(group)):
            names = self.near if distance == 0 else ("qpos",)
            for joint in joints:
                for name in names:
                    if name in BODY_WIDTHS:
                        columns += self._body_columns(name, self.bodies(joint), bodies[name])
                    else:
                        columns += self.joint_columns(joint, name)
        for name, indices in self.trunk:
            feature = self.velocity if name == "qvel" else name
            columns += [self.column(feature, index) for index in indices]
        return columns

    def _body_columns(self, name: str, bodies: Sequence[int], known: List[int]) -> List[int]:
        """Columns of a feature of those bodies that are not `known` yet, and are from now on."""
        width = BODY_WIDTHS[name]
        new = [body for body in bodies if body not in known]
        known += new
        return [self.column(name, body * width + i) for body in new for i in range(width)]

    def _spec(self, groups: Sequence[Group], num_envs: int, device: torch.device) -> EnvSpec:
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
