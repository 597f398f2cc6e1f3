"""Learners: what the trainer asks of an algorithm and of its settings, and what all learners with gradients share."""

import random
from abc import ABC, abstractmethod
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any, Callable, ContextManager, Dict, List, Optional, Tuple

from torch import Tensor

from harl_isaac import ranks
from harl_isaac.buffers.replay import Replay
from harl_isaac.env import EnvSpec, MultiAgentEnv, Step
from harl_isaac.faults import Faults
from harl_isaac.learning.optimizers import Optimizer, rollback_unless
from harl_isaac.networks.joint_policy import JointPolicy

Observer = Callable[[Step], None]  # is shown every new Step: the episode statistics
Metrics = Dict[str, Tensor]  # name -> [], detached, on the device


class Learner(ABC):
    """Networks, optimizers and the update of one run."""

    spec: EnvSpec
    actors: JointPolicy
    replay: Optional[Replay] = None  # of an off-policy algorithm
    faults: Optional[Faults] = None  # of the environment in what was collected, where the learner's storage notes them

    @abstractmethod
    def collect(self, env: MultiAgentEnv, step: Step, observer: Optional[Observer] = None) -> Tuple[Step, int]:
        """Store an iteration's experience from `step` on.

        Returns the last Step and the number of steps that each environment took.
        """

    @abstractmethod
    def update(self, progress: float) -> Metrics:
        """Update the networks from what was collected; `progress` is the share [0, 1] of training done before it."""

    def adapt(self, numbers: Dict[str, float]) -> Dict[str, float]:
        """Change settings of the next update by the last one's metrics, as read for the log; returns more for it."""
        return {}

    @property
    def steps_before_update(self) -> int:
        """Environment steps, of all environments together, that are collected before `update` begins to learn."""
        return 0

    @abstractmethod
    def on_episodes_lost(self) -> None:
        """Forget the running episodes: new ones begin with the next `collect`."""

    def init_policies(self, actors: Dict[str, Tensor]) -> None:
        """Begin with the weights of other policies, a `state_dict` of equal sizes."""
        policies: Any = self.actors  # a torch module
        policies.load_state_dict(actors)

    def own_state(self) -> Dict[str, Any]:
        """The part of the state that belongs to this process's environments: what recurrent networks remember."""
        return {}

    def load_own_state(self, state: Dict[str, Any]) -> None:
        """Continue from an `own_state`."""
        assert not state

    @abstractmethod
    def state_dict(self) -> Dict[str, Any]:
        """Everything needed to continue exactly, without the replay."""

    @abstractmethod
    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a `state_dict` of a learner with the same settings and sizes."""


@dataclass
class AlgoCfg(ABC):
    """Settings of an algorithm: a dataclass whose fields all have defaults, its policies and its learner.

    An algorithm of one's own derives from this class; a line in algos/__init__.py names it. The fields become the
    keys algo.*.
    """

    name: str = ""  # by which the algorithm was chosen

    @abstractmethod
    def check(self, spec: EnvSpec) -> None:
        """Raise ValueError, with the numbers, for settings that cannot run in environments of this spec."""

    @abstractmethod
    def actors(self, spec: EnvSpec) -> JointPolicy:
        """New policies for environments of this spec, on its device."""

    @abstractmethod
    def learner(self, spec: EnvSpec, seed: int) -> Learner:
        """A new learner, with its networks and optimizers. Raises ValueError as `check` does."""


class GradientLearner(Learner):
    """A learner with an optimizer for each network, whose agents learn in an order drawn anew for each update."""

    def __init__(self, spec: EnvSpec, cfg: Any, seed: int):
        cfg.check(spec)
        self.spec = spec
        self.cfg = cfg
        self.actors = cfg.actors(spec)
        self.order = random.Random(seed)  # of the agents; on the host, so that drawing it reads no tensor
        self.trained = [i for i, agent in enumerate(spec.agents) if agent not in getattr(cfg, "frozen", ())]

    @abstractmethod
    def all_optimizers(self) -> List[Optimizer]:
        """The optimizers of all networks."""

    def decaying_optimizers(self) -> List[Optimizer]:
        """The optimizers whose learning rates decay."""
        return self.all_optimizers()

    def draw_agent_order(self) -> List[int]:
        """The agents 0, 1, ... that are trained, in the order of one update."""
        agents = self.trained
        return list(agents) if self.cfg.fixed_order else self.order.sample(agents, len(agents))

    def skip_if_dead(self, alive: Tensor, optimizer: Optimizer) -> ContextManager[None]:
        """A context in which the optimizer moves nothing if an agent was alive in no row of any process.

        `alive` has 1 where it acted.
        """
        if not self.spec.has_alive:
            return nullcontext()
        return rollback_unless(ranks.anywhere(alive.any()), optimizer)

    def skip_dead(self, alive: Tensor, optimizers: Dict[int, Optimizer]) -> ExitStack:
        """A context in which the agents' optimizers move nothing of those who were alive in no row [B, A]."""
        unless_dead = ExitStack()
        for i, optimizer in optimizers.items():
            unless_dead.enter_context(self.skip_if_dead(alive[:, i], optimizer))
        return unless_dead

    def decay_learning_rates(self, progress: float) -> None:
        """Set each learning rate to its first value times (1 - progress), if algo.lr_decay."""
        share = 1.0 - progress if self.cfg.lr_decay else 1.0
        for optimizer in self.decaying_optimizers():
            optimizer.param_groups[0]["lr"] = float(optimizer.defaults["lr"]) * share
