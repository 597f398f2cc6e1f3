"""The Isaac Lab adapter, on a fake that resets within the step, returns its own buffers and has spaces of all kinds;
and, where it can be downloaded, on Isaac Lab's own base classes with everything beneath them faked."""

import sys
from pathlib import Path

import pytest
import torch
from support import isaaclab_sources

pytest.importorskip("gymnasium")

import gymnasium

from harl_isaac.adapters import in_process as process
from harl_isaac.adapters.isaaclab.env import IsaacLabCfg
from harl_isaac.adapters.isaaclab.spaces import ActionConverter, flat_size
from harl_isaac.check_env import check_env
from harl_isaac.env import Box, Discrete, MissingSimulator, MultiDiscrete
from harl_isaac.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]
FAKE = ROOT / "tests" / "support" / "fake_isaaclab"
CPU = torch.device("cpu")
ENVS = 5
ALONE = "isaaclab/Isaac-Alone-Direct-v0"


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    """The fake packages installed, nothing of them imported, and no simulation in this process yet."""
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setattr(process, "_running", [])
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in ("isaaclab", "isaaclab_tasks")]:
        del sys.modules[name]


def make_env(num_envs=ENVS, **settings):
    process._running.clear()
    return IsaacLabCfg(**settings).make(num_envs, CPU, "auto")


def literal(env, steps, limit=6):
    """(episode, step, fell, timed out) after each of one environment's steps, by counting."""
    episode = 1
    count = 0
    for _ in range(steps):
        count += 1
        fell = episode % 2 == 0 and count >= 2 + env % 5
        timed_out = count >= limit
        yield episode, count, fell, timed_out and not fell
        if fell or timed_out:
            episode += 1
            count = 0


def actions(env):
    return tuple(
        torch.rand(ENVS, space.size) if isinstance(space, Box) else torch.randint(space.n, (ENVS, 1))
        for space in env.spec.actions
    )


def check_against_counting(env, steps=40):
    """Every Step's observations, successors and ends; agent 0 observes [env, episode, step, position, 0]."""
    step = env.reset(0)
    ends = set()
    expected = [list(literal(e, steps)) for e in range(ENVS)]
    for t in range(steps):
        step = env.step(actions(env))
        for e in range(ENVS):
            episode, count, fell, timed_out = expected[e][t]
            ended = fell or timed_out
            assert step.next_obs[0][e, :3].tolist() == [e, episode, count] == step.next_state[e, 0, :3].tolist()
            assert (bool(step.terminated[e]), bool(step.truncated[e])) == (fell, timed_out)
            begun = [e, episode + 1, 0] if ended else [e, episode, count]
            assert step.obs[0][e, :3].tolist() == begun == step.state[e, 0, :3].tolist()
            assert torch.equal(step.obs[0][e] == step.next_obs[0][e], torch.ones(5).bool()) == (not ended)
            ends.add((fell, timed_out))
    assert ends == {(False, False), (True, False), (False, True)}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"name": ALONE},
        {"options": {"state_space": 4}},
        {"options": {"state_space": -1}},
        {"name": ALONE, "options": {"state_space": 4}},
    ],
)
def test_steps_equal_counting(settings):
    check_against_counting(make_env(**settings))


@pytest.mark.parametrize("settings", [{}, {"name": ALONE}, {"team_reward": False}, {"true_successors": False}])
def test_the_contract_holds(settings):
    check_env(lambda: make_env(**settings), steps=60)


def test_sizes_are_the_task_s():
    spec = make_env().spec
    assert spec.agents == ("near", "far") and spec.obs_sizes == (5, 3) and spec.actions == (Box(2), Discrete(4))
    assert (spec.state_size, spec.state_agents, spec.reward_agents, spec.max_episode_steps) == (8, 1, 1, 7)
    assert make_env(options={"state_space": 4}).spec.state_size == 4
    assert make_env(options={"state_space": -1}).spec.state_size == 8
    alone = make_env(name=ALONE).spec
    assert (
        alone.agents == ("agent",) and alone.obs_sizes == (5,) and alone.actions == (Box(3),) and alone.state_size == 5
    )
    assert make_env(name=ALONE, options={"state_space": 4}).spec.state_size == 4


def test_without_asking_again_the_observation_before_the_action_replaces_the_last_one():
    env = make_env(true_successors=False)
    step = env.reset(0)
    asked = env.env.asked
    ended = False
    for _ in range(12):
        before = step
        step = env.step(actions(env))
        done = step.done
        ended = ended or bool(done.any())
        assert torch.equal(step.next_obs[1][done], before.obs[1][done])
        assert torch.equal(step.next_state[done], before.state[done])
        assert torch.equal(step.next_obs[1][~done], step.obs[1][~done])
    assert ended and env.env.asked == asked + 12


def test_it_asks_again_only_in_steps_where_an_episode_ends():
    env = make_env()
    env.reset(0)
    before = env.env.asked
    ends = sum(bool(env.step(actions(env)).done.any()) for _ in range(12))
    assert 0 < ends < 12 and env.env.asked == before + 12 + ends


def test_what_was_returned_does_not_change_with_the_next_step():
    env = make_env()
    step = env.step(actions(env)) if env.reset(0) else None
    kept = [value.clone() for value in (*step.obs, step.state, step.reward, step.terminated, step.truncated)]
    env.step(actions(env))
    assert all(
        torch.equal(a, b) for a, b in zip(kept, (*step.obs, step.state, step.reward, step.terminated, step.truncated))
    )


def test_rewards_are_the_team_s_mean_or_each_agent_s():
    team = make_env()
    own = make_env(team_reward=False)
    team.reset(3)
    own.reset(3)
    for _ in range(4):
        acts = actions(team)
        one = team.step(acts)
        each = own.step(acts)
        torch.testing.assert_close(one.reward, each.reward.mean(1, keepdim=True))
        assert each.reward.shape == (ENVS, 2) and not torch.equal(each.reward[:, 0], each.reward[:, 1])


def test_an_episode_goes_on_until_all_its_agents_ended():
    """Isaac Lab resets where all terminated; one agent alone that did ends nothing."""
    check_a_lonely_end(make_env(options={"only_near_falls": True}))


def check_a_lonely_end(env):
    env.reset(0)
    counts = []
    for _ in range(13):
        step = env.step(actions(env))
        counts.append(step.next_obs[0][:, 2].clone())
        fell = step.terminated
        assert not fell[1:].any()
    assert torch.stack(counts).amax(0).tolist() == [6.0] * ENVS


def test_a_simulation_that_blows_up_ends_its_episode_and_begins_another():
    env = make_env(options={"state_space": 4})
    env.reset(0)
    env.step(actions(env))
    env.env.blow_up[2] = True
    step = env.step(actions(env))
    env.env.blow_up[2] = False
    assert step.terminated.tolist() == [False, False, True, False, False] == [bool(x) for x in step.metrics["diverged"]]
    for value in (*step.obs, *step.next_obs, step.state, step.next_state, step.reward):
        assert torch.isfinite(value).all() and not value[2].any()
    step = env.step(actions(env))
    assert step.done.tolist() == [False, False, True, False, False] and step.obs[0][2, :3].tolist() == [2.0, 2.0, 0.0]


def box(low, high, shape=None):
    import numpy as np

    return gymnasium.spaces.Box(np.float32(low), np.float32(high), shape)


def test_actions_are_within_the_task_s_bounds():
    inf = float("inf")
    free = ActionConverter("a", box(-inf, inf, (3,)), 1.5, CPU)
    assert free.space == Box(3, -1.5, 1.5) and torch.equal(free(torch.ones(2, 3)), torch.ones(2, 3))
    same = ActionConverter("a", box(-2.0, 3.0, (2,)), 1.0, CPU)
    assert same.space == Box(2, -2.0, 3.0) and torch.equal(same(torch.full((1, 2), 3.0)), torch.full((1, 2), 3.0))
    each = ActionConverter("a", box([-2.0, 0.0, -inf], [2.0, 1.0, inf]), 1.0, CPU)
    assert each.space == Box(3)
    assert each(torch.tensor([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]])).tolist() == [[2.0, 1.0, 1.0], [-2.0, 0.0, -1.0]]
    assert ActionConverter("a", box(-1.0, 1.0, (2, 2)), 1.0, CPU)(torch.zeros(5, 4)).shape == (5, 2, 2)
    choice = ActionConverter("a", gymnasium.spaces.Discrete(3), 1.0, CPU)
    assert choice.space == Discrete(3) and choice(torch.ones(4, 1, dtype=torch.long)).dtype == torch.long
    assert ActionConverter("a", gymnasium.spaces.MultiDiscrete([2, 5]), 1.0, CPU).space == MultiDiscrete((2, 5))
    with pytest.raises(ValueError, match="a acts by Dict.*possible: Box"):
        ActionConverter("a", gymnasium.spaces.Dict({"x": choice_space()}), 1.0, CPU)
    with pytest.raises(ValueError, match="a is seen as Discrete"):
        flat_size("a", choice_space())
    assert flat_size("a", box(0.0, 1.0, (4, 5))) == 20


def choice_space():
    return gymnasium.spaces.Discrete(3)


def test_the_app_starts_first_and_reads_nothing_of_the_command_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "task=isaaclab/x"])
    make_env(headless=False, cameras=True)
    from isaaclab.app import STARTED

    assert STARTED == [{"headless": False, "enable_cameras": True, "device": "cpu"}]
    assert sys.argv == ["train.py", "task=isaaclab/x"]


def test_the_run_s_seed_is_there_while_it_is_built(settings):
    """What is drawn then, such as a terrain, repeats for a run's seed, and a seed of one's own goes before it."""
    drawn = {}
    for name, words in {"one": [], "again": [], "other": ["seed=5"], "own": ["+task.options={seed: 7}"]}.items():
        process._running.clear()
        run = Trainer(settings("isaaclab/Isaac-Shadow-Hand-Over-Direct-v0", *words))
        drawn[name] = (run.env.env.cfg.seed, run.env.env.terrain)
    assert drawn["one"] == drawn["again"] and drawn["one"][0] == 1
    assert drawn["other"][0] == 5 and drawn["other"][1] != drawn["one"][1] and drawn["own"][0] == 7


MISTAKES = {
    "is not registered by isaaclab_tasks; did you mean Isaac-Shadow-Hand-Over-Direct-v0": {
        "name": "isaaclab/Isaac-ShadowHand-Over-Direct-v0"
    },
    "task.options=.*color.* do not fit FakeCfg": {"options": {"color": 1}},
}


@pytest.mark.parametrize("message", sorted(MISTAKES))
def test_a_mistake_is_named(message):
    with pytest.raises(ValueError, match=message):
        make_env(**MISTAKES[message])


def test_without_isaac_lab_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "isaaclab", None)
    with pytest.raises(MissingSimulator, match="needs Isaac Sim and Isaac Lab .*docs/isaaclab.md"):
        make_env()


def test_a_process_has_one_simulation():
    make_env()
    with pytest.raises(ValueError, match="has a simulation already"):
        IsaacLabCfg().make(2, CPU, "auto")


def test_seeding_it_leaves_the_policies_random_numbers_alone():
    env = make_env()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    first = env.reset(7).obs[0].clone()
    assert torch.equal(torch.rand(4), expected)
    other = env.reset(8).obs[0].clone()
    again = env.reset(7).obs[0]
    assert torch.equal(again[:, 3], first[:, 3]) and not torch.equal(other[:, 3], first[:, 3])


@pytest.mark.parametrize("algo", ["algo.recurrent=true", "algo=hasac"])
def test_training_evaluates_on_its_own_simulation_and_resumes_with_new_episodes(settings, tmp_path, algo):
    small = [] if "hasac" in algo else ["algo.rollout_length=10", "algo.hidden=[8]"]
    cfg = settings("isaaclab/Isaac-Shadow-Hand-Over-Direct-v0", "total_steps=90", "eval.interval=1", algo, *small)
    trainer = Trainer(cfg)
    trainer.train(tmp_path)
    assert (
        trainer.eval_env is trainer.env and not trainer.step.obs[0][:, 2].any()
    )  # the last evaluation ended, new ones begin
    process._running.clear()
    again = Trainer(cfg)
    again.load_state_dict(torch.load(tmp_path / "checkpoints" / "latest.pt", weights_only=True))
    assert not again.step.obs[0][:, 2].any() and again.steps == trainer.steps
    again.iterate()


@pytest.fixture(scope="module")
def envs(tmp_path_factory):
    return isaaclab_sources.downloaded(tmp_path_factory.mktemp("isaaclab"))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"options": {"state_space": 4}},
        {"options": {"state_space": -1}},
        {"name": ALONE},
        {"name": ALONE, "options": {"state_space": 4}},
        {"options": {"only_near_falls": True}},
    ],
)
def test_steps_of_isaac_lab_s_own_classes_equal_counting(envs, monkeypatch, settings):
    """Their reset, step, state and spaces, with the fake of this folder in place of a simulator."""
    import isaaclab.app

    monkeypatch.setattr(isaaclab.app, "STARTED", [{}])
    many, one = isaaclab_sources.classes(monkeypatch, envs)
    monkeypatch.setattr(sys.modules["isaaclab.envs"], "FakeDirectMARLEnv", many, raising=False)
    monkeypatch.setattr(sys.modules["isaaclab.envs"], "FakeDirectRLEnv", one, raising=False)
    import isaaclab_tasks.utils

    assert issubclass(isaaclab_tasks.FakeManyEnv, many) and issubclass(isaaclab_tasks.FakeOneEnv, one)
    parse = isaaclab_tasks.utils.parse_env_cfg
    monkeypatch.setattr(
        isaaclab_tasks.utils, "parse_env_cfg", lambda *args, **words: isaaclab_sources.complete(parse(*args, **words))
    )
    if "only_near_falls" in settings.get("options", {}):
        check_a_lonely_end(make_env(**settings))
    else:
        check_against_counting(make_env(**settings))
