"""The small games: their rewards and observations."""

import itertools

import pytest
import torch
from support.host_reads import NoHostReads

from harl_isaac.env import Box, action_width
from harl_isaac.tasks.games.memory import CUES, MemoryGameCfg
from harl_isaac.tasks.games.opposites import OppositesGameCfg
from harl_isaac.tasks.games.sum import SumGame, SumGameCfg
from harl_isaac.tasks.games.two_step import TwoStepGameCfg

CPU = torch.device("cpu")


@pytest.mark.parametrize("players", [2, 4, 6])
def test_opposites_rewards_two_joint_actions_alone(players):
    env = OppositesGameCfg(players=players).make(2**players, CPU, "auto")
    joint = list(itertools.product((0, 1), repeat=players))
    step = env.step(tuple(torch.tensor(joint).split(1, 1)))
    half = players // 2
    assert [a for a, reward in zip(joint, step.reward[:, 0].tolist()) if reward == 1.0] == [
        (0,) * half + (1,) * half,
        (1,) * half + (0,) * half,
    ]
    assert step.reward.sum() == 2.0 and torch.equal(step.metrics["success"], step.reward[:, 0])
    assert step.terminated.all() and len(env.spec.agents) == len(set(env.spec.agents)) == players
    assert all(torch.equal(obs, step.obs[0]) for obs in step.obs)


@pytest.mark.parametrize("players", [3, 0, -2])
def test_opposites_needs_two_halves(players):
    with pytest.raises(ValueError, match=f"task.players={players}.*even"):
        OppositesGameCfg(players=players).make(4, CPU, "auto")


def test_memory_needs_a_delay():
    with pytest.raises(ValueError, match=r"task.delay=0 must be within 1 and 1e\+06"):
        MemoryGameCfg(delay=0).make(4, CPU, "auto")


def play(env, choose, steps):
    """Returns and lengths of the episodes that ended, environment by environment; `choose(step)` gives the actions."""
    step = env.reset(3)
    running = torch.zeros(env.spec.num_envs)
    length = torch.zeros(env.spec.num_envs, dtype=torch.long)
    returns = [[] for _ in range(env.spec.num_envs)]
    lengths = [[] for _ in range(env.spec.num_envs)]
    for _ in range(steps):
        step = env.step(choose(step))
        running = running + step.reward[:, 0]
        length = length + 1
        for e in step.terminated.nonzero()[:, 0].tolist():
            returns[e].append(float(running[e]))
            lengths[e].append(int(length[e]))
            assert float(step.metrics["success"][e]) == float(running[e] == 1.0)
            running[e] = 0.0
            length[e] = 0
        assert (running == 0.0).all() and not step.truncated.any()
    return returns, lengths


def test_who_remembers_the_cue_earns_one():
    env = MemoryGameCfg(delay=2).make(7, CPU, "auto")
    memory = [torch.zeros(7, 1, dtype=torch.long) for _ in CUES]

    def remember(step):
        for i, obs in enumerate(step.obs):
            memory[i] = torch.where(obs.sum(1, keepdim=True) == 1.0, obs.argmax(1, keepdim=True), memory[i])
        return tuple(memory)

    returns, lengths = play(env, remember, 60)
    assert all(each == [1.0] * len(each) and len(each) > 10 for each in returns)
    assert [set(each) for each in lengths] == [{3 + e % 3} for e in range(7)]


def test_who_does_not_remember_guesses():
    env = MemoryGameCfg().make(600, CPU, "auto")
    for first, second in ((0, 0), (1, 2)):
        constant = (torch.full((600, 1), first), torch.full((600, 1), second))
        returns = [r for each in play(env, lambda step, choice=constant: choice, 60)[0] for r in each]
        assert sum(returns) / len(returns) == pytest.approx((1 / 2 + 1 / 3) / 2, abs=0.02)  # five deviations


def test_the_cue_is_shown_once_and_the_state_knows_it():
    env = MemoryGameCfg().make(6, CPU, "auto")
    step = env.reset(0)
    cues = [[], []]
    left = step.state[:, 0, 6].clone()
    for _ in range(40):
        started = step.state[:, 0, 5] == 0.0
        for i, (obs, known) in enumerate(zip(step.obs, step.state[:, 0, :5].split(CUES, 1))):
            assert torch.equal(obs, known * started[:, None]) and (known.sum(1) == 1.0).all()
            cues[i] += known[started].argmax(1).tolist()
        after = env.step((torch.zeros(6, 1, dtype=torch.long),) * 2)
        assert torch.equal(after.terminated, after.next_state[:, 0, 6] == 0.0)
        assert torch.equal(after.next_state[:, 0, :5], step.state[:, 0, :5])  # of the episode that was played
        assert (after.next_state[:, 0, 6] < left).all() and all((obs == 0.0).all() for obs in after.next_obs)
        step = after
        left = after.state[:, 0, 6].clone()
    assert [set(each) for each in cues] == [{0, 1}, {0, 1, 2}]


def test_the_sum_games_optimum_is_five_and_either_agent_can_reach_it():
    for share in (0.0, 0.5, 1.0):  # of the work, done by the first
        env = SumGame(50, CPU)
        step = env.reset(1)
        total = torch.zeros(50)
        successes = 0.0
        for _ in range(10):
            goal = step.obs[0]
            one = (share * goal).clamp(-3.0, 1.0)
            rest = goal - one
            step = env.step((one, torch.cat((rest.clamp(min=0.0), (-rest).clamp(min=0.0)), 1)))
            total = total + step.reward[:, 0]
            successes = successes + step.metrics["success"].sum()
            assert not step.terminated.any()
        assert step.truncated.all() and successes == 100.0
        torch.testing.assert_close(total, torch.full((50,), 10.0))


def test_the_sum_game_pays_for_distance_alone():
    env = SumGame(4, CPU)
    goal = env.reset(2).obs[0]
    step = env.step((torch.full((4, 1), -1.0), torch.tensor([[2.0, 0.5]]).expand(4, 2)))
    torch.testing.assert_close(step.reward, torch.exp(-(0.5 - goal).abs()))
    assert torch.equal(step.obs[1], torch.cat((step.obs[0], 1.0 - step.obs[0]), 1))
    assert torch.equal(step.state[:, 0], step.obs[0]) and not torch.equal(step.obs[0], goal)


def test_the_two_step_game_pays_what_the_paper_s_table_says():
    """All sixteen pairs of joint choices, two episodes one after the other."""
    env = TwoStepGameCfg().make(16, CPU, "auto")
    table = {(0, 0, 0): 7.0, (0, 0, 1): 7.0, (0, 1, 0): 7.0, (0, 1, 1): 7.0}
    table.update({(1, 0, 0): 0.0, (1, 0, 1): 1.0, (1, 1, 0): 1.0, (1, 1, 1): 8.0})
    choices = torch.tensor(list(itertools.product((0, 1), repeat=4)))
    first, ignored, row, column = choices.split(1, 1)
    step = env.reset(0)
    for _ in range(2):
        assert all(torch.equal(obs, torch.tensor([[1.0, 0.0, 0.0]] * 16)) for obs in (*step.obs, step.state[:, 0]))
        step = env.step((first, ignored))
        assert not step.done.any() and (step.reward == 0.0).all()
        assert torch.equal(step.obs[1].argmax(1), 1 + first[:, 0]) and torch.equal(step.next_state, step.state)
        step = env.step((row, column))
        expected = [table[tuple(each)] for each in torch.cat((first, row, column), 1).tolist()]
        assert step.terminated.all() and step.reward[:, 0].tolist() == expected
        assert step.metrics["success"].tolist() == [float(reward == 8.0) for reward in expected]
        assert torch.equal(step.next_obs[0].argmax(1), 1 + first[:, 0])


@pytest.mark.parametrize("cfg", [OppositesGameCfg(players=4), MemoryGameCfg(), SumGameCfg(), TwoStepGameCfg()])
def test_a_step_reads_nothing_on_the_host(cfg):
    env = cfg.make(6, CPU, "auto")
    actions = tuple(
        torch.zeros(6, action_width(space), dtype=torch.float if isinstance(space, Box) else torch.long)
        for space in env.spec.actions
    )
    with NoHostReads():
        env.reset(0)
        for _ in range(8):
            env.step(actions)
