"""What the tests of the mathematics share: an environment of random numbers, and slow, literal float64 versions with
loops, each from a definition: a density, a discounted sum, the pseudocode of Zhong et al. (2024), Appendix C.4."""

import math
from contextlib import contextmanager

import torch

from harl_isaac.buffers.rollout import collect
from harl_isaac.env import Box, Discrete, EnvSpec, MultiDiscrete, Step, mask_width

ACTIVATIONS = {
    "relu": lambda x: max(x, 0.0),
    "tanh": math.tanh,
    "elu": lambda x: x if x > 0 else math.exp(x) - 1.0,
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * (math.exp(x) - 1.0)),
}


def ends_at(terminated, truncated, t, e):
    """The last step of the stretch of one episode that starts at t, in environment e."""
    last = t
    while last + 1 < len(terminated) and not terminated[last][e][0] and not truncated[last][e][0]:
        last += 1
    return last


def advantage(reward, value, next_value, terminated, truncated, gamma, lam):
    """A_t = sum_l (gamma lam)^l delta_(t+l) up to the episode's end or the rollout's; all [T, E, K] tensors."""
    result = torch.zeros(value.shape, dtype=torch.float64)
    for t, e, k in torch.cartesian_prod(*[torch.arange(size) for size in value.shape]).tolist():
        for step in range(t, ends_at(terminated, truncated, t, e) + 1):
            after = 0.0 if terminated[step][e][0] else float(next_value[step, e, k])
            delta = float(reward[step, e, k % reward.shape[2]]) + gamma * after - float(value[step, e, k])
            result[t, e, k] += (gamma * lam) ** (step - t) * delta
    return result


def discounted_return(reward, next_value, terminated, truncated, gamma):
    """The rewards of the rest of the episode, and what is expected after its last stored step unless it is over."""
    result = torch.zeros(next_value.shape, dtype=torch.float64)
    for t, e, k in torch.cartesian_prod(*[torch.arange(size) for size in next_value.shape]).tolist():
        last = ends_at(terminated, truncated, t, e)
        for step in range(t, last + 1):
            result[t, e, k] += gamma ** (step - t) * float(reward[step, e, k % reward.shape[2]])
        if not terminated[last][e][0]:
            result[t, e, k] += gamma ** (last + 1 - t) * float(next_value[last, e, k])
    return result


def normalized(values, alive):
    """Shifted and scaled to mean 0 and population deviation 1 of the living rows; lists of numbers."""
    living = [value for value, lives in zip(values, alive) if lives]
    mean = sum(living) / len(living)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in living) / len(living))
    return [(value - mean) / (deviation + 1e-5) for value in values]


def normalized_columns(advantage, alive):
    """Each agent's advantages as numbers: a column normalized for each agent, several jointly; [T, E, K], [T, E, A]."""
    lives = [alive[..., i].flatten().tolist() for i in range(alive.shape[-1])]
    if advantage.shape[-1] == 1:
        return [normalized(advantage.flatten().tolist(), living) for living in lives]
    columns = [advantage[..., i].flatten().tolist() for i in range(advantage.shape[-1])]
    together = normalized(sum(columns, []), sum(lives, []))
    return [together[i * len(columns[0]) : (i + 1) * len(columns[0])] for i in range(len(columns))]


def sigma(log_std):
    return 0.5 / (1.0 + math.exp(-log_std / 1.0))  # y sigmoid(log_std / x) with x = 1, y = 0.5


def density(x, mean, std):
    return math.exp(-((x - mean) ** 2) / (2.0 * std**2)) / (std * math.sqrt(2.0 * math.pi))


def gaussian_log_prob(mean, log_std, action):
    """Of one action: the logarithm of the product of its dimensions' densities."""
    return math.log(math.prod(density(a, m, sigma(s)) for a, m, s in zip(action, mean, log_std)))


def gaussian_entropy(log_std):
    """Minus the integral of p log p over each dimension, by midpoints over ten deviations either way."""
    total = 0.0
    parts = 20000
    for std in [sigma(s) for s in log_std]:
        width = 20.0 * std / parts
        for part in range(parts):
            p = density((part + 0.5) * width - 10.0 * std, 0.0, std)
            total -= p * math.log(p) * width
    return total


def probabilities(logits, nvec, mask=None):
    """One row's probabilities, a list for each head; a choice that the mask forbids has none."""
    heads = []
    start = 0
    for size in nvec:
        allowed = [True] * size if mask is None else mask[start : start + size]
        weights = [math.exp(x) if free else 0.0 for x, free in zip(logits[start : start + size], allowed)]
        heads.append([weight / sum(weights) for weight in weights])
        start += size
    return heads


def choices_log_prob(logits, nvec, action, mask=None):
    return math.log(math.prod(head[int(a)] for head, a in zip(probabilities(logits, nvec, mask), action)))


def choices_entropy(logits, nvec, mask=None):
    return -sum(p * math.log(p) for head in probabilities(logits, nvec, mask) for p in head if p > 0.0)


def surrogate(ratio, weighted, clip):
    """PPO's objective of one row: a gain counts up to a ratio of 1 + clip, a loss avoided down to 1 - clip."""
    return min(ratio, 1.0 + clip) * weighted if weighted > 0 else max(ratio, 1.0 - clip) * weighted


def huber(error, delta):
    return 0.5 * error**2 if abs(error) <= delta else delta * (abs(error) - 0.5 * delta)


def value_loss(value, old_value, target, clip, delta):
    """Of one row: the worse of the value and of the value kept within `clip` of the old one."""
    kept = min(max(value, old_value - clip), old_value + clip)
    return max(huber(target - value, delta), huber(target - kept, delta))


class RunningMoments:
    """The value normalizer from its definition: batch i of n has weight (1 - beta) beta^(n - i)."""

    def __init__(self, beta):
        self.beta = beta
        self.batches = []

    def update(self, batch):
        self.batches.append([float(x) for x in batch])

    def moments(self):
        weights = [(1.0 - self.beta) * self.beta**age for age in range(len(self.batches))][::-1]
        mean, square = [
            sum(w * sum(x**power for x in batch) / len(batch) for w, batch in zip(weights, self.batches))
            / max(sum(weights), 1e-5)
            for power in (1, 2)
        ]
        return mean, math.sqrt(max(square - mean**2, 0.01))


def layers_of(mlp):
    """A production MLP's numbers: for each layer (scale, shift, matrix [out][in], bias) in float64."""
    matrices = [mlp.weights[0].t(), *mlp.weights[1:]]
    missing = len(matrices) - len(mlp.norm_weights)
    scales = [*mlp.norm_weights, *[torch.ones(())] * missing]
    shifts = [*mlp.norm_biases, *[torch.zeros(())] * missing]
    each = zip(scales, shifts, matrices, mlp.biases)
    return [tuple(tensor.detach().double().clone() for tensor in layer) for layer in each]


def mlp_row(layers, row, activation, normalized=(0, 1, 2, 3)):
    """LayerNorm (in front of the layers `normalized`), Linear and (but for the last) activation of a row of numbers."""
    for place, layer in enumerate(layers):
        scale, shift, matrix, bias = [tensor.tolist() for tensor in layer]
        if place in normalized:
            mean = sum(row) / len(row)
            variance = sum((x - mean) ** 2 for x in row) / len(row)
            row = [(x - mean) / math.sqrt(variance + 1e-5) for x in row]
        if isinstance(scale, list):
            row = [s * x + b for x, s, b in zip(row, scale, shift)]
        row = [sum(w * x for w, x in zip(weights, row)) + b for weights, b in zip(matrix, bias)]
        if place + 1 < len(layers):
            row = [ACTIVATIONS[activation](x) for x in row]
    return row


class PlainNet(torch.nn.Module):
    """A network with memory of its own, started from a production MLP's numbers, in the same order."""

    def __init__(self, mlp, activation=torch.relu):
        super().__init__()
        self.activation = activation
        for name, parameters in mlp.named_children():
            setattr(self, name, torch.nn.ParameterList([p.detach().double().clone() for p in parameters]))

    def forward(self, x):
        for layer, (scale, shift) in enumerate(zip(self.norm_weights, self.norm_biases)):
            x = self.activation(x) if layer else x
            centered = x - x.mean(1, keepdim=True)
            x = centered / (centered.square().mean(1, keepdim=True) + 1e-5).sqrt() * scale + shift
            x = x @ (self.weights[layer].t() if layer else self.weights[0]) + self.biases[layer]
        return x


def gru(inputs, weight, bias, hidden):
    """States after each step of sequences [N, L, 3H], by the equations of Cho et al. (2014) as in torch's GRU."""
    states = []
    for step in inputs.unbind(1):
        recurrent = hidden @ weight.t() + bias
        (i_reset, i_update, i_new) = step.chunk(3, 1)
        (r_reset, r_update, r_new) = recurrent.chunk(3, 1)
        reset = 1.0 / (1.0 + (-i_reset - r_reset).exp())
        update = 1.0 / (1.0 + (-i_update - r_update).exp())
        hidden = (1.0 - update) * torch.tanh(i_new + reset * r_new) + update * hidden
        states.append(hidden)
    return torch.stack(states, 1)


class PlainRecurrentNet(torch.nn.Module):
    """A recurrent network in float64 with a production MLP's numbers, in the same order; one sequence at a time."""

    def __init__(self, mlp, activation=torch.relu):
        super().__init__()
        self.activation = activation
        for name, parameters in mlp.named_children():
            setattr(self, name, torch.nn.ParameterList([p.detach().double().clone() for p in parameters]))

    def linear(self, x, layer):
        centered = x - x.mean(-1, keepdim=True)
        x = centered / (centered.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        x = x * self.norm_weights[layer] + self.norm_biases[layer]
        return x @ (self.weights[layer].t() if layer else self.weights[0]) + self.biases[layer]

    def forward(self, x, hidden):
        """Outputs [L, out] of one sequence [L, in] from a state [H]."""
        last = len(self.weights) - 1
        for layer in range(last - 1):
            x = self.activation(self.linear(x, layer))
        self.states = gru(self.linear(x, last - 1)[None], self.gru[0], self.gru[1], hidden[None])[0]
        return self.linear(self.states, last)

    def step(self, x, hidden):
        """Output and next state of one row."""
        return self(x[None], hidden)[0], self.states[-1]


class PlainActor(PlainNet):
    """A separate policy; `nvec` None for a Box."""

    def __init__(self, actor, activation=torch.relu):
        super().__init__(actor.net, activation)
        self.nvec = getattr(actor.distribution, "nvec", None)
        self.log_std = None if self.nvec else torch.nn.Parameter(actor.log_std.detach().double().clone())

    def evaluate_actions(self, obs, action, mask=None):
        head = self(obs)
        if self.nvec is None:
            std = 0.5 * torch.sigmoid(self.log_std)
            p = (-((action - head) ** 2) / (2.0 * std**2)).exp() / (std * math.sqrt(2.0 * math.pi))
            return p.log().sum(1), (0.5 * (2.0 * math.pi * math.e * std**2).log()).sum().expand(len(obs))
        log_prob = 0.0
        entropy = 0.0
        start = 0
        for place, size in enumerate(self.nvec):
            weight = head[:, start : start + size].exp() * (1.0 if mask is None else mask[:, start : start + size])
            p = weight / weight.sum(1, keepdim=True)
            log_prob = log_prob + p[torch.arange(len(obs)), action[:, place].long()].log()
            entropy = entropy - (p * p.clamp(min=1e-300).log()).sum(1)
            start += size
        return log_prob, entropy


def stepped(optimizer, loss, max_norm):
    """One step with the gradient shortened to `max_norm`."""
    optimizer.zero_grad()
    loss.backward()
    gradients = [p.grad for p in optimizer.param_groups[0]["params"]]
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    for g in gradients:
        g *= min(1.0, max_norm / (norm + 1e-6))
    optimizer.step()


def happo(actors, optimizers, batches, advantages, order, parts, cfg):
    """Algorithm 4's loop over agents. `batches[i]` = (obs, action, alive, mask), `advantages[i]` = one normalized
    number a row, `parts[i]` = the lists of rows of each gradient step. Returns the factor after the last agent.
    """
    old = [
        actor.evaluate_actions(obs, action, mask)[0].tolist() for actor, (obs, action, _, mask) in zip(actors, batches)
    ]
    factor = [1.0] * len(old[0])
    for i in order:
        obs, action, alive, mask = batches[i]
        weighted = [m * a for m, a in zip(factor, advantages[i])]
        for rows in parts[i]:
            log_prob, entropy = actors[i].evaluate_actions(
                obs[rows], action[rows], None if mask is None else mask[rows]
            )
            loss = 0.0 * log_prob.sum()
            living = sum(float(alive[b]) for b in rows)
            for place, b in enumerate(rows):
                gain = surrogate((log_prob[place] - old[i][b]).exp(), weighted[b], cfg.clip)
                loss = loss - float(alive[b]) * (gain + cfg.entropy_coef * entropy[place]) / max(living, 1.0)
            stepped(optimizers[i], loss, cfg.max_grad_norm)
        new = actors[i].evaluate_actions(obs, action, mask)[0].tolist()
        factor = [m * math.exp(now - then) for m, now, then in zip(factor, new, old[i])]
    return factor


def fit_critic(net, optimizer, moments, state, old_value, target, parts, cfg):
    """The last line of Algorithm 4 with the clipped Huber loss, the normalizer fed before each step."""
    for rows in parts:
        moments.update(target[rows])
        (mean, std) = moments.moments()
        value = net(state[rows])[:, 0]
        loss = 0.0 * value.sum()
        for place, b in enumerate(rows):
            goal = (float(target[b]) - mean) / std
            loss = loss + value_loss(value[place], float(old_value[b]), goal, cfg.clip, cfg.huber_delta) / len(rows)
        stepped(optimizer, cfg.value_coef * loss, cfg.max_grad_norm)


class NoiseEnv:
    """Random numbers in place of a game; of its own random stream, so that two with one seed agree."""

    def __init__(self, spec, seed=0):
        self.spec = spec
        stream = torch.Generator().manual_seed(seed)
        self._normal = lambda *shape: torch.randn(shape, generator=stream)
        self._uniform = lambda *shape: torch.rand(shape, generator=stream)

    def step(self, actions):
        spec = self.spec
        envs = self.spec.num_envs
        end = self._uniform(envs)
        obs, next_obs = [tuple(self._normal(envs, size) for size in spec.obs_sizes) for _ in range(2)]
        state, next_state = [self._normal(envs, spec.state_agents, spec.state_size) for _ in range(2)]
        mask = tuple(self._mask(space) for space in spec.actions) if spec.has_action_mask else None
        alive = self._uniform(envs, spec.num_agents) < 0.7 if spec.has_alive else None
        return Step(
            obs,
            state,
            self._normal(envs, spec.reward_agents),
            end < 0.1,
            end > 0.85,
            next_obs,
            next_state,
            action_mask=mask,
            alive=alive,
        )

    def _mask(self, space):
        """Two choices in three allowed, the first of each head always."""
        sizes = space.nvec if isinstance(space, MultiDiscrete) else [mask_width(space)]
        heads = [self._uniform(self.spec.num_envs, size) < 0.67 for size in sizes]
        return torch.cat([head.index_fill(1, torch.arange(head.shape[1])[:1], True) for head in heads], 1)


def spec_for(actions, obs_sizes, **more):
    """The sizes of a small game; agents are called a, b, c ..."""
    return EnvSpec(
        **{
            "num_envs": 4,
            "agents": tuple("abcdef"[: len(actions)]),
            "obs_sizes": obs_sizes,
            "actions": actions,
            "state_size": 6,
            "max_episode_steps": 10,
            "device": torch.device("cpu"),
            **more,
        }
    )


# Agents of every kind, with all that a game may have.
MIXED = spec_for(
    (Box(3), MultiDiscrete((2, 5, 3)), Discrete(4)),
    (5, 7, 4),
    has_action_mask=True,
    has_alive=True,
    reward_agents=3,
    state_agents=3,
)


def in_default_precision(rollout):
    """The rollout with numbers as precise as new tensors are."""
    for name, value in vars(rollout).items():
        if torch.is_tensor(value) and value.is_floating_point():
            setattr(rollout, name, value.to(torch.get_default_dtype()))


def fill(rollout, actors, seed=0):
    """Random numbers throughout, but for the actions and log-probabilities, which are the actors' own."""
    in_default_precision(rollout)
    env = NoiseEnv(rollout.spec, seed)
    collect(env, actors, rollout, env.step(None))
    return rollout


def recording(minibatches, drawn):
    """`minibatches`, with the rows of each added to `drawn`."""

    def draw(rows, count, device):
        for index in minibatches(rows, count, device):
            drawn.append(torch.arange(rows)[index].tolist())
            yield index

    return draw


@torch.no_grad()
def scramble(module, seed=0, size=0.3):
    """Move every parameter away from its tidy start."""
    stream = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter += size * torch.randn(parameter.shape, generator=stream)


@contextmanager
def double_precision():
    """The library's own code in float64, where rounding hides nothing."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
