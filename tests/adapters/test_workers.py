"""Games in worker processes: equal to playing them one after the other; after a crash or the end nothing is left."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import worker_games as games
from support.playing import equal, fatal
from support.resuming import flat, same

from harl_isaac.adapters.workers.env import WorkerEnv
from harl_isaac.adapters.workers.game import GameView
from harl_isaac.check_env import _copy as tensors
from harl_isaac.check_env import check_env, random_actions
from harl_isaac.cli.train import STOPPED
from harl_isaac.env import MissingSimulator, SimulatorError
from harl_isaac.training import checkpoint
from harl_isaac.training.trainer import Trainer

CPU = torch.device("cpu")
TESTS = Path(__file__).resolve().parents[1]


def make(kind="Walk", num_envs=5, workers=2, settings=None, **how):
    return WorkerEnv("support.worker_games:" + kind, settings or {}, num_envs, CPU, workers, **how)


def play(env, steps, seed=3):
    """Copies of the Steps, and the actions between them, which are the same for every environment of this spec."""
    draw = torch.Generator().manual_seed(0)
    step = env.reset(seed)
    actions = []
    found = [tensors(step)]
    for _ in range(steps):
        actions.append(safe(random_actions(env.spec, step, draw)))
        step = env.step(actions[-1])
        found.append(tensors(step))
    return found, actions


def safe(actions):
    """Clamp the actions below the one that makes a game fall."""
    return (actions[0].clamp(max=2.0), actions[1])


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def gone(pid):
    """Whether a process has ended (one that waits for its parent to notice has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def pids(env):
    return [worker.process.pid for worker in env.workers]


@pytest.mark.parametrize("kind, workers", [("Walk", 2), ("WithoutSave", 2)])
def test_the_contract_is_kept(kind, workers):
    check_env(lambda: make(kind, workers=workers), steps=40)


def test_how_many_workers_play_changes_nothing():
    runs = [play(make(workers=workers), 20)[0] for workers in (1, 2, 3)]
    assert all(equal(one, other) for run in runs[1:] for one, other in zip(runs[0], run))
    other_seed = play(make(workers=1), 20, seed=4)[0]
    assert not equal(runs[0][0], other_seed[0])


class Literal:
    """One environment of WorkerEnv, in this process, from its definition."""

    def __init__(self, seeds):
        self.game = games.Walk()
        self.seeds = seeds
        self.begin()

    def begin(self):
        self.game.reset(int(self.seeds.pop(0)))

    def look(self):
        view = GameView(
            [np.full(3, 9.0), np.full(5, 9.0)],
            np.full((2, 4), 9.0),
            [np.ones(0, bool), np.zeros(5, bool)],
            np.zeros(2, bool),
        )
        self.game.look(view)
        return view

    def step(self, actions):
        outcome = self.game.step(actions)
        after = self.look()
        if outcome.terminated or outcome.truncated:
            self.begin()
        return self.look(), outcome, after


def test_every_number_is_the_games_own():
    env = make(num_envs=5, workers=2)
    found, actions = play(env, 25)
    again = make(num_envs=5, workers=1)
    seeds = [[] for _ in range(5)]
    again.reset(3)
    for t in range(26):  # the seeds of all episodes, in order
        for e in range(5):
            seeds[e] += [] if again.buffers.seed[e] in seeds[e] else [int(again.buffers.seed[e])]
        if t < 25:
            again.step(actions[t])
    literal = [Literal(list(own)) for own in seeds]
    ended = 0
    for t in range(25):
        for e in range(5):
            now, outcome, after = literal[e].step([action[e].numpy() for action in actions[t]])
            expected = [
                *now.obs,
                *after.obs,
                now.state,
                after.state,
                outcome.reward,
                outcome.terminated,
                outcome.truncated,
                outcome.metrics["distance"],
                now.alive,
                *now.action_mask,
            ]
            for have, want in zip(found[t + 1], expected):
                np.testing.assert_array_equal(have[e].numpy(), np.asarray(want, have[e].numpy().dtype))
            ended += outcome.terminated or outcome.truncated
    assert ended > 10


def test_no_episode_of_a_run_shares_its_seed():
    env = make(num_envs=3, workers=1)
    seeds = []
    for run in (0, 1, 2):
        env.buffers.start_seeds(run)
        seeds += [env.buffers.next_seed(e) for _ in range(1000) for e in range(3)]
    assert len(set(seeds)) == len(seeds) and min(seeds) >= 0 and max(seeds) < 2**31
    assert np.std(seeds) > 0.25 * 2**31  # of evenly spread ones 0.289


def test_a_step_belongs_to_its_reader_until_the_next():
    env = make()
    step = env.reset(1)
    kept = tensors(step)
    env.buffers.views[:] = 7.0  # what a worker does while nobody waits for it
    assert equal(kept, tensors(step))


def test_a_saved_environment_goes_on_exactly_with_other_workers():
    one = make(workers=2)
    play(one, 9)
    saved = one.state_dict()
    assert all(value.dtype == torch.uint8 for value in saved["games"])
    other = make(workers=3)
    assert other.load_state_dict(saved) is None
    draw = torch.Generator().manual_seed(1)
    step = one.results.step
    for _ in range(12):
        actions = safe(random_actions(one.spec, step, draw))
        step = one.step(actions)
        twin = other.step(actions)
        assert equal(tensors(step), tensors(twin))


def test_games_that_cannot_be_saved_begin_new_episodes():
    env = make("WithoutSave")
    play(env, 9)
    saved = env.state_dict()
    seeds = set(env.buffers.seed.tolist())
    begun = make("WithoutSave")
    step = begun.load_state_dict(saved)
    assert saved["games"] is None and not step.done.any() and equal(step.obs, step.next_obs)
    assert (step.obs[0][:, 1] == 0.0).all() and not seeds & set(begun.buffers.seed.tolist())


CRASHES = {
    "raise": r"environment 1 failed in a step, in the episode of seed SEED:\nTraceback(.|\n)*self.fall\(\)(.|\n)*"
    r"RuntimeError: the game fell over$",
    "exit": r"environment 1 failed in the episode of seed SEED: worker process \d+ \(environments 0 to 1\) ended by "
    r"itself with exit code 3$",
    "leave": r"environment 1 failed in a step, in the episode of seed SEED:\nTraceback(.|\n)*SystemExit: 4$",
    "segfault": r"environment 1 failed .*ended by signal 11, SIGSEGV; its last output:\nFatal Python error: "
    r"Segmentation fault(.|\n)*worker_games.py\", line \d+ in fall",
    "hang": r"environment 1 failed .*: no answer in task.timeout=1 s: worker process \d+ .*therefore ended \(SIGKILL\)",
}


@pytest.mark.parametrize("what", CRASHES)
def test_a_crash_stops_with_its_own_description(what):
    env = make("Clumsy", settings={"what": what}, timeout=1.0)
    env.reset(3)
    env.step(fatal(env))
    mine = pids(env)
    seed = env.buffers.seed[1]
    with pytest.raises(SimulatorError, match=CRASHES[what].replace("SEED", str(seed))):
        env.step(fatal(env, 1))
    assert wait_for(lambda: all(map(gone, mine)))
    with pytest.raises(SimulatorError, match="environment 1 failed"):
        env.step(fatal(env))
    saved = env.state_dict()
    assert saved["games"] is None and make("Clumsy").load_state_dict(saved) is not None


def expect_episodes_lost(before, step, rows):
    """Check a crash as the learner observes it: truncation at the episode's last observation, without reward."""
    assert step.truncated[rows].all() and not step.terminated[rows].any() and not step.reward[rows].any()
    assert (step.metrics["restarts"][rows] == 1.0).all() and (
        step.metrics["distance"][rows] == before["distance"][rows]
    ).all()
    assert all(torch.equal(now[rows], then[rows]) for now, then in zip(step.next_obs, before["obs"]))
    assert torch.equal(step.next_state[rows], before["state"][rows])
    assert (step.obs[0][rows, 1] == 0.0).all()  # a new episode


@pytest.mark.parametrize(
    "what, rows", [("raise", [1]), ("leave", [1]), ("exit", [0, 1]), ("hang", [0, 1]), ("kill", [2, 3, 4])]
)
def test_a_crash_restarts_a_game_or_all_of_a_process(what, rows):
    env, twin = (make("Clumsy", settings={"what": what}, timeout=1.0, on_crash="restart") for _ in range(2))
    assert env.spec.metrics == ("distance", "restarts")
    for each in (env, twin):
        each.reset(3)
        step = each.step(fatal(each))
    before = {
        "obs": [obs.clone() for obs in step.obs],
        "state": step.state.clone(),
        **{name: value.clone() for name, value in step.metrics.items()},
    }
    mine = pids(env)
    seeds = set(env.buffers.seed.tolist())
    if what == "kill":
        os.kill(mine[1], signal.SIGKILL)
    step = env.step(fatal(env, *[] if what == "kill" else [1]))
    other = twin.step(fatal(twin))
    expect_episodes_lost(before, step, rows)
    rest = [e for e in range(5) if e not in rows]
    assert all(torch.equal(a[rest], b[rest]) for a, b in zip(tensors(step), tensors(other)))
    assert not step.metrics["restarts"][rest].any() and not seeds & {int(env.buffers.seed[e]) for e in rows}
    replaced = [now != then for now, then in zip(pids(env), mine)]
    assert replaced == {"raise": [False, False], "leave": [False, False], "kill": [False, True]}.get(
        what, [True, False]
    )
    after = env.step(fatal(env))
    assert not after.metrics["restarts"].any() and (after.obs[0][rows, 1] == 1.0).all()


@pytest.mark.parametrize("what", ["raise", "exit"])
def test_an_episode_that_is_lost_at_once_has_no_metrics(what):
    env = make("Clumsy", settings={"what": what}, workers=5, on_crash="restart")
    env.reset(3)
    step = env.step(fatal(env))
    while not step.done[1]:
        step = env.step(fatal(env))
    assert step.metrics["distance"][1] > 0.0
    step = env.step(fatal(env, 1))
    assert step.metrics["distance"][1] == 0.0 and step.metrics["restarts"][1] == 1.0 and step.truncated[1]


def test_a_worker_that_died_while_nobody_waited():
    env = make("Clumsy", on_crash="restart")
    env.reset(3)
    os.kill(pids(env)[0], signal.SIGKILL)
    wait_for(lambda: gone(pids(env)[0]))
    assert env.state_dict()["games"] is None
    step = env.reset(4)
    assert equal(step.obs, make("Clumsy").reset(4).obs) and not step.done.any()
    assert env.state_dict()["games"] is not None


def test_a_game_that_cannot_be_saved_today_ends_the_next_step():
    env = make("Clumsy", settings={"what": "save"})
    env.reset(3)
    assert env.state_dict()["games"] is None
    with pytest.raises(SimulatorError, match="being saved(.|\n)*cannot be saved today"):
        env.step(fatal(env))


@pytest.mark.parametrize("kind", ["Brittle", "Clumsy"])
def test_a_game_that_falls_over_at_once_again_is_not_restarted_for_ever(kind):
    env = make(kind, settings={"what": "exit"}, on_crash="restart")
    env.reset(3)
    with pytest.raises(SimulatorError, match="environment 0 failed"):
        for _ in range(2):
            env.step(fatal(env, 0))


@pytest.mark.parametrize(
    "error, kind, message",
    [
        ("missing", MissingSimulator, "^needs nothing; pip install nothing$"),
        ("wrong", ValueError, "^map=x; possible: y$"),
        ("broken", SimulatorError, "environment 0 failed being made:\nTraceback(.|\n)*KeyError: 'inside'"),
    ],
)
def test_errors_when_a_game_is_made(error, kind, message):
    with pytest.raises(kind, match=message):
        make("Missing", settings={"error": error})


def test_unlike_games_are_refused():
    with pytest.raises(ValueError, match="environment 1 is unlike environment 0"):
        make("Uneven", num_envs=2, workers=1)


@pytest.mark.parametrize(
    "settings, message",
    [({"on_crash": "ignore"}, "task.on_crash=ignore; possible: stop, restart"), ({"workers": -1}, "task.workers=-1")],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        games.WalkCfg(**settings).make(4, CPU, "auto")


def test_a_worker_imports_no_torch():
    code = "import harl_isaac.adapters.workers.child, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_forgotten_environment_ends_its_workers():
    env = make()
    mine = pids(env)
    del env
    assert all(map(gone, mine))


def trainer(settings, tmp_path, *words, **task):
    cfg = settings("MatrixGame", "num_envs=4", "total_steps=80", "algo.rollout_length=5", *words)
    return Trainer(replace(cfg, task=games.WalkCfg(workers=2, **task)))


@pytest.mark.parametrize("words", [["algo.recurrent=true", "algo.chunk_length=5"], ["algo=ippo"]])
def test_resuming_equals_continuing(settings, tmp_path, words):
    whole, half = (trainer(settings, tmp_path, "checkpoint.keep_every=2", *words) for _ in range(2))
    whole.train(tmp_path / "whole")
    half.load_state_dict(checkpoint.load(tmp_path / "whole" / "checkpoints" / "iteration_000002.pt"))
    half.train(tmp_path / "half")
    expected = flat(whole.state_dict())
    found = flat(half.state_dict())
    assert expected.keys() == found.keys() and [name for name in found if not same(expected[name], found[name])] == []


@pytest.mark.parametrize("kind", ["Walk", "WithoutSave"])
def test_a_crash_leaves_a_checkpoint_to_go_on_from(settings, tmp_path, kind):
    run = trainer(settings, tmp_path, "eval.interval=1", "eval.episodes=2", kind=kind)
    iterate = run.iterate

    def killed():
        if run.iteration == 2:
            os.kill(pids(run.env)[1], signal.SIGKILL)
        return iterate()

    run.iterate = killed
    with pytest.raises(SimulatorError, match="environments 2 to 3.*SIGKILL"):
        run.train(tmp_path / "run")
    saved = checkpoint.load(tmp_path / "run" / "checkpoints" / "latest.pt")
    assert saved["counters"]["iteration"] == 2 and saved["env"]["games"] is None
    again = trainer(settings, tmp_path, kind=kind)
    again.load_state_dict(saved)
    assert again.train(tmp_path / "run")["steps"] == 80.0


def test_a_crash_in_an_evaluation_leaves_a_checkpoint(settings, tmp_path):
    run = trainer(settings, tmp_path, "eval.interval=1", "eval.episodes=2")
    evaluate = run.evaluate

    def killed():
        if run.iteration == 2:
            os.kill(pids(run.eval_env)[0], signal.SIGKILL)
        evaluate()

    run.evaluate = killed
    with pytest.raises(SimulatorError, match="SIGKILL"):
        run.train(tmp_path)
    saved = checkpoint.load(tmp_path / "checkpoints" / "latest.pt")
    assert saved["counters"]["iteration"] == 2 and saved["env"]["games"] is not None


def test_crashes_are_counted(settings, tmp_path):
    run = trainer(settings, tmp_path, kind="Clumsy", what="raise", on_crash="restart")
    step = run.env.step
    run.env.step = lambda actions: step((actions[0] + torch.tensor([[3.0], [0.0], [0.0], [0.0]]), actions[1]))
    with pytest.raises(SimulatorError, match="the game fell over"):  # in the first step of each episode: too often
        run.train(tmp_path)
    run = trainer(settings, tmp_path, kind="Clumsy", what="raise", on_crash="restart")
    calls = []
    step = run.env.step

    def sometimes(actions):
        calls.append(1)
        return step((actions[0].clamp(max=2.0) + (3.0 if len(calls) == 4 else 0.0), actions[1]))

    run.env.step = sometimes
    first = run.iterate()
    assert first["episode/restarts"] > 0.0 and run.iterate()["episode/restarts"] == 0.0


SCRIPT = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from harl_isaac.tasks import TASKS
TASKS["Walk"] = "support.worker_games:WalkCfg"
from harl_isaac.cli.train import main
main()
"""


def test_signals_are_the_parents_affair():
    env = make()
    step = tensors(env.reset(3))
    for pid in pids(env):
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    assert not equal(step, tensors(env.step(fatal(env))))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a process of its parent's death")
def test_a_busy_worker_ends_with_its_parent(tmp_path):
    code = (
        f"import sys; sys.path[:0] = [{str(TESTS)!r}, {str(TESTS / 'adapters')!r}]\n"
        "from test_workers import make, fatal\n"
        f"env = make('Clumsy', settings={{'what': 'hang', 'folder': {str(tmp_path)!r}}}, workers=1)\n"
        "env.reset(0); print('ready', flush=True); env.step(fatal(env, 0))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.2)
    pid = int(next(tmp_path.iterdir()).name.split("-")[1])
    assert not gone(pid)
    process.kill()
    process.communicate()
    assert wait_for(lambda: gone(pid))


@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM", "SIGINT", "a crash"])
def test_nobody_outlives_a_training_process(number, tmp_path):
    """Workers of training and evaluation, and the processes that their games have started."""
    left = tmp_path / "left"
    left.mkdir()
    (tmp_path / "train.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [
            sys.executable,
            "train.py",
            "task=Walk",
            "task.kind=Clumsy",
            "task.what=child",
            f"task.folder={left}",
            "task.workers=2",
            "num_envs=3",
            "algo.rollout_length=5",
            "algo.hidden=[8]",
            "eval.episodes=2",
            "eval.interval=1",
            "device=cpu",
        ],
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        assert wait_for(
            lambda: len(list(left.iterdir())) >= 2 + 3 + 2 + 2, 60
        )  # processes and games of both environments
        here = [int(path.name.split("-")[1]) for path in left.iterdir()]
        assert not any(map(gone, here))
        wait_for(lambda: list(tmp_path.glob("runs/Walk/happo/*/eval.csv")))
        if number == "a crash":
            os.kill(next(int(path.name[5:]) for path in left.glob("game-*")), signal.SIGKILL)
        else:
            os.killpg(process.pid, getattr(signal, number))  # as a terminal does: to the whole group
        output = process.communicate(timeout=60)[0].decode()
        assert wait_for(lambda: all(map(gone, here))), output
    finally:
        process.kill()
        process.wait()
    assert process.returncode == {"SIGKILL": -9, "a crash": 1}.get(number, STOPPED), output
    if number in ("SIGTERM", "SIGINT"):
        assert "stopped after" in output and not re.search("Traceback|KeyboardInterrupt", output)
    if number != "SIGKILL":
        assert list(tmp_path.glob("runs/Walk/happo/*/checkpoints/latest.pt"))
