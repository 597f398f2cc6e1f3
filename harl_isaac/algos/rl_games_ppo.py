"""rl_games_ppo: the PPO of the package rl_games (Makoviichuk and Makoviychuk, https://github.com/Denys88/rl_games).

It trains one policy: either of all agents as one, with their observations and actions concatenated (joint), or shared
by agents of equal spaces, each a row of the batch (shared). The single-agent PPO of the paper's Figure 10 is the
former.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, List

from harl_isaac import ranks
from harl_isaac.env import EnvSpec
from harl_isaac.learning.estimates import check_networks, check_rollout, policy_sizes
from harl_isaac.learning.learner import AlgoCfg
from harl_isaac.networks.mlp import ACTIVATIONS
from harl_isaac.settings import (
    INFINITY,
    MOST_REPEATS,
    check_choices,
    check_divides,
    check_hidden,
    check_limits,
    check_ranges,
)

if TYPE_CHECKING:
    from harl_isaac.rl_games.learner import RlGamesLearner
    from harl_isaac.rl_games.policy import RlGamesPolicy

POLICIES = ("joint", "shared")
SCHEDULES = ("adaptive", "linear", "constant")


@dataclass
class RlGamesPpoCfg(AlgoCfg):
    """Settings of rl_games' PPO. Defaults are those of Isaac Lab's Shadow-Hand-Over (its rl_games_ppo_cfg.yaml),
    but for the rewards, which are not scaled.
    """

    name: str = "rl_games_ppo"
    policy: str = "joint"  # joint: all agents as one; shared: one policy for all agents
    agent_id: bool = True  # a shared policy observes which agent it acts for
    central_value: bool = True  # a network of its own that values the task's state
    rollout_length: int = 16  # T, steps of each environment in one iteration
    hidden: List[int] = field(default_factory=lambda: [512, 512, 256, 128])
    activation: str = "elu"  # relu, tanh, elu, selu
    lr: float = 5e-4
    lr_schedule: str = "adaptive"  # adaptive (keeps KL near kl_threshold), linear (to zero at total_steps), constant
    kl_threshold: float = 0.016
    epochs: int = 5
    minibatches: int = 1
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2  # of the ratio and of the value's change
    entropy_coef: float = 0.0
    value_coef: float = 4.0  # of the policy network's own value
    bounds_coef: float = 1e-4  # of the squared distance of continuous actions' means from [-1.1, 1.1]
    max_grad_norm: float = 1.0
    normalize_obs: bool = True  # running mean and deviation, also of the state
    normalize_value: bool = True
    reward_scale: float = 1.0

    def check(self, spec: EnvSpec) -> None:
        """Raise ValueError, with both numbers, for settings that cannot run in environments of this spec."""
        check_ranges(
            self,
            (
                ("rollout_length", 1, INFINITY),
                ("lr", 0, INFINITY),
                ("kl_threshold", 0, INFINITY),
                ("epochs", 1, MOST_REPEATS),
                ("minibatches", 1, INFINITY),
                ("gamma", 0, 1),
                ("gae_lambda", 0, 1),
                ("clip", 0, INFINITY),
                ("entropy_coef", 0, INFINITY),
                ("value_coef", 0, INFINITY),
                ("bounds_coef", 0, INFINITY),
                ("reward_scale", -INFINITY, INFINITY),
            ),
        )
        check_limits(self, ["max_grad_norm"])
        check_choices("algo", self, (("activation", ACTIVATIONS), ("lr_schedule", SCHEDULES), ("policy", POLICIES)))
        check_hidden(self)
        rows = self.rollout_length * spec.num_envs
        check_divides(self, spec, "minibatches", rows, "batch")
        check_rollout(spec, self.rollout_length)
        check_networks(spec, self, policy_sizes(spec)[:1], rows)
        if self.policy == "shared" and self.central_value and spec.reward_agents > 1:
            raise ValueError(
                "algo.policy=shared with algo.central_value=true: rl_games fits the central value to the first "
                "agent's return, and here each agent has its own reward; add algo.central_value=false"
            )

    def actors(self, spec: EnvSpec) -> "RlGamesPolicy":
        """A new policy for environments of this spec. Raises MissingSimulator where rl_games is not installed."""
        from harl_isaac.rl_games.policy import RlGamesPolicy  # only here is the package needed

        return RlGamesPolicy(spec, self)

    def learner(self, spec: EnvSpec, seed: int) -> "RlGamesLearner":
        """A new learner. Raises ValueError as `check` does, MissingSimulator where rl_games is not installed."""
        self.check(spec)
        if ranks.world() > 1:
            raise ValueError(f"algo={self.name} trains in one process: rl_games has its own way to use several")
        from harl_isaac.rl_games.learner import RlGamesLearner

        return RlGamesLearner(spec, self, seed)
