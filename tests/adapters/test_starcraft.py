"""SMAC and SMACv2 against stand-ins with the same pitfalls (fake_starcraft.py): ends, masks, crashes, seeds."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from support.commands import ROOT, run_command
from support.fake_starcraft import LIVE, FakeDistribution, FakeStarCraft2Env, FakeStarCraftCapabilityEnvWrapper
from support.play_game import look, play, random_actions, same

from harl_isaac.adapters.starcraft import game as starcraft
from harl_isaac.adapters.starcraft.game import StarCraftGame
from harl_isaac.adapters.starcraft.settings import SmacCfg, Smacv2Cfg
from harl_isaac.check_env import check_env
from harl_isaac.env import MissingSimulator
from harl_isaac.training import checkpoint
from harl_isaac.training.trainer import Trainer

CAPABILITIES = {"n_units": 4, "n_enemies": 3}


def smac(crash_at=(), agent_state=False, save_replays=False, **settings):
    def build(seed, replay_prefix="map"):
        return FakeStarCraft2Env(
            seed=seed,
            crash_at=crash_at,
            continuing_episode=True,
            replay_dir="folder",
            replay_prefix=f"{replay_prefix}_{seed}",
            **settings,
        )

    return StarCraftGame(build, agent_state, save_replays)


def smacv2(**settings):
    return StarCraftGame(
        lambda seed: FakeStarCraftCapabilityEnvWrapper(
            seed=seed, capability_config=CAPABILITIES, continuing_episode=True, **settings
        )
    )


@pytest.fixture(autouse=True)
def no_game_is_left_behind():
    LIVE.clear()
    yield
    assert LIVE == []


@pytest.fixture
def game(request):
    made = request.param()
    yield made
    made.close()


def idle(game):
    """Actions that hurt nobody: stop, or nothing if dead."""
    return [np.array([0 if not alive else 1]) for alive in look(game).alive]


@pytest.mark.parametrize("game", [smac, smacv2], indirect=True)
def test_battles_are_played_to_their_ends(game):
    history = play(game, 3, 400, np.random.default_rng(0))
    won = [outcome.metrics["success"] for outcome, _ in history if outcome.terminated or outcome.truncated]
    assert 0.0 < np.mean(won) < 1.0 and len(won) > 10
    assert all(outcome.reward[0] >= 20.0 for outcome, _ in history if outcome.metrics["success"])
    assert not any(outcome.metrics["crashed"] for outcome, _ in history)


@pytest.mark.parametrize("game", [smac], indirect=True)
def test_the_spec_is_the_simulators(game):
    spec = game.spec
    info = FakeStarCraft2Env().get_env_info()
    assert spec.obs_sizes == (info["obs_shape"],) * 3 and spec.state_size == info["state_shape"]
    assert [space.n for space in spec.actions] == [info["n_actions"]] * 3
    assert spec.max_episode_steps == info["episode_limit"] and spec.has_action_mask and spec.has_alive


@pytest.mark.parametrize("limit, ends", [(2, "truncated"), (200, "terminated")])
def test_a_time_limit_is_no_termination(limit, ends):
    game = smac(limit=limit)
    game.reset(1)
    steps = 0
    outcome = None
    while steps < limit and not (outcome and (outcome.terminated or outcome.truncated)):
        outcome = game.step(idle(game))  # nobody fights back: lost sooner or later
        steps += 1
    assert (outcome.terminated, outcome.truncated) == (ends == "terminated", ends == "truncated")
    assert steps == 2 or ends == "terminated"
    game.close()


def test_a_defeat_in_the_last_step_allowed_is_a_termination():
    game = smac(limit=200)
    game.reset(1)
    steps = 1 + next(t for t in range(200) if game.step(idle(game)).terminated)
    game.close()
    game = smac(limit=steps)
    game.reset(1)
    last = [game.step(idle(game)) for _ in range(steps)][-1]
    assert last.terminated and not last.truncated
    game.close()


@pytest.mark.parametrize("game", [smac, smacv2], indirect=True)
def test_dead_agents_observe_zeros_and_do_nothing(game):
    views = [view for _, view in play(game, 5, 200, np.random.default_rng(1))]
    dead = [(view, i) for view in views for i in range(len(view.obs)) if not view.alive[i]]
    assert len(dead) > 20
    for view, i in dead:
        assert not view.obs[i].any() and view.action_mask[i].tolist() == [True] + [False] * (
            len(view.action_mask[i]) - 1
        )
    assert all(not view.action_mask[i][0] for view in views for i in range(len(view.obs)) if view.alive[i])


def test_an_agents_own_state_is_the_common_one_and_its_observation():
    shared = smac()
    own = smac(agent_state=True)
    views = []
    for game in (shared, own):
        game.reset(2)
        views.append(look(game))
        game.close()
    assert own.spec.state_agents == 3 and own.spec.state_size == shared.spec.state_size + shared.spec.obs_sizes[0]
    for i, row in enumerate(views[1].state):
        assert np.array_equal(row, np.concatenate((views[0].state[0], views[0].obs[i])))


@pytest.mark.parametrize("crash_at", [2, 40])
def test_a_crash_truncates_and_the_next_battle_has_one_new_game(crash_at):
    game = smac(crash_at={crash_at})
    rng = np.random.default_rng(2)
    game.reset(0)
    for t in range(1, 60):
        before = look(game)
        outcome = game.step(random_actions(game.spec, before, rng))
        assert outcome.metrics["crashed"] == (t == crash_at)
        if t == crash_at:
            assert outcome.truncated and not outcome.terminated and outcome.reward == [0.0]
            assert same(look(game), before)  # the last thing known
        if outcome.terminated or outcome.truncated:
            game.reset(t)
            assert len(LIVE) == 1
    game.close()


@pytest.mark.parametrize("make", [smac, smacv2])
def test_equal_seeds_repeat(make):
    histories = []
    for seed in (4, 4, 5):
        game = make()
        histories.append(play(game, seed, 60, np.random.default_rng(0)))
        game.close()
    views = [[view for _, view in history] for history in histories]
    assert all(same(a, b) for a, b in zip(views[0], views[1]))
    assert not all(same(a, b) for a, b in zip(views[0], views[2]))


def test_every_generator_of_smacv2_is_seeded():
    game = smacv2()
    game.reset(9)
    drawn = game._env.env_key_to_distribution_map["start_positions"]
    assert isinstance(drawn, FakeDistribution)
    states = []
    for seed in (1, 1, 2):
        starcraft.seed_generators(game._env, seed)
        states.append([drawn.generate()["start"] for _ in range(3)])
    assert states[0] == states[1] != states[2]
    numbers = [
        part.rng.bit_generator.state["state"]["state"]
        for part in (drawn, drawn.reflect_distribution, drawn.reflect_distribution.reflect_distribution)
    ]
    assert len(set(numbers)) == 3
    game.close()


def test_replays_are_saved_when_asked_for():
    for wanted in (False, True):
        game = smac(save_replays=wanted)
        game.close()  # no game, no replay
        game.reset(11)
        game.close()
        assert game._env.replays == ([("folder", "map_11")] if wanted else [])


def test_a_battle_cannot_be_saved():
    assert smac().save() is None


def put_package(monkeypatch, path, *folders):
    for folder in folders:
        (path / folder).mkdir(parents=True)
        (path / folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(path))


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SC2PATH", str(tmp_path / "game"))
    monkeypatch.setattr(starcraft.sys, "platform", "linux")
    with pytest.raises(MissingSimulator, match="oxwhirl/smacv2.git"):
        starcraft.check_installed("smacv2/zerg_5_vs_5", "smacv2", "10gen_zerg")
    with pytest.raises(MissingSimulator, match=r"task=smac/3m .*oxwhirl/smac.git .*hyper-parameter optimizer"):
        starcraft.check_installed("smac/3m", "smac", "3m")
    put_package(monkeypatch, tmp_path / "other", "smac")
    with pytest.raises(MissingSimulator, match="the `smac` installed here is another project"):
        starcraft.check_installed("smac/3m", "smac", "3m")
    put_package(monkeypatch, tmp_path / "right", "smac", "smac/env")
    with pytest.raises(MissingSimulator, match="SC2PATH"):
        starcraft.check_installed("smac/3m", "smac", "3m")
    maps = tmp_path / "game" / "Maps" / "SMAC_Maps"
    maps.mkdir(parents=True)
    with pytest.raises(MissingSimulator, match="3m.SC2Map"):
        starcraft.check_installed("smac/3m", "smac", "3m")
    (maps / "3m.SC2Map").touch()
    starcraft.check_installed("smac/3m", "smac", "3m")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Packages `smac` and `smacv2` that play the stand-ins, and an empty map of each, as if the game were there."""
    tests = str(ROOT / "tests")
    put_package(monkeypatch, tmp_path / "packages", "smac", "smac/env", "smacv2", "smacv2/env", "smacv2/env/starcraft2")
    for module, name in (
        ("smac/env/__init__", "StarCraft2Env"),
        ("smacv2/env/starcraft2/wrapper", "StarCraftCapabilityEnvWrapper"),
    ):
        code = f"import sys; sys.path.append({tests!r})\nfrom support.fake_starcraft import Fake{name} as {name}\n"
        (tmp_path / "packages" / (module + ".py")).write_text(code)
    maps = tmp_path / "game" / "Maps" / "SMAC_Maps"
    maps.mkdir(parents=True)
    for name in ("3m", "10gen_zerg"):
        (maps / (name + ".SC2Map")).touch()
    monkeypatch.setenv("SC2PATH", str(tmp_path / "game"))
    monkeypatch.setattr(starcraft.sys, "platform", "linux")


@pytest.mark.parametrize(
    "task, words, agents, state", [("smac/3m", ["task.state=agent"], 3, 18 + 11), ("smacv2/zerg_10_vs_11", [], 10, 63)]
)
def test_a_run_trains_in_worker_processes(task, words, agents, state, installed, settings, tmp_path):
    run = settings(
        task, "num_envs=2", "total_steps=20", "algo.rollout_length=5", "algo.hidden=[8]", "task.workers=1", *words
    )
    trainer = Trainer(run)
    spec = trainer.env.spec
    assert spec.num_agents == agents and spec.state_size == state and spec.metrics == ("success", "crashed")
    trainer.train(tmp_path)
    again = Trainer(run, checkpoint.load(tmp_path / "checkpoints" / "latest.pt"))
    assert again.steps == 20 and not again.step.done.any()  # a battle cannot be saved: new ones begin
    for one in (trainer, again):
        one.env.close()


def test_the_contract_is_kept_in_worker_processes(installed):
    cfg = Smacv2Cfg(name="smacv2/zerg_10_vs_11", workers=2)
    check_env(lambda: cfg.make(3, torch.device("cpu"), "auto"), steps=40)


def test_wrong_settings_are_named():
    for values, text in (
        ({"state": "both"}, "task.state=both; possible: environment, agent"),
        ({"reward": "shaped"}, "possible: dense, sparse"),
        ({"difficulty": "77"}, "task.difficulty=77"),
    ):
        with pytest.raises(ValueError, match=text):
            SmacCfg(name="smac/3m", **values).game()


def test_without_the_game_one_line_says_what_to_install(tmp_path):
    result = run_command("train.py", "task=smac/3m", cwd=tmp_path, SC2PATH=str(tmp_path))
    if find_spec("smac"):
        pytest.skip("smac is installed here")
    assert result.returncode != 0 and not list(tmp_path.glob("runs/*"))
    assert len(result.stderr.strip().splitlines()) == 1 and "oxwhirl/smac.git" in result.stderr
