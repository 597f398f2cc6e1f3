"""rl_games_ppo: the PPO of the package rl_games (Makoviichuk and Makoviychuk, https://github.com/Denys88/rl_games).

It knows one policy: all agents' observations and actions together are one agent's (joint), or agents of equal spaces are
rows of a shared one. The single-agent PPO of the paper's Figure 10 is the first.
"""

from dataclasses import dataclass, field
from typing import List

from harl_isaac.env import EnvSpec
from harl_isaac.networks.mlp import ACTIVATIONS
from harl_isaac.settings import INFINITY, AlgoCfg, check_choices, check_divides, check_hidden, check_ranges

SCHEDULES = ("adaptive", "linear", "constant")


@dataclass
class RlGamesPpoCfg(AlgoCfg):
    """Defaults are those of Isaac Lab's Shadow-Hand-Over (its rl_games_ppo_cfg.yaml), but for rewards as they are."""

    name: str = "rl_games_ppo"
    policy: str = "joint"  # joint: all agents as one; shared: one policy for all agents
    agent_id: bool = True  # a shared policy sees whose place it takes
    central_value: bool = True  # a network of its own that values the task's state
    rollout_length: int = 16  # T, steps of each environment in one iteration
    hidden: List[int] = field(default_factory=lambda: [512, 512, 256, 128])
    activation: str = "elu"  # relu, tanh, elu, selu
    lr: float = 5e-4
    lr_schedule: str = (
        "adaptive"  # adaptive (keeps the KL near kl_threshold), linear (to zero at total_steps), constant
    )
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
        """Refuse what cannot run. Raises ValueError with both numbers."""
        check_ranges(
            self,
            (
                ("rollout_length", 1, INFINITY),
                ("lr", 0, INFINITY),
                ("kl_threshold", 0, INFINITY),
                ("epochs", 1, INFINITY),
                ("minibatches", 1, INFINITY),
                ("gamma", 0, 1),
                ("gae_lambda", 0, 1),
                ("clip", 0, INFINITY),
                ("max_grad_norm", 0, INFINITY),
            ),
        )
        check_choices("algo", self, (("activation", ACTIVATIONS), ("lr_schedule", SCHEDULES)))
        check_hidden(self)
        check_divides(self, spec, "minibatches", self.rollout_length * spec.num_envs, "batch")
        if self.policy == "shared" and self.central_value and spec.reward_agents > 1:
            raise ValueError(
                "algo.policy=shared with algo.central_value=true: rl_games fits the central value to the first "
                "agent's return, and here each agent has its own reward; add algo.central_value=false"
            )

    def actors(self, spec: EnvSpec):
        """A new policy for an environment."""
        from harl_isaac.rl_games.learner import RlGamesPolicy  # only here is the package needed

        return RlGamesPolicy(spec, self)

    def learner(self, spec: EnvSpec, seed: int):
        self.check(spec)
        from harl_isaac.rl_games.learner import RlGamesLearner

        return RlGamesLearner(spec, self, seed)
