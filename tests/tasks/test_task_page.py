"""The page of the two-hand tasks says what they are."""

import re
from pathlib import Path

import pytest
import torch
from support.hand_checks import make_task
from support.mujoco_or_skip import mujoco  # noqa: F401

from harl_isaac.registry import default_settings
from harl_isaac.tasks import TASKS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tasks" / "README.md"
ROW = re.compile(r"\| `(\w+)` \| !\[start\]\((\S+)\) \| (\d+) x (\d+) \| (\d+), (\d+) \| (\d+) \|")
ROWS = {match[0]: match[1:] for match in ROW.findall(PAGE.read_text())}


def test_every_two_hand_task_has_a_row():
    assert set(ROWS) == {name for name in TASKS if name.startswith(("ShadowHand", "AllegroHand", "LeapHand"))}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_the_task_s(name):
    picture, *numbers = ROWS[name]
    spec = make_task(name, 1).spec
    agents, actions, obs, state, steps = map(int, numbers)
    assert (PAGE.parent / picture).is_file()
    assert (agents, steps) == (spec.num_agents, spec.max_episode_steps)
    assert (obs, state) == (spec.obs_sizes[0], spec.state_size)
    assert [box.size for box in spec.actions] == [actions] * agents


@pytest.mark.parametrize("name, value", [("timestep", -1.0), ("timestep", 0.0), ("substeps", 0)])
def test_physics_that_cannot_be_stepped_is_refused(name, value):
    cfg = default_settings(TASKS, "ShadowHandPen")
    setattr(cfg.physics, name, value)
    with pytest.raises(ValueError, match=f"task.physics.{name}={value:g} must be within"):
        cfg.make(1, torch.device("cpu"), "mujoco")
