"""Sampling a replay that holds much or little, and an off-policy update beside a bare loop over the same networks.

Sizes are those of mamujoco/HalfCheetah 2x3 with the paper's batches of 1000 (Zhong et al., 2024, Table 5).
"""

from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Sequence, Type

import torch
from torch import Tensor, nn

from benchmarks.clock import Clock, Figures, describe, ratios, spread
from harl_isaac.algos.haddpg import HaddpgCfg
from harl_isaac.algos.hasac import HasacCfg
from harl_isaac.algos.hatd3 import Hatd3Cfg
from harl_isaac.buffers.replay import Replay
from harl_isaac.env import Box, EnvSpec
from harl_isaac.learning.off_policy_cfg import OffPolicyCfg

AGENTS = 2
OBS = 19
ACTION = 3
STATE = 17
ENVS = 10
BATCH = 1000
N_STEP = 10
FILLS = (10_000, 1_000_000)  # transitions


@dataclass(frozen=True)
class Sizes:
    """The arithmetic of one algorithm's update."""

    critics: int  # estimates of the critic
    maximized: int  # those of them that an actor maximizes
    outputs: int  # of an actor
    delay: int  # updates of the critic for one of the actors


SETTINGS: Dict[str, Type[OffPolicyCfg]] = {"haddpg": HaddpgCfg, "hatd3": Hatd3Cfg, "hasac": HasacCfg}
SIZES = {
    "haddpg": Sizes(critics=1, maximized=1, outputs=ACTION, delay=1),
    "hatd3": Sizes(critics=2, maximized=1, outputs=ACTION, delay=2),
    "hasac": Sizes(critics=2, maximized=2, outputs=2 * ACTION, delay=1),
}


def off_policy(clock: Clock, repeats: int) -> Iterator[Dict[str, Any]]:
    """All figures, printed as they come."""
    yield shown("sample", sampling(clock, repeats))
    for name in SETTINGS:
        yield shown(name, updates(name, clock, repeats))


def shown(name: str, figures: Figures) -> Dict[str, Any]:
    """Print the figures and return them with their name."""
    print(f"{name:<6} {describe(figures)}", flush=True)
    return {"what": name, **figures}


def sampling(clock: Clock, repeats: int) -> Figures:
    """Seconds of a batch from little and from much, in turn, and their ratio."""
    replays = {count: Replay(spec_on(clock.device), FILLS[-1]) for count in FILLS}
    times: Dict[int, List[float]] = {count: [] for count in FILLS}
    for count, replay in replays.items():
        fill(replay, count)
    for _ in range(20 * repeats + 5):  # the first five warm up
        for count, replay in replays.items():
            times[count].append(clock.time(replay.sample, BATCH, N_STEP, 0.99))
    little, much = (times[count][5:] for count in FILLS)
    return {"little_seconds": spread(little), "much_seconds": spread(much), "ratio": ratios(much, little)}


def updates(name: str, clock: Clock, repeats: int) -> Figures:
    """Seconds of one update, sampling included, and of the bare loop, in turn."""
    sizes = SIZES[name]
    cfg = SETTINGS[name](train_interval=sizes.delay, buffer_size=100_000, n_step=N_STEP)
    learner = cfg.learner(spec_on(clock.device), 0)
    bare_loop = BareLoop(sizes, cfg.hidden, clock.device)
    ours = []
    bare = []
    assert learner.replay is not None
    fill(learner.replay, 10_000)
    for _ in range(5 * repeats + 2):  # the first two warm up
        ours.append(clock.time(learner.update, 0.0) / sizes.delay)
        bare.append(clock.time(bare_loop.update) / sizes.delay)
    return {
        "update_seconds": spread(ours[2:]),
        "bare_seconds": spread(bare[2:]),
        "ratio": ratios(ours[2:], bare[2:]),
    }


def spec_on(device: torch.device) -> EnvSpec:
    """HalfCheetah 2x3 without the simulator."""
    return EnvSpec(
        num_envs=ENVS,
        agents=("rear", "front"),
        obs_sizes=(OBS,) * AGENTS,
        actions=(Box(ACTION),) * AGENTS,
        state_size=STATE,
        max_episode_steps=1000,
        device=device,
    )


def fill(replay: Replay, transitions: int) -> None:
    """Write noise everywhere, so that the memory is really there, and count `transitions` as stored."""
    for tensor in (replay.observations, replay.action, replay.reward):
        tensor.normal_()
    replay.outcome.fill_(0)
    replay.filled = transitions // ENVS
    replay.cursor = replay.filled % replay.rows


class BareLoop:
    """The same products, losses and Adam steps on plain torch modules with fixed inputs."""

    def __init__(self, sizes: Sizes, hidden: Sequence[int], device: torch.device):
        self.sizes = sizes
        self.actors = [plain_network(OBS, hidden, sizes.outputs).to(device) for _ in range(AGENTS)]
        joint = STATE + AGENTS * ACTION
        self.critics = nn.ModuleList([plain_network(joint, hidden, 1).to(device) for _ in range(sizes.critics)])
        self.optimizers = [torch.optim.Adam(actor.parameters(), fused=True) for actor in self.actors]
        self.critic_optimizer = torch.optim.Adam(self.critics.parameters(), fused=True)
        self.state = torch.randn(BATCH, STATE, device=device)  # [B, S]
        self.action = torch.randn(BATCH, AGENTS * ACTION, device=device)  # [B, sum of W_i]
        self.obs = torch.randn(BATCH, OBS, device=device)  # [B, O_i]

    def update(self) -> None:
        """Update the critic as often as the actors wait for, then the actors."""
        for _ in range(self.sizes.delay):
            self.update_critics()
        with torch.no_grad():
            actions = [self.act(i) for i in range(AGENTS)]
        for i in range(AGENTS):
            self.update_actor(i, actions)

    def update_critics(self) -> None:
        """One step towards the lowest estimate of the actors' actions."""
        with torch.no_grad():
            target = self.value([self.act(i) for i in range(AGENTS)], self.sizes.critics).amin(0)
        self.critic_optimizer.zero_grad()
        (self.value([self.action], self.sizes.critics) - target).square().mean().backward()
        self.critic_optimizer.step()

    def update_actor(self, i: int, actions: Sequence[Tensor]) -> None:
        """One step of agent i up the critic, beside the others' actions A x [B, W_i]."""
        joint = list(actions)
        joint[i] = self.act(i)
        loss = -self.value(joint, self.sizes.maximized).amin(0).mean()
        parameters = list(self.actors[i].parameters())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters)):
            parameter.grad = gradient
        self.optimizers[i].step()

    def act(self, i: int) -> Tensor:
        """Actions of agent i, [B, W_i]."""
        return torch.tanh(self.actors[i](self.obs)[:, :ACTION])

    def value(self, actions: Sequence[Tensor], count: int) -> Tensor:
        """The first `count` estimates [count, B, 1] of the value of actions, each [B, .]."""
        joint = torch.cat((self.state, *actions), 1)
        return torch.stack([critic(joint) for critic in self.critics[:count]])


def plain_network(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """Linear and ReLU for each hidden layer, then Linear."""
    layers: List[nn.Module] = []
    width = inputs
    for size in hidden:
        layers += [nn.Linear(width, size), nn.ReLU()]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, outputs))
