"""Specifications to gymnasium spaces: n, [n, m], {n} for a choice, [{n}, {m}] for several."""

import gymnasium
import numpy as np


def spec_to_gym_space(spec):
    if isinstance(spec, gymnasium.Space):
        return spec
    if isinstance(spec, (int, list)) and not (isinstance(spec, list) and isinstance(spec[0], set)):
        return gymnasium.spaces.Box(-np.inf, np.inf, (spec,) if isinstance(spec, int) else spec)
    if isinstance(spec, set):
        return gymnasium.spaces.Discrete(next(iter(spec)))
    return gymnasium.spaces.MultiDiscrete([next(iter(each)) for each in spec])
