"""Rows stand where they belong: a game that counts, played through the rollout."""

import torch

from harl_isaac.acting import to_env
from harl_isaac.algos.happo import HappoCfg
from harl_isaac.buffers.rollout import collect
from harl_isaac.env import Box
from harl_isaac.tasks.games.counting import CountingGame
from harl_isaac.tasks.games.matrix import MatrixGameCfg
from harl_isaac.tasks.games.mixed import MixedGameCfg
from harl_isaac.training.episode_stats import EpisodeStats

CPU = torch.device("cpu")
ENVS = 5
LENGTH = 14


def played(iterations=2):
    env = CountingGame(ENVS, CPU)
    learner = HappoCfg(rollout_length=LENGTH, hidden=[8]).learner(env.spec, 0)
    step = env.reset(0)
    stats = EpisodeStats(env.spec)
    copies = []
    for _ in range(iterations):
        step = collect(env, learner.actors, learner.rollout, step, stats)
        rollout = learner.rollout
        copies.append(
            {
                name: getattr(rollout, name).clone()
                for name in ("obs", "state", "next_state", "reward", "terminated", "truncated", "log_prob", "action")
            }
        )
    return copies, stats


def literal_game():
    """(episode, count, reward, ended, next count) of each environment at each step, by counting."""
    for env in range(ENVS):
        episode = 0
        count = 0
        for t in range(2 * LENGTH):
            ended = count + 1 == 3 + env % 4
            yield t, env, episode, count, ended
            episode, count = (episode + 1, 0) if ended else (episode, count + 1)


def test_every_row_says_where_it_is_from():
    copies, _ = played()
    both = {name: torch.cat([copy[name] for copy in copies]) for name in copies[0]}
    for t, env, episode, count, ended in literal_game():
        assert both["obs"][t, env, 0].tolist() == [env, episode, count, 0, 0]
        assert both["obs"][t, env, 1].tolist() == [env, episode, count, 1, 0]
        assert both["state"][t, env, 0].tolist() == [env, episode, count]
        assert both["next_state"][t, env, 0].tolist() == [env, episode, count + 1]  # never another episode's
        assert both["reward"][t, env].tolist() == [count]
        assert both["terminated"][t, env].item() == (ended and episode % 2 == 0)
        assert both["truncated"][t, env].item() == (ended and episode % 2 == 1)


def test_an_agent_gets_its_own_columns():
    env = CountingGame(ENVS, CPU)
    learner = HappoCfg(rollout_length=LENGTH, hidden=[8]).learner(env.spec, 0)
    collect(env, learner.actors, learner.rollout, env.reset(0))
    narrow = learner.rollout.agent(0)
    wide = learner.rollout.agent(1)
    assert narrow.obs.shape == (LENGTH * ENVS, 4) and wide.obs.shape == (LENGTH * ENVS, 5)
    assert narrow.action.shape == (LENGTH * ENVS, 1) and wide.action.shape == (LENGTH * ENVS, 2)
    assert torch.equal(narrow.obs[:, 0], torch.arange(ENVS).repeat(LENGTH).float())
    assert (wide.obs[:, 3] == 1).all() and (narrow.obs[:, 3] == 0).all()
    assert torch.equal(learner.rollout.action[:, :, 1].reshape(-1, 2), wide.action)


def test_episode_statistics_count_whole_episodes_once():
    _, stats = played()
    lengths = [3 + env % 4 for _, env, _, _, ended in literal_game() if ended]
    returns = [length * (length - 1) / 2 for length in lengths]
    found = stats.drain()
    assert found["episode/count"] == len(lengths)
    torch.testing.assert_close(found["episode/length"].item(), sum(lengths) / len(lengths), atol=1e-5, rtol=0)
    torch.testing.assert_close(found["episode/return"].item(), sum(returns) / len(returns), atol=1e-5, rtol=0)
    assert torch.isnan(stats.drain()["episode/return"])  # nothing ended since


def test_environments_get_actions_within_bounds_and_of_their_type():
    spec = MixedGameCfg().make(3, CPU, "auto").spec
    action = torch.tensor([-3.0, 0.0]).repeat(3, 3, 1)
    action[:, 1, 0] = 2.0
    action[:, 2] = torch.tensor([1.0, 2.0])
    reach, choose, dial = to_env(spec, action)
    assert isinstance(spec.actions[0], Box) and reach.tolist()[0] == [0.0, 1.0]  # clamped, then mapped to [0, 2]
    assert choose.dtype == torch.long and choose.tolist()[0] == [2]
    assert dial.dtype == torch.long and dial.tolist()[0] == [1, 2]


def test_masks_and_absences_are_stored_and_obeyed():
    env = MatrixGameCfg(masks=True, absences=True).make(8, CPU, "auto")
    learner = HappoCfg(rollout_length=20, hidden=[8]).learner(env.spec, 0)
    collect(env, learner.actors, learner.rollout, env.reset(0))
    rollout = learner.rollout
    episode = torch.arange(8) + torch.arange(20)[:, None]
    assert torch.equal(rollout.mask[:, :, 1, 2], episode % 2 == 0)
    assert torch.equal(rollout.alive[:, :, 1] == 0, episode % 4 == 3)
    forbidden = (rollout.action[:, :, 1, 0] == 2) & ~rollout.mask[:, :, 1, 2]
    assert not forbidden.any()
    metrics = learner.update(0.0)
    assert all(torch.isfinite(value) for value in metrics.values())
