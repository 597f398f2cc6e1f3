"""The learner's estimate for one agent, factor times joint advantage (Zhong et al., 2024, Equation 10), is on average
that of Proposition 9: its own advantage given the agents updated before it.
"""

from itertools import permutations

import pytest
import torch
from support import reference
from support.reference_games import LiteralGame

from harl_isaac.algos.happo import HappoCfg
from harl_isaac.buffers.rollout import Rollout
from harl_isaac.env import Discrete
from harl_isaac.learning.sequential import sequential_update
from harl_isaac.theory.markov_games import joint_policy_values, matrix_game


def every_joint_action(actors, obs):
    """A rollout with each joint action in one row, weighted by its probability; the agents' policies."""
    spec = actors.spec
    joint = torch.cartesian_prod(*[torch.arange(space.n) for space in spec.actions])
    rollout = Rollout(spec, 1)
    for name, value in vars(rollout).items():
        if torch.is_tensor(value) and value.is_floating_point():
            setattr(rollout, name, value.double())
    rollout.obs[0] = obs
    rollout.action[0, :, :, 0] = joint.double()
    policy = [probabilities(actors, rollout, i) for i in range(spec.num_agents)]
    chosen = torch.stack([own.detach()[joint[:, i]] for i, own in enumerate(policy)], 1)
    rollout.log_prob[0] = chosen.log()
    rollout.alive[0] = chosen.prod(1, keepdim=True)
    return rollout, joint, [own.detach()[None, None] for own in policy]


def probabilities(actors, rollout, i):
    """Agent i's [N_i] at its observation, with gradient."""
    choices = torch.arange(actors.spec.actions[i].n)[:, None]
    return actors.agents[i].evaluate_actions(rollout.agent(i).obs[: len(choices)], choices)[0].exp()


def expected_surrogate(learner, i, batch, weighted):
    """The learner's objective of agent i at its old policy, in expectation."""
    log_prob = learner.actors.agents[i].evaluate_actions(batch.obs, batch.action, batch.mask)[0]
    return -(learner.surrogate(batch.ratio(log_prob), weighted) * batch.alive).sum()


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_learners_estimate_of_an_agents_advantage_is_exact_in_expectation(order):
    """Factor times advantage (Equation 10) equals Proposition 9's left side, and so do their gradients."""
    spec = reference.spec_for((Discrete(2), Discrete(3), Discrete(2)), (3, 2, 4), num_envs=12)
    with reference.double_precision():
        learner = HappoCfg(hidden=[8], activation="tanh").learner(spec, seed=0)
        actors = learner.actors
        reference.scramble(actors)
        rollout, joint, old = every_joint_action(actors, torch.randn(3, 4))
        game = matrix_game(torch.randn(2, 3, 2))
        advantage = joint_policy_values(game, old).advantage.reshape(1, 12, 1)
        scale = (rollout.alive[0, :, 0] * advantage[0, :, 0].square()).sum().sqrt() + 1e-5  # the learner normalizes
        literal = LiteralGame(game, old, 0)
        new = [own[0].tolist() for own in old]

        def left_side(before, i, own):
            choices = [[[float(n == a) for n in range(len(own))]] for a in range(len(own))]
            gains = [literal.left_side(0, before, i, {**dict(enumerate(new)), i: only}) for only in choices]
            return (own * torch.tensor(gains)).sum() / scale

        def update(i, batch, weighted):
            actor = actors.agents[i]
            before = order[: order.index(i)]
            ours = torch.autograd.grad(expected_surrogate(learner, i, batch, weighted), list(actor.parameters()))
            exact = torch.autograd.grad(
                left_side(before, i, probabilities(actors, rollout, i)), list(actor.parameters())
            )
            assert max(float(part.abs().max()) for part in exact) > 1e-3
            for one, other in zip(ours, exact):
                torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
            reference.scramble(actor, seed=i)
            own = probabilities(actors, rollout, i).detach()
            ratio = own[joint[:, i]] / old[i][0, 0, joint[:, i]]
            assert (ratio - 1.0).abs().max() > 0.05
            torch.testing.assert_close(
                (rollout.alive[0, :, 0] * (ratio - 1.0) * weighted).sum(), left_side(before, i, own)
            )
            new[i] = [own.tolist()]
            return {}

        sequential_update(actors, rollout, advantage, order, update)
