"""Tasks as vectorized environments of rl_games.

`register()` makes every task available to an rl_games configuration of your own, see docs/rl_games.md;
algo=rl_games_ppo uses the same class.
"""

from functools import partial
from typing import Any, Callable, Dict, Optional, Tuple

import torch
from rl_games.common import env_configurations, vecenv
from rl_games.common.ivecenv import IVecEnv
from torch import Tensor

from harl_isaac.devices import choose_device
from harl_isaac.env import MultiAgentEnv, Step
from harl_isaac.faults import FiniteWatch, StepShapes
from harl_isaac.registry import build_settings
from harl_isaac.rl_games.rows import Rows
from harl_isaac.tasks import TASKS

PREFIX = "harl_isaac/"  # of the tasks' names among rl_games' own


class TaskEnv(IVecEnv):
    """A task as rl_games' vectorized environment.

    `infos` holds time_outs (rl_games then adds gamma V(s) of the last state that was acted on), and under "episode" the
    task's metrics of the episodes that ended, which rl_games' IsaacAlgoObserver logs.
    """

    rows: Rows
    env: MultiAgentEnv  # given at construction, or to `continue_from`
    current: Step  # the last Step
    observer: Optional[Callable[[Step], None]]
    start_seed: Optional[int]  # of the first reset

    def __init__(self, rows: Rows, env: Optional[MultiAgentEnv] = None, seed: Optional[int] = None):
        self.rows = rows
        self.check_shapes = StepShapes(rows.spec)
        self.watch = FiniteWatch(rows.spec)  # read in each step, as rl_games reads other numbers
        if env is not None:
            self.env = env
        self.start_seed = seed

    def continue_from(
        self, env: MultiAgentEnv, step: Step, observer: Optional[Callable[[Step], None]] = None
    ) -> Dict[str, Tensor]:
        """Step `env` from its Step `step` on, and show the observer every new one; returns the current observations."""
        self.env = env
        self.current = step
        self.observer = observer
        return self.observe()

    def reset(self) -> Dict[str, Tensor]:
        """Start new episodes; returns their first observations, see `observe`."""
        # once: all that follows repeats from it
        seed = self.start_seed
        self.start_seed = None
        return self.continue_from(self.env, self.env.reset(seed))

    def step(self, actions: Tensor) -> Tuple[Dict[str, Tensor], Tensor, Tensor, Dict[str, Any]]:
        """Advance by one step with the rows' actions [rows, W].

        Returns observations (see `observe`), reward [rows], done [rows] uint8, infos. Raises EnvironmentFault.
        """
        step = self.env.step(self.rows.actions(actions))
        self.check_shapes(step)
        if bool(torch.isfinite(actions).all()):  # else the policy is at fault, and the losses will say so
            self.watch(step)
            self.watch.check()
        self.current = step
        if self.observer is not None:
            self.observer(step)
        infos: Dict[str, Any] = {"time_outs": self.rows.per_row(step.truncated)}
        if bool(step.done.any()):
            infos["episode"] = {name: value[step.done] for name, value in step.metrics.items()}
        return self.observe(), self.rows.reward(step.reward), self.rows.per_row(step.done).byte(), infos

    def observe(self) -> Dict[str, Tensor]:
        """Current observations: of the policy "obs" [rows, O], of the central value "states" [E, K * S]."""
        return {"obs": self.rows.obs(self.current.obs), "states": self.current.state.flatten(1)}

    def get_env_info(self) -> Dict[str, Any]:
        """See `Rows.env_info`."""
        return self.rows.env_info()

    def get_number_of_agents(self) -> int:
        """Rows of an environment."""
        return self.rows.agents

    def has_action_masks(self) -> bool:
        """Whether the task has action masks."""
        return self.rows.spec.has_action_mask

    def get_action_masks(self) -> Tensor:
        """Masks of the rows' choices [rows, N] on the CPU: rl_games makes a BoolTensor of them, on its device."""
        masks = self.current.action_mask
        assert masks is not None, "the spec says that there are action masks"
        return self.rows.masks(masks).cpu()


def register() -> None:
    """Make every task an environment of rl_games, "harl_isaac/<task>". Its env_config: see `make`."""
    vecenv.register("HARL_ISAAC", make)
    for name in TASKS:
        creator = partial(make, PREFIX + name, 1)
        env_configurations.register(PREFIX + name, {"vecenv_type": "HARL_ISAAC", "env_creator": creator})


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
    """Build a task by its name in rl_games; `task` holds settings that differ from its defaults. Raises ValueError."""
    values = {**(task or {}), "name": name[len(PREFIX) :]}
    env = build_settings(TASKS, values).make(num_envs, choose_device(device), sim)
    return TaskEnv(Rows(env.spec, policy, agent_id), env, seed)
