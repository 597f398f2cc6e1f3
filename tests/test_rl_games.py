"""rl_games: conversion of agents to rows and back, its runs like any other's, our tasks in its own Runner."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("rl_games", reason="rl_games is not installed: pip install -e .[rl-games]")

from omegaconf import OmegaConf
from support import reference
from support.resuming import flat, same, whole_and_resumed

from harl_isaac.algos.rl_games_ppo import RlGamesPpoCfg
from harl_isaac.config import RunCfg
from harl_isaac.env import Box, Discrete, MultiDiscrete
from harl_isaac.rl_games.rows import Rows
from harl_isaac.rl_games.vec_env import TaskEnv, make, register
from harl_isaac.tasks.games.sum import SumGame
from harl_isaac.training import checkpoint
from harl_isaac.training.evaluation import Player, evaluate_policy
from harl_isaac.training.load_policy import load_policy
from harl_isaac.training.trainer import Trainer

CPU = torch.device("cpu")
DOCS = Path(__file__).resolve().parent.parent / "docs" / "rl_games.md"
TINY = ["algo.hidden=[16]", "algo.rollout_length=5"]


def test_all_agents_are_one_row_with_each_dimension_s_own_bounds():
    env = SumGame(3, CPU)
    rows = Rows(env.spec)
    info = rows.env_info()
    assert info["action_space"].low.tolist() == [-3, 0, 0] and info["action_space"].high.tolist() == [1, 2, 2]
    assert info["observation_space"].shape == (3,) and info["state_space"].shape == (1,) and info["agents"] == 1
    step = env.reset(0)
    assert torch.equal(rows.obs(step.obs), torch.cat((step.obs[0], step.obs[1]), 1))
    one, two = rows.actions(torch.tensor([[-9.0, 0.5, 9.0]] * 3))
    assert one.tolist() == [[-3.0]] * 3 and two.tolist() == [[0.5, 2.0]] * 3


def test_shared_rows_are_environment_by_environment_and_carry_agent_ids():
    spec = reference.spec_for((Box(2, -1.0, 3.0),) * 3, (2, 2, 2), num_envs=2, reward_agents=3)
    rows = Rows(spec, "shared")
    obs = tuple(torch.tensor([[i, 10.0], [i, 20.0]]) for i in range(3))
    expected = [[i, value] + [float(i == j) for j in range(3)] for value in (10.0, 20.0) for i in range(3)]
    assert rows.obs(obs).tolist() == expected
    assert rows.env_info()["agents"] == 3 and rows.env_info()["action_space"].shape == (2,)
    assert rows.reward(torch.tensor([[1.0, 2, 3], [4, 5, 6]])).tolist() == [1, 2, 3, 4, 5, 6]
    assert rows.per_row(torch.tensor([True, False])).tolist() == [True] * 3 + [False] * 3
    # rows: environment 0's three agents, then environment 1's
    actions = rows.actions(torch.arange(12.0).view(6, 2) / 4)
    assert [part.tolist() for part in actions] == [
        [[0, 0.25], [1.5, 1.75]],
        [[0.5, 0.75], [2, 2.25]],
        [[1, 1.25], [2.5, 2.75]],
    ]
    assert Rows(spec, "shared", agent_id=False).obs(obs).shape == (6, 2)


def test_choices_of_all_agents_are_the_heads_of_one():
    spec = reference.spec_for((Discrete(3), MultiDiscrete((2, 4))), (1, 1), num_envs=2)
    rows = Rows(spec)
    assert [space.n for space in rows.env_info()["action_space"]] == [3, 2, 4]
    assert [part.tolist() for part in rows.actions(torch.tensor([[2, 1, 3], [0, 0, 1]]))] == [
        [[2], [0]],
        [[1, 3], [0, 1]],
    ]


@pytest.mark.parametrize(
    "actions, sizes, policy, masks, message",
    [
        ((Box(1), Discrete(2)), (1, 1), "joint", False, "continuous actions or choices, not both.*Discrete"),
        (
            (Box(1), Box(2)),
            (1, 1),
            "shared",
            False,
            "policy=shared.*equal observations and actions.*size=2.*policy=joint",
        ),
        ((Box(1), Box(1)), (1, 2), "shared", False, "policy=shared.*b: 2"),
        ((Discrete(2), Discrete(3)), (1, 1), "joint", True, "masks choices of equal numbers only.*n=3"),
        ((Box(1), Box(1)), (1, 1), "both", False, "policy=both; possible: joint, shared"),
    ],
)
def test_what_rl_games_cannot_express_is_refused_by_name(actions, sizes, policy, masks, message):
    spec = reference.spec_for(actions, sizes, num_envs=4, has_action_mask=masks)
    with pytest.raises(ValueError, match=message):
        RlGamesPpoCfg(policy=policy).learner(spec, 0)


def test_settings_that_cannot_run_are_refused():
    spec = reference.spec_for((Box(1),) * 2, (1, 1), num_envs=3, reward_agents=2)
    with pytest.raises(ValueError, match="minibatches=5 does not divide the batch of 48"):
        RlGamesPpoCfg(minibatches=5).learner(spec, 0)
    with pytest.raises(ValueError, match="first agent's return.*central_value=false"):
        RlGamesPpoCfg(policy="shared").learner(spec, 0)


def test_ends_and_time_outs_are_reported_in_every_row():
    env = make("harl_isaac/SumGame", 2, device="cpu", seed=5)
    first = env.reset()["obs"]
    assert torch.equal(first, make("harl_isaac/SumGame", 2, device="cpu", seed=5).reset()["obs"])
    reported = [env.step(torch.zeros(2, 3))[2:] for _ in range(5)]
    assert [done.tolist() for done, _ in reported] == [[0, 0]] * 4 + [[1, 1]]
    assert [infos["time_outs"].tolist() for _, infos in reported] == [[False, False]] * 4 + [[True, True]]
    assert "episode" not in reported[0][1] and reported[4][1]["episode"]["success"].shape == (2,)
    game = make("harl_isaac/OppositesGame", 2, policy="shared", device="cpu")
    game.reset()
    _, reward, done, infos = game.step(torch.tensor([0, 1, 0, 0] + [0] * (2 * game.rows.agents - 4)))
    assert done.tolist() == [1] * 2 * game.rows.agents and not infos["time_outs"].any()  # terminated, not timed out
    assert reward.shape == (2 * game.rows.agents,)


@pytest.mark.parametrize(
    "task, words", [("SumGame", []), ("OppositesGame", ["algo.policy=shared"]), ("MatrixGame", [])]
)
def test_the_policy_that_is_evaluated_is_the_one_that_rl_games_trained(settings, task, words):
    """The most likely action of rl_games' own model, scaled by rl_games, is what `evaluate` plays."""
    trainer = Trainer(settings(task, "algo=rl_games_ppo", *TINY, *words))
    for _ in range(2):
        trainer.iterate()
    learner = trainer.learner
    step = trainer.step
    outputs = learner.agent.get_action_values(learner.env.continue_from(trainer.env, step))
    if learner.rows.continuous:
        action = learner.agent.preprocess_actions(outputs["mus"])
    else:
        logits = outputs["logits"] if isinstance(outputs["logits"], list) else [outputs["logits"]]
        action = torch.stack([each.argmax(1) for each in logits], 1)
    expected = learner.rows.actions(action)
    for one, other in zip(Player(trainer.env.spec, learner.actors).act(step), expected):
        torch.testing.assert_close(one, other)


def test_the_most_likely_allowed_choice_is_taken():
    spec = reference.spec_for((Discrete(3),) * 2, (1, 1), num_envs=2, has_action_mask=True)
    for policy in ("joint", "shared"):
        actors = RlGamesPpoCfg(policy=policy, hidden=[4]).actors(spec)
        mask = torch.tensor([[[False, True, False], [True, False, False]]] * 2)
        assert actors.mode(torch.ones(2, 2, 1), mask)[..., 0].tolist() == [[1, 0]] * 2


def test_masked_choices_are_never_taken_in_training():
    class FakeChoices:
        """SumGame's observations, with choices that are masked and do nothing."""

        spec = reference.spec_for((Discrete(3),) * 2, (1, 2), num_envs=4, has_action_mask=True, state_size=1)
        game = SumGame(4, CPU)
        taken = []

        def reset(self, seed=None):
            return self.masked(self.game.reset(seed))

        def step(self, actions):
            self.taken.append(torch.cat(actions, 1))
            return self.masked(self.game.step((torch.zeros(4, 1), torch.zeros(4, 2))))

        def masked(self, step):
            step.action_mask = (torch.tensor([[True, False, True]] * 4), torch.tensor([[False, True, True]] * 4))
            return step

    env = FakeChoices()
    learner = RlGamesPpoCfg(hidden=[4]).learner(env.spec, 0)
    step = env.reset(0)
    for _ in range(3):
        step, _ = learner.collect(env, step)
        learner.update(0.0)
    taken = torch.cat(env.taken)
    assert set(taken[:, 0].tolist()) == {0, 2} and set(taken[:, 1].tolist()) == {1, 2}


@pytest.mark.parametrize(
    "task, words",
    [
        ("SumGame", ["algo.lr_schedule=linear", "algo.minibatches=3"]),
        ("SumGame", ["algo.central_value=false"]),
        ("OppositesGame", ["algo.policy=shared"]),
        ("ShadowHandOver", ["task.episode_length=7"]),
    ],
)
def test_two_iterations_and_two_resumed_equal_four_bitwise(settings, tmp_path, task, words):
    cfg = settings(
        task, "algo=rl_games_ppo", *TINY, *words, "total_steps=120", "eval.interval=2", "checkpoint.keep_every=2"
    )
    whole, second = whole_and_resumed(cfg, tmp_path)
    expected = flat(whole.state_dict())
    found = flat(second.state_dict())
    assert expected.keys() == found.keys()
    differ = [
        name
        for name in expected
        if not name.startswith(("/stats", "/counters/best")) and not same(expected[name], found[name])
    ]
    assert differ == []


def test_the_learning_rate_falls_to_zero_with_a_linear_schedule(settings):
    trainer = Trainer(settings("SumGame", "algo=rl_games_ppo", *TINY, "algo.lr_schedule=linear", "total_steps=120"))
    rates = [trainer.iterate()["actor/learning_rate"] for _ in range(4)]
    assert rates == pytest.approx([5e-4, 3.75e-4, 2.5e-4, 1.25e-4])
    agent = trainer.learner.agent
    for optimizer in (agent.optimizer, agent.central_value_net.optimizer):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(1.25e-4)


@pytest.mark.parametrize("words", [[], ["algo.policy=shared"]])
def test_a_run_of_two_hands_can_be_evaluated(settings, tmp_path, words):
    cfg = settings("ShadowHandOver", "algo=rl_games_ppo", *words, "total_steps=60", "eval.interval=1")
    trainer = Trainer(cfg)
    numbers = trainer.train(tmp_path)
    assert {"actor/kl", "actor/entropy", "critic/loss", "critic/explained_variance"} <= set(numbers)
    assert {file.name for file in tmp_path.iterdir()} >= {"metrics.csv", "eval.csv", "checkpoints"}
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(RunCfg(**vars(cfg)))))
    env, actors, file = load_policy(str(tmp_path), 2, "cpu", "mujoco")
    returns = evaluate_policy(env, actors, 2, 0).values["return"]
    assert file.name == "best.pt" and returns.isfinite().all()
    again = trainer.learner.actors
    again.load_state_dict(checkpoint.load(file)["learner"]["actors"])
    env.reset(0)
    assert torch.equal(evaluate_policy(env, again, 2, 0).values["return"], returns)


def test_the_sum_game_is_learned(settings, tmp_path):
    trainer = Trainer(
        settings(
            "SumGame",
            "algo=rl_games_ppo",
            "num_envs=64",
            "total_steps=25000",
            "algo.hidden=[32]",
            "algo.gamma=0.5",
            "algo.lr=0.003",
            "algo.minibatches=4",
            "algo.kl_threshold=0.05",
        )
    )
    trainer.train(tmp_path)
    assert evaluate_policy(SumGame(64, CPU), trainer.learner.actors, 64, 7).means()["return"] > 4.3


def test_one_policy_for_all_solves_opposites_only_with_agent_ids(settings, tmp_path):
    """Zhong et al., Example 2: at best half the players' halves agree by chance."""
    found = []
    for agent_id in ("true", "false"):
        trainer = Trainer(
            settings(
                "OppositesGame",
                "algo=rl_games_ppo",
                "algo.policy=shared",
                "algo.agent_id=" + agent_id,
                "num_envs=64",
                "total_steps=6000",
                "algo.lr=0.01",
                "algo.lr_schedule=constant",
            )
        )
        trainer.train(tmp_path / agent_id)
        found.append(trainer.iterate()["episode/return"])
    assert found[0] > 0.95 and found[1] < 0.7


def test_the_documented_configuration_trains_in_rl_games_own_runner(tmp_path):
    program = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.S)[1]
    tiny = program.replace("NUM_ENVS, EPOCHS = 256, 500", "NUM_ENVS, EPOCHS = 2, 2").replace(
        "[512, 512, 256, 128]", "[8]"
    )
    assert tiny != program
    file = tmp_path / "example.py"
    file.write_text(tiny)
    result = subprocess.run([sys.executable, str(file)], cwd=str(tmp_path), capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr
    assert len(list(tmp_path.glob("runs/over_*/nn/*.pth"))) == 1


def test_every_task_is_registered_and_takes_settings_of_its_own():
    from rl_games.common import env_configurations, vecenv

    register()
    env = vecenv.create_vec_env("harl_isaac/MatrixGame", 2, device="cpu", task={"absences": True})
    assert isinstance(env, TaskEnv) and env.env.spec.has_alive and env.env.spec.num_envs == 2
    create = env_configurations.configurations["harl_isaac/OppositesGame"]["env_creator"]
    assert create(device="cpu").env.spec.num_envs == 1
