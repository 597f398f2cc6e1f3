"""PettingZoo's parallel environments: the real ones equal to stepping them by hand, and what only few of them have."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.commands import run_command

pytest.importorskip("gymnasium", reason="gymnasium is not installed: pip install gymnasium")

from gymnasium import spaces
from hydra import compose, initialize_config_module

from harl_isaac.adapters.pettingzoo.game import PettingZooCfg, PettingZooGame, make_parallel_env
from harl_isaac.adapters.pettingzoo.spaces import ActionConverter, ObservationFlattener
from harl_isaac.adapters.workers.game import GameView
from harl_isaac.check_env import check_env, random_actions
from harl_isaac.cli.overrides import check_command_line, with_free_keys
from harl_isaac.cli.train import check_unchanged, with_saved_overrides
from harl_isaac.config import to_run
from harl_isaac.env import Box, Discrete, MissingSimulator, MultiDiscrete, mask_width
from harl_isaac.training import checkpoint
from harl_isaac.training.load_policy import load_policy
from harl_isaac.training.trainer import Trainer

CPU = torch.device("cpu")


def view_of(spec):
    masks = [np.zeros(mask_width(space), bool) for space in spec.actions] if spec.has_action_mask else None
    return GameView(
        [np.full(size, 9.0, np.float32) for size in spec.obs_sizes],
        np.full((1, spec.state_size), 9.0, np.float32),
        masks,
        np.zeros(len(spec.agents), bool),
    )


@pytest.mark.parametrize(
    "scenario, kwargs, reward",
    [
        ("simple_spread_v3", {"N": 4, "continuous_actions": True, "max_cycles": 9}, "sum"),
        ("simple_speaker_listener_v4", {"max_cycles": 7}, "mean"),
        ("simple_tag_v3", {"max_cycles": 6}, "own"),
    ],
)
def test_mpe_is_equal_to_stepping_it_by_hand(scenario, kwargs, reward):
    module = pytest.importorskip("mpe2." + scenario, reason="mpe2 is not installed: pip install 'mpe2>=1.1,<2'")
    cfg = PettingZooCfg(env="mpe2." + scenario, kwargs=kwargs, reward=reward, workers=2)
    env = cfg.make(3, CPU, "auto")
    draw = torch.Generator().manual_seed(0)
    twins = [module.parallel_env(**kwargs) for _ in range(3)]
    step = env.reset(5)
    ended = 0
    assert env.spec.max_episode_steps == kwargs["max_cycles"] and not env.spec.has_action_mask
    obs = [twin.reset(seed=int(env.buffers.seed[e]))[0] for e, twin in enumerate(twins)]
    for _ in range(20):
        for i, agent in enumerate(twins[0].possible_agents):
            np.testing.assert_array_equal(step.obs[i].numpy(), np.stack([each[agent] for each in obs]))
        actions = random_actions(env.spec, step, draw)
        step = env.step(actions)
        for e, twin in enumerate(twins):
            chosen = {
                agent: actions[i][e].numpy() if isinstance(env.spec.actions[i], Box) else int(actions[i][e, 0])
                for i, agent in enumerate(twin.possible_agents)
            }
            obs[e], rewards, terminations, truncations, _ = twin.step(chosen)
            own = [rewards[agent] for agent in twin.possible_agents]
            expected = {"own": own, "sum": [sum(own)], "mean": [np.mean(own)]}[reward]
            np.testing.assert_allclose(step.reward[e].numpy(), expected, rtol=1e-6)
            np.testing.assert_array_equal(step.next_state[e, 0].numpy(), twin.state().astype(np.float32))
            for i, agent in enumerate(twin.possible_agents):
                np.testing.assert_array_equal(step.next_obs[i][e].numpy(), obs[e][agent].astype(np.float32))
            assert bool(step.truncated[e]) == any(truncations.values()) and not step.terminated[e]
            if step.truncated[e]:
                ended += 1
                obs[e] = twin.reset(seed=int(env.buffers.seed[e]))[0]
    assert ended >= 6 and step.alive.all()


@pytest.mark.parametrize(
    "settings",
    [
        {"env": "mpe2.simple_speaker_listener_v4", "kwargs": {"continuous_actions": True}},
        {"env": "support.pettingzoo_envs", "kwargs": {"masked": "obs"}},
        {"env": "support.pettingzoo_envs", "kwargs": {"masked": "info", "cut": True}},
        {"env": "support.pettingzoo_envs", "kwargs": {"masked": "nowhere"}, "reward": "own", "max_steps": 4},
    ],
)
def test_the_contract_is_kept(settings):
    try:
        check_env(lambda: PettingZooCfg(workers=2, **settings).make(3, CPU, "auto"), steps=28)
    except MissingSimulator as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("cut", [False, True, "both"])
@pytest.mark.parametrize("masked", ["obs", "info"])
def test_agents_leave_and_masks_hold_until_then(masked, cut):
    game = PettingZooGame("support.pettingzoo_envs", {"masked": masked, "cut": cut})
    extra = 2 if masked == "obs" else 0  # the one-hot parity
    assert game.spec.obs_sizes == (2 + extra, 2 + extra, 2) and game.spec.state_size == 6 + 2 * extra
    assert game.spec.actions == (Discrete(3), MultiDiscrete((2, 3)), Box(2)) and game.spec.has_action_mask
    view = view_of(game.spec)
    game.reset(3)
    alive = []
    ends = []
    for t in range(5):
        game.look(view)
        alive.append(view.alive.tolist())
        # [0.5, 0.5] of [0, 2] x [-4, 4]
        np.testing.assert_allclose(view.obs[2], [t + 0.3, 1.5 + 2.0 if t else 0.0], rtol=1e-6)
        np.testing.assert_allclose(view.obs[0][:2], [t + 0.3, 12.0 if t else 0.0] if t < 3 else [0, 0], rtol=1e-6)
        np.testing.assert_allclose(view.obs[1][:2], [t + 0.3, 3.0 if t else 0.0] if t < 4 else [0, 0], rtol=1e-6)
        np.testing.assert_array_equal(view.state[0], np.concatenate(view.obs))
        assert view.action_mask[0].tolist() == ([True, False, t % 2 == 1] if t < 3 else [True] * 3)
        assert view.action_mask[1].tolist() == ([False, True, True, False, False] if t in (0, 2, 3) else [True] * 5)
        outcome = game.step([np.array([2]), np.array([1, 2]), np.array([0.5, 0.5], np.float32)])
        own = [13.0 if t < 3 else 0.0, 4.0 if t < 4 else 0.0, 4.5]
        np.testing.assert_allclose(outcome.reward, [sum(own) / 3])
        ends.append((outcome.terminated, outcome.truncated))
    assert alive == [[True] * 3] * 3 + [[False, True, True], [False, False, True]]
    # a game that is over is over, whatever the time
    assert ends == [(False, False)] * 4 + [(cut is not True, cut is True)]
    game.look(view)
    np.testing.assert_allclose(view.obs[2], [5.3, 3.5], rtol=1e-6)  # the true last one


def test_a_limit_of_ones_own_truncates():
    game = PettingZooGame("support.pettingzoo_envs", {}, max_steps=2)
    game.reset(0)
    actions = [np.array([0]), np.array([0, 0]), np.zeros(2, np.float32)]
    ends = [(outcome.terminated, outcome.truncated) for outcome in (game.step(actions) for _ in range(2))]
    assert ends == [(False, False), (False, True)] and game.spec.max_episode_steps == 2


@pytest.mark.parametrize(
    "space, ours, given, expected",
    [
        (spaces.Box(-2.0, 2.0, (2, 2)), Box(4, -2.0, 2.0), [-2.0, 0.5, 1.0, 2.0000002], [[-2.0, 0.5], [1.0, 2.0]]),
        (spaces.Box(np.array([0.0, -4.0]), np.array([1.0, 2.0]), dtype=np.float64), Box(2), [1.0, -0.5], [1.0, -2.5]),
        (spaces.Discrete(4, start=-1), Discrete(4), [0], -1),
        (spaces.MultiDiscrete([[2, 3], [4, 5]]), MultiDiscrete((2, 3, 4, 5)), [1, 2, 3, 4], [[1, 2], [3, 4]]),
        (spaces.MultiBinary(3), MultiDiscrete((2, 2, 2)), [1, 0, 1], [1, 0, 1]),
    ],
)
def test_actions(space, ours, given, expected):
    converter = ActionConverter(space, "anyone")
    assert converter.space == ours
    found = converter.to_env(np.array(given, np.float32 if isinstance(ours, Box) else np.int64))
    assert space.contains(found)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "space, obs, expected",
    [
        (spaces.Box(0, 255, (2, 2), np.uint8), np.array([[1, 2], [3, 255]], np.uint8), [1, 2, 3, 255]),
        (spaces.Discrete(3), 2, [0, 0, 1]),
        (spaces.MultiDiscrete([2, 3]), np.array([1, 0]), [0, 1, 1, 0, 0]),
        (spaces.Tuple((spaces.Discrete(2), spaces.Box(-1, 1, (1,)))), (1, np.array([0.5], np.float32)), [0, 1, 0.5]),
        (
            spaces.Dict({"observation": spaces.Box(-1, 1, (2,)), "action_mask": spaces.MultiBinary(2)}),
            {"observation": np.array([0.1, 0.2], np.float32), "action_mask": np.array([1, 1])},
            [0.1, 0.2],
        ),
    ],
)
def test_observations(space, obs, expected):
    flattener = ObservationFlattener(space)
    found = flattener.flatten(obs)
    assert found.shape == (flattener.size,) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "path, kwargs, kind, message",
    [
        (
            "no_such_package.game_v1",
            {},
            ValueError,
            "there is no module no_such_package, neither installed nor in .*a file such as ./mine.py:make$",
        ),
        ("json.game_v1", {}, ValueError, "json has no game_v1; possible: decoder, encoder, scanner, tool"),
        ("json", {}, ValueError, "json has no parallel_env; give a module with a function parallel_env"),
        (
            "support.pettingzoo_envs",
            {"color": "red"},
            ValueError,
            r"does not take task.kwargs=.*color.*unexpected keyword",
        ),
        ("support.pettingzoo_envs:nothing", {}, ValueError, "no possible_agents: it is no parallel environment"),
        (
            "support.pettingzoo_envs:endless",
            {},
            ValueError,
            "does not say how long its episodes can be; give .* task.max_steps",
        ),
        (
            "support.pettingzoo_envs:unbounded",
            {},
            ValueError,
            r"agent third has actions Box\(-inf, inf.*finite real bounds",
        ),
        (
            "support.pettingzoo_envs:worded",
            {},
            ValueError,
            "agent third has actions Text.*possible: Box, Discrete, MultiDiscrete, MultiBinary",
        ),
    ],
)
def test_what_cannot_be_played_is_named(path, kwargs, kind, message):
    with pytest.raises(kind, match=message):
        PettingZooGame(path, kwargs)


def test_a_missing_package_reaches_the_command_line(monkeypatch):
    with pytest.raises(ValueError, match="^task.env=no_such_package.x: there is no module no_such_package"):
        PettingZooCfg(env="no_such_package.x").make(2, CPU, "auto")


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"reward": "max"}, "task.reward=max; possible: mean, sum, own"),
        ({"max_steps": -1}, "task.max_steps=-1 must be within 0 and 1e\\+06"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        PettingZooCfg(**settings).make(2, CPU, "auto")


def test_an_attribute_of_a_package_counts_as_its_module(monkeypatch):
    import json

    from support import pettingzoo_envs

    monkeypatch.setattr(json, "game_v1", pettingzoo_envs, raising=False)
    assert make_parallel_env("json.game_v1", {}).possible_agents == pettingzoo_envs.AGENTS


@pytest.mark.parametrize(
    "words, task",
    [
        (["algo.recurrent=true", "algo.chunk_length=5"], {"kwargs": {"masked": "info", "cut": True}}),
        (["algo=ippo"], {"reward": "own"}),
    ],
)
def test_agents_that_leave_early_are_trained_too(settings, tmp_path, words, task):
    cfg = settings("MatrixGame", "total_steps=60", "eval.interval=1", "eval.episodes=9", *words)
    run = Trainer(replace(cfg, task=PettingZooCfg(env="support.pettingzoo_envs", workers=2, **task)))
    numbers = run.train(tmp_path)
    assert run.eval_env.spec.num_envs == 6  # no more than in training
    assert numbers["episode/length"] == 5.0 and np.isfinite(list(numbers.values())).all()


def test_a_run_from_the_command_line_can_be_resumed_and_played(tmp_path):
    pytest.importorskip("mpe2", reason="mpe2 is not installed: pip install 'mpe2>=1.1,<2'")
    words = [
        "task=pettingzoo",
        "task.env=mpe2.simple_speaker_listener_v4",
        "task.kwargs.max_cycles=6",
        "task.workers=1",
        "num_envs=2",
        "algo.rollout_length=4",
        "algo.hidden=[8]",
        "total_steps=16",
        "eval.episodes=2",
        "device=cpu",
    ]
    result = run_command("train.py", *words, cwd=tmp_path)
    assert result.returncode == 0 and "finished after 2 iterations" in result.stdout, result.stderr
    folder = next(tmp_path.glob("runs/pettingzoo/happo/*"))
    again = with_free_keys(with_saved_overrides(["total_steps=32"], str(folder)))
    check_command_line(again)
    with initialize_config_module("harl_isaac.cfg", version_base="1.3"):
        cfg = compose("config", again)
    check_unchanged(cfg, folder)
    cfg = to_run(cfg)
    assert cfg.task.kwargs == {"max_cycles": 6} and cfg.task.env == "mpe2.simple_speaker_listener_v4"
    assert Trainer(cfg, checkpoint.load(checkpoint.find(str(folder)))).train(folder)["steps"] == 32.0
    assert load_policy(str(folder), 1, "cpu", "auto")[0].spec.max_episode_steps == 6


def test_free_keys_may_be_swept_and_only_where_a_task_takes_them():
    assert with_free_keys(["task.kwargs.N=3", "seed=1"]) == ["++task.kwargs.N=3", "seed=1"]
    check_command_line(with_free_keys(["task=pettingzoo", "task.kwargs.N=3,4"]), several=True)
    with pytest.raises(ValueError, match="key task.kwargs is unknown"):
        check_command_line(with_free_keys(["task=MatrixGame", "task.kwargs.N=3"]))
