"""Tasks as rl_games sees them (https://github.com/Denys88/rl_games): rows of one policy, in an IVecEnv.

`register()` gives every task to a configuration of your own, see docs/rl_games.md; algo=rl_games_ppo plays the same way.
"""

from typing import Any, Dict, Optional, Sequence, Tuple

import torch
from torch import Tensor

from harl_isaac.devices import choose_device
from harl_isaac.env import Box, EnvSpec, MissingSimulator, MultiAgentEnv, Space, Step, action_width
from harl_isaac.registry import TASKS, build_settings

try:
    from rl_games.common import env_configurations, vecenv
    from rl_games.common.gym_compat import gym
    from rl_games.common.ivecenv import IVecEnv
except ImportError as error:
    raise MissingSimulator(f"rl_games is not installed here ({error}): pip install -e .[rl-games]") from None

POLICIES = ("joint", "shared")
PREFIX = "harl_isaac/"  # of the tasks' names among rl_games' own
INFINITY = float("inf")


def choices(space: Space) -> Tuple[int, ...]:
    """How many choices each head of a Discrete or MultiDiscrete has."""
    return getattr(space, "nvec", None) or (space.n,)


class Rows:
    """How a task's agents become rows: all of them one (joint), or a row for each, in the order of the agents (shared)."""

    def __init__(self, spec: EnvSpec, policy: str = "joint", agent_id: bool = True):
        refuse(spec, policy)
        self.spec = spec
        self.shared = policy == "shared"
        self.agents = spec.num_agents if self.shared else 1  # rows of an environment
        self.ids = torch.eye(spec.num_agents, device=spec.device) if self.shared and agent_id else None
        self.spaces = spec.actions[:1] if self.shared else spec.actions  # of which a row's action consists
        self.continuous = isinstance(self.spaces[0], Box)
        self.heads = () if self.continuous else tuple(n for space in self.spaces for n in choices(space))
        place = 0 if self.ids is None else self.agents
        self.obs_size = spec.obs_sizes[0] + place if self.shared else sum(spec.obs_sizes)

    def obs(self, parts: Sequence[Tensor]) -> Tensor:
        """A x [E, O_i] as rows."""
        if not self.shared:
            return torch.cat(list(parts), 1)
        stacked = torch.stack(list(parts), 1)  # [E, A, O]
        if self.ids is not None:
            stacked = torch.cat((stacked, self.ids.expand(stacked.shape[0], -1, -1)), 2)
        return stacked.flatten(0, 1)

    def masks(self, parts: Sequence[Tensor]) -> Tensor:
        """A x [E, N_i] as rows."""
        return torch.stack(list(parts), 1).flatten(0, 1) if self.shared else torch.cat(list(parts), 1)

    def reward(self, reward: Tensor) -> Tensor:
        """[E, R] as [rows]: for all as one agent the mean."""
        return reward.expand(-1, self.agents).reshape(-1) if self.shared else reward.mean(1)

    def each(self, value: Tensor) -> Tensor:
        """[E] as [rows]."""
        return value.repeat_interleave(self.agents)

    def apart(self, action: Tensor) -> Tuple[Tensor, ...]:
        """Rows' actions as A x [E, W_i]."""
        widths = [action_width(space) for space in self.spaces]
        action = action.reshape(-1, self.agents, sum(widths))
        return action.unbind(1) if self.shared else action[:, 0].split(widths, 1)

    def actions(self, action: Tensor) -> Tuple[Tensor, ...]:
        """Rows' actions in the agents' units as the environment takes them, within the bounds."""
        return tuple(
            part.clamp(space.low, space.high) if isinstance(space, Box) else part.long()
            for space, part in zip(self.spec.actions, self.apart(action))
        )

    def info(self) -> Dict[str, Any]:
        """What rl_games asks of an environment."""
        spec = self.spec
        spaces = gym.spaces
        if self.continuous:
            low, high = [
                torch.cat([torch.full((space.size,), bound(space)) for space in self.spaces]).numpy()
                for bound in (lambda space: space.low, lambda space: space.high)
            ]
            action = spaces.Box(low, high)
        else:
            action = [spaces.Discrete(n) for n in self.heads]
            action = spaces.Tuple(action) if len(action) > 1 else action[0]
        return {
            "action_space": action,
            "observation_space": spaces.Box(-INFINITY, INFINITY, (self.obs_size,)),
            "state_space": spaces.Box(-INFINITY, INFINITY, (spec.state_agents * spec.state_size,)),
            "agents": self.agents,
            "value_size": 1,
        }


def refuse(spec: EnvSpec, policy: str) -> None:
    """Raises ValueError for what rl_games cannot express."""
    if policy not in POLICIES:
        raise ValueError("policy={}; possible: {}".format(policy, ", ".join(POLICIES)))
    kinds = ", ".join("%s: %d, %s" % each for each in zip(spec.agents, spec.obs_sizes, spec.actions))
    if policy == "shared" and (len(set(spec.obs_sizes)) > 1 or len(set(spec.actions)) > 1):
        raise ValueError(
            "policy=shared: rl_games shares a policy among agents of equal observations and actions only, "
            f"these have ({kinds}); use policy=joint"
        )
    boxes = {isinstance(space, Box) for space in spec.actions}
    if len(boxes) > 1:
        raise ValueError(
            f"rl_games takes continuous actions or choices, not both at once, these agents have ({kinds}); "
            "use algo=happo, mappo or hasac"
        )
    heads = (
        [n for space in (spec.actions[:1] if policy == "shared" else spec.actions) for n in choices(space)]
        if spec.has_action_mask
        else []
    )
    if len(set(heads)) > 1:
        raise ValueError(
            f"rl_games masks choices of equal numbers only, these agents have ({kinds}); use algo=happo, mappo or hasac"
        )


class TaskEnv(IVecEnv):
    """A task as rl_games' vectorized environment.

    `infos` holds time_outs (rl_games then adds gamma V(s) of the last state that was acted on), and under "episode" the
    task's metrics of the episodes that ended, which rl_games' IsaacAlgoObserver logs.
    """

    def __init__(self, rows: Rows, env: Optional[MultiAgentEnv] = None, seed: Optional[int] = None):
        self.rows = rows
        self.env = env
        self.start_seed = seed

    def go_on(self, env: MultiAgentEnv, step: Step, observer=None) -> Dict[str, Tensor]:
        """Play on from a Step of this environment, and show the observer every new one; what is seen now."""
        self.env = env
        self.current = step
        self.observer = observer
        return self.look()

    def reset(self) -> Dict[str, Tensor]:
        # once: all that follows repeats from it
        seed = self.start_seed
        self.start_seed = None
        return self.go_on(self.env, self.env.reset(seed))

    def step(self, actions: Tensor):
        step = self.current = self.env.step(self.rows.actions(actions))
        if self.observer is not None:
            self.observer(step)
        infos = {"time_outs": self.rows.each(step.truncated)}
        if bool(step.done.any()):
            infos["episode"] = {name: value[step.done] for name, value in step.metrics.items()}
        return self.look(), self.rows.reward(step.reward), self.rows.each(step.done).byte(), infos

    def look(self) -> Dict[str, Tensor]:
        """What the policy and the central value see now."""
        return {"obs": self.rows.obs(self.current.obs), "states": self.current.state.flatten(1)}

    def get_env_info(self) -> Dict[str, Any]:
        return self.rows.info()

    def get_number_of_agents(self) -> int:
        return self.rows.agents

    def has_action_masks(self) -> bool:
        return self.rows.spec.has_action_mask

    def get_action_masks(self) -> Tensor:
        return self.rows.masks(self.current.action_mask).cpu()  # rl_games makes a BoolTensor of it, on its device


def register() -> None:
    """Make every task an environment of rl_games, "harl_isaac/<task>". Its env_config: see `make`."""
    vecenv.register("HARL_ISAAC", make)
    for name in TASKS:
        env_configurations.register(
            PREFIX + name,
            {
                "vecenv_type": "HARL_ISAAC",
                "env_creator": lambda name=name, **settings: make(PREFIX + name, 1, **settings),
            },
        )


def make(
    name: str,
    num_envs: int,
    policy: str = "joint",
    agent_id: bool = True,
    device: str = "auto",
    sim: str = "auto",
    seed: Optional[int] = None,
    task: Optional[Dict[str, Any]] = None,
) -> TaskEnv:
    """A task by its name in rl_games; `task` holds settings that differ from its defaults. Raises ValueError."""
    values = {**(task or {}), "name": name[len(PREFIX) :]}
    env = build_settings(TASKS, values).make(num_envs, choose_device(device), sim)
    return TaskEnv(Rows(env.spec, policy, agent_id), env, seed)
