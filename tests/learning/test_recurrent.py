"""Recurrent policies and critics: the GRU against torch's, chunks against whole sequences, zeros at episodes' ends."""

import pytest
import torch
from support import reference

from harl_isaac.algos.happo import HappoCfg
from harl_isaac.buffers.rollout import Rollout, collect
from harl_isaac.env import Box, Discrete, MultiDiscrete
from harl_isaac.learning.values import ValueFunction
from harl_isaac.networks.actors import StackedActors
from harl_isaac.networks.critic import new_critic
from harl_isaac.networks.gru import SequenceStart, unroll
from harl_isaac.networks.mlp import new_mlp
from harl_isaac.tasks.games.counting import CountingGame
from harl_isaac.training.evaluation import Player
from harl_isaac.training.trainer import Trainer

SPEC = reference.spec_for(
    (Box(3), MultiDiscrete((2, 5, 3)), Discrete(4)), (5, 7, 4), has_action_mask=True, has_alive=True
)
CPU = torch.device("cpu")
LENGTH = 12
CHUNK = 4


def small(**changed):
    return HappoCfg(
        **{
            "rollout_length": LENGTH,
            "chunk_length": CHUNK,
            "hidden": [16, 12],
            "recurrent": True,
            "epochs": 2,
            "critic_epochs": 2,
            **changed,
        }
    )


def learner_with_rollout(spec=SPEC, iterations=1, **changed):
    """Two iterations' worth of noise, so that states are carried over; the last one in the rollout."""
    torch.manual_seed(0)
    learner = small(**changed).learner(spec, 0)
    reference.scramble(learner.actors)
    reference.in_default_precision(learner.rollout)
    env = reference.NoiseEnv(spec)
    step = env.step(None)
    for _ in range(iterations):
        step = collect(env, learner.actors, learner.rollout, step)
    return learner


def begins(rollout, t, e):
    """An episode begins with step t > 0 of the rollout."""
    return bool(rollout.terminated[t - 1, e, 0] or rollout.truncated[t - 1, e, 0])


def test_a_sequence_is_unrolled_as_by_torchs_gru():
    with reference.double_precision():
        torch.manual_seed(0)
        gru = torch.nn.GRU(5, 4, batch_first=True)
        x = torch.randn(3, 7, 5)
        hidden = torch.randn(3, 4)
        expected = gru(x, hidden[None])[0]
        inputs = x @ gru.weight_ih_l0.t() + gru.bias_ih_l0
        start = SequenceStart(hidden, torch.zeros(3, 7, dtype=torch.bool))
        torch.testing.assert_close(unroll(inputs, gru.weight_hh_l0, gru.bias_hh_l0, start), expected)


def test_with_an_episodes_begin_the_state_starts_anew():
    with reference.double_precision():
        torch.manual_seed(0)
        gru = torch.nn.GRU(5, 4, batch_first=True)
        x = torch.randn(2, 6, 5)
        hidden = torch.randn(2, 4)
        begin = torch.zeros(2, 6, dtype=torch.bool)
        begin[0, 3] = begin[1, 0] = True
        inputs = x @ gru.weight_ih_l0.t() + gru.bias_ih_l0
        result = unroll(inputs, gru.weight_hh_l0, gru.bias_hh_l0, SequenceStart(hidden, begin))
        torch.testing.assert_close(result[0, 3:], gru(x[:1, 3:])[0][0])
        torch.testing.assert_close(result[1], gru(x[1:])[0][0])
        torch.testing.assert_close(result[0, :3], gru(x[:1, :3], hidden[None, :1])[0][0])


def test_a_recurrent_network_is_the_mlp_then_the_gru_then_the_head():
    with reference.double_precision():
        torch.manual_seed(0)
        net = new_mlp(5, (8, 6), 3, "tanh", 1.0, CPU, recurrent=True)
        reference.scramble(net)
        x = torch.randn(4, 7, 5)
        start = SequenceStart(torch.randn(4, 6), torch.zeros(4, 7, dtype=torch.bool))
        layers = reference.layers_of(net)  # the third one's outputs are the GRU's inputs
        inputs = torch.tensor([reference.mlp_row(layers[:3], row, "tanh") for row in x.flatten(0, 1).tolist()])
        states = reference.gru(inputs.view(4, 7, 18), net.gru[0], net.gru[1], start.hidden)
        expected = torch.tensor([reference.mlp_row(layers[3:], row, "tanh") for row in states.flatten(0, 1).tolist()])
        torch.testing.assert_close(net(x, start), expected.view(4, 7, 3))
        assert len(list(net.parameters())) == 4 * 4 + 2


def test_acting_step_by_step_gives_the_log_probabilities_that_training_starts_from():
    """The stack's steps, with resets at episodes' ends, and the unrolled chunks agree: the first ratio is one."""
    with reference.double_precision():
        learner = learner_with_rollout(iterations=2)
        for i, actor in enumerate(learner.actors.agents):
            batch = learner.rollout.agent(i)
            log_prob, entropy = actor.evaluate_actions(batch.obs, batch.action, batch.mask, batch.sequence)
            assert log_prob.shape == entropy.shape == (LENGTH // CHUNK * 4, CHUNK)
            torch.testing.assert_close(log_prob, batch.log_prob)
            assert batch.sequence.episode_starts.any() and (batch.sequence.hidden != 0.0).any()


def test_states_are_zero_after_an_episodes_end_and_carried_over_else():
    learner = learner_with_rollout()
    rollout = learner.rollout
    for c in range(1, LENGTH // CHUNK):
        for e in range(4):
            zero = bool((rollout.start_hidden[c, e] == 0.0).all())
            assert zero == begins(rollout, c * CHUNK, e)
    before = rollout.hidden.clone()
    collect(reference.NoiseEnv(SPEC, 1), learner.actors, rollout, reference.NoiseEnv(SPEC, 1).step(None))
    assert torch.equal(rollout.start_hidden[0], before)


def test_sequences_hold_the_steps_of_one_environment_in_order():
    env = CountingGame(5, CPU)
    learner = small(minibatches=3).learner(env.spec, 0)
    collect(env, learner.actors, learner.rollout, env.reset(0))
    batch = learner.rollout.agent(0)
    assert batch.obs.shape == (15, CHUNK, 4)
    for n, sequence in enumerate(batch.obs.tolist()):
        chunk, e = divmod(n, 5)
        for step, (env_number, episode, count, _) in enumerate(sequence):
            t = chunk * CHUNK + step
            length = 3 + e % 4
            assert (env_number, episode, count) == (e, t // length, t % length)
            if step:
                assert batch.sequence.episode_starts[n, step].item() == (count == 0)


@pytest.mark.parametrize("i", range(3))
def test_one_chunk_as_long_as_the_rollout_has_the_whole_sequences_gradient(i):
    """Backpropagation through time, cut by the mask at episodes' ends: against torch's GRU run on each episode."""
    with reference.double_precision():
        learner = learner_with_rollout(chunk_length=LENGTH)
        actor = learner.actors.agents[i]
        batch = learner.rollout.agent(i)
        head = actor.head(batch.obs, batch.sequence)
        weight = torch.randn(head.shape)
        found = torch.autograd.grad((head * weight).sum(), list(actor.net.parameters()))
        plain = reference.PlainRecurrentNet(actor.net)
        total = 0.0
        for e in range(4):
            ends = [t for t in range(1, LENGTH) if begins(learner.rollout, t, e)]
            for first, last in zip([0] + ends, ends + [LENGTH]):
                start = batch.sequence.hidden[e] if first == 0 else torch.zeros(12)
                total = total + (plain(batch.obs[e, first:last], start) * weight[e, first:last]).sum()
        expected = torch.autograd.grad(total, list(plain.parameters()))
        for a, b in zip(found, expected):
            torch.testing.assert_close(a, b)


def test_chunks_change_how_far_gradients_reach_and_nothing_else():
    with reference.double_precision():
        short = learner_with_rollout()
        whole = learner_with_rollout(chunk_length=LENGTH)
        torch.testing.assert_close(short.rollout.obs, whole.rollout.obs)
        for i in range(3):
            heads = [
                agents.actors.agents[i].head(batch.obs, batch.sequence)
                for agents, batch in ((short, short.rollout.agent(i)), (whole, whole.rollout.agent(i)))
            ]
            rows = heads[0].view(LENGTH // CHUNK, 4, CHUNK, -1).transpose(0, 1).reshape(heads[1].shape)
            torch.testing.assert_close(rows, heads[1])


@pytest.mark.parametrize("agents", [1, 3])
def test_a_recurrent_critic_sees_the_past_and_each_steps_true_successor(agents):
    """Against one network run step by step over each environment, forgetting where episodes end."""
    with reference.double_precision():
        spec = reference.spec_for((Box(3),) * 3, (6, 6, 6), state_agents=agents)
        torch.manual_seed(0)
        cfg = small()
        critic = new_critic(6, cfg.hidden, cfg.activation, spec.device, recurrent=True)
        function = ValueFunction(critic, agents, spec, cfg)
        reference.scramble(function.critic)
        plain = reference.PlainRecurrentNet(function.critic.net)
        actors = small().actors(spec)
        hidden = torch.zeros(4, agents, 12)
        for iteration in range(2):
            rollout = reference.fill(Rollout(spec, LENGTH, actors, CHUNK), actors, iteration)
            estimate = function.estimate(rollout, rollout.state, rollout.next_state)
            starts = function.sequence.hidden.view(LENGTH // CHUNK, 4, agents, 12)
            for t in range(LENGTH):
                for e in range(4):
                    for k in range(agents):
                        if t % CHUNK == 0:
                            torch.testing.assert_close(starts[t // CHUNK, e, k], hidden[e, k])
                        value, after = plain.step(rollout.state[t, e, k], hidden[e, k])
                        torch.testing.assert_close(estimate.normalized[t, e, k], value[0])
                        next_value = plain.step(rollout.next_state[t, e, k], after)[0]
                        denormalized = function.critic.normalizer.denormalize(next_value)
                        torch.testing.assert_close(estimate.next_value[t, e, k], denormalized[0])
                        ended = bool(rollout.terminated[t, e, 0] or rollout.truncated[t, e, 0])
                        hidden[e, k] = torch.zeros(12) if ended else after.detach()
            torch.testing.assert_close(function.hidden.view(4, agents, 12), hidden)


def test_fitting_starts_from_the_estimated_values():
    """Sequences, memories and targets belong together: nothing changes for targets that the critic hits already."""
    with reference.double_precision():
        learner = learner_with_rollout(critic_minibatches=3, iterations=2)
        function = learner.critic.function
        rollout = learner.rollout
        normalized = function.estimate(rollout, rollout.state, rollout.next_state).normalized
        states = function._as_batch(rollout, rollout.state)
        again = function.critic.normalized(states, function.sequence)
        torch.testing.assert_close(again, function._as_batch(rollout, normalized.unflatten(2, (1, -1))))


def test_a_player_remembers_within_an_episode_and_forgets_after_it():
    spec = reference.spec_for((Box(3),) * 2, (4, 6))
    torch.manual_seed(0)
    actors = StackedActors(spec, (8,), "tanh", 1.0, recurrent=True)
    reference.scramble(actors)
    env = reference.NoiseEnv(spec)
    player = Player(spec, actors)
    step = env.step(None)
    first = player.act(step)
    second = player.act(step)
    done = step.done
    assert done.any() and not done.all()
    for one, other in zip(first, second):
        assert torch.equal((one == other).all(1), done)


def test_a_chunk_length_that_does_not_divide_the_rollout_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match="algo.chunk_length=5 does not divide algo.rollout_length=12"):
        small(chunk_length=5).learner(SPEC, 0)
    with pytest.raises(
        ValueError, match="algo.minibatches=7 does not divide the sequences of chunk_length 4 in the batch of 12"
    ):
        small(minibatches=7).learner(SPEC, 0)


@pytest.mark.parametrize("algo", ["happo", pytest.param("ippo", marks=pytest.mark.slow)])
def test_the_memory_game_is_learned_with_a_gru_and_not_without(settings, tmp_path, algo):
    returns = [
        Trainer(
            settings(
                "MemoryGame",
                "algo=" + algo,
                "num_envs=64",
                "total_steps=60000",
                "algo.lr=0.003",
                "algo.rollout_length=24",
                "algo.chunk_length=12",
                "algo.hidden=[32]",
                "algo.gamma=0.99",
                "algo.recurrent=" + recurrent,
            )
        ).train(tmp_path / recurrent)["episode/return"]
        for recurrent in ("true", "false")
    ]
    assert returns[0] > 0.95 and returns[1] < 0.5
