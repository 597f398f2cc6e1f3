"""The natural gradient's step (Schulman et al., 2015, Appendix C; Zhong et al., 2024, Equation 8): Fisher-vector
products, conjugate gradient, length of the step, line search. Vectors [P] hold all parameters end to end; every
decision is a mask, so that the host reads nothing.
"""

from typing import Callable, List, Sequence, Tuple

import torch
from torch import Tensor

RESIDUAL = 1e-10  # squared length of the residual at which conjugate gradient stops (HARL's reference implementation)

Product = Callable[[Tensor], Tensor]  # vector [P] -> matrix x vector [P]


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """All numbers end to end, [P]."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def unflatten(vector: Tensor, like: Sequence[Tensor]) -> List[Tensor]:
    """A vector [P] in the shapes of `like`."""
    pieces = vector.split([tensor.numel() for tensor in like])
    return [piece.view(tensor.shape) for piece, tensor in zip(pieces, like)]


def fisher_vector_product(
    outputs: Sequence[Tensor], parameters: Sequence[Tensor], divergence: Callable[..., Tensor]
) -> Product:
    """v [P] -> J' K J v, from the graph of `outputs` (any shapes), which is kept: no further forward pass.

    J is the outputs' Jacobian, K the Hessian of `divergence(*outputs)` [] at these outputs. Where the divergence is
    least there, as a KL is between a policy and itself, this is its Hessian in the parameters: the Fisher matrix. J v
    is the derivative of J' u by u, which is cheaper than to differentiate the divergence's gradient as a whole.
    """
    seeds = [torch.zeros_like(output, requires_grad=True) for output in outputs]
    pulled = torch.autograd.grad(outputs, parameters, seeds, create_graph=True)
    leaves = [output.detach().clone().requires_grad_() for output in outputs]
    slopes = torch.autograd.grad(divergence(*leaves), leaves, create_graph=True)

    def product(vector: Tensor) -> Tensor:
        tangents = torch.autograd.grad(pulled, seeds, unflatten(vector, parameters), retain_graph=True)
        curved = torch.autograd.grad(slopes, leaves, tangents, retain_graph=True)
        return flatten(torch.autograd.grad(outputs, parameters, curved, retain_graph=True))

    return product


def conjugate_gradient(product: Product, target: Tensor, iterations: int) -> Tuple[Tensor, Tensor]:
    """x [P] with A x = target [P] approximately, and what is missing, target - A x; A symmetric and positive."""
    x = torch.zeros_like(target)
    residual = target
    direction = target
    square = target @ target
    moving = torch.ones_like(square, dtype=torch.bool)
    for _ in range(iterations):
        image = product(direction)
        curvature = direction @ image
        moving = moving & (curvature > 0.0)
        length = torch.where(moving, square / curvature, torch.zeros_like(square))
        x = x + length * direction
        residual = residual - length * image
        last = square
        square = residual @ residual
        direction = residual + torch.where(moving, square / last, torch.zeros_like(square)) * direction
        moving = moving & (square >= RESIDUAL)
    return x, residual


def trust_region_step(direction: Tensor, image: Tensor, threshold: float) -> Tensor:
    """x sqrt(2 threshold / x' A x), for x [P] and its image A x [P]: as far as the quadratic model of the KL allows.

    Zero where x' A x is not positive, as it is for a gradient of zero.
    """
    curvature = direction @ image
    length = (2.0 * threshold / curvature).sqrt()
    return torch.where(curvature > 0.0, length * direction, torch.zeros_like(direction))


def line_search(
    trial: Callable[[float], Tensor],
    start: Tensor,
    expected: Tensor,
    threshold: float,
    accept_ratio: float,
    fractions: Sequence[float],
) -> Tuple[Tensor, Tensor]:
    """The first fraction of a step that is good: (fraction [], the trial's report [M]); (0, start) if none is.

    `trial(fraction)` reports (improvement, KL, ...) [M] and `start` is the report of not moving; `expected` [] is
    what the gradient promises for the whole step. Good is a KL below `threshold` with more improvement than
    `accept_ratio` >= 0 of the promise, which must be positive. All fractions are tried: to stop at the first good one
    is a read on the host.
    """
    taken = torch.zeros_like(expected)
    kept = start
    for fraction in fractions:
        report = trial(fraction)
        improvement = report[0]
        kl = report[1]
        good = (kl < threshold) & (expected > 0.0) & (improvement > accept_ratio * fraction * expected)
        first = good & (taken == 0.0)
        taken = torch.where(first, torch.full_like(taken, fraction), taken)
        kept = torch.where(first, report, kept)
    return taken, kept
