"""The command line as a user meets it, in processes of its own: one line for a mistake, exit code 2, nothing lost."""

import os
import pty
import re
import shutil
import subprocess
import sys

import pytest
from support.commands import ROOT, TINY, run

from harl_isaac.training.load_policy import load_policy


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A tiny finished run of ShadowHandOver, started in another directory: (that directory, the run's folder)."""
    cwd = tmp_path_factory.mktemp("work")
    result = run("task=ShadowHandOver", *TINY, cwd=cwd)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    folders = list(cwd.glob("runs/ShadowHandOver/happo/*"))
    assert len(folders) == 1 and list(cwd.iterdir()) == [cwd / "runs"]
    assert "finished after 2 iterations, 24 steps" in result.stdout
    return cwd, folders[0]


MISTAKES = {
    "task=ShadowhandOver": r"task ShadowhandOver is unknown; did you mean ShadowHandOver\? possible: .*MatrixGame"
    r".* mamujoco/\.\.\. \(12\), mpe/\.\.\. \(3\), pettingzoo, ",
    "experiment=ShadowHandOver/hapo_table25": r"experiment ShadowHandOver/hapo_table25 is unknown; did you mean "
    r"ShadowHandOver/happo_table25\? possible: .*ShadowHandOver/hatd3_parallel, "
    r"football/\.\.\. \(10\), ",
    "experiment=mpe/simple_spread-discrete/happ": r"possible: .*mpe/simple_spread-continuous/\.\.\. \(9\), "
    r"mpe/simple_spread-discrete/haa2c, ",
    "experiment=mpe": r"experiment mpe is unknown; possible: .*mpe/simple_reference-continuous/\.\.\. \(9\), ",
    "algo=hapo": r"algo hapo is unknown; did you mean happo\? possible: haa2c, had3qn, haddpg, happo, ",
    "task=mamujoco/HalfCheeta": r"task mamujoco/HalfCheeta is unknown; did you mean mamujoco/HalfCheetah\? "
    r"possible: .*mamujoco/Ant",
    "task=mamujoco/HalfCheetah task.agents=2x4": r"agents=2x4.*2x3",
    "task=mamujoco/HalfCheetah task.agents=bthigh+bshin,bfoot": r"several values: add -m .* "
    r"\"task.agents='bthigh\+bshin,bfoot'\"",
    "task=mamujoco/HalfCheetah task.agents='thigh,bshin'": r"thigh.*bthigh, bshin, bfoot, fthigh, fshin, ffoot",
    "algo.recurrent=true algo.chunk_length=7": r"algo.chunk_length=7 does not divide algo.rollout_length=16",
    "task=MixedGame algo=mappo algo.share_param=true": r"share_param=true needs the same actions for every agent; "
    r"reacher has Box",
    "algo.action_aggregation=sum": r"algo.action_aggregation=sum; possible: prod, mean",
    "algo=hatrpo algo.lr=0.1": r"key algo.lr is unknown",
    "algo.clipp=0.1": r"key algo.clipp is unknown; did you mean algo.clip\?",
    "algo.learning_rat=0.1": r"key algo.learning_rat is unknown; possible: .*algo.lr_decay",
    "task.gravity=1": r"key task.gravity is unknown; .*possible: .*task.object",
    "num_env=3": r"key num_env is unknown; did you mean num_envs\?",
    "algo.clip=abc": r"algo.clip: Value 'abc' of type 'str' could not be converted to Float",
    "num_envs=0": r"num_envs=0 must be at least 1",
    "algo.minibatches=7": r"algo.minibatches=7 does not divide the batch of 4096 \(rollout_length 16 x num_envs 256\)",
    "sim=mujoco_warp": r"sim=mujoco_warp trains on a CUDA device only, this run is on cpu; use sim=mujoco",
    "task=MixedGame algo=hatd3": r"algo=hatd3 needs continuous actions \(Box\); chooser has Discrete",
    "task=SumGame algo=haddpg algo.warmup_steps=500": r"batch_size=1000 is larger than the algo.warmup_steps=500",
    "task=SumGame algo=matd3 algo.buffer_size=1000000000000": r"a replay of 1000000000000 transitions needs .* "
    r"GiB free; algo.buffer_size=\d+ would fit",
    "task=SumGame algo=had3qn": r"algo=had3qn needs choices \(Discrete, MultiDiscrete\); one has Box",
    "task=SumGame algo=qmix": r"algo=qmix needs choices \(Discrete, MultiDiscrete\); one has Box",
    "task=SumGame algo=vdn": r"algo=vdn needs choices \(Discrete, MultiDiscrete\); one has Box",
    "task=isaacgym/ShadowHandPen": r"task=isaacgym/\.\.\. needs Isaac Gym and Bi-DexterousHands .*: "
    r"install Isaac Gym Preview 4",
    "task=isaaclab/Any-v0": r"task=isaaclab/\.\.\. needs Isaac Sim and Isaac Lab .*: install Isaac Sim and Isaac Lab",
    "sim=bullet": r"sim=bullet is unknown; possible: auto, mujoco, mujoco_warp",
    "device=cuda:7": r"device=cuda:7: this machine shows \d+ CUDA device\(s\)",
    "device=tpu": r"device=tpu is not a device; possible: auto, cpu, cuda",
    "task.object=pan": r"object 'pan' is unknown; possible: egg, ellipsoid, ball, cube",
    "task.agents=thumbs": r"agents=thumbs: give hands, fingers, or groups that name each of palm, FF",
    "resume=nowhere": r"no run folder or checkpoint at nowhere",
    "algo.hidden=[1,": r"cannot read .*algo.hidden=\[1,.* give key=value",
    "num_envs": r"cannot read .*num_envs.*give key=value",
    "log.console=loud": r"log.console=loud; possible: auto, lines, none",
}


@pytest.mark.parametrize("word", sorted(MISTAKES))
def test_a_mistake_is_one_line_and_leaves_nothing_behind(word, tmp_path):
    words = word.split() if word.startswith("task=") else ["task=ShadowHandOver", "device=cpu", *word.split()]
    result = run(*words, cwd=tmp_path)
    assert result.returncode == 2
    assert re.fullmatch("harl-train: .*" + MISTAKES[word] + ".*\n", result.stderr), result.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_and_configuration_are_readable(tmp_path):
    text = run("--help", cwd=tmp_path).stdout
    assert "ShadowHandOver" in text and "happo" in text and "num_envs=256" in text
    for line in (
        "  haa2c, had3qn, haddpg, happo, ",
        "  mpe/: simple_reference, simple_speaker_listener, simple_spread\n",
        "  mpe/simple_spread-discrete/: haa2c, had3qn, ",
        "  resume=null  ",
        "  algo.lr=0.0005  ",
    ):
        assert line in text
    shown = run("task=ShadowHandOver", "--cfg", "job", cwd=tmp_path).stdout
    assert "clip: 0.2" in shown and "object: egg" in shown


def test_a_run_keeps_its_records(finished):
    _, folder = finished
    names = {path.name.split(".")[0] if "tfevents" in path.name else path.name for path in folder.iterdir()}
    assert names == {
        "checkpoints",
        "config.yaml",
        "overrides.yaml",
        "versions.json",
        "run.lock",
        "metrics.csv",
        "eval.csv",
        "events",
    }
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"latest.pt", "best.pt"}


def test_resuming_goes_on_and_refuses_other_settings(finished):
    cwd, folder = finished
    result = run(f"resume={folder}", "total_steps=48", cwd=cwd)
    assert result.returncode == 0 and "finished after 4 iterations, 48 steps" in result.stdout, result.stderr
    assert len((folder / "metrics.csv").read_text().splitlines()) == 5
    for words, message in (
        (["algo.lr=1"], "algo.lr: was 0.0003, now 1.0"),
        (["task=MatrixGame"], "task.name: was Shad"),
    ):
        result = run(f"resume={folder}", *words, cwd=cwd)
        assert result.returncode == 2 and message in result.stderr and result.stderr.count("\n") == 1


OLDER_WITHOUT = ("  input_norm: layer", "  layer_norm: true", "  max_std: 0.5", "  object: egg")


def test_a_run_from_before_there_was_a_setting_had_its_default(finished, tmp_path):
    _, folder = finished
    earlier = tmp_path / "runs" / folder.name
    shutil.copytree(folder, earlier)
    text = (earlier / "config.yaml").read_text()
    lines = [line for line in text.splitlines() if line not in OLDER_WITHOUT]
    assert len(lines) == len(text.splitlines()) - len(OLDER_WITHOUT)
    (earlier / "config.yaml").write_text("\n".join(lines) + "\n")
    result = run(f"resume={earlier}", "algo.max_std=1.4", cwd=tmp_path)
    assert result.returncode == 2 and "algo.max_std: was 0.5, now 1.4)" in result.stderr
    result = run(f"resume={earlier}", "total_steps=60", cwd=tmp_path)
    assert result.returncode == 0 and "finished after 5 iterations, 60 steps" in result.stdout, result.stderr
    assert load_policy(str(earlier), 2, "cpu", "auto")[1].input_norm is None


def test_a_terminal_gets_a_live_table(tmp_path):
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), "task=MatrixGame", *TINY],
        cwd=str(tmp_path),
        stdout=slave,
        stderr=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(slave)
    shown = b""
    try:
        while chunk := os.read(master, 4096):
            shown += chunk
    except OSError:  # the other end is closed: the run is over
        pass
    os.close(master)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert process.wait() == 0 and process.stderr.read() == b""
    assert "return  success" in text and "24 steps" in text and "finished after 2 iterations, 24 steps" in text


def test_several_seeds_in_one_command(tmp_path):
    result = run("-m", "task=MatrixGame", "seed=1,2", *TINY, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert len(list(tmp_path.glob("runs/MatrixGame/happo/*-seed[12]"))) == 2


def test_evaluating_and_playing_a_run(finished):
    cwd, folder = finished
    result = run(f"run={folder}", "episodes=4", "num_envs=2", cwd=cwd, script="scripts/evaluate.py")
    assert result.returncode == 0 and "4 episodes" in result.stdout and re.search(r"success +0\.\d+ +\[", result.stdout)
    result = run(
        f"run={folder}",
        "out=strip.png",
        "episodes=1",
        cwd=cwd,
        script="scripts/play.py",
        DISPLAY="",
        WAYLAND_DISPLAY="",
    )
    if "rendering failed" in result.stderr:
        pytest.skip(f"no OpenGL here: {result.stderr.strip()}")
    assert result.returncode == 0 and (cwd / "strip.png").stat().st_size > 10000, result.stderr


def test_an_off_policy_run_can_be_resumed_and_evaluated(tmp_path):
    words = [word for word in TINY if "rollout_length" not in word and "total_steps" not in word]
    words += ["algo.train_interval=3", "algo.warmup_steps=12", "algo.batch_size=4", "algo.buffer_size=100"]
    result = run("task=SumGame", "algo=hatd3", "total_steps=36", *words, cwd=tmp_path)
    assert result.returncode == 0 and "finished after 3 iterations, 36 steps" in result.stdout, result.stderr
    assert "replay of 100 transitions: up to 0.00 GiB, in every latest.pt too (algo.save_replay=false" in result.stdout
    folder = next(tmp_path.glob("runs/SumGame/hatd3/*"))
    result = run(f"resume={folder}", "total_steps=60", cwd=tmp_path)
    assert result.returncode == 0 and "finished after 5 iterations, 60 steps" in result.stdout, result.stderr
    result = run(f"run={folder}", "episodes=4", "num_envs=2", cwd=tmp_path, script="scripts/evaluate.py")
    assert result.returncode == 0 and "4 episodes" in result.stdout and re.search(r"return +\d", result.stdout)


def test_a_run_keeps_its_preset_and_one_from_before_there_were_any_has_none(tmp_path):
    words = ["task=ShadowHandOver", "num_envs=4", "algo.hidden=[8]", "device=cpu", "eval.interval=0", "total_steps=64"]
    result = run(*words, "run_name=new", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    new = tmp_path / "runs" / "ShadowHandOver" / "happo" / "new"
    assert "preset=ShadowHandOver/happo" in (new / "overrides.yaml").read_text()
    result = run(f"resume={new}", "total_steps=128", cwd=tmp_path)
    assert result.returncode == 0 and "128 steps" in result.stdout, result.stderr
    result = run(*words, "run_name=old", "preset=none", "algo.rollout_length=16", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    old = new.with_name("old")
    lines = (old / "overrides.yaml").read_text().splitlines()
    (old / "overrides.yaml").write_text("".join(line + "\n" for line in lines if "preset" not in line))
    result = run(f"resume={old}", "total_steps=128", cwd=tmp_path)
    assert result.returncode == 0 and "128 steps" in result.stdout, result.stderr


def test_a_run_goes_on_as_it_began_though_its_experiment_has_got_a_setting_since(tmp_path):
    """A run of experiment=.../hasac from before algo.last_activation, which the experiment sets now."""
    small = ["algo.train_interval=3", "algo.warmup_steps=12", "algo.batch_size=4", "algo.buffer_size=100"]
    words = [*small, "num_envs=4", "algo.hidden=[8]", "device=cpu", "eval.interval=0", "total_steps=24"]
    experiment = "experiment=mpe/simple_speaker_listener-continuous/hasac"
    result = run(experiment, *words, "algo.last_activation=same", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    folder = next(tmp_path.glob("runs/mpe/simple_speaker_listener/hasac/*"))
    for name in ("config.yaml", "overrides.yaml"):
        lines = (folder / name).read_text().splitlines()
        (folder / name).write_text("".join(line + "\n" for line in lines if "last_activation" not in line))
    result = run(f"resume={folder}", "total_steps=48", cwd=tmp_path)
    assert result.returncode == 0 and "48 steps" in result.stdout, result.stderr
    result = run(f"resume={folder}", "total_steps=60", "algo.last_activation=tanh", cwd=tmp_path)
    assert result.returncode == 2 and "algo.last_activation: was same, now tanh" in result.stderr


@pytest.mark.parametrize(
    "script, words, message",
    [
        ("scripts/evaluate.py", ["run=nowhere"], "no run folder or checkpoint at nowhere"),
        (
            "scripts/evaluate.py",
            ["episode=3"],
            "episode=3 is unknown; possible: run=..., run_root=..., policy=..., episodes=...",
        ),
        ("scripts/evaluate.py", ["episodes=many"], "episodes=many is not a int"),
        ("scripts/evaluate.py", [], "give run=<run folder>"),
        ("scripts/play.py", ["run=nowhere"], "no run folder or checkpoint at nowhere"),
        (
            "scripts/benchmark.py",
            ["what=nothing"],
            "what=nothing; possible: all, step, collect, update, train, hands, table3, off_policy, workers",
        ),
    ],
)
def test_scripts_name_mistakes_too(script, words, message, tmp_path):
    result = run(*words, cwd=tmp_path, script=script)
    assert result.returncode == 2 and message in result.stderr and result.stderr.count("\n") == 1


def test_all_tasks_are_listed(tmp_path):
    pytest.importorskip("mujoco", reason="MuJoCo is not installed")
    text = run(cwd=tmp_path, script="scripts/list_tasks.py").stdout
    assert "right hand, left hand" in text and "211 211" in text and "mujoco, mujoco_warp" in text
    assert "with simulators of your own" in text and "isaacgym/ShadowHandOver" in text


def test_a_task_whose_simulator_is_missing_says_what_to_install(tmp_path):
    (tmp_path / "hidden.py").write_text(
        "import sys\nsys.modules['mujoco'] = None\nsys.argv[0] = 'train.py'\n"
        "from harl_isaac.cli.train import main\nmain()\n"
    )
    result = subprocess.run(
        [sys.executable, "hidden.py", "task=ShadowHandOver", "device=cpu"],
        cwd=str(tmp_path),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2 and result.stderr.count("\n") == 1, result.stderr
    assert "ShadowHandOver needs MuJoCo" in result.stderr and "pip install" in result.stderr


def test_an_algorithm_whose_package_is_missing_says_what_to_install(tmp_path):
    (tmp_path / "hidden.py").write_text(
        "import sys\nsys.modules['rl_games'] = None\nsys.argv[0] = 'train.py'\n"
        "from harl_isaac.cli.train import main\nmain()\n"
    )
    result = subprocess.run(
        [sys.executable, "hidden.py", "task=SumGame", "algo=rl_games_ppo", "device=cpu"],
        cwd=str(tmp_path),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2 and result.stderr.count("\n") == 1, result.stderr
    assert "rl_games is not installed here" in result.stderr and "pip install 'harl-isaac[rl-games]'" in result.stderr
    assert not (tmp_path / "runs").exists()
