"""What is said and done where a GPU, its driver or its first start are slow; devices are stand-ins here."""

import gc
import time
from types import SimpleNamespace

import pytest
import torch
from support.marks import needs_warp

from harl_isaac.config import RunCfg
from harl_isaac.registry import default_settings
from harl_isaac.runtime import no_garbage_collection, said_if_slow
from harl_isaac.tasks import TASKS
from harl_isaac.training.report import start_text


@needs_warp
@pytest.mark.parametrize(
    "cuda, pool, conditional, expected, words",
    [
        (False, False, False, (False, False), ""),
        (True, True, True, (True, True), ""),
        (True, False, True, (False, False), "no memory pool"),
        (True, True, False, (True, False), "older than 12.4"),
    ],
)
def test_graphs_are_used_as_the_driver_can(cuda, pool, conditional, expected, words, monkeypatch):
    from harl_isaac.sim import warp_graphs

    monkeypatch.setattr(warp_graphs.wp, "is_mempool_enabled", lambda device: pool)
    monkeypatch.setattr(warp_graphs.wp, "is_conditional_graph_supported", lambda: conditional)
    use = warp_graphs.choose_graphs(SimpleNamespace(is_cuda=cuda))
    assert (use.graphs, use.conditional) == expected and words in use.note and bool(words) == bool(use.note)


def started(engine, device, sim="auto", note=""):
    """The first lines of a run on such a device."""
    cfg = RunCfg(task=default_settings(TASKS, "ShadowHandOver"), algo=SimpleNamespace(name="happo"), sim=sim)
    spec = SimpleNamespace(num_agents=2, device=torch.device(device))
    return start_text(cfg, SimpleNamespace(spec=spec, physics=SimpleNamespace(name=engine, note=note)), "runs/x")


def test_the_first_line_names_the_engine_and_the_device():
    assert "256 environments on cuda:0 (mujoco_warp); runs/x" in started("mujoco_warp", "cuda:0")
    assert "\n" not in started("mujoco_warp", "cuda:0") + started("mujoco", "cpu") + started(
        "mujoco", "cuda:0", "mujoco"
    )
    assert "pip install 'harl-isaac[warp]'" in started("mujoco", "cuda:0")
    assert started("mujoco_warp", "cuda:0", note="slow").endswith("\nslow")


def test_a_wait_is_explained_and_a_short_one_is_not(capfd):
    with said_if_slow("compiling", 0.05):
        time.sleep(0.2)
    assert capfd.readouterr().err == "compiling\n"
    with said_if_slow("compiling", 5.0):
        pass
    assert capfd.readouterr().err == ""


def test_garbage_waits_until_a_capture_is_over():
    assert gc.isenabled()
    with no_garbage_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
