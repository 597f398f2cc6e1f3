"""The stacked policies against each agent's own network, and both networks against a literal version."""

import copy
import math

import pytest
import torch
from support import reference

from harl_isaac.algos.happo import HappoCfg
from harl_isaac.buffers.rollout import Rollout
from harl_isaac.env import Box, Discrete, MultiDiscrete, action_width, mask_width
from harl_isaac.learning import batching
from harl_isaac.learning.batching import chunks
from harl_isaac.learning.gradient import gradient_step
from harl_isaac.learning.optimizers import adam
from harl_isaac.networks.actors import StackedActors
from harl_isaac.networks.critic import new_critic
from harl_isaac.networks.distributions import std_of
from harl_isaac.networks.mlp import new_mlp

EQUAL = reference.spec_for((Box(3),) * 3, (6, 6, 6))
RAGGED = reference.spec_for((Box(3),) * 3, (5, 7, 2))
MIXED = reference.spec_for(
    (Box(3), MultiDiscrete((2, 5, 3)), Discrete(4), Box(1), Discrete(4)),
    (5, 7, 4, 6, 7),
    has_action_mask=True,
    has_alive=True,
)
CPU = torch.device("cpu")
SPECS = {"equal": EQUAL, "ragged": RAGGED, "mixed": MIXED}
everywhere = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())


def scrambled_actors(spec, hidden=(16, 12), activation="relu"):
    torch.manual_seed(0)
    actors = StackedActors(spec, hidden, activation, 0.01)
    reference.scramble(actors)
    return actors


def filled_rollout(spec, actors):
    return reference.fill(Rollout(spec, 6), actors)


def flat(rollout):
    """Observations [B, A, O] and masks [B, A, N] of all agents."""
    return rollout.obs.flatten(0, 1), None if rollout.mask is None else rollout.mask.flatten(0, 1)


def snapshot(actors):
    return [[p.detach().clone() for p in agent.parameters()] for agent in actors.agents]


def differing(before, after):
    """The agents of whom some parameter changed in some bit."""
    pairs = [zip(old, new) for old, new in zip(before, after)]
    return [i for i, pair in enumerate(pairs) if any(not torch.equal(a, b) for a, b in pair)]


@everywhere
def test_the_stack_gives_each_agent_the_head_of_its_own_network_and_zeros_beyond(spec):
    with reference.double_precision():
        actors = scrambled_actors(spec)
        obs = flat(filled_rollout(spec, actors))[0]
        heads = actors.outputs(obs)
        for i, actor in enumerate(actors.agents):
            size = actor.distribution.head_size
            torch.testing.assert_close(heads[:, i, :size], actor.net(obs[:, i, : spec.obs_sizes[i]]))
            assert (heads[:, i, size:] == 0.0).all()


@everywhere
@pytest.mark.parametrize("activation", ["relu", "tanh", "elu", "selu"])
def test_networks_are_layer_norm_linear_activation_over_true_widths(spec, activation):
    with reference.double_precision():
        actors = scrambled_actors(spec, activation=activation)
        obs = flat(filled_rollout(spec, actors))[0][:3]
        for i, actor in enumerate(actors.agents):
            own = obs[:, i, : spec.obs_sizes[i]]
            size = actor.distribution.head_size
            literal = [reference.mlp_row(reference.layers_of(actor.net), row, activation) for row in own.tolist()]
            torch.testing.assert_close(actor.net(own), torch.tensor(literal))
            torch.testing.assert_close(actors.outputs(obs)[:, i, :size], torch.tensor(literal))


@everywhere
@pytest.mark.parametrize(
    "input_norm, layer_norm, normalized",
    [("layer", False, [0]), ("none", True, [1, 2]), ("none", False, [])],
)
def test_layer_norms_can_be_left_out(spec, input_norm, layer_norm, normalized):
    """A literal version, the agents' networks, their stack with other numbers in the padding, and the critic."""
    with reference.double_precision():
        actors = StackedActors(spec, (16, 12), "tanh", 0.01, input_norm=input_norm, layer_norm=layer_norm)
        reference.scramble(actors)
        obs = flat(filled_rollout(spec, actors))[0][:3]
        for i, actor in enumerate(actors.agents):
            own = obs[:, i, : spec.obs_sizes[i]]
            obs[:, i, spec.obs_sizes[i] :] = 1e3
            size = actor.distribution.head_size
            layers = reference.layers_of(actor.net)
            literal = torch.tensor([reference.mlp_row(layers, row, "tanh", normalized) for row in own.tolist()])
            torch.testing.assert_close(actor.net(own), literal)
            torch.testing.assert_close(actors.outputs(obs)[:, i, :size], literal)
        critic = new_critic(7, (16, 12), "tanh", CPU, input_norm=input_norm, layer_norm=layer_norm)
        reference.scramble(critic)
        state = torch.randn(3, 7)
        layers = reference.layers_of(critic.net)
        expected = [reference.mlp_row(layers, row, "tanh", normalized) for row in state.tolist()]
        torch.testing.assert_close(critic.normalized(state), torch.tensor(expected))


def test_without_layer_norms_there_are_no_scales_of_them():
    names = StackedActors(MIXED, (16, 12), "relu", 0.01, layer_norm=False).state_dict()
    assert "agents.0.net.norm_weights.0" in names and not any(name.endswith("norm_weights.1") for name in names)


@everywhere
def test_padding_is_zero_and_whatever_stands_there_changes_nothing(spec):
    actors = scrambled_actors(spec)
    rollout = filled_rollout(spec, actors)
    spoilt = rollout.obs.clone()
    for i, size in enumerate(spec.obs_sizes):
        assert (rollout.obs[:, :, i, size:] == 0.0).all()
        assert (rollout.action[:, :, i, action_width(spec.actions[i]) :] == 0.0).all()
        spoilt[:, :, i, size:] = 1e3
    assert torch.equal(actors.outputs(rollout.obs.flatten(0, 1)), actors.outputs(spoilt.flatten(0, 1)))


@everywhere
def test_the_first_ratio_is_one(spec):
    """The stack's log-probabilities, stored by `collect`, are those that the update starts from."""
    actors = scrambled_actors(spec)
    rollout = filled_rollout(spec, actors)
    for i, actor in enumerate(actors.agents):
        batch = rollout.agent(i)
        log_prob, entropy = actor.evaluate_actions(batch.obs, batch.action, batch.mask)
        assert log_prob.shape == entropy.shape == batch.log_prob.shape == (24,)
        torch.testing.assert_close(log_prob, batch.log_prob, atol=1e-5, rtol=1e-5)


@everywhere
def test_evaluate_agrees_with_a_plain_module(spec):
    with reference.double_precision():
        actors = scrambled_actors(spec)
        rollout = filled_rollout(spec, actors)
        for i, actor in enumerate(actors.agents):
            batch = rollout.agent(i)
            expected = reference.PlainActor(actor).evaluate_actions(batch.obs, batch.action, batch.mask)
            torch.testing.assert_close(actor.evaluate_actions(batch.obs, batch.action, batch.mask), expected)


@everywhere
def test_mode_is_each_agents_likeliest_action(spec):
    actors = scrambled_actors(spec)
    obs, mask = flat(filled_rollout(spec, actors))
    mode = actors.mode(obs, mask)
    for i, (actor, space) in enumerate(zip(actors.agents, spec.actions)):
        allowed = mask[:, i, : mask_width(space)] if mask is not None and mask_width(space) else None
        own = actor.distribution.mode(actor.net(obs[:, i, : spec.obs_sizes[i]]), allowed)
        torch.testing.assert_close(mode[:, i, : own.shape[1]], own)
        assert (mode[:, i, own.shape[1] :] == 0.0).all()


def test_sampled_choices_are_allowed_by_each_agents_own_mask():
    actors = scrambled_actors(MIXED)
    rollout = filled_rollout(MIXED, actors)
    for i, space in enumerate(MIXED.actions):
        batch = rollout.agent(i)
        start = 0
        for place, n in enumerate([] if isinstance(space, Box) else actors.agents[i].distribution.nvec):
            chosen = batch.action[:, place : place + 1].long()
            assert ((chosen >= 0) & (chosen < n)).all()
            assert batch.mask[:, start : start + n].gather(1, chosen).all()
            assert chosen.unique().numel() > 1
            start += n


def test_different_agents_and_environments_get_different_noise():
    envs = 4000
    actors = scrambled_actors(EQUAL)
    obs = torch.zeros(envs, 3, 6)
    action, log_prob = actors.sample(obs)
    limit = 5.0 / math.sqrt(envs)
    for values in (log_prob, action.flatten(1)):
        correlation = torch.corrcoef(values.t()) - torch.eye(values.shape[1])
        assert correlation.abs().max() < limit
    assert action[:, 0].unique(dim=0).shape[0] == envs
    assert not torch.equal(actors.sample(obs)[0], action)


@everywhere
def test_an_optimizer_step_of_one_agent_moves_the_stack_at_once_and_nobody_else(spec):
    """Also after steps of all agents, so that a shared momentum would show."""
    actors = scrambled_actors(spec)
    obs = flat(filled_rollout(spec, actors))[0]
    optimizers = [adam(actor.parameters(), 0.01, 1e-5) for actor in actors.agents]
    for i in list(range(spec.num_agents)) * 2:
        before = snapshot(actors)
        heads = actors.outputs(obs)

        def loss_of(part, i=i):
            unused = 0.0 * sum(p.sum() for p in actors.agents[i].parameters())
            return actors.agents[i].net(obs[part, i, : spec.obs_sizes[i]]).square().sum() + unused, torch.zeros(1)

        gradient_step(optimizers[i], loss_of, [slice(None)], 10.0)
        assert differing(before, snapshot(actors)) == [i]
        moved = (actors.outputs(obs) != heads).any(0).any(-1)
        assert moved.nonzero().flatten().tolist() == [i]


@everywhere
def test_loading_writes_into_the_shared_memory(spec):
    actors = scrambled_actors(spec)
    other = scrambled_actors(spec)
    reference.scramble(other, seed=1)
    obs = flat(filled_rollout(spec, actors))[0]
    where = [p.data_ptr() for p in actors.parameters()]
    actors.load_state_dict(copy.deepcopy(other.state_dict()))
    assert [p.data_ptr() for p in actors.parameters()] == where
    assert torch.equal(actors.outputs(obs), other.outputs(obs))
    reference.scramble(actors.agents[0], seed=2)
    moved = (actors.outputs(obs) != other.outputs(obs)).any(0).any(-1)
    assert moved.tolist() == [True] + [False] * (spec.num_agents - 1)


def test_what_is_saved_of_an_agent_has_its_true_widths():
    shapes = {name: tuple(value.shape) for name, value in scrambled_actors(MIXED).state_dict().items()}
    assert shapes["agents.0.net.weights.0"] == (5, 16) and shapes["agents.1.net.weights.0"] == (7, 16)
    assert shapes["agents.1.net.weights.2"] == (10, 12) and shapes["agents.2.net.weights.2"] == (4, 12)
    assert shapes["agents.0.log_std"] == (3,) and shapes["agents.3.log_std"] == (1,)
    assert "agents.1.log_std" not in shapes


@everywhere
def test_the_gradient_of_chunks_is_the_gradient_of_the_batch(spec, monkeypatch):
    monkeypatch.setattr(batching, "chunk_rows", lambda width: 5)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    with reference.double_precision():
        actors = scrambled_actors(spec)
        rollout = filled_rollout(spec, actors)
        for i, actor in enumerate(actors.agents):
            gradients = []
            for parts in ([slice(0, 24)], list(chunks(slice(0, 24), 24, spec.device, 8))):
                actor.zero_grad()
                for part in parts:
                    batch = rollout.agent(i).rows(part)
                    sum(value.sum() for value in actor.evaluate_actions(batch.obs, batch.action, batch.mask)).backward()
                gradients.append([p.grad.clone() for p in actor.parameters()])
            assert len(parts) == 5
            torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_give_the_gradient_and_reports_of_one(threads):
    """Every part once, in an order that does not depend on which thread is faster."""
    weights = [torch.randn(6, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    rows = torch.randn(40, 6, dtype=torch.float64)
    parts = list(torch.arange(40).split(7))

    def loss_of(part):
        loss = (rows[part] @ weights[0]).tanh().mul(rows[part] @ weights[1]).sum()
        return loss, torch.stack((loss.detach(), torch.tensor(float(len(part)), dtype=torch.float64)))

    loss, _ = loss_of(torch.arange(40))
    expected = torch.autograd.grad(loss, weights)
    torch.set_num_threads(threads)
    still = torch.optim.SGD(weights, lr=0.0)
    results = []
    for _ in range(2):
        report, norm = gradient_step(still, loss_of, parts, float("inf"))
        results.append([weight.grad.clone() for weight in weights])
        torch.testing.assert_close(report, torch.tensor([loss.item(), 40.0], dtype=torch.float64))
        torch.testing.assert_close(norm, torch.cat([value.flatten() for value in expected]).norm())
    assert torch.get_num_threads() == threads
    torch.testing.assert_close(results[0], list(expected))
    assert all(torch.equal(a, b) for a, b in zip(*results))


@pytest.mark.parametrize("index", [slice(0, 23), torch.randperm(40)[:23]], ids=["slice", "rows"])
def test_chunks_are_the_minibatch_cut_in_pieces_on_the_cpu_and_whole_elsewhere(index, monkeypatch):
    monkeypatch.setattr(batching, "chunk_rows", lambda width: 5)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    rows = torch.arange(40)
    pieces = [rows[part] for part in chunks(index, 23, torch.device("cpu"), 8)]
    assert [len(piece) for piece in pieces] == [4, 4, 4, 4, 4, 3]  # at most 5 rows, as many for both threads
    assert torch.equal(torch.cat(pieces), rows[index])
    whole = list(chunks(index, 23, torch.device("cuda"), 8))
    assert len(whole) == 1 and torch.equal(rows[whole[0]], rows[index])


@pytest.mark.parametrize("width, rows", [(64, 8192), (128, 4096), (256, 2048), (512, 1024), (10**6, 1)])
def test_narrow_networks_take_more_rows_at_once(width, rows):
    assert batching.chunk_rows(width) == rows
    pieces = chunks(slice(0, 3 * rows), 3 * rows, torch.device("cpu"), width)
    assert max(piece.stop - piece.start for piece in pieces) <= rows


@pytest.mark.parametrize("activation, gain", [("relu", math.sqrt(2.0)), ("tanh", 5.0 / 3.0)])
def test_networks_start_orthogonal_with_zero_biases_and_the_papers_sigma(activation, gain):
    torch.manual_seed(0)
    actors = StackedActors(MIXED, (16, 12), activation, 0.01)
    critic = new_mlp(9, (16, 12), 1, activation, 1.0, torch.device("cpu"))
    heads = [(agent.net, 0.01) for agent in actors.agents]
    for net, head_gain in heads + [(critic, 1.0)]:
        for (scale, shift, matrix, bias), expected in zip(reference.layers_of(net), (gain, gain, head_gain)):
            gram = matrix @ matrix.t() if matrix.shape[0] <= matrix.shape[1] else matrix.t() @ matrix
            target = expected**2 * torch.eye(len(gram), dtype=torch.float64)
            torch.testing.assert_close(gram, target, atol=1e-5 * expected**2, rtol=0)
            assert (scale == 1.0).all() and (shift == 0.0).all() and (bias == 0.0).all()
    first = actors.agents[2].net.weights[1]
    last = actors.agents[4].net.weights[1]
    assert not torch.equal(first, last)
    assert std_of(actors.agents[0].log_std).tolist() == pytest.approx([0.5 / (1.0 + math.exp(-1.0))] * 3)


def test_policies_without_a_hidden_layer_are_refused():
    with pytest.raises(ValueError, match=r"algo.hidden=\[\].*at least one layer"):
        HappoCfg(hidden=[]).check(EQUAL)


@pytest.mark.parametrize("state_agents", [1, 3])
def test_the_critic_speaks_in_units_of_the_return(state_agents):
    with reference.double_precision():
        torch.manual_seed(0)
        critic = new_critic(6, (16, 12), "relu", torch.device("cpu"))
        reference.scramble(critic)
        moments = reference.RunningMoments(0.99999)
        for batch in (torch.randn(10) * 3.0 + 40.0, torch.randn(10) - 20.0):
            critic.normalizer.update(batch)
            moments.update(batch)
        mean, std = moments.moments()
        state = torch.randn(2, 2, state_agents, 6)
        layers = reference.layers_of(critic.net)
        rows = state.flatten(0, 2).tolist()
        expected = torch.tensor([reference.mlp_row(layers, row, "relu") for row in rows]).reshape(2, 2, state_agents, 1)
        torch.testing.assert_close(critic.normalized(state), expected)
        torch.testing.assert_close(critic(state), expected * std + mean)
