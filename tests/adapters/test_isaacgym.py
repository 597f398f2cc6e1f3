"""The Isaac Gym adapter, on a fake that resets late and has one flag for time limits and failures, in one process."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from harl_isaac.adapters import in_process as process
from harl_isaac.adapters.in_process import IsolatedRng
from harl_isaac.adapters.isaacgym.env import IsaacGymCfg
from harl_isaac.adapters.isaacgym.simulation import ordered_groups
from harl_isaac.algos.happo import HappoCfg
from harl_isaac.buffers.replay import Replay, explore
from harl_isaac.buffers.rollout import collect
from harl_isaac.check_env import check_env
from harl_isaac.cli.entry import named_task
from harl_isaac.env import Box, MissingSimulator
from harl_isaac.training.evaluation import evaluate_policy
from harl_isaac.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]
FAKE = ROOT / "tests" / "support" / "fake_isaacgym"
CPU = torch.device("cpu")
ENVS = 5


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    """The fake packages installed, with isaacgym imported before torch, and no simulation in this process yet."""
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setitem(sys.modules, "isaacgym", ModuleType("isaacgym"))
    monkeypatch.setattr(process, "_running", [])
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "bidexhands"]:
        del sys.modules[name]


def make_env(num_envs=ENVS, **settings):
    process._running.clear()
    return IsaacGymCfg(**settings).make(num_envs, CPU, "auto")


def row(obs):
    """(env, episode, progress), the first numbers of an observation or state."""
    return [round(100 * x) for x in obs[:3].tolist()]


def literal(env, steps, limit=6):
    """(episode, progress after the step, fell, timed out) of one environment's steps, by counting."""
    episode = 1
    progress = 0
    for _ in range(steps):
        progress += 1
        timed_out = progress >= limit
        fell = episode % 2 == 0 and progress >= 2 + env % 5
        yield episode, progress, fell and not timed_out, timed_out
        if fell or timed_out:
            episode += 1
            progress = 0


def test_sizes_are_the_simulation_s():
    spec = make_env().spec
    assert (
        spec.agents == ("right hand", "left hand")
        and spec.obs_sizes == (211, 211)
        and spec.actions == (Box(20), Box(20))
    )
    assert (spec.state_size, spec.state_agents, spec.reward_agents, spec.max_episode_steps) == (398, 1, 1, 6)
    assert make_env(name="isaacgym/ShadowHandPen").spec.actions == (Box(26), Box(26))
    fingers = make_env(agents="fingers").spec
    assert len(fingers.agents) == 12 and fingers.agents[:2] == ("right palm", "right FF")
    assert [space.size for space in fingers.actions] == [2, 3, 3, 3, 4, 5] * 2


@pytest.mark.parametrize("agents", ["hands", "fingers"])
def test_the_contract_holds(agents):
    check_env(lambda: make_env(agents=agents), steps=60)


def test_no_step_joins_two_episodes_and_ends_are_told_apart():
    env = make_env()
    step = env.reset(0)
    expected = [list(literal(e, 40)) for e in range(ENVS)]
    begun = [True] * ENVS
    ends = set()
    for t in range(40):
        before = step
        step = env.step((torch.rand(ENVS, 20), torch.rand(ENVS, 20)))
        for e in range(ENVS):
            episode, progress, fell, timed_out = expected[e][t]
            state = before.state[e, 0]
            assert not state.any() if begun[e] else row(state) == [e, episode, progress - 1]
            for obs in (step.next_state[e, 0], step.next_obs[0][e], step.next_obs[1][e], step.next_obs[0][e, 187:]):
                assert row(obs) == [e, episode, progress]  # the true last observations too
            assert (bool(step.terminated[e]), bool(step.truncated[e])) == (fell, timed_out)
            assert step.reward[e, 0] == pytest.approx(progress + float(step.next_state[e, 0, 3]), abs=1e-5)
            assert step.metrics["success"][e] == float(progress >= 4)
            begun[e] = fell or timed_out
            ends.add((fell, timed_out))
    assert ends == {(False, False), (True, False), (False, True)}


def test_the_blind_first_step_is_the_only_row_of_zeros():
    """In rollout and replay: as many rows of zeros as episodes begun, none that shows an ended episode."""
    env = make_env()
    learner = HappoCfg(rollout_length=40, hidden=[8]).learner(env.spec, 0)
    collect(env, learner.actors, learner.rollout, env.reset(0))
    rollout = learner.rollout
    done = rollout.terminated | rollout.truncated
    after_end = torch.cat((torch.ones_like(done[:1]), done[:-1]))[..., 0]
    assert torch.equal(~rollout.state[:, :, 0].any(2), after_end)
    assert torch.equal(~rollout.obs.flatten(2).any(2), after_end)
    assert all(torch.isfinite(value) for value in learner.update(0.0).values())
    replay = Replay(env.spec, ENVS * 40)
    explore(env, lambda step: torch.rand(ENVS, 2, 20), replay, env.reset(1), 40)
    age = torch.arange(40).repeat_interleave(ENVS)
    batch = replay.n_step_batch(age, torch.arange(ENVS).repeat(40), 1, 0.9)
    lives = batch.discount[:, 0] > 0
    blind = ~batch.state.any(1)
    assert blind.any() and batch.valid.all()
    same = (batch.state[:, :2] - batch.next_state[:, :2]).abs().amax(1) < 1e-6
    one_on = (batch.next_state[:, 2] - batch.state[:, 2] - 0.01).abs() < 1e-6
    assert (same & one_on)[lives & ~blind].all() and (batch.next_state[lives & blind, 2] - 0.01).abs().max() < 1e-6


def test_seeds_begin_alike_and_leave_the_policies_random_numbers_alone():
    actions = (torch.zeros(ENVS, 20), torch.zeros(ENVS, 20))
    env = make_env()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    env.reset(7)
    first = env.step(actions).next_state[:, 0, 3].clone()
    assert torch.equal(torch.rand(4), expected)
    env.reset(8)
    other = env.step(actions).next_state[:, 0, 3].clone()
    env.reset(7)
    assert torch.equal(env.step(actions).next_state[:, 0, 3], first) and not torch.equal(first, other)


def test_isolated_random_numbers_continue_where_they_stopped():
    rng = IsolatedRng(CPU)
    rng.seed(5)
    with rng:
        first = torch.rand(3)
    torch.rand(2)
    with rng:
        second = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(torch.cat((first, second)), torch.rand(6))


@pytest.mark.parametrize("when", [2, 6])
def test_a_simulation_that_blows_up_ends_its_episode_and_begins_another(when):
    """As a failure, also in the step in which its time is over."""
    env = make_env()
    env.reset(0)
    actions = (torch.zeros(ENVS, 20), torch.zeros(ENVS, 20))
    for _ in range(when - 1):
        env.step(actions)
    env.task.blow_up[2] = True
    step = env.step(actions)
    env.task.blow_up[2] = False
    assert step.terminated.tolist() == [False, False, True, False, False] == [bool(x) for x in step.metrics["diverged"]]
    assert step.truncated.tolist() == [when == 6, when == 6, False, when == 6, when == 6]
    assert torch.isfinite(step.next_state).all() and not step.next_state[2].any() and step.reward[2] == 0.0
    assert row(env.step(actions).next_state[2, 0]) == [2, 2, 1]


def test_settings_reach_the_simulation_and_nothing_of_it_stays_behind(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "task=isaacgym/ShadowHandOver"])
    before = os.getcwd()
    env = make_env(episode_length=9, options={"env": {"startNoise": 0.5}, "sim": {"substeps": 4}})
    assert env.spec.max_episode_steps == 9 and env.task.cfg["env"]["startNoise"] == 0.5
    assert env.task.sim_params.substeps == 4 and env.task.headless
    assert os.getcwd() == before and sys.argv == ["train.py", "task=isaacgym/ShadowHandOver"]


@pytest.mark.parametrize(
    "settings, expected", [({}, (0, -1)), ({"headless": False}, (0, 0)), ({"graphics_device": 2}, (0, 2))]
)
def test_nothing_draws_unless_asked_for(settings, expected):
    make_env(**settings)
    from bidexhands.tasks.hand_base.base_task import CREATED, BaseTask

    assert CREATED[-1] == expected and BaseTask.create_sim.__qualname__ == "FakeBaseTask.create_sim"


MISTAKES = {
    "task=isaacgym/ShadowHandOvr is unknown .* possible: ShadowHandOver, ShadowHandPen": {
        "name": "isaacgym/ShadowHandOvr"
    },
    "not the Allegro hand": {"name": "isaacgym/AllegroHandOver"},
    "in this order": {"agents": "FF+MF,palm+RF+LF+TH"},
    r"agents=\[\[1,0\],\[2,3,4,5\]\]": {"agents": "[[1,0],[2,3,4,5]]"},
    "task.options.env.startNois is unknown; possible: .*startNoise": {"options": {"env": {"startNois": 1}}},
    "could not make .* graphics device 99": {"graphics_device": 99},
}


@pytest.mark.parametrize("message", sorted(MISTAKES))
def test_a_mistake_is_named(message):
    with pytest.raises(ValueError, match=message):
        make_env(**MISTAKES[message])


def test_groups_of_fingers():
    assert (
        ordered_groups("[[0, 1, 2], [3, 4, 5]]")
        == ordered_groups("palm+FF+MF,RF+LF+TH")
        == [("palm", "FF", "MF"), ("RF", "LF", "TH")]
    )
    assert make_env(agents="palm+FF+MF,RF+LF+TH").spec.agents[2] == "left palm+FF+MF"


def test_a_process_has_one_simulation():
    make_env()
    with pytest.raises(ValueError, match="has a simulation already .task=isaacgym/ShadowHandOver."):
        IsaacGymCfg().make(2, CPU, "auto")


def test_without_isaac_gym_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "isaacgym", None)
    with pytest.raises(MissingSimulator, match="Isaac Gym Preview 4 .*DexterousHands"):
        make_env()


def test_importing_it_after_torch_is_explained(monkeypatch):
    monkeypatch.delitem(sys.modules, "isaacgym")
    with pytest.raises(ValueError, match="must be imported before torch"):
        make_env()


@pytest.mark.parametrize("algo", ["algo.recurrent=true", "algo=hasac"])
def test_training_evaluates_on_its_own_simulation_and_goes_on_with_new_episodes(settings, tmp_path, algo):
    small = [] if "hasac" in algo else ["algo.rollout_length=10", "algo.hidden=[8]"]
    cfg = settings("isaacgym/ShadowHandOver", "total_steps=90", "eval.interval=1", algo, *small)
    trainer = Trainer(cfg)
    shown = []
    evaluated = trainer.evaluate

    def watched():
        shown.append(trainer.step)
        evaluated()
        assert trainer.eval_env is trainer.env and not trainer.step.state.any() and not trainer.stats.running.any()

    trainer.evaluate = watched
    trainer.train(tmp_path)
    assert shown and (tmp_path / "eval.csv").is_file()
    process._running.clear()
    again = Trainer(cfg)
    again.load_state_dict(torch.load(tmp_path / "checkpoints" / "latest.pt", weights_only=True))
    assert not again.step.state.any() and again.steps == trainer.steps
    again.iterate()


def test_evaluation_counts_whole_episodes():
    env = make_env()
    learner = HappoCfg(rollout_length=5, hidden=[8]).learner(env.spec, 0)
    result = evaluate_policy(env, learner.actors, 2 * ENVS, seed=1)
    assert set(result.values) == {"return", "length", "diverged", "success", "consecutive_successes"}
    assert sorted(result.values["length"].tolist()) == sorted(
        progress
        for e in range(ENVS)
        for episode, progress, fell, timed_out in literal(e, 12)
        if (fell or timed_out) and episode <= 2
    )


def execute(script, *words, cwd):
    path = os.pathsep.join([str(FAKE), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, str(ROOT / script), *words],
        cwd=str(cwd),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=120,
    )


def test_every_entry_imports_isaac_gym_before_torch(tmp_path):
    """The fake refuses to come second, as the real one does."""
    small = [
        "num_envs=4",
        "device=cpu",
        "algo.rollout_length=3",
        "algo.hidden=[8]",
        "eval.episodes=2",
        "eval.interval=2",
        "task.options.env.startNoise=0.5",
    ]
    trained = execute("train.py", "task=isaacgym/ShadowHandOver", "total_steps=24", *small, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    run = next(tmp_path.glob("runs/isaacgym/ShadowHandOver/happo/*"))
    resumed = execute("train.py", f"resume={run}", "total_steps=36", cwd=tmp_path)
    assert resumed.returncode == 0 and "36 steps" in resumed.stdout, resumed.stderr
    assert "startNoise: 0.5" in (run / "config.yaml").read_text()
    latest = run / "checkpoints" / "latest.pt"
    evaluated = execute("scripts/evaluate.py", f"run={latest}", "episodes=4", "num_envs=2", "device=cpu", cwd=tmp_path)
    assert evaluated.returncode == 0 and "success" in evaluated.stdout, evaluated.stderr
    played = execute("scripts/play.py", f"run={run}", cwd=tmp_path)
    assert played.returncode == 2 and "no picture" in played.stderr


def test_the_task_is_known_before_torch_is(tmp_path):
    (tmp_path / "config.yaml").write_text("task: {name: isaacgym/ShadowHandPen}")
    assert named_task(["task=isaacgym/A", "seed=1"]) == "isaacgym/A"
    assert (
        named_task([f"resume={tmp_path}"])
        == named_task([f"run={tmp_path}/checkpoints/best.pt"])
        == "isaacgym/ShadowHandPen"
    )
    assert named_task(["experiment=isaacgym/Over/happo"]) == "isaacgym/Over/happo" and named_task(["-h"]) == ""
    code = "import sys, harl_isaac.cli.entry; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
