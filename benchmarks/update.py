"""One learner update beside a bare forward, backward and Adam loop over networks of the same sizes."""

from dataclasses import dataclass
from typing import List, Sequence

import torch
from torch import Tensor, nn

from benchmarks.clock import Clock, Figures, ratios, spread
from benchmarks.subject import Subject
from harl_isaac.buffers.rollout import Rollout
from harl_isaac.env import Box, EnvSpec, mask_width

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "elu": nn.ELU, "selu": nn.SELU}


@dataclass
class BareLoop:
    """A network that is fitted to nothing, `epochs` times on the same rows."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    inputs: Tensor  # [B, I]
    epochs: int

    def run(self) -> None:
        """Forward, mean square, backward, Adam."""
        for _ in range(self.epochs):
            self.optimizer.zero_grad()
            self.network(self.inputs).square().mean().backward()
            self.optimizer.step()


def update_ratio(subject: Subject, num_envs: int) -> Figures:
    """Seconds of a learner's update on a real rollout, and of the bare loops."""
    env = subject.make(num_envs)
    learner = subject.on_policy_learner(env.spec)
    learner.collect(env, env.reset(0))
    loops = bare_loops(subject, env.spec, learner.rollout)
    clock = Clock(subject.device)
    ours = []
    bare = []
    for _ in range(subject.repeats + 1):  # the first warms up
        ours.append(clock.time(learner.update, 0.0))
        bare.append(clock.time(run_all, loops))
    return {
        "update_seconds": spread(ours[1:]),
        "bare_seconds": spread(bare[1:]),
        "ratio": ratios(ours[1:], bare[1:]),
    }


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
    network = bare_network(inputs.shape[1], algo.hidden, outputs, algo.activation).to(subject.device)
    return BareLoop(network, torch.optim.Adam(network.parameters(), algo.critic_lr), inputs, epochs)


def bare_network(inputs: int, hidden: Sequence[int], outputs: int, activation: str) -> nn.Module:
    """LayerNorm, then Linear, activation, LayerNorm for each hidden layer, then Linear, as torch modules."""
    layers: List[nn.Module] = [nn.LayerNorm(inputs)]
    width = inputs
    for size in hidden:
        layers += [nn.Linear(width, size), ACTIVATIONS[activation](), nn.LayerNorm(size)]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def run_all(loops: Sequence[BareLoop]) -> None:
    """Every loop to its end."""
    for loop in loops:
        loop.run()
