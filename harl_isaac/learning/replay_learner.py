"""The off-policy base: collecting into a replay, the warmup, updates from its batches, slowly following targets."""

import copy
from abc import abstractmethod
from typing import Any, Dict, List, Optional, Tuple, Type

import torch
from torch import Tensor, nn

from harl_isaac import ranks
from harl_isaac.buffers.quarantine import quarantine_replay
from harl_isaac.buffers.replay import Batch, Replay, explore
from harl_isaac.env import EnvSpec, MultiAgentEnv, Step
from harl_isaac.learning.learner import GradientLearner, Metrics, Observer
from harl_isaac.learning.off_policy_cfg import ReplayCfg
from harl_isaac.learning.optimizers import Optimizer, restore
from harl_isaac.networks.joint_policy import Layers, ObservationPacker
from harl_isaac.settings import INFINITY

ADAM_EPS = 1e-8


class ReplayLearner(GradientLearner):
    """Networks, their targets, the replay, and updates from batches of it.

    A kind of algorithm says its critic (`new_critic`), what it learns from a batch (`learn`) and its optimizers.
    """

    cfg: Any  # the algorithm's own class derived from ReplayCfg
    actors: Any  # policies with `explore` and `random` beside what a JointPolicy has
    replay_type: Type[Replay] = Replay

    def __init__(self, spec: EnvSpec, cfg: ReplayCfg, seed: int = 0):
        super().__init__(spec, cfg, seed)
        self.critic = self.new_critic()
        self.target_critic = copy.deepcopy(self.critic)
        self.targets = [(self.target_critic, self.critic)]  # (target network, the network that it follows)
        capacity = cfg.buffer_size // ranks.world()
        self.replay: Any = self.replay_type(spec, capacity, cfg.replay_dtype, cfg.replay_device)
        self.faults = self.replay.faults
        self.packer = ObservationPacker(spec, self.actors)
        self.batch_size = ranks.share(cfg.batch_size, "algo.batch_size")  # of this process
        self.count = 0  # updates so far
        self.warming_up = False  # whether the iteration only fills the replay, without an update

    @abstractmethod
    def new_critic(self) -> nn.Module:
        """Build the estimate of the value of joint actions."""

    @abstractmethod
    def learn(self, batch: Batch) -> Metrics:
        """One update from a batch; returns the critic's metrics."""

    def collect(self, env: MultiAgentEnv, step: Step, observer: Optional[Observer] = None) -> Tuple[Step, int]:
        """Store an iteration's steps. Those of the warmup are iterations too, which `update` passes over.

        Returns the last Step and the number of steps that each environment took. Actions are random in the warmup; a
        replay that was not saved is filled anew by the policies. Transitions that an environment spoils with numbers
        that are not finite count for nothing; `faults` notes them.
        """
        layers = self.actors.fused_layers()
        missing = self._missing_steps()
        self.warming_up = missing > 0
        length = min(missing, self.cfg.train_interval) if missing else self.cfg.train_interval
        at_first = missing > 0 and self.count == 0

        def act(step: Step) -> Tensor:
            return self.act_at_random(step, layers) if at_first else self.explore(step, layers)

        before = self.replay.written
        try:
            return explore(env, act, self.replay, step, length, observer), length
        finally:  # also what was stored before a simulator failed
            quarantine_replay(self.replay, self.replay.written - before)

    def explore(self, step: Step, layers: Layers) -> Tensor:
        """Exploring actions [E, A, W] at a Step; `layers` are the policies' fused ones."""
        return self.actors.explore(*self.packer(step), layers=layers)

    def act_at_random(self, step: Step, layers: Layers) -> Tensor:
        """Actions [E, A, W] of the warmup."""
        return self.actors.random(self.packer(step)[1])

    def update(self, progress: float) -> Metrics:
        """One iteration's updates, and the means of their metrics. After an iteration of the warmup there are none."""
        if self.warming_up:
            return {}
        self.decay_learning_rates(progress)
        fitted = []
        for _ in range(self.cfg.updates):
            fitted.append(self.learn(self.draw_batch()))
            self.count += 1
        return {"critic/" + name: torch.stack([each[name] for each in fitted]).mean() for name in fitted[0]}

    def draw_batch(self) -> Batch:
        """A batch for one update."""
        return self.replay.sample(self.batch_size, self.cfg.n_step, self.cfg.gamma)

    def init_policies(self, actors: Dict[str, Tensor]) -> None:
        """Begin with the weights of other policies, and their targets with them."""
        super().init_policies(actors)
        for target, network in self.targets:
            target.load_state_dict(network.state_dict())

    def on_episodes_lost(self) -> None:
        """Truncate the running episodes in the replay."""
        self.replay.truncate_episodes()

    @property
    def steps_before_update(self) -> int:
        """Environment steps, of all environments together, that fill the replay before the next update."""
        return self._missing_steps() * self.spec.num_envs * ranks.world()

    def _missing_steps(self) -> int:
        """Steps of each environment that the replay lacks before an update may draw from it."""
        everywhere = self.spec.num_envs * ranks.world()
        warmup = min(-(-self.cfg.warmup_steps // everywhere), self.replay.capacity)
        return max(warmup - self.replay.filled, 0)

    @abstractmethod
    def all_optimizers(self) -> List[Optimizer]:
        """The optimizers of all networks."""

    def state_dict(self) -> Dict[str, Any]:
        """Everything needed to continue exactly, without the replay."""
        return {
            "actors": self.actors.state_dict(),
            "critic": self.critic.state_dict(),
            "targets": [target.state_dict() for target, _ in self.targets],
            "optimizers": [optimizer.state_dict() for optimizer in self.all_optimizers()],
            "order": self.order.getstate(),
            "count": self.count,
        }

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a `state_dict` of a learner with the same settings and sizes."""
        self.actors.load_state_dict(state["actors"])
        self.critic.load_state_dict(state["critic"])
        for (target, _), saved in zip(self.targets, state["targets"]):
            target.load_state_dict(saved)
        restore(self.all_optimizers(), state["optimizers"])
        self.order.setstate(state["order"])
        self.count = state["count"]

    @torch.no_grad()
    def _move_targets(self, share: float) -> None:
        """Let the targets take over a share of their networks."""
        for target, network in self.targets:
            parameters = list(target.parameters())
            if parameters:
                torch._foreach_lerp_(parameters, list(network.parameters()), share)

    def _max_norm(self) -> float:
        return self.cfg.max_grad_norm or INFINITY
