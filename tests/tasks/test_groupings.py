"""Groupings of a hand's parts into agents, on every two-hand task: the same hands, whoever acts."""

import pytest
import torch
from support.commands import TINY, run
from support.hand_checks import make_task

from harl_isaac.tasks import TASKS

HANDS = [name for name in TASKS if name.startswith(("ShadowHand", "AllegroHand", "LeapHand"))]
SHADOW = {"palm": 2, "FF": 3, "MF": 3, "RF": 3, "LF": 4, "TH": 5}  # joints with an actuator
OTHERS = {"index": 4, "middle": 4, "ring": 4, "thumb": 4}
GROUPINGS = ["hands", "fingers", "palm+FF+MF,RF+LF+TH", "TH,LF+palm,FF+RF,MF"]
GROUPINGS_OF_OTHERS = ["hands", "fingers", "index+middle,ring+thumb", "thumb,ring+index,middle"]


def groups_of(agents, parts):
    """Groups of parts of a hand, by hand."""
    if agents == "hands":
        return [list(parts)]
    if agents == "fingers":
        return [[part] for part in parts]
    return [group.split("+") for group in agents.split(",")]


def shares(groups, parts, base, both):
    """Both hands' actions [E, 2 x width], base first and the parts in order, as each agent's own."""
    width = both.shape[1] // 2
    spans = {}
    first = base
    for part, count in parts.items():
        spans[part] = list(range(first, first + count))
        first += count
    palm = next(iter(parts))
    spans[palm] = list(range(base)) + spans[palm]
    return [
        both[:, [side * width + column for part in group for column in spans[part]]]
        for side in range(2)
        for group in groups
    ]


@pytest.mark.parametrize("name", HANDS)
def test_every_grouping_moves_the_same_hands(name):
    paths = []
    shadow = name.startswith("Shadow")
    parts = SHADOW if shadow else OTHERS
    for agents in GROUPINGS if shadow else GROUPINGS_OF_OTHERS:
        env = make_task(name, 2, agents=agents)
        groups = groups_of(agents, parts)
        base = 6 if env.base else 0
        random = torch.Generator().manual_seed(0)
        step = env.reset(3)
        assert env.spec.num_agents == 2 * len(groups) == len(set(env.spec.agents))
        for _ in range(2):
            both = 2.0 * torch.rand(2, 2 * (sum(parts.values()) + base), generator=random) - 1.0
            actions = shares(groups, parts, base, both)
            assert [action.shape[1] for action in actions] == [space.size for space in env.spec.actions]
            step = env.step(tuple(actions))
        for agent, obs in enumerate(step.obs):
            assert torch.equal(obs, step.obs[0 if agent < len(groups) else -1])
        paths.append(torch.cat((step.state[:, 0], step.reward), 1))
    for path in paths[1:]:
        assert torch.equal(path, paths[0])


def skip_without_model(result):
    """Skip the test where a command found no model of the task's hand."""
    if " has no model here" in result.stderr:
        pytest.skip(result.stderr.strip())


@pytest.mark.slow
@pytest.mark.parametrize("name", HANDS)
def test_one_agent_can_have_both_hands(name, tmp_path):
    pytest.importorskip("rl_games", reason="rl-games is not installed")
    words = ["total_steps=24", "num_envs=4", "algo.rollout_length=3", "algo.hidden=[8]", "eval.interval=0"]
    result = run(f"task={name}", "algo=rl_games_ppo", *words, "device=cpu", cwd=tmp_path)
    skip_without_model(result)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", HANDS)
def test_agents_of_fingers_train(name, tmp_path):
    result = run(f"task={name}", "task.agents=fingers", *TINY, cwd=tmp_path)
    skip_without_model(result)
    assert result.returncode == 0, result.stderr
