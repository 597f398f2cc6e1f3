"""Steps on their way to a replay on the host: none is lost, changed or out of order, and the replay is the same."""

from dataclasses import replace

import pytest
import torch
from support import reference
from support.marks import DEVICES

from harl_isaac.buffers.replay import Replay, explore
from harl_isaac.buffers.staging import ToHost, join, separate, step_parts, with_parts
from harl_isaac.env import SimulatorError
from harl_isaac.tasks.games.counting import CountingGame


def same(one, other):
    pairs = list(zip(step_parts(one), step_parts(other)))
    assert len(pairs) == len(step_parts(one)) == len(step_parts(other))
    assert all(torch.equal(a.cpu(), b) and a.dtype == b.dtype for a, b in pairs)


def test_joined_tensors_come_apart_as_they_were():
    step = reference.NoiseEnv(reference.MIXED).step(None)
    parts = [*step_parts(step), step.reward.double(), torch.zeros(4, 0)]
    joined = join(parts)
    assert set(joined) == {torch.float32, torch.float64, torch.bool}
    for one, other in zip(parts, separate(joined, parts)):
        assert torch.equal(one, other) and one.dtype == other.dtype and one.shape == other.shape
    same(step, with_parts(step, step_parts(step)))


@pytest.mark.parametrize("device", DEVICES)
def test_steps_arrive_in_order_unharmed_by_what_the_environment_writes_then(device):
    env = CountingGame(5, torch.device(device))
    mail = ToHost(env.spec.device)
    assert mail.receive() == []
    kept = []
    got = []
    env.reset(0)
    for t in range(6):
        action = torch.full((5, 2, 2), float(t), device=device)
        step = env.step((action[:, 0, :1], action[:, 1]))
        kept.append((action.clone(), with_parts(step, [value.clone() for value in step_parts(step)])))
        got += mail.exchange(action, step)
        assert len(got) == t
        for value in (action, *step_parts(step)):
            value.zero_()
        if t < 5:
            env.reset(t)
    got += mail.receive()
    assert mail.receive() == [] and len(got) == 6
    for (action, step), (arrived, copy) in zip(kept, got):
        assert torch.equal(action.cpu(), arrived) and arrived.device.type == "cpu"
        same(step, copy)


class Playing(reference.NoiseEnv):
    """Noise on a device, of the same numbers as on any other."""

    left = 10**9  # steps until it breaks

    def step(self, actions):
        self.left -= 1
        if self.left < 0:
            raise SimulatorError("broken")
        step = super().step(actions)
        return with_parts(step, [value.to(self.spec.device) for value in step_parts(step)])


def play(env, replay, length, device):
    """Four collections of random actions."""
    generator = torch.Generator().manual_seed(1)
    last = env.step(None)
    for _ in range(4):
        last = explore(env, lambda step: torch.randn(4, 3, 3, generator=generator).to(device), replay, last, length)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("length", [1, 2, 7])
def test_a_replay_is_the_same_however_steps_reach_it(device, length):
    """After each collection, whole: also the true successors, masks and who is alive."""
    spec = replace(reference.MIXED, device=torch.device(device))
    direct = Replay(reference.MIXED, 4 * 12)
    staged = Replay(spec, 4 * 12, placement="host")
    staged.to_host = ToHost(spec.device)  # which it has where the device is not the host
    for replay, env in ((direct, Playing(reference.MIXED)), (staged, Playing(spec))):
        play(env, replay, length, device)
        assert replay.to_host is None or replay.to_host.receive() == []
    assert direct.written == 4 * length
    hold_the_same(direct, staged)


def hold_the_same(direct, staged):
    one = direct.state_dict()
    other = staged.state_dict()
    assert direct.written == staged.written
    for name, value in one.items():
        if name == "behind":
            assert all(torch.equal(value[part], other[name][part]) for part in value)
        else:
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(other[name])), name


def test_what_was_sent_before_a_simulator_broke_is_stored():
    direct = Replay(reference.MIXED, 4 * 12)
    staged = Replay(reference.MIXED, 4 * 12)
    staged.to_host = ToHost(reference.MIXED.device)
    for replay in (direct, staged):
        env = Playing(reference.MIXED)
        env.left = 6
        with pytest.raises(SimulatorError):
            play(env, replay, 4, "cpu")
    assert direct.written == 5
    hold_the_same(direct, staged)
