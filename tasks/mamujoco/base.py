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
from harl_isaac.sim.engines import make_physics
from harl_isaac.sim.task import ENGINE_METRICS, MujocoTask
from harl_isaac.tasks.mamujoco.factorisation import agents_joints, joints_by_distance

BODY_WIDTHS = {"cinert": 10, "cvel": 6, "cfrc_ext": 6}  # numbers for each body


@dataclass
class MamujocoCfg:
    """Settings of every MAMuJoCo task. A class of its own names the agents: see each."""

    obs: str = "full"  # full (state and agent number), local (joints near the agent's own)
    obsk: int = 1  # with obs=local: how many joints away an agent sees
    episode_length: int = 1000  # [control steps]


class MamujocoTask(MujocoTask):
    """gymnasium's body with an agent for each group of joints. A task names its model and says what is below."""

    file: str  # of gymnasium's models
    substeps: int
    fields: Tuple[str, ...] = ()  # derived values to have from the engine
    order = "actuators"  # or joints: what NxM counts through
    named: Dict[str, str] = {}  # factorisations that are not consecutive joints
    labels: Dict[str, str] = {}  # by which joints are sorted where it is not their name
    near: Tuple[str, ...] = ("qpos", "qvel")  # what an agent sees of its own joints, of others only their qpos
    hidden = 1  # leading positions that nobody sees: where the body is
    metrics: Tuple[str, ...] = ()

    def __init__(self, cfg, num_envs: int, device: torch.device, sim: str = "auto", dtype: torch.dtype = torch.float32):
        if cfg.obs not in ("full", "local") or cfg.obsk < 0:
            raise ValueError("obs=%s obsk=%d; possible: obs=full, obs=local with obsk=0, 1, 2, ..." % (cfg.obs, cfg.obsk))
        self.cfg = cfg
        self._load()
        physics = make_physics(sim, self.model, num_envs, self.substeps, device, self.fields, dtype)
        self.control_seconds = self.model.opt.timestep * self.substeps
        groups = agents_joints(cfg.agents, self._joints(), self.named)
        self.physics, self.num_agents = physics, len(groups)
        self._index_observation(groups, device)
        super().__init__(physics, self._spec(groups, num_envs, device))
        order = [joint for group in groups for joint in group]
        self._actuator_source = torch.tensor([order.index(joint) for joint in self._actuated], device=device)
        self._rest = torch.as_tensor(self.model.qpos0, dtype=dtype, device=device)

    def act(self, action: Tensor) -> None:
        torch.index_select(action.to(self.physics.ctrl.dtype), 1, self._actuator_source, out=self.physics.ctrl)

    def observe(self):
        """State [E, 1, S] as gymnasium's observation; A x [E, O_i]."""
        table = torch.cat(tuple(self._features().values()), 1).index_select(1, self._columns)
        *obs, state = table.split(self._widths, 1)
        return tuple(obs), state[:, None]

    def terminated(self) -> Tensor:
        return self._none

    def visual_model(self):
        """The model to look at."""
        return self.model

    # What a task may say otherwise.

    def scene(self):
        """The model as an MjSpec."""
        from harl_isaac.tasks.mamujoco.models import gymnasium_model

        return gymnasium_model(self.file)

    def features(self) -> Dict[str, Tensor]:
        """Everything that may be seen, name -> [E, n], without positions and velocities."""
        return {}

    def velocity(self) -> Tensor:
        """[E, nv] as it is seen."""
        return self.physics.qvel

    def edges(self):
        """Sets of joints that are neighbours of each other."""
        from harl_isaac.tasks.mamujoco.models import joint_edges

        return joint_edges(self.model)

    def layers(self, group) -> List[List[str]]:
        """Joints that an agent sees at distance 0, 1, ..., obsk."""
        return joints_by_distance(group, self.edges(), self.cfg.obsk, self.labels)

    def bodies(self, joint: str) -> Tuple[int, ...]:
        """Bodies whose values an agent with this joint sees."""
        return ()

    def joint_columns(self, joint: str, name: str) -> List[int]:
        """Columns of one joint's values."""
        place = self.model.joint(joint)
        return [self.column(name, int(place.qposadr[0] if name == "qpos" else place.dofadr[0]))]

    def trunk_columns(self) -> List[int]:
        """Columns of what all agents see of the trunk: by default the planar root's height, tilt and velocities."""
        return [self.column("qpos", 1), self.column("qpos", 2)] + [self.column("qvel", i) for i in range(3)]

    def state_columns(self) -> List[int]:
        """Columns of the critic's state."""
        return [self.column("qpos", i) for i in range(self.hidden, self.model.nq)] + self.all_columns("qvel")

    # Columns of the features in a row.

    def column(self, name: str, place: int = 0) -> int:
        """Where one number of a feature stands."""
        return self._starts[name] + place

    def all_columns(self, name: str, first: int = 0) -> List[int]:
        """Where a feature's numbers stand, from its `first` on."""
        return list(range(self._starts[name] + first, self._starts[name] + self._sizes[name]))

    def _features(self) -> Dict[str, Tensor]:
        return {"qpos": self.physics.qpos, "qvel": self.velocity(), **self.features(), "one-hot": self._bits}

    def _load(self) -> None:
        try:
            from harl_isaac.tasks.mamujoco.models import actuated_joints
        except ImportError as error:
            raise ValueError("%s needs MuJoCo (%s): pip install mujoco gymnasium-robotics, on Python 3.11 or newer" % (
                type(self).__name__, error)) from None
        self.model = self.scene().compile()
        self._actuated = actuated_joints(self.model)

    def _joints(self) -> List[str]:
        """Actuated joints in the order that NxM counts through."""
        if self.order == "actuators":
            return self._actuated
        return sorted(self._actuated, key=lambda joint: int(self.model.joint(joint).qposadr[0]))

    def _index_observation(self, groups, device: torch.device) -> None:
        """Columns of the features in a row that make all agents' observations and the state, one after another."""
        self._bits = torch.tensor([0.0, 1.0], dtype=self.physics.qpos.dtype, device=device).expand(self.physics.num_envs, 2)
        features = self._features()
        self._sizes = {name: value.shape[1] for name, value in features.items()}
        self._starts = dict(zip(features, [0, *accumulate(self._sizes.values())]))
        state = self.state_columns()
        if self.cfg.obs == "full":
            parts = [state + [self.column("one-hot", int(i == j)) for j in range(len(groups))] for i in range(len(groups))]
        else:
            parts = [self._local_columns(group) for group in groups]
        parts.append(state)
        self._widths = [len(part) for part in parts]
        self._columns = torch.tensor([column for part in parts for column in part], device=device)

    def _local_columns(self, group) -> List[int]:
        columns, bodies = [], {name: [] for name in BODY_WIDTHS}
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
        return columns + self.trunk_columns()

    def _spec(self, groups, num_envs: int, device: torch.device) -> EnvSpec:
        low, high = (float(bound) for bound in self.model.actuator_ctrlrange[0])
        return EnvSpec(num_envs=num_envs, agents=tuple("agent_%d" % i for i in range(len(groups))),
                       obs_sizes=tuple(self._widths[:-1]), actions=tuple(Box(len(group), low, high) for group in groups),
                       state_size=self._widths[-1], max_episode_steps=self.cfg.episode_length, device=device,
                       metrics=ENGINE_METRICS + self.metrics)
