"""Games that misbehave: their environment is named, whatever they do; numbers stay finite, processes do not stay."""

import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from support.playing import equal, fatal, history

from harl_isaac.adapters.workers.env import WorkerEnv
from harl_isaac.adapters.workers.game import GameFault, fill
from harl_isaac.check_env import _copy as tensors
from harl_isaac.check_env import random_actions
from harl_isaac.env import SimulatorError

CPU = torch.device("cpu")
TESTS = Path(__file__).resolve().parents[1]


def make(kind="Odd", num_envs=3, workers=1, settings=None, **how):
    return WorkerEnv("support.worker_games:" + kind, settings or {}, num_envs, CPU, workers, **how)


def odd(what, **how):
    settings = {"what": what, **({"always": True} if how.pop("always", False) else {})}
    return make(settings=settings, **how)


NAMED = {
    "nan_obs": r"agent talker: observation: expected finite numbers, got nan at 2 of 5$",
    "inf_state": r"state: expected finite numbers, got -inf at 4 of 8$",
    "wrong_state": r"state: expected 4 numbers, got shape \(\)$",
    "nan_reward": r"reward: expected finite numbers, got nan at 1 of 2$",
    "large_reward": r"reward: expected finite numbers, got inf at 1 of 2$",
    "short_reward": r"reward: expected 2 numbers, got shape \(1,\)$",
    "one_reward": r"reward: expected 2 numbers, got shape \(\)$",
    "complex_reward": r"reward: expected real numbers, got complex128$",
    "both_ends": "an episode ended as terminated and as truncated at once, expected one of them$",
    "no_metric": "metrics: expected distance, got none$",
    "more_metrics": "metrics: expected distance, got distance, speed$",
    "tuple": "step: expected an Outcome, got tuple$",
}
RAISED = {
    "eof": "EOFError: the game's own$",
    "refused": "ConnectionRefusedError: the game's own$",
    "pipe": "BrokenPipeError: the game's own$",
    "interrupt": "KeyboardInterrupt: the game's own$",
    "base": "BaseException: the game's own$",
    "exit": "SystemExit: the game's own$",
    "long": "RuntimeError: the game's own x+ ... .* characters left out",
    "mute": "Mute: <(exception str.. failed|unprintable Mute object)>$",
}


@pytest.mark.parametrize("what", NAMED)
def test_what_a_spec_excludes_is_named_in_one_line(what):
    env = odd(what)
    env.reset(3)
    seed = int(env.buffers.seed[1])
    with pytest.raises(SimulatorError) as error:
        env.step(fatal(env, 1))
    lines = str(error.value)
    assert "\n" not in lines
    error.match(f"^environment 1 failed in a step, in the episode of seed {seed}: {NAMED[what]}")
    assert torch.isfinite(env.results.host_numbers).all()


@pytest.mark.parametrize("what", RAISED)
def test_whatever_a_game_raises_is_the_games(what):
    env = odd(what)
    env.reset(3)
    seed = int(env.buffers.seed[1])
    with pytest.raises(SimulatorError) as error:
        env.step(fatal(env, 1))
    error.match(f"^environment 1 failed in a step, in the episode of seed {seed}:\nTraceback(.|\n)*{RAISED[what]}")
    assert len(str(error.value)) < 4000


@pytest.mark.parametrize("what", [*NAMED, *RAISED])
def test_a_restart_contains_it(what):
    env, twin = (odd(name, on_crash="restart") for name in (what, "nothing"))
    for each in (env, twin):
        each.reset(3)
        before = tensors(each.step(fatal(each)))
    step = env.step(fatal(env, 1))
    other = twin.step(fatal(twin, 1))
    assert step.truncated[1] and not step.terminated[1] and not step.reward[1].any()
    assert step.metrics["restarts"].tolist() == [0.0, 1.0, 0.0]
    assert torch.equal(step.next_obs[0][1], before[0][1]) and step.obs[0][1, 1] == 0.0
    for mine, theirs in zip(tensors(step), tensors(other)):
        assert torch.isfinite(mine).all() and torch.equal(mine[[0, 2]], theirs[[0, 2]])
    for _ in range(4):
        step = env.step(fatal(env))
    assert not step.metrics["restarts"].any()


def test_what_comes_at_every_reset_is_not_restarted_for_ever():
    message = "environment 0 failed beginning an episode, .*mover: observation.*nan at 2 of 3"
    with pytest.raises(SimulatorError, match=message):
        odd("nan_reset", on_crash="restart").reset(3)
    env = odd("nan_obs", always=True, on_crash="restart")
    env.reset(3)
    with pytest.raises(SimulatorError, match="environment 0 failed in a step.*talker"):
        for _ in range(2):
            env.step(fatal(env))


@pytest.mark.parametrize(
    "what, kind, message",
    [
        ("made_interrupted", SimulatorError, "environment 0 failed being made:\nTraceback(.|\n)*KeyboardInterrupt"),
        ("long_made", ValueError, "^the game's own x+ ... .[0-9]+ characters left out"),
        ("made_no_spec", ValueError, "spec: expected a GameSpec, got NoneType"),
        ("twins", ValueError, "spec: expected agents with different names, got mover, mover"),
    ],
)
def test_errors_while_a_game_is_made(what, kind, message):
    with pytest.raises(kind, match=message) as error:
        odd(what)
    assert len(str(error.value)) < 4000


@pytest.mark.parametrize("what", ["fork", "fork_raise"])
def test_a_child_that_a_game_forks_and_lets_return_is_not_a_second_worker(what):
    env, twin = (odd(name, workers=2) for name in (what, "nothing"))
    for each in (env, twin):
        each.reset(3)
    for rows in ((1,), (), (0, 2), ()):
        assert equal(tensors(env.step(fatal(env, *rows))), tensors(twin.step(fatal(twin, *rows))))
        assert (env.buffers.episode == twin.buffers.episode).all()


def test_a_connection_that_a_game_closes_is_no_lack_of_memory():
    env = odd("close")
    env.reset(3)
    message = "environment [12] failed.*lost its connection: did a game close it"
    with pytest.raises(SimulatorError, match=message) as error:
        env.step(fatal(env, 1))
    assert "memory" not in str(error.value)


def test_a_time_limit_is_named_as_the_end():
    env = make("Clumsy", settings={"what": "hang"}, timeout=0.5)
    env.reset(3)
    message = r"no answer in task.timeout=0.5 s: .*was therefore ended \(SIGKILL\)"
    with pytest.raises(SimulatorError, match=message) as error:
        env.step(fatal(env, 1))
    assert "memory" not in str(error.value)


def test_a_save_that_is_no_save_is_named_with_the_next_step():
    env = odd("save")
    env.reset(3)
    assert env.state_dict()["games"] is None
    with pytest.raises(SimulatorError, match="being saved.*save: expected bytes or None, got str"):
        env.step(fatal(env))


@pytest.mark.parametrize("value", [1.0, [1.0], [1.0, 2.0], 1j, None, "words", [[1.0], [1.0, 2.0]]])
def test_a_view_takes_what_fits_alone(value):
    out = np.zeros(3, np.float32)
    with pytest.raises(GameFault, match="^agent x: observation: expected (3 numbers, got shape|real numbers, got)"):
        fill(out, value, "agent x: observation")
    fill(out, np.arange(3).reshape(1, 3, 1), "agent x: observation")
    assert out.tolist() == [0.0, 1.0, 2.0]


def test_process_wide_random_numbers_do_not_depend_on_who_plays_beside():
    runs = [history(make("Dice", num_envs=4, workers=workers), 12, 5) for workers in (1, 2, 4)]
    assert all(equal(one, other) for run in runs[1:] for one, other in zip(runs[0], run))
    assert not equal(runs[0][-1], history(make("Dice", num_envs=4), 12, 6)[-1])


def test_a_saved_game_goes_on_with_its_own_random_numbers():
    one, other = (make("Dice", num_envs=4, workers=workers, settings={"quiet": True}) for workers in (2, 1))
    history(one, 12, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert other.load_state_dict(one.state_dict()) is None
    draw = torch.Generator().manual_seed(1)
    for _ in range(8):
        actions = random_actions(one.spec, one.results.step, draw)
        assert equal(tensors(one.step(actions)), tensors(other.step(actions)))


DRAWS = """
import random, numpy as np
from harl_isaac.adapters.workers.generators import Generators

own = Generators([3, 4])
from random import gauss
from numpy.random import randn


def draws():
    python = [random.random(), gauss(0, 1), random.choice(range(99))]
    return python + [np.random.rand(), randn(), np.random.mtrand._rand.randint(9)]


own.seed(3, 7)
one = draws()
saved = own.save(3)
later = draws()
own.seed(4, 7)
assert draws() == one
python, legacy = random.Random(7), np.random.RandomState(7)
assert one[:3] == [python.random(), python.gauss(0, 1), python.choice(range(99))]
assert one[3:] == [legacy.rand(), legacy.randn(), legacy.randint(9)]
own.enter(3)
own.restore(3, saved)
assert draws() == later
own.enter(4)
np.random.seed(1)
random.seed(1)
own.enter(3)
own.restore(3, saved)
assert draws() == later
own.enter(4)
assert np.random.rand() == np.random.RandomState(1).rand() and random.random() == random.Random(1).random()
import torch

own.enter(3)
torch.manual_seed(5)
own.enter(4)
torch.rand(3)
own.enter(3)
assert torch.equal(torch.rand(2), torch.rand(2, generator=torch.Generator().manual_seed(5)))
"""


def test_generators_are_those_of_python_and_numpy():
    """In a process of its own: they replace functions of modules."""
    result = subprocess.run([sys.executable, "-c", DRAWS], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "what, reason",
    [("restore_else", "it shows something else"), ("restore_raise", "RuntimeError: cannot be restored today")],
)
def test_a_game_that_does_not_go_on_as_it_was_begins_anew(what, reason):
    env = odd("nothing")
    history(env, 12, 5)
    saved = env.state_dict()
    again = odd(what)
    with pytest.warns(RuntimeWarning, match=rf"3 of 3 games did not go on as they were saved .environment 0: {reason}"):
        step = again.load_state_dict(saved)
    assert step is not None and not step.done.any() and (step.obs[0][:, 1] == 0.0).all()
    assert not set(saved["seed"].tolist()) & set(again.buffers.seed.tolist())
    again.step(fatal(again))


def test_a_state_of_an_earlier_version_is_restored_without_a_comparison():
    env = odd("nothing")
    history(env, 12, 5)
    saved = env.state_dict()
    for name in ("views", "marks", "generators"):
        del saved[name]
    assert odd("nothing").load_state_dict(saved) is None


def test_nothing_is_left_of_it():
    env = odd("fork", workers=2)
    env.reset(3)
    env.step(fatal(env, 0, 1, 2))
    mine = [worker.process.pid for worker in env.workers]
    env.close()
    for _ in range(100):
        groups = subprocess.run(["ps", "-eo", "pgid="], capture_output=True, text=True).stdout.split()
        if not set(map(str, mine)) & set(groups):
            return
        time.sleep(0.05)
    raise AssertionError(f"{mine} still run")
