"""Quaternions (x, y, z, w) as tensors [..., 4]."""

import math

import torch
from torch import Tensor


def quat_mul(a: Tensor, b: Tensor) -> Tensor:
    """Product of quaternions xyzw: [..., 4] x [..., 4] -> [..., 4]."""
    av = a[..., :3]
    aw = a[..., 3:]
    bv = b[..., :3]
    bw = b[..., 3:]
    vector = aw * bv + bw * av + torch.linalg.cross(av, bv)
    return torch.cat((vector, aw * bw - (av * bv).sum(-1, keepdim=True)), dim=-1)


def quat_conj(q: Tensor) -> Tensor:
    """Inverse of a unit quaternion xyzw [..., 4]."""
    return torch.cat((-q[..., :3], q[..., 3:]), dim=-1)


def rotate(q: Tensor, v: Tensor) -> Tensor:
    """Rotate vectors v [..., 3] by unit quaternions xyzw q [..., 4]."""
    t = 2.0 * torch.linalg.cross(q[..., :3], v)
    return v + q[..., 3:] * t + torch.linalg.cross(q[..., :3], t)


def rotation_angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle between two orientations xyzw [..., 4], rad in [0, pi] -> [...]."""
    av = a[..., :3]
    bv = b[..., :3]
    vector = b[..., 3:] * av - a[..., 3:] * bv - torch.linalg.cross(av, bv)  # of a times b's inverse
    return 2.0 * torch.asin(vector.norm(dim=-1).clamp(max=1.0))


def tumbled(u: Tensor) -> Tensor:
    """Orientations Rx(pi u0) Ry(pi u1) from u [E, 2] in (-1, 1), as the originals draw them -> xyzw [E, 4]."""
    half = u * (math.pi / 2)
    sin = half.sin()
    cos = half.cos()
    return torch.stack((sin[:, 0] * cos[:, 1], cos[:, 0] * sin[:, 1], sin[:, 0] * sin[:, 1], cos[:, 0] * cos[:, 1]), 1)


def euler_angles(q: Tensor) -> Tensor:
    """Angles (a, b, c) within [-pi, pi] of the rotations Rz(c) Ry(b) Rx(a), from xyzw [..., 4] -> [..., 3]."""
    x, y, z, w = q.unbind(-1)
    about_x = torch.atan2(2.0 * (w * x + y * z), w * w - x * x - y * y + z * z)
    about_y = torch.asin((2.0 * (w * y - z * x)).clamp(-1.0, 1.0))
    about_z = torch.atan2(2.0 * (w * z + x * y), w * w + x * x - y * y - z * z)
    return torch.stack((about_x, about_y, about_z), dim=-1)
