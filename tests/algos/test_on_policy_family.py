"""HAA2C, MAPPO, MAA2C and IPPO, and the switches that all on-policy algorithms have."""

from itertools import permutations

import pytest
import torch
from support import reference
from support.small_runs import ON_POLICY

from harl_isaac.algos import ALGOS
from harl_isaac.algos.haa2c import Haa2cCfg
from harl_isaac.algos.happo import HappoCfg
from harl_isaac.algos.ippo import IppoCfg
from harl_isaac.algos.maa2c import Maa2cCfg
from harl_isaac.algos.mappo import MappoCfg
from harl_isaac.env import Box, Discrete, MultiDiscrete
from harl_isaac.learning import joint_policy_fit, policy_fit
from harl_isaac.learning.batching import minibatches
from harl_isaac.networks.distributions import Categoricals, Gaussian
from harl_isaac.registry import import_object
from harl_isaac.training.trainer import Trainer

EQUAL = reference.spec_for((Box(3),) * 3, (5, 7, 2))
MIXED = reference.spec_for(
    (Box(3), MultiDiscrete((2, 5, 3)), Discrete(4)), (5, 7, 4), has_action_mask=True, has_alive=True
)
ROWS = 24


def built(kind, spec, seed=0, **changed):
    """A scrambled learner of small networks with a rollout of noise."""
    torch.manual_seed(seed)
    cfg = kind(
        **{
            "rollout_length": 6,
            "hidden": [16, 12],
            "epochs": 2,
            "critic_epochs": 1,
            "lr": 0.01,
            "lr_decay": False,
            **changed,
        }
    )
    learner = cfg.learner(spec, seed)
    reference.scramble(learner.actors)
    reference.fill(learner.rollout, learner.actors, seed)
    return learner


def parameters(module):
    return [p.detach().clone() for p in module.parameters()]


def same_parameters(actor, plain):
    ours = dict(actor.named_parameters())
    for name, value in plain.named_parameters():
        torch.testing.assert_close(ours[name if name == "log_std" else "net." + name], value, rtol=1e-6, atol=1e-9)


def moved(before, after):
    return any(not torch.equal(a, b) for a, b in zip(before, after))


def test_haa2cs_loss_has_the_policy_gradient():
    log_prob = torch.tensor([-1.0, -0.3, -2.0], dtype=torch.float64, requires_grad=True)
    advantage = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    surrogate = built(Haa2cCfg, EQUAL).surrogate
    surrogate((log_prob - log_prob.detach()).exp(), advantage).sum().backward()
    assert log_prob.grad.tolist() == (-advantage).tolist()
    assert surrogate(torch.tensor([3.0, 0.1]), torch.tensor([1.0, -2.0])).tolist() == pytest.approx([-3.0, 0.2])


@pytest.mark.parametrize(
    "kind, sequential", [(Haa2cCfg, True), (HappoCfg, True), (MappoCfg, False), (Maa2cCfg, False), (IppoCfg, False)]
)
def test_only_the_sequential_algorithms_weigh_advantages_with_earlier_agents_ratios(kind, sequential, monkeypatch):
    seen = []
    learner = built(kind, EQUAL, epochs=1, fixed_order=True)
    update_agent = learner.update_agent

    def spy(i, batch, advantage):
        seen.append(advantage.clone())
        return update_agent(i, batch, advantage)

    class SeenLoss(joint_policy_fit.JointPolicyLoss):
        def __init__(self, *fields):
            super().__init__(*fields)
            seen.extend(self.advantage.unbind(1))

    monkeypatch.setattr(learner, "update_agent", spy)
    monkeypatch.setattr(joint_policy_fit, "JointPolicyLoss", SeenLoss)  # of agents that are fitted at once
    metrics = learner.update(0.0)
    if kind is not IppoCfg:  # each agent has advantages of its own there
        assert torch.equal(seen[0], seen[1]) != sequential
    assert (metrics["factor/std"].item() > 1e-4) == sequential


@pytest.mark.parametrize("kind", [Haa2cCfg, MappoCfg])
def test_an_update_equals_a_literal_loop(kind, monkeypatch):
    """Three agents, several minibatches, in float64; the loss without clip or the factor left at one."""
    drawn = []
    monkeypatch.setattr(policy_fit, "minibatches", reference.recording(minibatches, drawn))
    monkeypatch.setattr(joint_policy_fit, "minibatches", reference.recording(minibatches, drawn))
    with reference.double_precision():
        learner = built(kind, MIXED, minibatches=2, entropy_coef=0.02, fixed_order=True)
        plain = [reference.PlainActor(actor) for actor in learner.actors.agents]
        optimizers = [torch.optim.Adam(actor.parameters(), lr=0.01, eps=1e-5) for actor in plain]
        rollout = learner.rollout
        estimate = learner.critic.estimate(rollout)
        advantage = reference.advantage(
            rollout.reward,
            estimate.value,
            estimate.next_value,
            rollout.terminated,
            rollout.truncated,
            learner.cfg.gamma,
            learner.cfg.gae_lambda,
        )
        columns = reference.normalized_columns(advantage, rollout.alive)
        learner.update(0.0)
        factor = [1.0] * ROWS
        for i, actor in enumerate(plain):
            batch = rollout.agent(i)
            obs = batch.obs
            action = batch.action
            alive = batch.alive
            mask = batch.mask
            old = actor.evaluate_actions(obs, action, mask)[0].detach()
            first = 4 * i if learner.sequential else 0  # the same rows for all who are fitted at once
            for rows in drawn[first : first + 4]:
                log_prob, entropy = actor.evaluate_actions(
                    obs[rows], action[rows], None if mask is None else mask[rows]
                )
                loss = 0.0
                for place, b in enumerate(rows):
                    ratio = (log_prob[place] - old[b]).exp()
                    weighted = factor[b] * columns[i][b]
                    gain = (
                        ratio * weighted if kind is Haa2cCfg else reference.surrogate(ratio, weighted, learner.cfg.clip)
                    )
                    loss = loss - alive[b] * (gain + 0.02 * entropy[place]) / max(float(alive[rows].sum()), 1.0)
                reference.stepped(optimizers[i], loss, learner.cfg.max_grad_norm)
            if kind is Haa2cCfg:
                new = actor.evaluate_actions(obs, action, mask)[0]
                factor = [m * r for m, r in zip(factor, (new - old).exp().tolist())]
        for mine, actor in zip(learner.actors.agents, plain):
            same_parameters(mine, actor)


@pytest.mark.parametrize("kind, fixed", [(HappoCfg, False), (HappoCfg, True)])
def test_the_order_is_random_unless_fixed(kind, fixed):
    learner = built(kind, EQUAL, fixed_order=fixed)
    orders = {tuple(learner.draw_agent_order()) for _ in range(60)}
    assert orders == ({(0, 1, 2)} if fixed else set(permutations(range(3))))


# Parameter sharing.


def test_a_shared_network_sees_the_widest_observation_and_the_agents_place():
    learner = built(MappoCfg, EQUAL, share_param=True)
    assert len(learner.actors.agents) == 1 and len(learner.optimizers) == 1
    obs = learner.rollout.obs
    assert obs.shape == (6, 4, 3, 7 + 3)
    assert torch.equal(obs[..., 7:], torch.eye(3).expand(6, 4, 3, 3)) and (obs[:, :, 2, 2:7] == 0.0).all()
    heads = learner.actors.outputs(obs[0])
    for i in range(3):
        torch.testing.assert_close(heads[:, i], learner.actors.agent(i).head(obs[0, :, i]))
    same = torch.zeros(1, 3, 10)
    assert torch.equal(learner.actors.outputs(same)[0, 0], learner.actors.outputs(same)[0, 1])
    assert built(MappoCfg, EQUAL, share_param=True, agent_id=False).rollout.obs.shape == (6, 4, 3, 7)


def test_shared_mappo_steps_once_on_all_agents_rows():
    """The gradient of the mean over agents and rows: as one step on the joined batch of a single network."""
    with reference.double_precision():
        learner = built(MappoCfg, EQUAL, share_param=True, epochs=1)
        plain = reference.PlainActor(learner.actors.agents[0])
        optimizer = torch.optim.Adam(plain.parameters(), lr=0.01, eps=1e-5)
        rollout = learner.rollout
        estimate = learner.critic.estimate(rollout)
        advantage = reference.advantage(
            rollout.reward,
            estimate.value,
            estimate.next_value,
            rollout.terminated,
            rollout.truncated,
            learner.cfg.gamma,
            learner.cfg.gae_lambda,
        )
        columns = reference.normalized_columns(advantage.expand(-1, -1, 3), rollout.alive)
        batches = [rollout.agent(i) for i in range(3)]
        learner.update(0.0)
        loss = 0.0
        for batch, column in zip(batches, columns):
            log_prob = plain.evaluate_actions(batch.obs, batch.action)[0]
            for b in range(ROWS):
                ratio = (log_prob[b] - log_prob[b].detach()).exp()
                loss = loss - reference.surrogate(ratio, column[b], 0.2) / (3 * ROWS)
        reference.stepped(optimizer, loss, learner.cfg.max_grad_norm)
        same_parameters(learner.actors.agents[0], plain)


def test_shared_happo_moves_one_network_in_every_agents_update():
    moves = []
    learner = built(HappoCfg, EQUAL, share_param=True)
    step = learner.update_agent

    def spy(i, batch, advantage):
        before = parameters(learner.actors)
        metrics = step(i, batch, advantage)
        moves.append((i, moved(before, parameters(learner.actors))))
        return metrics

    learner.update_agent = spy
    learner.update(0.0)
    assert sorted(moves) == [(0, True), (1, True), (2, True)]


def test_agents_with_different_actions_cannot_share():
    with pytest.raises(ValueError, match="share_param=true needs the same actions.*a has Box.*c has Discrete"):
        built(MappoCfg, MIXED, share_param=True)


@pytest.mark.slow
def test_parameter_sharing_cannot_solve_example_2_and_own_networks_do(settings, tmp_path):
    """Zhong et al., 2024, Example 2: with one policy for both agents no more than 2 / 2^n = 0.5."""

    def learned(*words):
        cfg = settings("OppositesGame", "num_envs=64", "total_steps=40000", "algo.lr=0.003", *words)
        return Trainer(cfg).train(tmp_path / "-".join(words).replace("=", ""))["episode/return"]

    assert learned("algo=happo") > 0.95
    assert learned("algo=mappo", "algo.share_param=true", "algo.agent_id=false") < 0.6
    assert learned("algo=mappo", "algo.share_param=true", "algo.agent_id=true") > 0.95  # the place tells them apart


# Probability ratios of an action's dimensions.


@pytest.mark.parametrize("space, kind", [(Box(3), Gaussian), (MultiDiscrete((2, 5, 3)), Categoricals)])
def test_log_probs_of_dimensions_add_up_to_that_of_the_action(space, kind):
    torch.manual_seed(0)
    kind = kind(space)
    log_std = torch.tensor([1.0, -0.5, 2.0])
    head = torch.randn(6, kind.head_size)
    action = kind.sample(head, log_std, None)[0]
    each = kind.log_probs(head, log_std, None, action)
    assert each.shape == (6, 3)
    torch.testing.assert_close(each.sum(-1), kind.log_prob(head, log_std, None, action))


def test_aggregation_by_mean_takes_the_mean_of_the_dimensions_ratios():
    """Of an agent's true dimensions, also where others have more."""
    spec = reference.spec_for((Box(3), Box(1), MultiDiscrete((2, 5, 3))), (5, 7, 4))
    with reference.double_precision():
        learner = built(HappoCfg, spec, action_aggregation="mean", fixed_order=True)
        rollout = learner.rollout
        assert rollout.log_prob.shape == (6, 4, 3, 3)
        batches = [rollout.agent(i) for i in range(3)]
        before = [parameters(actor) for actor in learner.actors.agents]
        for i, (actor, batch) in enumerate(zip(learner.actors.agents, batches)):
            log_prob = actor.evaluate_actions(batch.obs, batch.action, batch.mask)[0]
            assert log_prob.shape == (ROWS, (3, 1, 3)[i])
            torch.testing.assert_close(log_prob, batch.log_prob)
        metrics = learner.update(0.0)
        factor = 1.0
        for i, (actor, batch) in enumerate(zip(learner.actors.agents, batches)):
            assert moved(before[i], parameters(actor))
            new = actor.evaluate_actions(batch.obs, batch.action, batch.mask)[0].detach()
            factor = factor * torch.tensor(
                [sum((n - o).exp().item() for n, o in zip(*row)) / len(row[0]) for row in zip(new, batch.log_prob)]
            )
        assert metrics["factor/mean"].item() == pytest.approx(factor.mean().item(), rel=1e-6)
        assert metrics["factor/std"].item() == pytest.approx(factor.std().item(), rel=1e-6)


def test_an_unknown_aggregation_is_refused():
    with pytest.raises(ValueError, match="algo.action_aggregation=sum; possible: prod, mean"):
        built(HappoCfg, EQUAL, action_aggregation="sum")


# Rewards and states of each agent's own, absent agents.


def test_one_state_with_a_reward_for_each_agent_has_a_value_for_each():
    spec = reference.spec_for((Box(2),) * 3, (5, 7, 2), reward_agents=3)
    with reference.double_precision():
        learner = built(MappoCfg, spec)
        rollout = learner.rollout
        critic = learner.critic.function.critic
        estimate = learner.critic.estimate(rollout)
        assert estimate.value.shape == (6, 4, 3)
        torch.testing.assert_close(estimate.value[2, 3], critic(rollout.state[2, 3, 0]))
        learner.update(0.0)
        for _ in range(300):  # the values learn what each agent's own return is
            learner.critic.fit(
                rollout, learner.critic.estimate(rollout).normalized, rollout.reward + 5.0 * torch.arange(3.0)
            )
        error = (
            learner.critic.estimate(rollout).value.mean((0, 1)) - rollout.reward.mean((0, 1)) - 5.0 * torch.arange(3.0)
        )
        assert error.abs().max() < 1.0


def test_ippos_critics_see_their_agents_observation_and_learn_from_its_reward():
    spec = reference.spec_for((Box(2),) * 3, (5, 7, 2), reward_agents=3)
    with reference.double_precision():
        learner = built(IppoCfg, spec)
        rollout = learner.rollout
        estimate = learner.critic.estimate(rollout)
        for i, function in enumerate(learner.critic.functions):
            layers = reference.layers_of(function.critic.net)
            for obs, found in ((rollout.obs, estimate.normalized),):
                expected = [
                    reference.mlp_row(layers, row, "relu")[0]
                    for row in obs[:, :, i, : spec.obs_sizes[i]].flatten(0, 1).tolist()
                ]
                assert found[:, :, i].flatten().tolist() == pytest.approx(expected)
            next_value = function.critic(rollout.next_obs[:, :, i, : spec.obs_sizes[i]])[..., 0]
            torch.testing.assert_close(estimate.next_value[:, :, i], next_value)
        before = [parameters(function.critic) for function in learner.critic.functions]
        learner.update(0.0)
        assert all(moved(old, parameters(function.critic)) for old, function in zip(before, learner.critic.functions))


def test_an_agent_absent_from_a_whole_batch_does_not_move_even_by_its_momentum():
    learner = built(HappoCfg, MIXED)
    learner.update(0.0)
    learner.rollout.alive[:, :, 1] = 0.0
    before = [parameters(actor) for actor in learner.actors.agents]
    memory = {name: value.clone() for name, value in learner.optimizers[1].state_dict()["state"][0].items()}
    metrics = learner.update(0.0)
    assert [moved(old, parameters(actor)) for old, actor in zip(before, learner.actors.agents)] == [True, False, True]
    after = learner.optimizers[1].state_dict()["state"][0]
    assert all(torch.equal(after[name], value) for name, value in memory.items())
    assert all(torch.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize("name", sorted(ON_POLICY))
@pytest.mark.parametrize(
    "changed",
    [{}, {"recurrent": True, "chunk_length": 3}, {"action_aggregation": "mean"}],
    ids=["plain", "recurrent", "mean"],
)
def test_every_algorithm_trains_agents_of_all_kinds_some_of_them_absent(name, changed):
    torch.manual_seed(0)
    kind = import_object(ALGOS[name])
    learner = kind(rollout_length=6, hidden=[16, 12], critic_epochs=1, **changed).learner(MIXED, 0)
    reference.scramble(learner.actors)
    for iteration in range(2):
        reference.fill(learner.rollout, learner.actors, iteration)
        before = [parameters(actor) for actor in learner.actors.agents]
        metrics = learner.update(0.5)
        assert all(torch.isfinite(value) and not value.requires_grad for value in metrics.values())
        assert {f"agent/{agent}/kl" for agent in "abc"} <= metrics.keys()
    if hasattr(learner.cfg, "lr"):
        assert all(moved(old, parameters(actor)) for old, actor in zip(before, learner.actors.agents))


@pytest.mark.parametrize("name", sorted(ON_POLICY))
def test_every_algorithm_goes_on_from_its_saved_state_bitwise(name, settings, tmp_path):
    for task, words in (("MixedGame", []), ("MemoryGame", ["algo.recurrent=true", "algo.chunk_length=5"])):
        cfg = settings(task, "algo=" + name, "total_steps=120", *words)
        whole = Trainer(cfg)
        whole.train(tmp_path / task / "whole")
        first = Trainer(cfg)
        for _ in range(2):
            first.iterate()
        second = Trainer(cfg, first.state_dict())
        for _ in range(2):
            second.iterate()
        assert second.steps == whole.steps == 120
        for (path, value), other in zip(
            whole.learner.actors.state_dict().items(), second.learner.actors.state_dict().values()
        ):
            assert torch.equal(value, other), path
        for one, other in zip(whole.learner.critic.functions, second.learner.critic.functions):
            assert not moved(parameters(one.critic), parameters(other.critic))
