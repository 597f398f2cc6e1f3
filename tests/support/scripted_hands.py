"""Scripts for hands that fly: palms that go to places, and fingers in postures, as actions."""

import torch
from torch import Tensor

from harl_isaac.tasks.hands.quaternions import quat_conj, rotate

SIDES = ("right", "left")
DRAG = 501.1  # [Ns/m] of a hand's base
GAIN = 6.0  # [1/s] of the way to a place
TURN_GAIN = 4.0  # of torques, for each rad


def posture(env, angles: dict) -> Tensor:
    """Joint targets [20] as actions, from angles [rad] by the ends of the joints' names; others are 0 rad."""
    targets = []
    for joint in env.hand.actuated:
        low, high = env.physics.model.joint(env.hand.full_name("right", joint)).range
        angle = next((angle for end, angle in angles.items() if joint.endswith(end)), 0.0)
        targets.append(2.0 * (angle - low) / (high - low) - 1.0)
    return torch.tensor(targets).clamp(-1.0, 1.0)


def palms(env) -> Tensor:
    """Places of the right and the left palm, [E, 2, 3] m."""
    return torch.stack([env.signals.point(f"{side} palm") for side in SIDES], dim=1)


def fly(env, places: Tensor, fingers: Tensor, tilt: float = 0.0) -> tuple:
    """Actions that bring the palms to places [E, 2, 3] m, the left hand tilted [rad] about its x; fingers [2, 20]."""
    force = GAIN * (places - palms(env)) * DRAG / env.base.force
    angles = torch.zeros_like(force)
    angles[:, 1, 0] = tilt
    errors = angles - env._flight.angles().view(-1, 2, 3)
    mounts = quat_conj(env._flight._to_mount).expand(len(force), 2, 4)
    torque = TURN_GAIN * rotate(mounts, errors)
    parts = (force.clamp(-1.0, 1.0), torque.clamp(-1.0, 1.0), fingers.expand(len(force), 2, -1))
    return torch.cat(parts, dim=2).unbind(1)
