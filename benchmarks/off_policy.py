"""What the off-policy side costs: sampling a replay that holds much or little, an update beside a bare loop over the same
networks. Sizes are those of mamujoco/HalfCheetah 2x3 with the paper's batches of 1000 (Zhong et al., 2024, Table 5)."""

import torch
from torch import nn

from harl_isaac.algos.haddpg import HaddpgCfg
from harl_isaac.algos.hasac import HasacCfg
from harl_isaac.algos.hatd3 import Hatd3Cfg
from harl_isaac.buffers.replay import Replay
from harl_isaac.env import Box, EnvSpec

AGENTS = 2
OBS = 19
ACTION = 3
STATE = 17
ENVS = 10
BATCH = 1000
N_STEP = 10
FILLS = (10_000, 1_000_000)  # transitions
# algorithm -> settings, (critic's estimates, those that an actor ascends, outputs of an actor, updates for one of actors)
ALGORITHMS = {
    "haddpg": (HaddpgCfg, (1, 1, ACTION, 1)),
    "hatd3": (Hatd3Cfg, (2, 1, ACTION, 2)),
    "hasac": (HasacCfg, (2, 2, 2 * ACTION, 1)),
}


def spec_on(device) -> EnvSpec:
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
    """Noise in everything, so that memory is really there."""
    for tensor in (replay.seen, replay.action, replay.reward):
        tensor.normal_()
    replay.outcome.fill_(0)
    replay.filled = transitions // ENVS
    replay.cursor = replay.filled % replay.rows


def sampling(device, repeats: int, clock, spread):
    """Seconds of a batch from little and from much, in turn, and their ratio."""
    replays = {count: Replay(spec_on(device), FILLS[-1]) for count in FILLS}
    for count, replay in replays.items():
        fill(replay, count)
    times = {count: [] for count in FILLS}
    for _ in range(20 * repeats + 5):
        for count, replay in replays.items():
            times[count].append(clock.time(replay.sample, BATCH, N_STEP, 0.99))
    little, much = [times[count][5:] for count in FILLS]
    ratios = [b / a for a, b in zip(little, much)]
    return {"little_seconds": spread(little), "much_seconds": spread(much), "ratio": spread(ratios)}


class Bare:
    """The same products, losses and Adam steps on plain torch modules with fixed inputs."""

    def __init__(self, critics: int, ascended: int, outputs: int, delay: int, hidden, device):
        def net(inputs: int, out: int):
            sizes = [inputs, *hidden]
            layers = [layer for a, b in zip(sizes, hidden) for layer in (nn.Linear(a, b), nn.ReLU())]
            return nn.Sequential(*layers, nn.Linear(hidden[-1], out)).to(device)

        self.actors = [net(OBS, outputs) for _ in range(AGENTS)]
        self.critics = [net(STATE + AGENTS * ACTION, 1) for _ in range(critics)]
        self.ascended = ascended
        self.delay = delay
        self.optimizers = [torch.optim.Adam(each.parameters(), fused=True) for each in self.actors]
        self.critic_optimizer = torch.optim.Adam([p for each in self.critics for p in each.parameters()], fused=True)
        self.state = torch.randn(BATCH, STATE, device=device)
        self.taken = torch.randn(BATCH, AGENTS * ACTION, device=device)
        self.obs = torch.randn(BATCH, OBS, device=device)

    def acts(self):
        return [torch.tanh(actor(self.obs)[:, :ACTION]) for actor in self.actors]

    def value(self, actions, count: int):
        joint = torch.cat((self.state, *actions), 1)
        return torch.stack([critic(joint) for critic in self.critics[:count]])

    def update(self) -> None:
        """As many updates as the actors wait for."""
        for k in range(self.delay):
            with torch.no_grad():
                target = self.value(self.acts(), len(self.critics)).amin(0)
            self.critic_optimizer.zero_grad()
            (self.value([self.taken], len(self.critics)) - target).square().mean().backward()
            self.critic_optimizer.step()
        with torch.no_grad():
            actions = self.acts()
        for i, (actor, optimizer) in enumerate(zip(self.actors, self.optimizers)):
            own = torch.tanh(actor(self.obs)[:, :ACTION])
            loss = -self.value(actions[:i] + [own] + actions[i + 1 :], self.ascended).amin(0).mean()
            for parameter, gradient in zip(actor.parameters(), torch.autograd.grad(loss, list(actor.parameters()))):
                parameter.grad = gradient
            optimizer.step()


def updates(name: str, device, repeats: int, clock, spread):
    """Seconds of one update, sampling included, and of the bare loop, in turn."""
    kind, shape = ALGORITHMS[name]
    delay = shape[-1]
    cfg = kind(train_interval=delay, buffer_size=100_000, n_step=N_STEP)
    learner = cfg.learner(spec_on(device), 0)
    bare = Bare(*shape, cfg.hidden, device)
    ours = []
    plain = []
    fill(learner.replay, 10_000)
    for _ in range(5 * repeats + 2):
        ours.append(clock.time(learner.update, 0.0) / delay)
        plain.append(clock.time(bare.update) / delay)
    ours = ours[2:]
    plain = plain[2:]
    ratios = [a / b for a, b in zip(ours, plain)]
    return {"update_seconds": spread(ours), "bare_seconds": spread(plain), "ratio": spread(ratios)}


def off_policy(device, repeats: int, clock, spread):
    """All figures, printed as they come."""
    jobs = [("sample", lambda: sampling(device, repeats, clock, spread))]
    jobs += [(name, lambda name=name: updates(name, device, repeats, clock, spread)) for name in ALGORITHMS]
    for name, job in jobs:
        figures = job()
        print(
            f"{name:<6} {', '.join(('{} {:.4g} [{:.4g}, {:.4g}]'.format(key, value['median'], value['lowest'], value['highest']) for key, value in figures.items()))}",
            flush=True,
        )
        yield {"what": name, **figures}
