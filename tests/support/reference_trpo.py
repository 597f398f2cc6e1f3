"""Slow, literal float64 versions of HATRPO's parts: divergences as sums and integrals over actions, the Fisher matrix
as a dense Hessian, conjugate gradient and line search with loops that stop (Zhong et al., 2024, Appendix C.3).
"""

import itertools
import math

import torch
from torch.func import functional_call

from support import reference


def gaussian_kl(old_mean, old_log_std, mean, log_std):
    """The integral of p log(p / q) over each dimension, by midpoints over ten deviations of p either way."""
    total = 0.0
    parts = 20000
    for old_m, old_s, m, s in zip(old_mean, old_log_std, mean, log_std):
        old_std = reference.sigma(old_s)
        std = reference.sigma(s)
        width = 20.0 * old_std / parts
        for part in range(parts):
            x = old_m + (part + 0.5) * width - 10.0 * old_std
            p = reference.density(x, old_m, old_std)
            log_q = -((x - m) ** 2) / (2.0 * std**2) - math.log(std * math.sqrt(2.0 * math.pi))
            total += p * (math.log(p) - log_q) * width
    return total


def joint(logits, nvec, mask):
    """The probability of every joint choice of all heads."""
    return [math.prod(choice) for choice in itertools.product(*reference.probabilities(logits, nvec, mask))]


def choices_kl(old_logits, logits, nvec, mask=None):
    """The sum of p log(p / q) over all joint choices."""
    return sum(p * math.log(p / q) for p, q in zip(joint(old_logits, nvec, mask), joint(logits, nvec, mask)) if p > 0.0)


def unweighted_choices_kl(old_logits, logits, nvec):
    """What the reference implementation takes for it: q/p - 1 - log(q/p) summed over one head's choices, without p."""
    ratios = [q / p for p, q in zip(joint(old_logits, nvec, None), joint(logits, nvec, None))]
    return sum(ratio - 1.0 - math.log(ratio) for ratio in ratios)


class Problem:
    """One agent's step as functions of one vector of parameters, by a separate network; rows weigh in by `alive`."""

    def __init__(self, actor, batch, advantage, activation=torch.relu):
        self.net = reference.PlainActor(actor, activation)
        self.shapes = {name: p.shape for name, p in self.net.named_parameters()}
        self.start = torch.cat([p.detach().flatten() for p in self.net.parameters()])
        self.obs = batch.obs.double()
        self.action = batch.action.double()
        self.log_prob = batch.log_prob.double()
        self.alive = batch.alive.double()
        self.mask = batch.mask
        self.advantage = advantage.double()
        self.old = self.policy(self.start)

    def tensors(self, vector):
        """The parameters by name."""
        pieces = vector.split([shape.numel() for shape in self.shapes.values()])
        return {name: piece.view(shape) for (name, shape), piece in zip(self.shapes.items(), pieces)}

    def policy(self, vector):
        """(mean, sigma) of a Gaussian, or each head's probabilities."""
        tensors = self.tensors(vector)
        head = functional_call(self.net, tensors, (self.obs,))
        if self.net.nvec is None:
            return head, 0.5 * torch.sigmoid(tensors["log_std"])
        masks = torch.ones_like(head) if self.mask is None else self.mask.double()
        weights = [x.exp() * m for x, m in zip(head.split(self.net.nvec, 1), masks.split(self.net.nvec, 1))]
        return [weight / weight.sum(1, keepdim=True) for weight in weights]

    def mean(self, rows):
        """Over living rows."""
        return (rows * self.alive).sum() / self.alive.sum()

    def surrogate(self, vector):
        policy = self.policy(vector)
        if self.net.nvec is None:
            log_prob = torch.distributions.Normal(*policy).log_prob(self.action).sum(1)
        else:
            each = [p[torch.arange(len(p)), a.long()] for p, a in zip(policy, self.action.t())]
            log_prob = sum(p.log() for p in each)
        return self.mean((log_prob - self.log_prob).exp() * self.advantage)

    def kl(self, vector):
        """Of the policy at the start to the one of `vector`."""
        policy = self.policy(vector)
        if self.net.nvec is None:
            (m, s) = self.old
            (mean, std) = policy
            return self.mean((0.5 * (s**2 + (m - mean) ** 2) / std**2 - 0.5 + (std / s).log()).sum(1))
        tiny = 1e-300  # a forbidden choice: 0 log 0
        return self.mean(sum((p * ((p + tiny).log() - (q + tiny).log())).sum(1) for p, q in zip(self.old, policy)))

    def gradient(self):
        return torch.autograd.functional.jacobian(self.surrogate, self.start)

    def fisher(self):
        """[P, P]"""
        return torch.autograd.functional.hessian(self.kl, self.start)


def conjugate_gradient(matrix, target, iterations):
    """The textbook's loop, which stops at a residual whose square is below 1e-10."""
    x = 0.0 * target
    residual = target.clone()
    direction = target.clone()
    for _ in range(iterations):
        length = residual.dot(residual) / direction.dot(matrix @ direction)
        x = x + length * direction
        following = residual - length * (matrix @ direction)
        direction = following + following.dot(following) / residual.dot(residual) * direction
        residual = following
        if residual.dot(residual) < 1e-10:
            break
    return x


def search(improvement, kl, expected, cfg):
    """The first j whose trial is accepted, or None; `improvement` and `kl` are functions of the fraction."""
    for j in range(cfg.line_search_steps):
        fraction = cfg.backtrack_coeff**j
        gain = improvement(fraction)
        if kl(fraction) < cfg.kl_threshold and gain > 0.0 and gain / (fraction * expected) > cfg.accept_ratio:
            return j
    return None


def step(problem, cfg, solve):
    """(parameters after one step, j accepted or None); `solve(matrix, gradient)` is conjugate gradient or exact."""
    gradient = problem.gradient()
    matrix = problem.fisher() + cfg.damping * torch.eye(len(gradient), dtype=gradient.dtype)
    x = solve(matrix, gradient)
    whole = x * math.sqrt(cfg.kl_threshold / (0.5 * float(x @ matrix @ x)))

    def improvement(fraction):
        return float(problem.surrogate(problem.start + fraction * whole) - problem.surrogate(problem.start))

    j = search(
        improvement, lambda fraction: float(problem.kl(problem.start + fraction * whole)), float(gradient @ whole), cfg
    )
    return problem.start if j is None else problem.start + cfg.backtrack_coeff**j * whole, j


def hatrpo(actors, batches, advantages, order, cfg):
    """Algorithm 3's loop over agents; `advantages[i]` : a number a row. Returns parameters by agent and the factor."""
    factor = torch.ones(len(batches[0].obs), dtype=torch.float64)
    moved = {}
    for i in order:
        own = torch.tensor(reference.normalized(advantages[i], batches[i].alive.tolist()), dtype=torch.float64)
        problem = Problem(actors[i], batches[i], factor * own)
        vector, _ = step(problem, cfg, lambda matrix, target: conjugate_gradient(matrix, target, cfg.cg_iterations))
        moved[i] = problem.tensors(vector)
        for name, parameter in problem.net.named_parameters():
            parameter.data.copy_(moved[i][name])
        log_prob = problem.net.evaluate_actions(problem.obs, problem.action, problem.mask)[0].detach()
        factor = factor * (log_prob - problem.log_prob).exp()
    return moved, factor
