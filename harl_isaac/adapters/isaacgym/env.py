"""Tasks of Bi-DexterousHands (Chen et al., 2022) as they are, on Isaac Gym, in this process and on its device.

Starts. Isaac Gym resets at the start of the next step: the observation that comes with an end is the true last one, but
the first observation of an episode is never returned. There, the first action is chosen by the ended episode's last
observation, which tells nothing of the new episode. Here, agents and critic observe zeros instead, an observation that
nothing else has. So no transition joins two episodes, and the transitions are those of an exact decision process whose
first state is the distribution that starts are drawn from: the value of zeros is the mean over starts. The price is the
same as there: each episode's first action is blind.

Ends. The simulation has one flag for failures and the time limit. An end at `max_episode_length` is a truncation, also
if the object fell in that very step.

Success is the task's own flag: 0 or 1 in most, 0.5 for one of two blocks in PushBlock, a count in ReOrientation.
`consecutive_successes` is bidexhands' own running figure, of all environments in most tasks.
"""

from dataclasses import dataclass, field
from typing import Any, Dict, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.adapters.in_process import IsolatedRng, NotCheckpointable
from harl_isaac.adapters.isaacgym.simulation import make_simulation, ordered_groups
from harl_isaac.env import Box, EnvSpec, Step
from harl_isaac.settings import MOST_STEPS, TaskCfg, check_ranges
from harl_isaac.tasks.hands.partition import agent_names

SUCCESSES = {"success": "successes", "consecutive_successes": "consecutive_successes"}  # metric -> key of task.extras


@dataclass
class IsaacGymCfg(TaskCfg):
    """Settings of every task of Bi-DexterousHands; `options` reach its own YAML file."""

    name: str = "isaacgym/ShadowHandOver"
    agents: str = "hands"  # hands (2), fingers (12), or groups of parts such as palm+FF+MF,RF+LF+TH (4)
    episode_length: int = 0  # [control steps of 1/60 s], 0: the task's own
    headless: bool = True
    graphics_device: Optional[int] = None  # Vulkan's number; null: none if headless, else the compute device's
    # task.options.env.startPositionNoise=0.02, task.options.sim.substeps=4
    options: Dict[str, Any] = field(default_factory=dict)

    def make(self, num_envs: int, device: torch.device, sim: str) -> "IsaacGymEnv":
        """Build the environments; see `TaskCfg.make`. `sim` is not used."""
        check_ranges(self, [("episode_length", 0, MOST_STEPS)], "task")
        return IsaacGymEnv(self, num_envs, device)


class IsaacGymEnv(NotCheckpointable):
    """A task of Bi-DexterousHands. Agents are "right hand" and "left hand", or groups of a hand's parts."""

    def __init__(self, cfg: IsaacGymCfg, num_envs: int, device: torch.device):
        self.rng = IsolatedRng(device)
        with self.rng:
            self.simulation = make_simulation(cfg.name.partition("/")[2], cfg, num_envs, device)
        self.task = self.simulation.task
        self.spec = EnvSpec(
            num_envs=num_envs,
            agents=agent_names(ordered_groups(cfg.agents)),
            obs_sizes=tuple(space.shape[0] for space in self.simulation.observation_space),
            actions=tuple(Box(space.shape[0]) for space in self.simulation.action_space),
            state_size=self.simulation.share_observation_space[0].shape[0],
            device=device,
            max_episode_steps=int(self.task.max_episode_length),
            metrics=("diverged", *[name for name, key in SUCCESSES.items() if hasattr(self.task, key)]),
            exclusive=True,
        )
        self._first_obs = tuple(torch.zeros(num_envs, size, device=device) for size in self.spec.obs_sizes)
        self._first_state = torch.zeros(num_envs, 1, self.spec.state_size, device=device)

    def reset(self, seed: Optional[int] = None) -> Step:
        """Let every environment begin an episode with the next step, as after an end. Nothing is simulated.

        Physics on a GPU does not repeat exactly, whatever the seed.
        """
        if seed is not None:
            self.rng.seed(seed)
        self.task.reset_buf.fill_(1)
        return Step.first(self.spec, self._first_obs, self._first_state)

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        """Advance by one step, see `MultiAgentEnv.step`; a diverged environment ends as a failure with zeros."""
        with self.rng:
            obs, state, reward, done, _, _ = self.simulation.step(list(actions))
        reward = reward[:, 0].float()
        diverged = ~torch.isfinite(torch.cat((state[:, 0], reward), 1)).all(1)  # observations are parts of the state
        self.task.reset_buf.masked_fill_(diverged, 1)
        timed_out = self.task.progress_buf >= self.task.max_episode_length
        ended = (done[:, 0] != 0) | diverged
        truncated = (done[:, 0] != 0) & timed_out & ~diverged
        next_obs = tuple(each.masked_fill(diverged[:, None], 0.0) for each in obs.float().unbind(1))
        next_state = state[:, :1].float().masked_fill(diverged[:, None, None], 0.0)
        return Step(
            tuple(each.masked_fill(ended[:, None], 0.0) for each in next_obs),
            next_state.masked_fill(ended[:, None, None], 0.0),
            reward.masked_fill(diverged[:, None], 0.0),
            ended & ~truncated,
            truncated,
            next_obs,
            next_state,
            self._metrics(diverged),
        )

    def close(self) -> None:
        """Do nothing: the simulation ends with its process."""

    def _metrics(self, diverged: Tensor) -> Dict[str, Tensor]:
        metrics = {"diverged": diverged.float()}
        for name, key in SUCCESSES.items():
            if name in self.spec.metrics:
                metrics[name] = self.task.extras[key].float().expand(self.spec.num_envs).clone()
        return metrics
