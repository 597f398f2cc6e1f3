"""Several processes train one run: their updates are those of one process with all environments."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from support.commands import ROOT, run
from support.rank_runs import (
    evaluate_in_parts,
    fail_in_one,
    free_port,
    in_ranks,
    resume_as_others,
    train_and_resume,
    update_in_parts,
)
from support.resuming import flat, same

from harl_isaac import ranks

ON = ["algo.rollout_length=8", "algo.hidden=[8]"]
RECURRENT = ["algo.recurrent=true", "algo.chunk_length=4"]
OFF = [
    "algo.train_interval=2",
    "algo.warmup_steps=48",
    "algo.batch_size=24",
    "algo.buffer_size=600",
    "algo.hidden=[8]",
]
GAME = ["task=MatrixGame", "task.masks=true", "task.absences=true"]
UPDATES = {
    "happo": ["task=MixedGame", "algo=happo", *ON, "algo.input_norm=running"],
    "happo, two epochs": ["task=MixedGame", "algo=happo", "algo.epochs=2", *ON],
    "hatrpo": ["task=MixedGame", "algo=hatrpo", "algo.cg_iterations=3", *ON],
    "haa2c": ["task=MixedGame", "algo=haa2c", *ON],
    "mappo": ["task=MixedGame", "algo=mappo", *ON],
    "mappo, shared": ["task=mpe/simple_spread", "algo=mappo", "algo.share_param=true", *ON],
    "ippo": ["task=MixedGame", "algo=ippo", "algo.input_norm=running", *ON],
    "recurrent happo": ["task=MemoryGame", "algo=happo", *ON, *RECURRENT],
    "hatd3": ["task=SumGame", "algo=hatd3", *OFF],
    "maddpg": ["task=SumGame", "algo=maddpg", *OFF],
    "hasac": ["task=MixedGame", "algo=hasac", *OFF],
    "had3qn": ["task=MatrixGame", "algo=had3qn", *OFF],
    "vdn": ["task=OppositesGame", "algo=vdn", "algo.share_param=true", "algo.target_interval=3", *OFF],
    "qmix": ["task=TwoStepGame", "algo=qmix", "algo.n_step=2", "algo.max_grad_norm=0.5", *OFF],
    "recurrent qmix": ["task=MemoryGame", "algo=qmix", "algo.burn_in=3", *RECURRENT, *OFF],
}
ONLY_THERE = {
    "happo, dead on one rank": [*GAME, "algo=happo", *ON],
    "hatrpo, dead on one rank": [*GAME, "algo=hatrpo", "algo.cg_iterations=3", *ON],
    "ippo, dead on one rank": [*GAME, "algo=ippo", *ON],
    "hasac, dead on one rank": [*GAME, "algo=hasac", *OFF],
    "had3qn, dead on one rank": [*GAME, "algo=had3qn", *OFF],
    "qmix, dead on one rank": [*GAME, "algo=qmix", *OFF],
}
LOCAL = ("/hidden", "/critics/0/hidden", "/critics/1/hidden", "/critics/2/hidden")  # of the rank's own environments


def check_equal(case, path, world, tolerance):
    """All ranks' learners and metrics are those of the whole."""
    for rank in range(world):
        saved = torch.load(path / f"{case} {rank}.pt", weights_only=False)
        for names in (("whole", "part"), ("metrics", "own")):
            whole, part = [flat(saved[name]) for name in names]
            assert whole.keys() == part.keys()
            for name, value in whole.items():
                if isinstance(value, torch.Tensor) and name not in LOCAL:
                    torch.testing.assert_close(
                        part[name], value, rtol=tolerance, atol=tolerance, msg=f"{case}, rank {rank}: {name}"
                    )
                elif not isinstance(value, torch.Tensor):
                    assert part[name] == value


QUICK = ("happo", "hatrpo", "recurrent happo", "mappo, shared", "hasac", "recurrent qmix", "ippo, dead on one rank")


@pytest.mark.parametrize(
    "world, names",
    [(2, QUICK), *(pytest.param(world, (*UPDATES, *ONLY_THERE), marks=pytest.mark.slow) for world in (2, 3))],
    ids=["some", "all, 2", "all, 3"],
)
def test_ranks_update_as_one(world, names, tmp_path):
    """All cases in one launch.

    The matrix game's observations are constant: there one process with its environments in another order differs by as
    much as is allowed here.
    """
    cases = {name: ({**UPDATES, **ONLY_THERE}[name], name in ONLY_THERE) for name in names}
    assert in_ranks(world, update_in_parts, cases, str(tmp_path)) == [0] * world
    for name in cases:
        check_equal(name, tmp_path, world, 1e-7 if name in ONLY_THERE else 1e-10)


RUNS = {
    "happo": ["task=MixedGame", "algo=happo", "total_steps=384", *ON],
    "recurrent happo": ["task=MemoryGame", "algo=happo", "total_steps=384", *ON, *RECURRENT],
    "hasac": ["task=SumGame", "algo=hasac", "total_steps=96", *OFF],
    "recurrent qmix": ["task=MemoryGame", "algo=qmix", "algo.burn_in=3", "total_steps=96", *RECURRENT, *OFF],
}
SILENT = ["log.console=none", "eval.interval=0", "checkpoint.keep_every=2", "seed=3"]


@pytest.mark.parametrize("name", ["happo", *(pytest.param(name, marks=pytest.mark.slow) for name in list(RUNS)[1:])])
def test_ranks_resume_bitwise_and_others_begin_new_episodes(name, tmp_path):
    words = [*RUNS[name], *SILENT]
    assert in_ranks(2, train_and_resume, words, str(tmp_path)) == [0, 0]
    one, two = [flat(state) for state in torch.load(tmp_path / "states.pt", weights_only=False)]
    assert one.keys() == two.keys() and any(key.startswith("/ranks/0/env") for key in one)
    assert [key for key in one if not same(one[key], two[key])] == []
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert len(rows) == 5  # written by one process alone
    assert in_ranks(3, resume_as_others, words, str(tmp_path)) == [0] * 3


def test_evaluation_is_that_of_all_ranks(tmp_path):
    assert in_ranks(2, evaluate_in_parts, RUNS["happo"], str(tmp_path)) == [0, 0]


def test_an_error_of_one_ranks_environments_is_everybodys(tmp_path):
    assert in_ranks(2, fail_in_one, [*RUNS["happo"], *SILENT], str(tmp_path)) == [0, 0]


def launch(cwd, *words):
    """Two processes of train.py, as torchrun starts them."""
    port = str(free_port())
    places = [
        {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        for rank in ("0", "1")
    ]
    command = [sys.executable, str(ROOT / "train.py"), "device=cpu", "run_root=.", "log.console=lines", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [subprocess.Popen(command, cwd=cwd, env={**os.environ, **place}, **pipes) for place in places]


LONG = ["task=SumGame", "num_envs=8", "algo.rollout_length=5", "algo.hidden=[8]", "total_steps=10000000"]


@pytest.mark.parametrize("number", ["SIGKILL", pytest.param("SIGTERM", marks=pytest.mark.slow)])
def test_a_signal_to_one_rank_ends_all(number, tmp_path):
    """With a checkpoint, from which they go on, as one process too."""
    processes = launch(str(tmp_path), *LONG, "run_name=a", "checkpoint.interval=1", "eval.interval=0")
    latest = tmp_path / "SumGame" / "happo" / "a" / "checkpoints" / "latest.pt"
    limit = time.monotonic() + 60
    while not latest.is_file():
        assert time.monotonic() < limit and all(process.poll() is None for process in processes)
        time.sleep(0.1)
    processes[1].send_signal(getattr(signal, number))
    outputs = [process.communicate(timeout=30) for process in processes]
    codes = [process.returncode for process in processes]
    assert codes == ([75, 75] if number == "SIGTERM" else [1, -signal.SIGKILL]), outputs
    if number == "SIGKILL":
        assert "another process of this run is gone" in outputs[0][1] and len(outputs[0][1].splitlines()) == 1
    before = torch.load(latest, weights_only=True)["counters"]["steps"]
    words = ["run_root=.", "resume=last", f"total_steps={before + 40}", "eval.interval=0"]
    result = run(*words, cwd=tmp_path)
    assert result.returncode == 0 and f"{before + 40} steps" in result.stdout, result.stderr
    assert "saved by 2 process(es), now there are 1" in result.stdout


def test_what_cannot_be_divided_is_said_once(tmp_path):
    processes = launch(str(tmp_path), *LONG[:1], "num_envs=7", *LONG[2:])
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [2, 2]
    lines = [output[1] for output in outputs]
    assert lines == ["harl-train: num_envs=7 cannot be divided among 2 processes: give a multiple of 2\n", ""]


def test_a_process_alone_pays_nothing():
    value = torch.ones(2)
    assert ranks.total(value) is value and ranks.mean(value) is value and ranks.tell_all(3) == [3]
    assert (ranks.rank(), ranks.world(), ranks.seed(5), ranks.share(7, "x")) == (0, 1, 5, 7)


@pytest.mark.parametrize(
    "nodes, first",
    [("gpu[03-05,9],cpu1", "gpu03"), ("a,b", "a"), ("node7", "node7"), ("n[1,5-9]", "n1"), ("x,y[1-2]", "x")],
)
def test_slurms_lists_begin_with_a_machine(nodes, first):
    assert ranks.first_node(nodes) == first
