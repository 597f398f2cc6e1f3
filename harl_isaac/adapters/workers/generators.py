"""Process-wide random generators for games that share a worker: each game draws from its own.

Many simulators draw from `random`, `numpy.random` or torch's global generator. Were these shared, the course of a game
would depend on which games its worker plays beside it.
"""

import functools
import os
import random
import sys
from typing import Any, Callable, Dict, Iterable, List, Tuple

import numpy as np

Pair = Tuple[random.Random, np.random.RandomState]
NUMPY_SEEDS = 2**32


def module_functions(module: Any, owner: Any) -> List[str]:
    """Names of a module's functions that are methods of `owner`, its global generator."""
    return [name for name in dir(module) if getattr(getattr(module, name), "__self__", None) is owner]


class Generators:
    """A pair of generators for each environment, of which those of the environment last entered are the process's.

    The functions of `random` and `numpy.random` are replaced, once, by ones that ask for the current pair; so entering
    an environment costs next to nothing, and a game may import the functions themselves. torch's generator is exchanged
    if a game has imported torch.
    """

    def __init__(self, envs: Iterable[int]):
        self.pairs: Dict[int, Pair] = {e: (random.Random(e), np.random.RandomState(e)) for e in envs}
        self.torch_states: Dict[int, Any] = {}
        self.env = min(self.pairs)
        self.current: Pair = self.pairs[self.env]
        self._replace(random, module_functions(random, getattr(random, "_inst", None)), 0)
        self._replace(np.random, module_functions(np.random, np.random.mtrand._rand), 1)
        self._point_to_current()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: self.current[0].seed())  # as Python does for its own

    def enter(self, e: int) -> None:
        """Make the generators of environment e the process's."""
        if e == self.env:
            return
        torch = sys.modules.get("torch")
        if torch is not None and hasattr(torch, "set_rng_state"):
            self.torch_states[self.env] = torch.get_rng_state()
            if e in self.torch_states:
                torch.set_rng_state(self.torch_states[e])
            else:
                torch.manual_seed(e)
        self.env = e
        self.current = self.pairs[e]
        self._point_to_current()

    def seed(self, e: int, seed: int) -> None:
        """Enter environment e and begin its generators from a seed."""
        self.enter(e)
        self.current[0].seed(seed)
        self.current[1].seed(seed % NUMPY_SEEDS)
        torch = sys.modules.get("torch")
        if torch is not None and hasattr(torch, "manual_seed"):
            torch.manual_seed(seed)

    def save(self, e: int) -> bytes:
        """Save the generators of environment e (torch's not)."""
        python, legacy = self.pairs[e]
        version, words, gauss = python.getstate()
        _, key, position, has_gauss, cached = legacy.get_state()
        numbers = np.array([version, *words, *key, position, has_gauss, gauss is not None], np.uint32)
        return numbers.tobytes() + np.array([gauss or 0.0, cached], np.float64).tobytes()

    def restore(self, e: int, saved: bytes) -> None:
        """Go on from a `save`; an empty one, of an earlier version, changes nothing."""
        if not saved:
            return
        python, legacy = self.pairs[e]
        words = len(python.getstate()[1])
        numbers = np.frombuffer(saved[:-16], np.uint32).tolist()
        gauss, cached = np.frombuffer(saved[-16:], np.float64).tolist()
        *key, position, has_gauss, python_has = numbers[1 + words :]
        python.setstate((numbers[0], tuple(numbers[1 : 1 + words]), gauss if python_has else None))
        legacy.set_state(("MT19937", key, position, has_gauss, cached))

    def _replace(self, module: Any, names: List[str], kind: int) -> None:
        for name in names:
            setattr(module, name, self._delegate(getattr(module, name), name, kind))

    def _delegate(self, original: Any, name: str, kind: int) -> Callable[..., Any]:
        @functools.wraps(original)
        def draw(*args: Any, **kwargs: Any) -> Any:
            return getattr(self.current[kind], name)(*args, **kwargs)

        return draw

    def _point_to_current(self) -> None:
        """Let those who take the generator itself find the current one, numpy.random.seed among them."""
        random._inst = self.current[0]
        np.random.mtrand._rand = self.current[1]
