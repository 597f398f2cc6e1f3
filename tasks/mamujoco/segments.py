"""Bodies with any number of segments: mamujoco_v1's templates, completed in code."""

import mujoco

from harl_isaac.tasks.mamujoco.models import add_hinge, add_limb, add_motor, mamujoco_model

GEAR = 150.0  # [Nm] torque at full control


def many_segment_swimmer(segments: int) -> "mujoco.MjSpec":
    """A chain with hinges rot0 ... rot<segments - 1> between its links."""
    spec = mamujoco_model("many_segment_swimmer.xml.template")
    body = spec.body("mid0")
    for i in range(1, segments):
        last = i == segments - 1
        body = add_limb(body, "back" if last else f"mid{i}", [-1.0, 0.0, 0.0], [0, 0, 0, -1, 0, 0], 0.1, 1000.0)
        add_hinge(body, f"rot{i}", [0, 0, 1 if last or i % 2 else -1], -100.0, 100.0)
    for i in range(segments):
        add_motor(spec, f"rot{i}", GEAR)
    return spec


def many_segment_ant(segments: int) -> "mujoco.MjSpec":
    """A chain of torsos one meter apart, with a leg hip1_i, ankle1_i to the left and hip2_i, ankle2_i to the right."""
    spec = mamujoco_model("many_segment_ant.xml.template")
    torso = spec.body("torso_0")
    for i in range(1, segments):
        torso = add_limb(torso, f"torso_{i}", [-1.0, 0.0, 0.0], [1, 0, 0, 0, 0, 0], 0.1, 100.0)
        _add_leg(torso, f"front_right_leg_{i}", i, 1, 1.0)
        _add_leg(torso, f"back_leg_{i}", i, 2, -1.0)
    for i in range(segments):
        for joint in ("hip1", "ankle1", "hip2", "ankle2"):
            add_motor(spec, f"{joint}_{i}", GEAR)
    return spec


def _add_leg(torso: "mujoco.MjsBody", name: str, segment: int, leg: int, side: float) -> None:
    """Three links of 0.2, 0.2 and 0.4 m to one side, the last two slanting backwards."""
    upper = add_limb(torso, name, [0, 0, 0], [0, 0, 0, 0, 0.2 * side, 0], 0.08)
    middle = add_limb(upper, f"aux{leg}_{segment}", [0, 0.2 * side, 0], [0, 0, 0, -0.2, 0.2 * side, 0], 0.08)
    add_hinge(middle, f"hip{leg}_{segment}", [0, 0, 1], -30.0, 30.0)
    lower = add_limb(middle, "", [-0.2, 0.2 * side, 0], [0, 0, 0, -0.4, 0.4 * side, 0], 0.08)
    add_hinge(lower, f"ankle{leg}_{segment}", [side, 1, 0], -70.0, -30.0)
