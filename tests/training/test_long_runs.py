"""Long runs hold what they held at the beginning: memory, descriptors, shared memory."""

import os
from pathlib import Path

import pytest
from support.killing import shared_memory

from harl_isaac.training.trainer import Trainer

ITERATIONS = 300
SETTLED = 100  # iterations after which nothing grows
GROWTH = 4 << 20  # [bytes] of the allocator's fragments, in 200 iterations
SMALL = ["eval.interval=10", "checkpoint.interval=5", "num_envs=4", "algo.hidden=[8]"]
ON_POLICY = [*SMALL, "algo.rollout_length=5", f"total_steps={ITERATIONS * 20}", "algo.epochs=1", "algo.critic_epochs=1"]
RUNS = {
    "happo": ("SumGame", ON_POLICY),
    "hatd3": ("SumGame", [*SMALL, "algo=hatd3", "algo.train_interval=5", f"total_steps={ITERATIONS * 20}"]),
    "workers": ("pettingzoo", [*ON_POLICY, "task.workers=2", "task.max_steps=7"]),
}


def resident():
    """Resident memory of this process [bytes]."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def held():
    """Numbers of descriptors and of threads."""
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize("name", list(RUNS))
def test_nothing_grows(name, settings, tmp_path):
    task, words = RUNS[name]
    before = shared_memory()
    trainer = Trainer(settings(task, *words))
    iterate = trainer.iterate
    seen = {}

    def watched():
        numbers = iterate()
        seen[trainer.iteration] = (resident(), held())
        return numbers

    trainer.iterate = watched
    trainer.train(tmp_path)
    trainer.env.close()
    assert trainer.iteration == ITERATIONS
    grown = seen[ITERATIONS][0] - seen[SETTLED][0]
    print(f"{name}: {seen[SETTLED]} {seen[200]} {seen[ITERATIONS]}, grown by {grown / 2**20:.1f} MiB")
    assert seen[ITERATIONS][1] == seen[SETTLED][1] and grown < GROWTH
    assert shared_memory() - before == set()
