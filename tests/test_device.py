"""Nothing leaves the device between actions and metrics, and addresses stay: one whole iteration under a mode that
refuses every operation that hands a tensor's content to the host.
"""

import pytest
import torch
from support.host_reads import NoHostReads, needs_silent_adam, no_waiting
from support.marks import DEVICES
from torch.utils._python_dispatch import TorchDispatchMode

from harl_isaac.buffers.rollout import collect
from harl_isaac.training.episode_stats import EpisodeStats

STEP_OPERATIONS = 225
UPDATE_OPERATIONS = 2050
MINIBATCH_OPERATIONS = 132


@needs_silent_adam
@pytest.mark.parametrize(
    "task, overrides",
    [
        ("ShadowHandOver", []),
        ("ShadowHandOver", ["preset=ShadowHandOver/happo", "algo.minibatches=3", "algo.critic_minibatches=3"]),
        ("ShadowHandOver", ["task.agents=fingers", "algo.minibatches=3"]),
        ("MixedGame", ["algo.critic_minibatches=2"]),
        ("MatrixGame", ["task.masks=true", "task.absences=true"]),
        ("mamujoco/HalfCheetah", ["task.episode_length=3", "task.obs=local"]),
        ("mamujoco/Pusher", ["task.episode_length=3"]),
        ("mamujoco/Ant", ["task.episode_length=3"]),
        ("mamujoco/Reacher", ["task.episode_length=3"]),
        ("mamujoco/CoupledHalfCheetah", ["task.episode_length=3"]),
        ("mamujoco/HumanoidStandup", ["task.episode_length=3"]),
        ("MemoryGame", ["algo.recurrent=true", "algo.chunk_length=5", "algo.minibatches=3"]),
        ("MemoryGame", ["algo=hatrpo", "algo.recurrent=true", "algo.chunk_length=5"]),
        ("MixedGame", ["algo=hatrpo"]),
        ("MixedGame", ["algo=ippo", "algo.input_norm=running"]),
        ("MixedGame", ["algo=haa2c", "algo.action_aggregation=mean"]),
        ("ShadowHandOver", ["algo=mappo", "algo.share_param=true"]),
        ("SumGame", ["algo=hatd3", "algo.n_step=3"]),
        ("MatrixGame", ["algo=hasac", "task.masks=true", "task.absences=true"]),
        ("MixedGame", ["algo=hasac"]),
        ("MatrixGame", ["algo=had3qn", "task.masks=true", "task.absences=true"]),
        ("MatrixGame", ["algo=qmix", "task.masks=true", "task.absences=true", "algo.target_interval=3"]),
        ("MemoryGame", ["algo=vdn", "algo.recurrent=true", "algo.chunk_length=4", "algo.burn_in=3"]),
        ("OppositesGame", ["algo=qmix", "algo.share_param=true", "algo.n_step=2"]),
        ("SumGame", ["algo=maddpg", "algo.max_grad_norm=1.0"]),
        ("mamujoco/HalfCheetah", ["algo=haddpg", "task.episode_length=4"]),
        ("mpe/simple_spread", ["task.episode_length=3"]),
        ("mpe/simple_reference", ["task.continuous=false", "task.episode_length=3", "task.reward=agent"]),
        ("mpe/simple_speaker_listener", ["algo=hatd3", "task.episode_length=3", "task.version=v2"]),
    ],
)
@pytest.mark.parametrize("device", DEVICES)
def test_an_iteration_reads_nothing_on_the_host(settings, task, overrides, device):
    cfg = settings(task, *overrides)
    env = cfg.task.make(cfg.num_envs, torch.device(device), cfg.sim if device == "cpu" else "auto")
    learner = cfg.algo.learner(env.spec, 0)
    stats = EpisodeStats(env.spec)
    step = env.reset(0)
    while learner.steps_before_update:
        step, _ = learner.collect(env, step, stats)
    step, _ = learner.collect(env, step, stats)
    assert learner.update(0.0)
    with no_waiting(device):
        learner.collect(env, step, stats)
        learner.update(0.5)
        stats.drain()


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.item(),
        lambda x: bool(x > 0),
        lambda x: x.expand(3)[x.expand(3) > 0],
        lambda x: x.expand(3).nonzero(),
        lambda x: float(x),
    ],
)
def test_the_mode_sees_a_host_read(read):
    with pytest.raises(AssertionError, match="host read"), NoHostReads():
        read(torch.ones(()))


def addresses(env, learner):
    tensors = {name: value for name, value in vars(learner.rollout).items() if isinstance(value, torch.Tensor)}
    tensors.update({f"stack {i}": weight for i, weight in enumerate(learner.actors.networks.weights)})
    tensors.update(dict(learner.actors.named_parameters()))
    tensors.update({"critic " + name: value for name, value in learner.critic.function.critic.named_parameters()})
    for name in ("qpos", "qvel", "ctrl", "sensors"):
        tensors[name] = getattr(env.physics, name)
    return {name: value.data_ptr() for name, value in tensors.items()}


@pytest.mark.parametrize("device", DEVICES)
def test_addresses_stay_over_iterations(settings, device):
    cfg = settings("ShadowHandOver")
    env = cfg.task.make(cfg.num_envs, torch.device(device), cfg.sim)
    learner = cfg.algo.learner(env.spec, 0)
    step = env.reset(0)
    before = addresses(env, learner)
    for _ in range(2):
        step = collect(env, learner.actors, learner.rollout, step)
        learner.update(0.0)
    learner.load_state_dict(learner.state_dict())
    env.load_state_dict(env.state_dict())
    assert addresses(env, learner) == before


VIEWS = {
    "alias",
    "as_strided",
    "detach",
    "expand",
    "permute",
    "select",
    "slice",
    "split",
    "split_with_sizes",
    "squeeze",
}
VIEWS |= {"t", "transpose", "unbind", "unsqueeze", "view", "_reshape_alias", "_unsafe_view", "lift_fresh", "diagonal"}


class Operations(TorchDispatchMode):
    """Counts the operations that compute something: on a GPU each is at least one kernel to launch."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.overloadpacket.__name__ not in VIEWS
        return func(*args, **(kwargs or {}))


def operations(settings, *words):
    """Operations of a collected step and of an update, of ShadowHandOver as on a GPU: nothing is known of a mask."""
    cfg = settings("ShadowHandOver", "algo.rollout_length=4", *words)
    env = cfg.task.make(cfg.num_envs, torch.device("cpu"), cfg.sim)
    env.physics.any_without_sync = lambda mask: True
    env.physics.bounded_without_sync = lambda limit: False
    learner = cfg.algo.learner(env.spec, 0)
    stats = EpisodeStats(env.spec)
    step, _ = learner.collect(env, env.reset(0), stats)
    learner.update(0.0)
    with Operations() as collected:
        learner.collect(env, step, stats)
    with Operations() as updated:
        learner.update(0.0)
    return collected.count / 4, updated.count


@pytest.mark.skipif(torch.__version__ < "2.4", reason="before, Adam is many operations on the CPU")
def test_operations_stay_few(settings):
    """Ceilings; launches bound an update of many minibatches on a GPU."""
    step, whole = operations(settings)
    _, halves = operations(settings, "algo.minibatches=2", "algo.critic_minibatches=2")
    assert step <= STEP_OPERATIONS and whole <= UPDATE_OPERATIONS
    assert (halves - whole) / 15 <= MINIBATCH_OPERATIONS  # 5 epochs of two agents and the critic
