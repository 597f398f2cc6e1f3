"""PettingZoo environments that misbehave, and where an environment's module is looked for."""

import sys
import warnings

import numpy as np
import pytest
import torch
from support.commands import ROOT, run_command
from support.playing import history

pytest.importorskip("gymnasium", reason="gymnasium is not installed: pip install gymnasium")

from gymnasium import spaces

from harl_isaac.adapters.pettingzoo.factory import import_env_module, is_known, missing_module, split_path
from harl_isaac.adapters.pettingzoo.game import PettingZooCfg
from harl_isaac.adapters.pettingzoo.spaces import ObservationFlattener
from harl_isaac.adapters.workers.game import GameFault
from harl_isaac.check_env import _copy as tensors
from harl_isaac.check_env import random_actions
from harl_isaac.env import MissingSimulator, SimulatorError

CPU = torch.device("cpu")
NAMED = {
    "scalar": r"agent third: observation: expected shape \(2, 1\), got \(\)",
    "one": r"agent third: observation: expected shape \(2, 1\), got \(1,\)",
    "turned": r"agent third: observation: expected shape \(2, 1\), got \(1, 2, 3\)",
    "complex": "agent third: observation: expected real numbers, got complex128",
    "words": "agent third: observation: expected real numbers, got <U1",
    "nan": "agent third: observation: expected finite numbers, got nan at 1 of 2",
    "huge": "agent third: observation: expected finite numbers, got inf at 1 of 2",
    "missing": "agent third: expected an observation, got none",
    "last_missing": r"agent third: expected an observation \(its last, .*\), got none",
    "reward_nan": "reward: expected finite numbers, got nan",
    "reward_missing": "agent first: expected a reward, got none",
    "reward_many": r"agent first: reward: expected one number, got shape \(2,\)",
    "reward_complex": "agent first: reward: expected real numbers, got complex128",
    "end_missing": "agent second: expected a truncation, got none",
    "stranger": "agent fourth: expected agents of possible_agents alone, first, second, third",
    "mask_later": "agent first: expected no action mask, as after the first reset, got one",
    "state_later": "state: expected no state, as after the first reset, got one",
    "state_gone": "state: expected a state, as after the first reset, got none",
    "state_one": r"state: expected 4 numbers, got shape \(1,\)",
    "list": r"step: expected \(observations, rewards, .*\), got a list of 2",
}
MASKED = {
    "mask_wide": r"agent first: action mask: expected 3 of 0 and 1, got \[1.0\]",
    "mask_logits": r"agent first: action mask: expected 3 of 0 and 1, got \[0.0, -inf, 1.0\]",
}


def odd(what, **how):
    kwargs = {"what": what, "masked": "info" if what in MASKED else "nowhere", "cut": what == "last_missing"}
    return PettingZooCfg(env="support.pettingzoo_envs:odd", kwargs=kwargs, workers=1, **how).make(2, CPU, "auto")


@pytest.mark.parametrize("what", [*NAMED, *MASKED])
def test_what_does_not_fit_is_named_in_one_line(what):
    env = odd(what)
    with pytest.raises(SimulatorError) as error:
        history(env, 6, 3)
    error.match(rf"^environment 0 failed in a step, in the episode of seed \d+: {({**NAMED, **MASKED})[what]}.*$")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("what", ["nan", "missing", "stranger"])
def test_a_restart_contains_it(what):
    found = history(odd(what, on_crash="restart"), 8, 3)
    assert all(torch.isfinite(value).all() for step in found for value in step)


@pytest.mark.parametrize("what", ["nothing", "state"])
def test_what_fits_is_played(what):
    assert len(history(odd(what), 12, 3)) == 13


@pytest.mark.parametrize(
    "space, obs, message",
    [
        (spaces.Discrete(3), 3, "expected one of Discrete"),
        (spaces.Discrete(3), -1, "expected one of Discrete"),
        (spaces.Discrete(3), 1.5, "expected one of Discrete"),
        (spaces.Discrete(3, start=2), 1, "expected one of Discrete"),
        (spaces.MultiDiscrete([2, 3]), [1], "expected one of MultiDiscrete"),
        (spaces.MultiDiscrete([2, 3]), [1, 3], "expected one of MultiDiscrete"),
        (spaces.MultiBinary(2), [1, 2], "expected one of MultiBinary"),
        (spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(2)}), {"a": [0, 0]}, "expected a, b, got"),
        (spaces.Dict({"a": spaces.Box(-1, 1, (2,))}), {"a": 0.5}, r", a: expected shape \(2,\), got \(\)"),
        (spaces.Dict({"a": spaces.Box(-1, 1, (2,))}), [0.5, 0.5], "expected a, got list"),
        (spaces.Tuple((spaces.Discrete(2), spaces.Box(-1, 1, (1,)))), (1,), "expected 2 parts"),
        (spaces.Tuple((spaces.Box(-1, 1, (2,)),)), (np.array([1j, 1]),), "part 0: expected real numbers"),
        (spaces.Box(-1, 1, (3, 2)), np.zeros((2, 3)), r"expected shape \(3, 2\), got \(2, 3\)"),
        (spaces.Box(-1, 1, (2,)), None, "expected real numbers, got NoneType"),
        (spaces.Box(-1, 1, (2,)), [1.0, [2.0]], "expected real numbers, got list"),
    ],
)
def test_no_observation_is_silently_made_another(space, obs, message):
    with pytest.raises(GameFault, match="agent x: observation" + ".*" + message):
        ObservationFlattener(space).flatten(obs, "x")


@pytest.mark.parametrize("env", ["dice", "parallel_env"])
def test_an_environment_that_draws_at_every_look_goes_on_exactly_whoever_plays_it(env):
    made = [PettingZooCfg(env=f"support.pettingzoo_envs:{env}", workers=k).make(4, CPU, "auto") for k in (1, 3, 2)]
    runs = [history(each, 9, 3) for each in made[:2]]
    assert all(torch.equal(a, b) for one, other in zip(*runs) for a, b in zip(one, other))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert made[2].load_state_dict(made[0].state_dict()) is None
    draw = torch.Generator().manual_seed(1)
    for _ in range(9):
        actions = random_actions(made[0].spec, made[0].results.step, draw)
        one, other = (tensors(each.step(actions)) for each in (made[0], made[2]))
        assert all(map(torch.equal, one, other))


def test_an_environment_that_does_not_repeat_itself_begins_anew_and_says_so():
    made = [PettingZooCfg(env="support.pettingzoo_envs:forgetful", workers=2).make(8, CPU, "auto") for _ in range(2)]
    history(made[0], 2, 3)
    with pytest.warns(RuntimeWarning, match="of 8 games did not go on as they were saved .*repeat itself for a seed"):
        step = made[1].load_state_dict(made[0].state_dict())
    assert step is not None and not step.done.any()


MINE = f"""
import sys

sys.path.append({str(ROOT / "tests")!r})
from beside import SIZE
from support.pettingzoo_envs import parallel_env


def make(**kwargs):
    assert SIZE == 3
    return parallel_env(**kwargs)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of one's own, with a module that needs another beside it."""
    (tmp_path / "own_game_of_mine.py").write_text(MINE)
    (tmp_path / "beside.py").write_text("SIZE = 3\n")
    (tmp_path / "a:b").mkdir()
    (tmp_path / "a:b" / "own_game_there.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "env",
    [
        "own_game_of_mine",
        "own_game_of_mine:make",
        "own_game_of_mine.py:make",
        "./own_game_of_mine.py",
        "./own_game_of_mine.py:make",
        "{folder}/own_game_of_mine.py:make",
        "./a:b/own_game_there.py:make",
        "./a:b/own_game_there.py",
    ],
)
def test_the_current_folder_and_files_are_found(folder, env):
    made = PettingZooCfg(env=env.format(folder=folder), workers=1).make(2, CPU, "auto")
    assert made.spec.agents == ("first", "second", "third")


def test_the_user_s_own_command_finds_the_current_folder(folder):
    words = ["task=pettingzoo", "task.env=./own_game_of_mine.py:make", "num_envs=2", "total_steps=8", "device=cpu"]
    words += ["algo.rollout_length=4", "algo.hidden=[8]", "eval.interval=0", "task.workers=1"]
    result = run_command("train.py", *words, cwd=folder)
    assert result.returncode == 0 and "finished after 1 iterations" in result.stdout, result.stderr


def test_a_folder_does_not_pass_for_a_known_package(folder, monkeypatch):
    """Their names are trusted in settings of other people, who may also have filled the current folder."""
    (folder / "gymnasium_robotics").mkdir()
    (folder / "gymnasium_robotics" / "mamujoco_v1.py").write_text(MINE)
    monkeypatch.setattr("sys.path", [path for path in sys.path if "packages" not in path and path])
    for name in [name for name in sys.modules if name.partition(".")[0] == "gymnasium_robotics"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingSimulator, match="needs gymnasium_robotics, which is not installed"):
        import_env_module("x", "gymnasium_robotics.mamujoco_v1")


@pytest.mark.parametrize(
    "env, message",
    [
        ("nowhere_at_all", "there is no module nowhere_at_all, neither installed nor in {folder}; .*./mine.py:make$"),
        ("./nowhere.py:make", "there is no file {folder}/nowhere.py"),
        ("./own_game_of_mine.py:other", "own_game_of_mine.py has no other; give a module"),
        ("./notes.txt", "notes.txt is no Python file"),
        ("own_game_of_mine.part", "own_game_of_mine has no part; possible: nothing"),
    ],
)
def test_what_is_not_found_is_not_recommended(folder, env, message):
    (folder / "notes.txt").write_text("no program")
    with pytest.raises(ValueError, match=message.format(folder=folder)) as error:
        PettingZooCfg(env=env, workers=1).make(2, CPU, "auto")
    assert "pip" not in str(error.value) and not isinstance(error.value, MissingSimulator)


@pytest.mark.parametrize(
    "module, missing, kind, message",
    [
        ("mpe2.simple_v3", "mpe2", MissingSimulator, r"pip install 'mpe2>=1.1,<2'$"),
        ("pettingzoo.butterfly.x", "pygame", MissingSimulator, r"pip install 'pettingzoo\[butterfly\]'$"),
        ("pettingzoo", "pettingzoo", MissingSimulator, "pip install pettingzoo$"),
        ("mine", "stranger.part", MissingSimulator, "imports stranger.part, which is not installed$"),
        ("mine.part", "mine", ValueError, "there is no module mine, neither"),
    ],
)
def test_installation_is_advised_for_known_packages_alone(module, missing, kind, message):
    error = missing_module("x", module, missing)
    assert type(error) is kind
    with pytest.raises(kind, match=message):
        raise error


def test_paths_are_split_at_the_function():
    assert split_path("a.b") == ("a.b", "parallel_env") and split_path("a.b:c") == ("a.b", "c")
    assert split_path("./x:y/z.py") == ("./x:y/z.py", "parallel_env") and split_path("/x:y/z.py:c") == (
        "/x:y/z.py",
        "c",
    )
    assert is_known("mpe2.simple_v3") and not any(
        map(is_known, ("./mpe2.py", "mpe2.py", "mpe2.x/y.py", "mpe2.x:y", "os"))
    )
    assert import_env_module("x", "json").loads("1") == 1
