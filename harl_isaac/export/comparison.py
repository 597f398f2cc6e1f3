"""Is an exported file the trained policy? Its outputs beside those of acting in training and evaluation.

Differences are in half-ranges of a Box. A choice differs by how much less the policy itself gives it than its best:
values or log-probabilities, which near a tie is next to nothing. What comes from an output of the network above 1
counts relative to that.
"""

from typing import List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor

from harl_isaac.acting import pack_agents, to_env
from harl_isaac.env import EnvSpec, MultiAgentEnv, Step, mask_width
from harl_isaac.export.agent_policy import AgentPolicy
from harl_isaac.export.formats import Runner
from harl_isaac.networks.distributions import Categoricals
from harl_isaac.networks.joint_policy import JointPolicy
from harl_isaac.training.evaluation import Player

TOLERANCE = 1e-5
RANDOM_ROWS = 1024
RECORDED_STEPS = 100
SPREADS = (1.0, 10.0)  # of random observations


class Sample(NamedTuple):
    """Inputs of all agents' policies."""

    obs: List[Tensor]  # A x [N, O_i]
    mask: Optional[List[Tensor]]  # A x [N, N_i] bool
    hidden: Optional[Tensor]  # [N, A, H]


class Acted(NamedTuple):
    """The trained policy's answer to a Sample."""

    actions: List[Tensor]  # A x [N, W_i] as the environment takes them
    hidden: Optional[Tensor]  # [N, A, H] afterwards
    outputs: List[Tensor]  # of each part's network, [N, K]


def random_sample(spec: EnvSpec, actors: JointPolicy, rows: int, seed: int) -> Sample:
    """Normal observations of several sizes, any masks that allow something, any recurrent state."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.tensor(SPREADS).repeat(rows // len(SPREADS) + 1)[:rows, None]
    obs = [torch.randn(rows, size, generator=generator) * sizes for size in spec.obs_sizes]
    masks = None
    if spec.has_action_mask:
        masks = [_random_mask(space, rows, generator) for space in spec.actions]
    hidden = None
    if actors.hidden_size:
        shape = (rows, spec.num_agents, actors.hidden_size)
        hidden = torch.rand(shape, generator=generator) * 2.0 - 1.0
    return Sample(obs, masks, hidden)


def _random_mask(space: object, rows: int, generator: torch.Generator) -> Tensor:
    """Masks [rows, N] that allow each choice with probability 1/2, and at least one of each head."""
    if not mask_width(space):  # type: ignore[arg-type]
        return torch.zeros(rows, 0, dtype=torch.bool)
    parts = []
    for size in Categoricals(space).nvec:  # type: ignore[arg-type]
        allowed = torch.rand(rows, size, generator=generator) < 0.5
        allowed.scatter_(1, torch.randint(size, (rows, 1), generator=generator), True)
        parts.append(allowed)
    return torch.cat(parts, 1)


@torch.no_grad()
def recorded_sample(env: MultiAgentEnv, actors: JointPolicy, seed: int) -> Sample:
    """All that the policy is shown in the first steps that it plays."""
    step = env.reset(seed)
    player = Player(env.spec, actors)
    shown: List[Tuple[List[Tensor], Optional[List[Tensor]], Optional[Tensor]]] = []
    for _ in range(min(env.spec.max_episode_steps, RECORDED_STEPS)):
        shown.append((_copies(step.obs), _copies(step.action_mask or ()), _state_before(player, step)))
        step = env.step(player.act(step))
    obs, masks, hidden = zip(*shown)
    has_mask = env.spec.has_action_mask and step.action_mask is not None
    return Sample(
        [torch.cat(each) for each in zip(*obs)],
        [torch.cat(each) for each in zip(*masks)] if has_mask else None,
        torch.cat(hidden) if actors.hidden_size else None,
    )


def _copies(values: Sequence[Tensor]) -> List[Tensor]:
    return [value.cpu().clone() for value in values]


def _state_before(player: Player, step: Step) -> Optional[Tensor]:
    """The recurrent state [E, A, H] that the player acts with."""
    if player.hidden is None:
        return None
    return player.hidden.masked_fill(step.done[:, None, None], 0.0).cpu()


@torch.no_grad()
def act(actors: JointPolicy, spec: EnvSpec, policies: Sequence[AgentPolicy], sample: Sample) -> Acted:
    """Act as in evaluation: packed observations, fused layers, all agents at once. `actors` are on the CPU."""
    rows = len(sample.obs[0])
    obs = actors.empty_obs(rows)
    pack_agents(obs, sample.obs)
    mask = None
    if sample.mask is not None:
        mask = torch.zeros(rows, spec.num_agents, max(each.shape[1] for each in sample.mask), dtype=torch.bool)
        pack_agents(mask, sample.mask)
    hidden = None if sample.hidden is None else sample.hidden.clone()
    actions = to_env(spec, actors.mode(obs, mask, hidden, actors.fused_layers()))
    before = () if sample.hidden is None else (sample.hidden.clone(),)
    outputs = actors.outputs(obs, *before)  # type: ignore[attr-defined]
    return Acted(list(actions), hidden, [_own_output(policy, outputs, rows) for policy in policies])


def _own_output(policy: AgentPolicy, outputs: object, rows: int) -> Tensor:
    """A part's output [N, K] among those of all, [N, A, K] or (of rl_games) [rows, K], a list for several heads."""
    values = torch.cat(list(outputs), 1) if isinstance(outputs, list) else outputs
    assert isinstance(values, Tensor)
    if values.dim() == 2:
        values = values.reshape(rows, -1, values.shape[1])
    place = policy.part.agents[0] if values.shape[1] > 1 else 0
    return values[:, place, : policy.head.head_size]


def inputs_of(policy: AgentPolicy, sample: Sample) -> Tuple[Tensor, ...]:
    """The inputs of one exported policy."""
    agents = policy.part.agents
    inputs = [torch.cat([sample.obs[i] for i in agents], 1)]
    if policy.mask_size:
        assert sample.mask is not None
        inputs.append(torch.cat([sample.mask[i] for i in agents], 1))
    if sample.hidden is not None:
        inputs.append(sample.hidden[:, agents[0]])
    return tuple(inputs)


@torch.no_grad()
def largest_difference(policy: AgentPolicy, run: Runner, sample: Sample, acted: Acted, part: int) -> float:
    """Run an exported file on a sample, whole and by its first row alone, and return the largest difference."""
    inputs = inputs_of(policy, sample)
    found = run(inputs)
    alone = run(tuple(each[:1] for each in inputs))
    mask = inputs[1] if policy.mask_size else None
    output = acted.outputs[part]
    size = output.abs().amax(1, keepdim=True).clamp(min=1.0)
    one = torch.ones_like(size)
    expected = [(torch.cat([acted.actions[i] for i in policy.part.agents], 1), one)]
    if acted.hidden is not None:
        expected.append((acted.hidden[:, policy.part.agents[0]], one))
    if policy.distribution is not None:
        expected += [(value, size) for value in policy.distribution.compute(policy, output, mask)]
    scores = [score / size for score in policy.scores(output, mask)]
    differences = []
    for values in (found, [torch.cat((first, each[1:])) for first, each in zip(alone, found)]):
        if [each.dtype for each in values] != [each.dtype for each, _ in expected]:
            return float("inf")
        differences.append(_action_difference(policy, values[0], expected[0][0], scores))
        differences += [_relative(value, *right) for value, right in zip(values[1:], expected[1:])]
    return max(differences)


def _action_difference(policy: AgentPolicy, found: Tensor, expected: Tensor, scores: List[Tensor]) -> float:
    if not scores:
        return float(((found - expected).abs() / policy.half_range.clamp(min=1e-30)).max())
    losses = []
    for action in (found, expected):
        for score, index in zip(scores, policy.chosen(action)):
            losses.append(score.max(1)[0] - score.gather(1, index[:, None])[:, 0])
    return float(torch.stack(losses).max())


def _relative(found: Tensor, expected: Tensor, size: Tensor) -> float:
    """The largest difference relative to `size` [B, 1] and, where that is more, to what is expected."""
    same = found == expected  # infinities of forbidden choices
    return float(((found - expected).abs() / torch.max(expected.abs(), size)).masked_fill(same, 0.0).max())
