"""Google Research Football, the real engine (scripts/install_football.sh): ends, state, checkpoints, seeds, resume."""

import numpy as np
import pytest
import torch
from support.play_game import look, play, random_actions, same

from harl_isaac.adapters import football
from harl_isaac.adapters.football import ACTIVE, PLAYERS, FootballCfg, FootballGame, joint_state
from harl_isaac.check_env import check_env
from harl_isaac.env import MissingSimulator
from harl_isaac.training import checkpoint
from harl_isaac.training.trainer import Trainer

SCENARIO = "academy_3_vs_1_with_keeper"
engine = pytest.mark.skipif(
    football.find_spec("gfootball_engine") is None,
    reason="Google Research Football is not installed (scripts/install_football.sh)",
)


@pytest.fixture(scope="module")
def game():
    made = FootballGame(SCENARIO, 3, True)
    yield made
    made.close()


def actions(*choices):
    return [np.array([choice]) for choice in choices]


def test_without_the_engine_the_script_is_named(monkeypatch):
    monkeypatch.setattr(football, "find_spec", lambda name: None)
    with pytest.raises(MissingSimulator, match=r"task=football/academy_corner .*scripts/install_football.sh"):
        FootballCfg(name="football/academy_corner").game()
    with pytest.raises(ValueError, match="task.reward=shaped; possible: dense, sparse"):
        FootballCfg(name="football/academy_corner", reward="shaped").game()


def test_the_state_holds_what_is_common_once():
    obs = np.arange(3 * 115, dtype=np.float32).reshape(3, 115) % 115
    obs[:, ACTIVE] = np.eye(11)[[4, 0, 7]]
    state = joint_state(obs)
    assert state.shape == (115 + 2 * 11,)
    assert state[:104].tolist() == [float(i) for i in range(115) if i not in range(97, 108)]
    assert np.flatnonzero(state[104:]).tolist() == [4, 11, 29]


def literal_checkpoints(distance):
    """gfootball's loop."""
    count = 0
    while count < 10 and distance <= 0.99 - 0.8 / 9 * count:
        count += 1
    return count


def test_checkpoints_lie_where_gfootball_has_them():
    for distance in np.linspace(0.0, 1.5, 997):
        assert football.checkpoints_passed(distance) == literal_checkpoints(distance)


@engine
@pytest.mark.parametrize("scenario", sorted(PLAYERS))
def test_a_scenario_plays(scenario):
    game = FootballGame(scenario, PLAYERS[scenario], True)
    spec = game.spec
    assert spec.state_size == 115 + (len(spec.agents) - 1) * 11 and spec.max_episode_steps == 401
    history = play(game, 1, 12, np.random.default_rng(0))
    for _, view in history:
        assert np.array_equal(joint_state(np.stack(view.obs)), view.state[0])
        assert all(obs[ACTIVE].sum() == 1.0 for obs in view.obs)
    game.close()


@engine
def test_an_episode_is_what_gfootball_plays_with_its_seed(game):
    from gfootball.env import config, football_env, wrappers

    draws = np.random.default_rng(4).integers(0, 19, (12, 3))
    for seed in (6, 9):
        literal = football_env.FootballEnv(
            config.Config({"level": SCENARIO, "players": ["agent:left_players=3"], "game_engine_random_seed": seed})
        )
        literal.reset()
        game.reset(seed)
        for draw in draws:
            raw_obs, reward, done, _ = literal.step(draw.tolist())
            outcome = game.step(actions(*draw))
            view = look(game)
            expected = wrappers.Simple115StateWrapper.convert_observation(raw_obs, True)
            assert np.array_equal(np.stack(view.obs), expected)
            assert (outcome.terminated or outcome.truncated) == done
            if done:
                break
        literal.close()


@engine
def test_equal_seeds_repeat_whatever_was_before(game):
    first = [view for _, view in play(game, 8, 40, np.random.default_rng(0))]
    play(game, 3, 5, np.random.default_rng(1))
    again = [view for _, view in play(game, 8, 40, np.random.default_rng(0))]
    other = [view for _, view in play(game, 9, 40, np.random.default_rng(0))]
    assert all(same(a, b) for a, b in zip(first, again)) and not all(same(a, b) for a, b in zip(first, other))


@engine
def test_a_saved_game_goes_on_exactly(game):
    rng = np.random.default_rng(2)
    game.reset(5)
    for _ in range(15):
        game.step(random_actions(game.spec, look(game), rng))
    saved = game.save()
    draws = [actions(*rng.integers(0, 19, 3)) for _ in range(25)]

    def go_on(one):
        found = []
        for choice in draws:
            outcome = one.step(choice)
            found.append((outcome, look(one)))
            if outcome.terminated or outcome.truncated:
                break
        return found

    expected = go_on(game)
    other = FootballGame(SCENARIO, 3, True)
    other.reset(6)
    for one in (other, game):
        one.restore(saved)
        found = go_on(one)
        assert len(found) == len(expected)
        assert all(a == b and same(x, y) for (a, x), (b, y) in zip(found, expected))
    other.close()


@engine
def test_time_up_is_a_truncation_and_anything_else_a_termination(game, monkeypatch):
    rng = np.random.default_rng(3)
    ends = []
    for seed in range(3):  # random play loses the ball
        ends += [outcome for outcome, _ in play(game, seed, 60, rng) if outcome.terminated or outcome.truncated]
    assert ends and all(end.terminated and not end.truncated for end in ends)
    game.reset(1)
    short = {"steps": 0}
    raw = game._env.observation
    monkeypatch.setattr(game._env, "observation", lambda: [dict(one, steps_left=short["steps"]) for one in raw()])

    def done(goal):
        return None, None, True, {"score_reward": goal}

    for steps, goal, truncated in ((0, 0, True), (3, 0, False), (0, 1, False), (0, -1, False)):
        short["steps"] = steps
        monkeypatch.setattr(game._env, "step", lambda _, goal=goal: done(goal))
        outcome = game.step(actions(0, 0, 0))
        assert (outcome.terminated, outcome.truncated) == (not truncated, truncated)


@engine
def test_the_clock_runs_out_in_the_engine():
    """A scenario in which nothing happens if nobody moves."""
    game = FootballGame("academy_run_to_score", 1, False)
    game.reset(1)
    outcomes = []
    for _ in range(game.spec.max_episode_steps):
        outcomes.append(game.step(actions(0)))
        if outcomes[-1].terminated or outcomes[-1].truncated:
            break
    assert len(outcomes) == game.spec.max_episode_steps and outcomes[-1].truncated
    game.close()


@engine
def test_checkpoints_are_gfootballs(game):
    """Against its own wrapper, agent by agent, in dribbles to the goal."""
    from gfootball.env.wrappers import CheckpointRewardWrapper

    outcomes = []
    for seed in range(4):
        literal = CheckpointRewardWrapper(game._env)
        game.reset(seed)
        for _ in range(60):
            run_right = len(outcomes) % 7
            outcome = game.step(actions(5, 5, 5) if run_right else actions(12, 12, 12))  # or shoot
            goal = float(round(outcome.reward[0])) if abs(outcome.reward[0]) > 0.95 else 0.0
            expected = literal.reward(np.full(3, goal, np.float32)).mean()
            assert outcome.reward[0] == pytest.approx(expected, abs=1e-6)
            outcomes.append(outcome)
            if outcome.terminated or outcome.truncated:
                break
    assert any(outcome.reward[0] > 0.0 for outcome in outcomes)


@engine
def test_the_contract_is_kept_in_worker_processes():
    cfg = FootballCfg(name="football/" + SCENARIO, workers=1)
    check_env(lambda: cfg.make(2, torch.device("cpu"), "auto"), steps=60)


@engine
def test_a_run_resumes_bit_for_bit(settings, tmp_path):
    words = [
        "num_envs=2",
        "algo.rollout_length=6",
        "algo.hidden=[8]",
        "task.workers=2",
        "checkpoint.interval=1",
        "algo.lr_decay=false",
    ]
    task = "football/" + SCENARIO
    whole = Trainer(settings(task, "total_steps=48", *words))
    (tmp_path / "whole").mkdir()
    (tmp_path / "half").mkdir()
    whole.train(tmp_path / "whole")
    half = Trainer(settings(task, "total_steps=24", *words))
    half.train(tmp_path / "half")
    half.env.close()
    saved = checkpoint.load(tmp_path / "half" / "checkpoints" / "latest.pt")
    rest = Trainer(settings(task, "total_steps=48", *words), saved)
    rest.train(tmp_path / "half")
    for name, value in whole.learner.actors.state_dict().items():
        assert torch.equal(value, rest.learner.actors.state_dict()[name])
    assert torch.equal(whole.step.state, rest.step.state)
    whole.env.close()
    rest.env.close()
