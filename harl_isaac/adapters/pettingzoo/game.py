"""Any parallel environment of PettingZoo: agents as different as they are, each with its own spaces.

The module of such an environment has a function `parallel_env`: `task.env=mpe2.simple_spread_v3 task.kwargs.N=4` plays
`mpe2.simple_spread_v3.parallel_env(N=4)`. What is not an array of numbers is made one: observations are flattened as
gymnasium does it (a choice becomes its indicator), an action mask among them is taken out. Agents that are absent see
zeros. The state is the environment's own or, where it has none, all observations in a row.
"""

import io
import pkgutil
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from harl_isaac.adapters.pettingzoo.spaces import Action, Observation
from harl_isaac.adapters.workers.game import GameSpec, Outcome, View
from harl_isaac.adapters.workers.settings import SimulatorCfg
from harl_isaac.env import MissingSimulator
from harl_isaac.settings import check_choices

REWARDS = ("mean", "sum", "own")
LIMITS = ("max_cycles", "max_steps", "max_episode_steps")  # names that environments have for their time limit


@dataclass
class PettingZooCfg(SimulatorCfg):
    """A parallel environment by its module."""

    name: str = "pettingzoo"
    env: str = "mpe2.simple_spread_v3"  # a module with a function parallel_env, or module:function
    kwargs: Dict[str, Any] = field(default_factory=dict)  # of that function
    reward: str = "mean"  # over the agents, for the team; sum; or each agent its own
    max_steps: int = 0  # an episode is truncated then; 0: as the environment does by itself

    def game(self) -> Tuple[str, Dict[str, Any]]:
        check_choices("task", self, (("reward", REWARDS),))
        if self.max_steps < 0:
            raise ValueError(f"task.max_steps={self.max_steps} must not be negative; 0: the environment's own limit")
        return "harl_isaac.adapters.pettingzoo.game:PettingZooGame", {
            "env": self.env,
            "kwargs": self.kwargs,
            "reward": self.reward,
            "max_steps": self.max_steps,
        }


class PettingZooGame:
    """One parallel environment. It is saved as its episode's seed and actions, and restored by playing them again."""

    def __init__(self, env: str, kwargs: Dict[str, Any], reward: str = "mean", max_steps: int = 0):
        self.env = make(env, kwargs)
        self.own = reward == "own"
        self.scale = 1.0 if reward == "sum" else 1.0 / len(self.env.possible_agents)
        self.agents = list(self.env.possible_agents)
        self.max_steps = max_steps or time_limit(self.env, env, kwargs)
        self.begin(0)  # what an environment shows is seen only then
        self.actions = {agent: Action(self.env.action_space(agent), str(agent)) for agent in self.agents}
        self.observations = {agent: Observation(self.env.observation_space(agent)) for agent in self.agents}
        self.has_state = self._state() is not None
        self.spec = self._spec()

    def _spec(self) -> GameSpec:
        sizes = tuple(self.observations[agent].size for agent in self.agents)
        masked = any(self._mask(agent) is not None for agent in self.agents)
        return GameSpec(
            agents=tuple(map(str, self.agents)),
            obs_sizes=sizes,
            actions=tuple(self.actions[agent].space for agent in self.agents),
            state_size=self._state().size if self.has_state else sum(sizes),
            max_episode_steps=self.max_steps,
            reward_agents=len(self.agents) if self.own else 1,
            has_action_mask=masked,
            has_alive=True,
        )

    def begin(self, seed: int) -> None:
        self.seen, self.infos = self.env.reset(seed=seed)
        # type: int, List[List[np.ndarray]], bool
        self.seed = seed
        self.past = []
        self.over = False

    def reset(self, seed: int) -> None:
        self.begin(seed)

    def step(self, actions: List[np.ndarray]) -> Outcome:
        self.past.append([action.copy() for action in actions])
        acting = list(self.env.agents)
        chosen = dict(zip(self.agents, actions))
        self.seen, rewards, terminations, truncations, self.infos = self.env.step(
            {agent: self.actions[agent].to_env(chosen[agent]) for agent in acting}
        )
        ended = not self.env.agents or all(terminations[agent] or truncations[agent] for agent in acting)
        # Where some agents' time was over and others' game, the team's would have gone on.
        cut = any(truncations[agent] and not terminations[agent] for agent in acting)
        truncated = cut if ended else len(self.past) >= self.max_steps
        self.over = ended or truncated
        own = [float(rewards.get(agent, 0.0)) for agent in self.agents]
        return Outcome(own if self.own else [sum(own) * self.scale], ended and not truncated, truncated, {})

    def look(self, view: View) -> None:
        here = set(self.env.agents)
        for i, agent in enumerate(self.agents):
            shown = agent in self.seen and (agent in here or self.over)
            view.obs[i][:] = self.observations[agent].flat(self.seen[agent]) if shown else 0.0
            view.alive[i] = agent in here
            if view.action_mask is not None:
                self._write_mask(view.action_mask[i], agent)
        view.state[0] = self._state() if self.has_state else np.concatenate(view.obs)

    def save(self) -> Optional[bytes]:
        file = io.BytesIO()
        np.savez(file, np.int64(self.seed), *[np.array(part) for part in zip(*self.past)])
        return file.getvalue()

    def restore(self, saved: bytes) -> None:
        with np.load(io.BytesIO(saved)) as parts:
            seed, *actions = [parts[f"arr_{i}"] for i in range(len(parts.files))]
        self.begin(int(seed))
        for step in zip(*actions):
            self.step(list(step))

    def close(self) -> None:
        self.env.close()

    def _state(self) -> Optional[np.ndarray]:
        """The environment's own [S], or None where it has none."""
        try:
            return np.asarray(self.env.state(), np.float32).reshape(-1)
        except (NotImplementedError, AttributeError):
            return None

    def _mask(self, agent) -> Optional[np.ndarray]:
        """An agent's action mask, from its observation or its info."""
        seen = self.seen.get(agent)
        mask = seen.get("action_mask") if isinstance(seen, dict) else None
        return (self.infos.get(agent) or {}).get("action_mask") if mask is None else mask

    def _write_mask(self, room: np.ndarray, agent) -> None:
        mask = self._mask(agent) if agent in self.env.agents else None
        parts = [True] if mask is None else mask if isinstance(mask, tuple) else [mask]
        room[:] = np.concatenate([np.ravel(part) for part in parts])
        for head in self.actions[agent].heads:
            room[head] |= not room[head].any()  # who may do nothing is not asked


def time_limit(env, path: str, kwargs: Dict[str, Any]) -> int:
    """How long the environment's episodes can be. Raises ValueError where it does not say."""
    for name in LIMITS:
        if isinstance(kwargs.get(name), int):
            return kwargs[name]
    inner = [
        env,
        env.unwrapped,
        getattr(env.unwrapped, "single_agent_env", None),
    ]  # the last of gymnasium-robotics' MAMuJoCo
    for thing in inner:
        for value in [getattr(thing, name, None) for name in LIMITS] + [
            getattr(getattr(thing, "spec", None), "max_episode_steps", None)
        ]:
            if isinstance(value, int) and value > 0:
                return value
    raise ValueError(
        f"task.env={path} does not say how long its episodes can be; give the number of steps as task.max_steps, "
        "after which they are truncated"
    )


def make(path: str, kwargs: Dict[str, Any]):
    """The environment that `path` names. Raises MissingSimulator, and ValueError for what it does not know."""
    module, _, name = path.partition(":")
    function = getattr(found(path, module), name or "parallel_env", None)
    if not callable(function):
        raise ValueError(
            "task.env={}: {} has no {}; give a module with a function parallel_env, or module:function".format(
                path, module, name or "parallel_env"
            )
        )
    try:
        env = function(**kwargs)
    except TypeError as error:
        raise ValueError(f"task.env={path} does not take task.kwargs={kwargs}: {error}") from error
    if not hasattr(env, "possible_agents"):
        raise ValueError(f"task.env={path} has no possible_agents: it is no parallel environment of PettingZoo")
    return env


def found(path: str, module: str):
    """The module. Raises MissingSimulator where its package is not installed, ValueError where that has no such module."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        parent, _, leaf = module.rpartition(".")
        if error.name == module and parent:  # the package is here, or the next attempt says what is not
            package = found(path, parent)
            if hasattr(package, leaf):
                return getattr(package, leaf)
            names = [info.name for info in pkgutil.iter_modules(package.__path__) if not info.name.startswith("_")]
            raise ValueError(
                "task.env={}: {} has no {}; possible: {}".format(path, parent, leaf, ", ".join(names))
            ) from None
        raise MissingSimulator(
            f"task.env={path} needs {error.name}, which is not installed: pip install {package_of(module, str(error.name))}"
        ) from None
    except ImportError as error:
        raise MissingSimulator(f"task.env={path} cannot be imported: {error}") from None


def package_of(module: str, missing: str) -> str:
    """What pip calls it: families of pettingzoo name what they need as an extra of theirs."""
    family = module.split(".")
    if family[0] == "pettingzoo" and missing != "pettingzoo":
        return f"'pettingzoo[{family[1]}]'"
    return {"mpe2": "'mpe2>=1.1,<2'", "gymnasium_robotics": "gymnasium-robotics"}.get(missing, missing)
