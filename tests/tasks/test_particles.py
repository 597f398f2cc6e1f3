"""Particle tasks beside the original: the same states and actions give the same observations, states, rewards, ends."""

import numpy as np
import pytest
import torch
from support.reference_particles import Original, old_push, old_spread_rewards, old_step

from harl_isaac.check_env import check_env, random_actions
from harl_isaac.env import Box, Discrete
from harl_isaac.registry import import_object
from harl_isaac.tasks import TASKS

CPU = torch.device("cpu")
NAMES = sorted(name for name in TASKS if name.startswith("mpe/"))
KINDS = pytest.mark.parametrize("continuous", [True, False], ids=["continuous", "discrete"])
EVERY = pytest.mark.parametrize("name", NAMES)
ENVS = 4


def make(name, num_envs=ENVS, dtype=torch.float64, **settings):
    cfg = import_object(TASKS[name])(**settings)
    return type(cfg.make(1, CPU, "auto"))(cfg, num_envs, CPU, dtype)


def crowd(task, mask):
    """Start agents closer together, so that they meet."""
    task.agent[mask] *= 0.3


def compare(step, expected_rows, successor):
    obs, state = (step.next_obs, step.next_state) if successor else (step.obs, step.state)
    for row, (expected, expected_state) in enumerate(expected_rows):
        for mine, theirs in zip(obs, expected):
            np.testing.assert_allclose(mine[row].numpy(), theirs, rtol=0, atol=1e-6)
        np.testing.assert_allclose(state[row, 0].numpy(), expected_state, rtol=0, atol=1e-6)


def equal_to_the_original(task, **settings):
    """60 steps of random actions, over two ends of episodes; returns by how much agents' rewards differed at most."""
    originals = [Original(task, **settings) for _ in range(ENVS)]
    draw = torch.Generator().manual_seed(1)
    task.started = lambda mask, started=task.started: (started(mask), crowd(task, mask))
    step = task.reset(0)
    apart = 0.0
    ends = 0
    compare(step, [original.place(row) for row, original in enumerate(originals)], successor=False)
    for t in range(60):
        actions = random_actions(task.spec, step, draw)
        results = [original.step([action[row].numpy() for action in actions]) for row, original in enumerate(originals)]
        step = task.step(actions)
        compare(step, [original.observe() for original in originals], successor=True)
        for row, (rewards, terminated, truncated) in enumerate(results):
            np.testing.assert_allclose(step.reward[row].numpy(), rewards, rtol=0, atol=1e-6)
            assert (bool(step.terminated[row]), bool(step.truncated[row])) == (terminated, truncated)
        apart = max(apart, float((step.reward.max(1).values - step.reward.min(1).values).max()))
        if bool(step.done.all()):
            ends += 1
            assert (t + 1) % task.spec.max_episode_steps == 0
            compare(step, [original.place(row) for row, original in enumerate(originals)], successor=False)
    assert ends == 2
    return apart


@EVERY
@KINDS
def test_equal_to_the_original(name, continuous):
    pytest.importorskip("mpe2", reason="mpe2 is not installed")
    apart = equal_to_the_original(make(name, continuous=continuous, reward="agent"))
    if name == "mpe/simple_spread":
        assert apart >= 0.5  # somebody collided who was not everybody


def test_equal_to_the_original_with_five_agents_and_other_shares():
    pytest.importorskip("mpe2", reason="mpe2 is not installed")
    equal_to_the_original(
        make("mpe/simple_spread", reward="agent", agents=5, landmarks=5, local_ratio=0.2), N=5, local_ratio=0.2
    )
    equal_to_the_original(make("mpe/simple_reference", reward="agent", local_ratio=0.9), local_ratio=0.9)


@EVERY
@KINDS
def test_the_old_version_is_as_written_out(name, continuous):
    task = make(name, continuous=continuous, version="v2", reward="agent")
    draw = torch.Generator().manual_seed(2)
    task.started = lambda mask: crowd(task, mask)
    step = task.reset(3)
    moving = list(task.mobile_agents)
    for _ in range(24):
        actions = random_actions(task.spec, step, draw)
        places, velocities, marks = (value.numpy().copy() for value in (task.agent, task.velocity, task.landmark))
        expected = []
        for row in range(ENVS):
            push = np.array([old_push(actions[i][row].numpy(), continuous) for i in moving])
            place, velocity = old_step(
                places[row, moving], velocities[row], push, task.radius if task.collide else None
            )
            expected.append((place, velocity))
        step = task.step(actions)
        for row, (place, velocity) in enumerate(expected):
            np.testing.assert_allclose(task.agent[row, moving].numpy(), place, rtol=0, atol=1e-6)
            np.testing.assert_allclose(task.velocity[row].numpy(), velocity, rtol=0, atol=1e-6)
            if name == "mpe/simple_spread":
                rewards = old_spread_rewards(place, marks[row], task.radius, task.cfg.local_ratio)
                np.testing.assert_allclose(step.reward[row].numpy(), rewards, rtol=0, atol=1e-6)


def test_spaces_and_widths():
    found = {}
    for name in NAMES:
        specs = [make(name, continuous=continuous).spec for continuous in (True, False)]
        assert specs[0].obs_sizes == specs[1].obs_sizes and specs[0].agents == specs[1].agents
        found[name.split("_", 1)[1]] = (specs[0].obs_sizes, specs[0].state_size, specs[0].actions, specs[1].actions)
    assert found == {
        "spread": ((18,) * 3, 54, (Box(5, 0.0, 1.0),) * 3, (Discrete(5),) * 3),
        "reference": ((21,) * 2, 42, (Box(15, 0.0, 1.0),) * 2, (Discrete(50),) * 2),
        "speaker_listener": ((3, 11), 14, (Box(3, 0.0, 1.0), Box(5, 0.0, 1.0)), (Discrete(3), Discrete(5))),
    }


@EVERY
@KINDS
@pytest.mark.parametrize("version", ["v2", "v3"])
def test_the_contract_is_kept(name, continuous, version):
    cfg = import_object(TASKS[name])(continuous=continuous, version=version, reward="agent", episode_length=7)
    check_env(lambda: cfg.make(6, CPU, "auto"), steps=20)


@pytest.mark.parametrize("agents, landmarks", [(1, 1), (2, 5), (6, 3)])
def test_any_number_of_agents_and_landmarks(agents, landmarks):
    cfg = import_object(TASKS["mpe/simple_spread"])(agents=agents, landmarks=landmarks)
    check_env(lambda: cfg.make(5, CPU, "auto"), steps=40)
    assert cfg.make(1, CPU, "auto").spec.obs_sizes == (4 + 2 * landmarks + 4 * (agents - 1),) * agents


@EVERY
def test_the_team_earns_the_sum_over_its_agents(name):
    each = make(name, reward="agent")
    team = make(name)
    step = each.reset(0)
    draw = torch.Generator().manual_seed(0)
    team.reset(0)
    for _ in range(5):
        actions = random_actions(each.spec, step, draw)
        step = each.step(actions)
        joint = team.step(actions)
        assert joint.reward.shape == (ENVS, 1) and step.reward.shape == (ENVS, each.spec.num_agents)
        torch.testing.assert_close(joint.reward[:, 0], step.reward.sum(1))


@EVERY
def test_every_environment_has_goals_of_its_own_and_new_ones_in_each_episode(name):
    task = make(name, num_envs=64)
    start = task.reset(0)
    before = task.table.t().clone()
    done = torch.arange(64) % 3 == 0
    assert len({tuple(row) for row in before[:, :4].tolist()}) == 64
    if task.goals:
        which = (task.goal[:, 0, None] == task.landmark).all(-1)
        assert (which.sum(0) > 10).all() and (which.sum(1) == 1).all()
    task.progress[done] = task.spec.max_episode_steps - 1
    step = task.step(random_actions(task.spec, start, torch.Generator().manual_seed(0)))
    assert step.truncated.tolist() == done.tolist() and not step.terminated.any()
    same = (task.landmark == before[:, 2 * len(task.names) :][:, : 2 * task.landmarks].view_as(task.landmark)).all(-1)
    assert same.tolist() == (~done)[:, None].expand_as(same).tolist()
    assert (task.progress == (~done).int()).all()
    changed = (step.state != step.next_state).any(-1)[:, 0]
    assert changed.tolist() == done.tolist()


def test_success_and_distance_of_spread():
    task = make("mpe/simple_spread", num_envs=4, episode_length=1)
    task.reset(0)
    marks = torch.tensor([[-0.8, 0.0], [0.0, 0.0], [0.8, 0.0]], dtype=torch.float64)
    task.landmark.copy_(marks)
    task.agent.copy_(marks.flip(0) + torch.tensor([0.0, 0.06]))
    task.agent[1, 0, 1] = 0.12  # too far from its landmark
    task.landmark[2, 1, 0] = 0.58  # close to the third: both are covered,
    task.agent[2, 1, 0] = 0.58  # by two that collide
    task.agent[3] = task.agent[3].roll(1, 0)  # whoever it is
    stay = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0]]).expand(4, -1)
    metrics = task.step((stay,) * 3).metrics
    assert metrics["success"].tolist() == [1.0, 0.0, 0.0, 1.0]
    assert metrics["collisions"].tolist() == [0.0, 0.0, 1.0, 0.0]
    assert metrics["distance"].tolist() == pytest.approx([0.06, 0.08, 0.06, 0.06])
    assert task.collisions.tolist() == [0.0] * 4  # a new episode


@pytest.mark.parametrize("name", ["mpe/simple_reference", "mpe/simple_speaker_listener"])
def test_success_is_to_be_where_one_was_sent(name):
    task = make(name, num_envs=3, episode_length=2, continuous=False)
    task.reset(0)
    goal = task.goal.flip(1) if task.goals == 2 else task.goal
    task.agent[:, -task.goals :] = goal + torch.tensor([0.0, 0.06])
    task.agent[1, 1, 1] += 0.06
    stay = tuple(torch.zeros(3, 1, dtype=torch.long) for _ in task.names)
    steps = [task.step(stay) for _ in range(2)]
    assert steps[0].metrics["success"].tolist() == [0.0] * 3  # judged at the end
    assert steps[1].metrics["success"].tolist() == [1.0, 0.0, 1.0]
    assert steps[1].metrics["distance"].tolist() == pytest.approx([0.06, 0.12 if task.goals == 1 else 0.09, 0.06])


def test_discs_in_the_same_place_stay_finite():
    task = make("mpe/simple_spread", dtype=torch.float32)
    task.reset(0)
    task.agent.zero_()
    step = task.step((torch.zeros(ENVS, 5),) * 3)
    assert all(bool(torch.isfinite(obs).all()) for obs in step.obs) and bool(torch.isfinite(step.reward).all())


@pytest.mark.parametrize(
    "name, settings, message",
    [
        ("mpe/simple_spread", {"version": "v4"}, "task.version=v4; possible: v3, v2"),
        ("mpe/simple_reference", {"reward": "sum"}, "task.reward=sum; possible: team, agent"),
        ("mpe/simple_speaker_listener", {"episode_length": 0}, "task.episode_length=0 must be within 1"),
        ("mpe/simple_spread", {"agents": 0}, "task.agents=0 must be within 1 and 1000"),
        ("mpe/simple_reference", {"local_ratio": 1.5}, "task.local_ratio=1.5"),
    ],
)
def test_settings_that_mean_nothing_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        import_object(TASKS[name])(**settings).make(1, CPU, "auto")
