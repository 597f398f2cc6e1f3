"""`Camera`: pictures of environments that draw themselves by a `render()`, see `harl_isaac.env.MultiAgentEnv`."""

from typing import Any, Optional, Tuple

import numpy as np

from harl_isaac.env import picture_fault
from harl_isaac.rendering.film import fitted

STEP_SECONDS = 0.1  # [s] that a step is shown at full speed where its environment does not say

SHORTEST = 0.001  # [s] of steps that can be shown
LONGEST = 60.0  # [s]


class Camera:
    """Takes pictures of an environment's first game, and holds it to the size of the first picture."""

    def __init__(self, env: Any):
        self.env = env
        self.size: Optional[Tuple[int, int]] = None  # of the first picture

    def picture(self) -> np.ndarray:
        """The present picture, fitted to [HEIGHT, WIDTH, 3]. Raises ValueError for what is no picture."""
        found = self.env.render()
        found = found.cpu().numpy() if hasattr(found, "cpu") else found
        if len(getattr(found, "shape", ())) == 4 and len(found):  # of all environments
            found = found[0]
        fault = picture_fault(found)
        if fault:
            raise ValueError(f"the task cannot be drawn: {fault}")
        height, width = found.shape[:2]
        self.size = self.size or (height, width)
        if self.size != (height, width):
            raise ValueError(
                f"render() returned a picture of {height} x {width} pixels after one of {self.size[0]} x "
                f"{self.size[1]}; expected one size throughout"
            )
        return fitted(np.ascontiguousarray(found))


def step_seconds(env: Any) -> float:
    """The `control_seconds` of an environment, 0 where it does not say. Raises ValueError for no duration."""
    seconds = getattr(env, "control_seconds", 0.0)
    if seconds != 0.0 and not (isinstance(seconds, (int, float)) and SHORTEST <= seconds <= LONGEST):
        raise ValueError(
            f"control_seconds={seconds} of the environment must be within {SHORTEST:g} and {LONGEST:g}, or 0: not known"
        )
    return float(seconds)
