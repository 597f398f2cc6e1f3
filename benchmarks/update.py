"""One learner update beside a bare forward, backward and Adam loop over networks of the same sizes."""

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Iterator, List, Sequence

import torch
from torch import Tensor, nn

from benchmarks.clock import FREE, Clock, Cost, Figures, Stopwatch, Turns, seconds
from benchmarks.subject import Subject
from harl_isaac.buffers.rollout import Rollout
from harl_isaac.env import Box, EnvSpec, mask_width
from harl_isaac.learning.on_policy import OnPolicyLearner
from harl_isaac.learning.on_policy_cfg import OnPolicyCfg
from harl_isaac.learning.optimizers import Optimizer

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "elu": nn.ELU, "selu": nn.SELU}


@dataclass
class BareLoop:
    """A network that is fitted to nothing, `epochs` times on the same rows."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    inputs: Tensor  # [B, I]
    epochs: int

    def epoch(self) -> None:
        """Forward, mean square, backward, Adam."""
        self.optimizer.zero_grad()
        self.network(self.inputs).square().mean().backward()
        self.optimizer.step()


class LoopTurns:
    """Lets the bare loops run an epoch at a time while an update rests between two of its gradient steps."""

    def __init__(self, clock: Clock, loops: Sequence[BareLoop], steps: int):
        self.clock = clock
        self.epochs = [loop.epoch for loop in loops for _ in range(loop.epochs)]
        self.steps = steps  # gradient steps of the update, to be spread over
        self.total = FREE
        self.step = 0  # of the update, so far
        self.done = 0  # epochs so far

    def count_step(self) -> None:
        """Run the epochs that are due after one more gradient step."""
        self.step += 1
        self.run_until(len(self.epochs) * self.step // self.steps)

    def run_until(self, due: int) -> None:
        """Run epochs until so many are done; beyond the last there is none."""
        for epoch in self.epochs[self.done : due]:
            self.total = self.total.plus(self.clock.cost(epoch))
        self.done = max(self.done, due)


def update_ratio(subject: Subject, num_envs: int) -> Figures:
    """Seconds of a learner's update on a real rollout, and of the bare loops, step by step in turn."""
    env = subject.make(num_envs)
    learner = subject.on_policy_learner(env.spec)
    learner.collect(env, env.reset(0))
    loops = bare_loops(subject, env.spec, learner.rollout)
    clock = Clock(subject.device)
    ours = []
    bare = []
    steps = sum(loop.epochs for loop in loops)  # at first a guess
    for _ in range(subject.repeats + 1):  # the first warms up
        turns = LoopTurns(clock, loops, max(steps, 1))
        ours.append(update_cost(clock, learner, turns))
        bare.append(turns.total)
        steps = turns.step
    measured = Turns(ours, bare).after_warmup()
    return {**seconds("update", measured.ours), **seconds("bare", measured.bare), **measured.ratio()}


def update_cost(clock: Clock, learner: OnPolicyLearner, turns: LoopTurns) -> Cost:
    """Seconds of one update, which rests after each gradient step while the loops have their turn."""
    watch = Stopwatch(clock)

    def rest() -> None:
        watch.stop()
        turns.count_step()
        watch.start()

    with followed(learner.all_optimizers(), rest):
        learner.update(0.0)
    watch.stop()
    turns.run_until(len(turns.epochs))
    return watch.total


@contextmanager
def followed(optimizers: Sequence[Optimizer], function: Callable[[], None]) -> Iterator[None]:
    """Call `function` after every step of the optimizers."""

    def step_and_call(step: Callable[[], Any]) -> None:
        step()
        function()

    for optimizer in optimizers:
        vars(optimizer)["step"] = partial(step_and_call, optimizer.step)
    yield
    for optimizer in optimizers:
        del vars(optimizer)["step"]


def bare_loops(subject: Subject, spec: EnvSpec, rollout: Rollout) -> List[BareLoop]:
    """One for each agent's policy, then one for the critic, on the rows of the rollout."""
    algo = subject.on_policy()
    loops = []
    for i, space in enumerate(spec.actions):
        outputs = space.size if isinstance(space, Box) else mask_width(space)
        inputs = rollout.obs[:, :, i, : spec.obs_sizes[i]].flatten(0, 1).contiguous()
        loops.append(bare_loop(subject, inputs, outputs, getattr(algo, "epochs", 1)))
    loops.append(bare_loop(subject, rollout.state.flatten(0, 2), 1, algo.critic_epochs))
    return loops


def bare_loop(subject: Subject, inputs: Tensor, outputs: int, epochs: int) -> BareLoop:
    """A network of the algorithm's sizes for rows [B, I]."""
    algo = subject.on_policy()
    network = bare_network(inputs.shape[1], algo, outputs).to(subject.device)
    return BareLoop(network, torch.optim.Adam(network.parameters(), algo.critic_lr), inputs, epochs)


def bare_network(inputs: int, algo: OnPolicyCfg, outputs: int) -> nn.Module:
    """LayerNorm, then Linear, activation, LayerNorm for each hidden layer, then Linear, as torch modules."""
    layers: List[nn.Module] = [nn.Identity() if algo.input_norm == "none" else nn.LayerNorm(inputs)]
    width = inputs
    for size in algo.hidden:
        layers += [nn.Linear(width, size), ACTIVATIONS[algo.activation]()]
        if algo.layer_norm:
            layers.append(nn.LayerNorm(size))
        width = size
    return nn.Sequential(*layers, nn.Linear(width, outputs))
