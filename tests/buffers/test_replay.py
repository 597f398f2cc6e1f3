"""The replay: transitions never join two episodes, successors are true, sums of n steps exact, memory is known."""

import pytest
import torch
from support import reference

from harl_isaac.buffers import placement
from harl_isaac.buffers.replay import Replay, explore
from harl_isaac.tasks.games.counting import CountingGame

CPU = torch.device("cpu")
ENVS = 5
SPEC = CountingGame(ENVS, CPU).spec


@pytest.fixture(autouse=True)
def consistent(monkeypatch):
    """NoiseEnv's successors differ from what is seen next in every step; games' do so only where an episode ended."""
    step = reference.NoiseEnv.step

    def joined(self, actions):
        made = step(self, actions)
        rows = made.done
        made.next_obs = tuple(torch.where(rows[:, None], n, o) for n, o in zip(made.next_obs, made.obs))
        made.next_state = torch.where(rows[:, None, None], made.next_state, made.state)
        return made

    monkeypatch.setattr(reference.NoiseEnv, "step", joined)


def counted(steps, capacity=ENVS * 20):
    env = CountingGame(ENVS, CPU)
    replay = Replay(env.spec, capacity)
    explore(env, lambda step: torch.rand(ENVS, 2, 2), replay, env.reset(0), steps)
    return replay


def everything(replay, n_step=1, gamma=0.9):
    """All stored transitions, the newest first."""
    age = torch.arange(replay.filled).repeat_interleave(replay.envs)
    return replay.n_step_batch(age, torch.arange(replay.envs).repeat(replay.filled), n_step, gamma)


def flat(batch):
    values = [batch.state, batch.reward, batch.discount, batch.next_state, batch.valid, batch.alive, batch.next_alive]
    return values + [*batch.obs, *batch.action, *batch.next_obs, *batch.mask[1:], *batch.next_mask[1:]]


@pytest.mark.parametrize("steps", [7, 20, 73])
def test_a_transition_never_joins_two_episodes_and_has_its_true_successor(steps):
    """Before the ring is full, when it just is, and after three times round."""
    batch = everything(counted(steps))
    assert len(batch.state) == ENVS * min(steps, 20)
    (env, episode, count) = batch.state.unbind(1)
    after = batch.next_state
    over = (count + 1 == 3 + env % 4) & (episode % 2 == 0)
    for i in range(2):
        assert torch.equal(batch.obs[i][:, :3], batch.state)
        assert torch.equal(batch.next_obs[i][:, :3], after)
    assert torch.equal(batch.reward[:, 0], count)
    torch.testing.assert_close(batch.discount[:, 0], 0.9 * (~over).float())
    goes = ~over
    assert torch.equal(after[goes], torch.stack((env, episode, count + 1), 1)[goes])  # also where a time limit ended it
    assert ((count + 1 == 3 + env % 4) & goes).any() and batch.valid.all()


def test_actions_belong_to_what_was_seen():
    env = CountingGame(ENVS, CPU)
    taken = []
    replay = Replay(env.spec, ENVS * 6)

    def act(step):
        taken.append((step.state[:, 0].clone(), torch.rand(ENVS, 2, 2)))
        return taken[-1][1]

    explore(env, act, replay, explore(env, act, replay, env.reset(0), 4), 7)
    batch = everything(replay)
    expected = list(reversed(taken))[:6]
    assert torch.equal(batch.state, torch.cat([state for state, _ in expected]))
    assert torch.equal(batch.action[0], torch.cat([action[:, 0, :1] for _, action in expected]))
    assert torch.equal(batch.action[1], torch.cat([action[:, 1] for _, action in expected]))


def noise(steps, capacity):
    """A replay of random numbers and the list of what was put in."""
    env = reference.NoiseEnv(reference.MIXED)
    replay = Replay(reference.MIXED, capacity)
    put = []
    step = env.step(None)
    replay.write_observation(step)
    for _ in range(steps):
        action = torch.randn(4, 3, 3)
        before = step
        step = env.step(None)
        replay.write(action, step)
        put.append((before, action, step))
    return replay, put


@pytest.mark.parametrize("n_step", [1, 3, 8])
def test_sums_of_n_steps_equal_a_literal_loop(n_step):
    with reference.double_precision():
        replay, put = noise(30, 4 * 12)
        batch = everything(replay, n_step, 0.8)
        kept = put[-12:]
        for row in range(len(batch.state)):
            age = row // 4
            e = row % 4
            total = [0.0] * 3
            t = 11 - age
            for k in range(n_step):
                before, action, after = kept[t + k]
                total = [x + 0.8**k * float(r) for x, r in zip(total, after.reward[e])]
                if after.done[e] or t + k == 11:
                    break
            assert batch.reward[row].tolist() == pytest.approx(total, rel=1e-12)
            left = 0.0 if after.terminated[e] else 0.8 ** (k + 1)
            assert batch.discount[row].item() == pytest.approx(left, rel=1e-12)
            assert torch.equal(batch.state[row], kept[t][0].state[e].flatten())
            for i in range(3):
                assert torch.equal(batch.obs[i][row], kept[t][0].obs[i][e])
            assert torch.equal(batch.alive[row].bool(), kept[t][0].alive[e])
            assert torch.equal(batch.mask[1][row], kept[t][0].action_mask[1][e]) and batch.mask[0] is None
            if not after.terminated[e]:
                assert torch.equal(batch.next_state[row], after.next_state[e].flatten())
                assert all(torch.equal(batch.next_obs[i][row], after.next_obs[i][e]) for i in range(3))
            if after.truncated[e]:
                assert batch.next_mask[2][row].all() and torch.equal(batch.next_alive[row].bool(), before.alive[e])
            elif not after.done[e]:
                assert torch.equal(batch.next_mask[2][row], after.action_mask[2][e])
                assert torch.equal(batch.next_alive[row].bool(), after.alive[e])


def test_a_forgotten_successor_is_said_to_be_unknown():
    env = reference.NoiseEnv(reference.MIXED)
    replay = Replay(reference.MIXED, 4 * 40)
    step = env.step(None)
    assert (
        replay.successor_capacity == 4 * 10
    )  # 40 steps of episodes of 10 at most: twice as many as time limits make, and two each
    replay.write_observation(step)
    successors = []
    for _ in range(40):
        step = env.step(None)
        step.terminated = torch.zeros(4, dtype=torch.bool)
        step.truncated = torch.ones(4, dtype=torch.bool)
        replay.write(torch.zeros(4, 3, 3), step)
        successors.append(step.next_state.flatten(1))
    batch = everything(replay)
    assert torch.equal(batch.valid[:, 0], (torch.arange(160) < 40).float())
    assert torch.equal(batch.next_state[:40], torch.cat(successors[:-11:-1]))


def test_sampling_is_uniform_over_what_is_stored():
    replay = counted(33)
    batch = replay.sample(200000, 1, 0.9)
    keys = (batch.state @ torch.tensor([10000.0, 100.0, 1.0])).long()
    found, counts = keys.unique(return_counts=True)
    expected = (everything(replay).state @ torch.tensor([10000.0, 100.0, 1.0])).long().sort().values
    assert torch.equal(found, expected)
    assert ((counts / 2000.0 - 1.0).abs() < 0.15).all()  # 2000 each, deviation 45


@pytest.mark.parametrize("steps", [9, 50])
def test_a_saved_replay_goes_on_as_the_same(steps):
    whole, _ = noise(steps, 4 * 12)
    other = Replay(reference.MIXED, 4 * 12)
    other.load_state_dict(whole.state_dict())
    env = reference.NoiseEnv(reference.MIXED, seed=3)
    for _ in range(5):
        action = torch.randn(4, 3, 3)
        step = env.step(None)
        whole.write(action, step)
        other.write(action, step)
    one = everything(whole, 4)
    two = everything(other, 4)
    for name in ("state", "reward", "discount", "next_state", "valid", "alive"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name
    assert counted(3, ENVS * 1000).state_dict()["seen"].shape[:2] == (ENVS, 4)  # not the rows that were never written


def test_addresses_stay():
    replay = counted(3)
    before = {name: value.data_ptr() for name, value in vars(replay).items() if torch.is_tensor(value)}
    env = CountingGame(ENVS, CPU)
    explore(env, lambda step: torch.rand(ENVS, 2, 2), replay, env.reset(0), 50)
    replay.load_state_dict(replay.state_dict())
    assert {name: value.data_ptr() for name, value in vars(replay).items() if torch.is_tensor(value)} == before


def test_half_precision_halves_what_is_seen():
    env = CountingGame(ENVS, CPU)
    half = Replay(env.spec, 500, "float16")
    full = Replay(env.spec, 500)
    assert half.observations.element_size() * 2 == full.observations.element_size() and half.bytes < full.bytes
    explore(env, lambda step: torch.rand(ENVS, 2, 2), half, env.reset(0), 20)
    assert torch.equal(everything(half).state, everything(counted(20)).state)
    assert everything(half).state.dtype == torch.float32


def test_the_estimate_is_what_is_allocated():
    replay, _ = noise(1, 4 * 12)
    assert replay.bytes == sum(
        value.numel() * value.element_size()
        for name, value in vars(replay).items()
        if torch.is_tensor(value) and name != "count"
    )


def test_a_replay_that_does_not_fit_is_refused_before_anything_is_allocated(monkeypatch):
    monkeypatch.setattr(placement, "free_bytes", lambda device: 2**20)
    monkeypatch.setattr(torch, "zeros", None)
    with pytest.raises(
        ValueError,
        match=r"a replay of 1000000 transitions needs 0\.\d+ GiB and cpu has 0\.00 GiB free; "
        r"algo.buffer_size=\d+ would fit",
    ):
        Replay(SPEC, 1000000)


def test_the_host_takes_what_the_device_has_no_room_for(monkeypatch):
    gpu = torch.device("cuda:0")
    room = {"cuda": 2**20, "cpu": 2**30}
    monkeypatch.setattr(placement, "free_bytes", lambda device: room[device.type])
    assert placement.choose_placement(2**19, 1, gpu, "auto") == gpu
    assert (
        placement.choose_placement(2**21, 1, gpu, "auto") == CPU
        and placement.choose_placement(2**19, 1, gpu, "host") == CPU
    )
    for needed, place, named in ((2**21, "device", "cuda:0"), (2**31, "auto", "cuda:0"), (2**31, "host", "cpu")):
        with pytest.raises(ValueError, match=named + " has"):
            placement.choose_placement(needed, 1, gpu, place)


def test_a_replay_on_the_host_is_the_same():
    batches = []
    for placing in ("device", "host"):
        env = reference.NoiseEnv(reference.MIXED)
        replay = Replay(reference.MIXED, 4 * 12, placement=placing)
        replay.write_observation(env.step(None))
        for action in torch.ones(9, 4, 3, 3).unbind():
            replay.write(action, env.step(None))
        batches.append(flat(everything(replay, 3)))
    assert all(torch.equal(one, other) for one, other in zip(*batches))


def test_a_replay_of_less_than_a_step_is_refused():
    with pytest.raises(ValueError, match="buffer_size=3 holds not one step of num_envs=5"):
        Replay(SPEC, 3)


@pytest.mark.parametrize("length", [3, 5, 9])
def test_a_cut_ends_running_episodes_like_a_time_limit(length):
    """The same steps, truncated by the environment or cut afterwards, give the same transitions."""
    env = reference.NoiseEnv(reference.MIXED)
    cut = Replay(reference.MIXED, 4 * 6)
    limited = Replay(reference.MIXED, 4 * 6)
    step = env.step(None)
    for replay in (cut, limited):
        replay.write_observation(step)
    for t in range(length):
        action = torch.randn(4, 3, 3)
        step = env.step(None)
        step.next_obs = tuple(x.clone() for x in step.obs)
        step.next_state = step.state.clone()
        step.terminated[:] = False
        step.truncated[:] = False
        step.terminated[0] = t == length - 1
        step.truncated[1] = t % 2 == 0
        cut.write(action, step)
        step.truncated |= (t == length - 1) & ~step.terminated
        limited.write(action, step)
    cut.truncate_episodes()
    step = env.step(None)
    for replay in (cut, limited):
        replay.write_observation(step)
        replay.write(torch.zeros(4, 3, 3), step)
    for one, other in zip(flat(everything(cut, 3)), flat(everything(limited, 3))):
        assert torch.equal(one, other)


def test_an_empty_replay_may_be_cut():
    replay = Replay(reference.MIXED, 40)
    replay.truncate_episodes()
    assert int(replay.count) == 0 and (replay.outcome == 0).all()
