"""`PettingZooGame`: any parallel environment of PettingZoo; agents may differ, each with its own spaces.

The module of such an environment has a function `parallel_env`: `task.env=mpe2.simple_spread_v3 task.kwargs.N=4` plays
`mpe2.simple_spread_v3.parallel_env(N=4)`. Observations are flattened as gymnasium does it (a choice becomes one-hot),
and an action mask among them is taken out. Absent agents observe zeros. The state is the environment's own or, where it
has none, the concatenation of all observations.
"""

import functools
import inspect
import io
import pkgutil
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np

from harl_isaac.adapters.pettingzoo.spaces import MASK, ActionConverter, ObservationFlattener
from harl_isaac.adapters.workers.game import GameSpec, GameView, Outcome
from harl_isaac.adapters.workers.settings import SimulatorCfg
from harl_isaac.env import MissingSimulator
from harl_isaac.settings import check_choices

REWARDS = ("mean", "sum", "own")
KNOWN_PACKAGES = ("mpe2", "pettingzoo", "gymnasium_robotics")  # whose environments a run folder may name
LIMITS = ("max_cycles", "max_steps", "max_episode_steps")  # names that environments have for their time limit


@dataclass
class PettingZooCfg(SimulatorCfg):
    """Settings of a task that is a parallel environment, named by its module."""

    name: str = "pettingzoo"
    env: str = "mpe2.simple_spread_v3"  # a module with a function parallel_env, or module:function
    kwargs: Dict[str, Any] = field(default_factory=dict)  # of that function
    reward: str = "mean"  # over the agents, for the team; sum; or each agent its own
    max_steps: int = 0  # an episode is truncated then; 0: the environment's own limit

    def foreign_code(self) -> str:
        """The environment, unless it is a module with `parallel_env` of a known package."""
        known = ":" not in self.env and self.env.split(".")[0] in KNOWN_PACKAGES
        return "" if known else f"task.env={self.env}"

    def game(self) -> Tuple[str, Dict[str, Any]]:
        """Return PettingZooGame and its arguments. Raises ValueError."""
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
        self.env = make_parallel_env(env, kwargs)
        self.agents = list(self.env.possible_agents)
        self.own_rewards = reward == "own"
        self.reward_scale = 1.0 if reward == "sum" else 1.0 / len(self.agents)
        self.max_steps = max_steps or time_limit(self.env, env, kwargs)
        self.obs: Dict[Any, Any] = {}  # agent -> its last observation, of agents that have one
        self.infos: Dict[Any, Any] = {}  # agent -> its last info
        self.seed = 0  # of the episode
        self.past_actions: List[List[np.ndarray]] = []  # of the episode: steps x A x [action_width_i]
        self.over = False  # whether the episode has ended
        self.reset(0)  # masks are known only then
        self.converters = {agent: ActionConverter(self.env.action_space(agent), str(agent)) for agent in self.agents}
        self.flatteners = {agent: ObservationFlattener(self.env.observation_space(agent)) for agent in self.agents}
        self.has_state = self._env_state() is not None
        self.spec = self._spec()

    def _spec(self) -> GameSpec:
        sizes = tuple(self.flatteners[agent].size for agent in self.agents)
        state = self._env_state()
        return GameSpec(
            agents=tuple(map(str, self.agents)),
            obs_sizes=sizes,
            actions=tuple(self.converters[agent].space for agent in self.agents),
            state_size=sum(sizes) if state is None else state.size,
            max_episode_steps=self.max_steps,
            reward_agents=len(self.agents) if self.own_rewards else 1,
            has_action_mask=any(self._mask(agent) is not None for agent in self.agents),
            has_alive=True,
        )

    def reset(self, seed: int) -> None:
        """Begin an episode."""
        self.obs, self.infos = self.env.reset(seed=seed)
        self.seed = seed
        self.past_actions = []
        self.over = False

    def step(self, actions: List[np.ndarray]) -> Outcome:
        """Advance by one step; actions: A x [action_width_i], those of absent agents are ignored."""
        self.past_actions.append([action.copy() for action in actions])
        acting = list(self.env.agents)
        chosen = dict(zip(self.agents, actions))
        env_actions = {agent: self.converters[agent].to_env(chosen[agent]) for agent in acting}
        self.obs, rewards, terminations, truncations, self.infos = self.env.step(env_actions)
        ended = not self.env.agents or all(terminations[agent] or truncations[agent] for agent in acting)
        # Where some agents were truncated and others terminated, the team's game would have gone on.
        cut = any(truncations[agent] and not terminations[agent] for agent in acting)
        truncated = cut if ended else len(self.past_actions) >= self.max_steps
        self.over = ended or truncated
        own = [float(rewards.get(agent, 0.0)) for agent in self.agents]
        return Outcome(
            reward=own if self.own_rewards else [sum(own) * self.reward_scale],
            terminated=ended and not truncated,
            truncated=truncated,
            metrics={},
        )

    def look(self, view: GameView) -> None:
        """Write the current observations, state and masks; absent agents observe zeros."""
        assert view.alive is not None  # the spec has it
        present = set(self.env.agents)
        for i, agent in enumerate(self.agents):
            observes = agent in self.obs and (agent in present or self.over)
            view.obs[i][:] = self.flatteners[agent].flatten(self.obs[agent]) if observes else 0.0
            view.alive[i] = agent in present
            if view.action_mask is not None:
                self._write_mask(view.action_mask[i], agent)
        view.state[0] = self._env_state() if self.has_state else np.concatenate(view.obs)

    def save(self) -> bytes:
        """Return the seed and the actions of the episode so far."""
        file = io.BytesIO()
        np.savez(file, np.int64(self.seed), *[np.array(agent_actions) for agent_actions in zip(*self.past_actions)])
        return file.getvalue()

    def restore(self, saved: bytes) -> None:
        """Play a saved episode again."""
        with np.load(io.BytesIO(saved)) as arrays:
            seed, *actions = [arrays[f"arr_{i}"] for i in range(len(arrays.files))]
        self.reset(int(seed))
        for step_actions in zip(*actions):
            self.step(list(step_actions))

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _env_state(self) -> Optional[np.ndarray]:
        """Return the environment's own state [S], or None where it has none."""
        try:
            return np.asarray(self.env.state(), np.float32).reshape(-1)
        except (NotImplementedError, AttributeError):
            return None

    def _mask(self, agent: Any) -> Any:
        """Return an agent's action mask from its observation or its info, or None."""
        obs = self.obs.get(agent)
        mask = obs.get(MASK) if isinstance(obs, dict) else None
        return (self.infos.get(agent) or {}).get(MASK) if mask is None else mask

    def _write_mask(self, out: np.ndarray, agent: Any) -> None:
        """Write an agent's action mask to `out` [mask_width]; without a mask, or where it forbids all, allow all."""
        mask = self._mask(agent) if agent in self.env.agents else None
        if mask is None:
            out[:] = True
        else:
            heads = mask if isinstance(mask, tuple) else (mask,)
            out[:] = np.concatenate([np.ravel(head) for head in heads])
        for columns in self.converters[agent].heads:
            out[columns] |= not out[columns].any()  # a policy needs a choice


def time_limit(env: Any, path: str, kwargs: Dict[str, Any]) -> int:
    """Return the maximum number of steps of an episode. Raises ValueError where the environment does not say."""
    for name in LIMITS:
        if isinstance(kwargs.get(name), int):
            return kwargs[name]
    single_agent = getattr(env.unwrapped, "single_agent_env", None)  # gymnasium-robotics' MAMuJoCo
    for layer in (env, env.unwrapped, single_agent):
        for value in declared_limits(layer):
            if isinstance(value, int) and value > 0:
                return value
    raise ValueError(
        f"task.env={path} does not say how long its episodes can be; give the number of steps as task.max_steps, "
        "after which they are truncated"
    )


def declared_limits(env: Any) -> Iterator[Any]:
    """Values of the attributes that may hold an environment's time limit."""
    for name in LIMITS:
        yield getattr(env, name, None)
    yield getattr(getattr(env, "spec", None), "max_episode_steps", None)


def make_parallel_env(path: str, kwargs: Dict[str, Any]) -> Any:
    """Make the environment named by `path`. Raises MissingSimulator, ValueError for a wrong path or wrong kwargs."""
    module, _, function_name = path.partition(":")
    function_name = function_name or "parallel_env"
    function: Any = getattr(import_env_module(path, module), function_name, None)
    if not is_factory(function):
        found = (
            f"{module}.{function_name} makes no environments"
            if function is not None
            else f"{module} has no {function_name}"
        )
        raise ValueError(f"task.env={path}: {found}; give a module with a function parallel_env, or module:function")
    try:
        env = function(**kwargs)
    except TypeError as error:
        raise ValueError(f"task.env={path} does not take task.kwargs={kwargs}: {error}") from error
    if not hasattr(env, "possible_agents"):
        raise ValueError(f"task.env={path} has no possible_agents: it is no parallel environment of PettingZoo")
    return env


def is_factory(function: Any) -> bool:
    """Whether `function` may make environments: a Python function, a partial of one, or a class of environments.

    Anything else that can be called, such as os.system, is not tried.
    """
    if isinstance(function, functools.partial):
        return is_factory(function.func)
    if inspect.isclass(function):
        return hasattr(function, "step") and hasattr(function, "reset")
    return inspect.isfunction(function)


def import_env_module(path: str, module: str) -> Any:
    """Import `module`, which may also be an attribute of its package.

    Raises MissingSimulator where its package is not installed, ValueError where the package has no such module.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        parent, _, leaf = module.rpartition(".")
        if error.name == module and parent:  # the package is here, or the next attempt says what is not
            return package_attribute(path, parent, leaf)
        requirement = pip_requirement(module, str(error.name))
        raise MissingSimulator(
            f"task.env={path} needs {error.name}, which is not installed: pip install {requirement}"
        ) from None
    except ImportError as error:
        raise MissingSimulator(f"task.env={path} cannot be imported: {error}") from None


def package_attribute(path: str, parent: str, leaf: str) -> Any:
    """Return attribute `leaf` of the package `parent`. Raises ValueError that lists the package's modules."""
    package = import_env_module(path, parent)
    if hasattr(package, leaf):
        return getattr(package, leaf)
    names = [info.name for info in pkgutil.iter_modules(package.__path__) if not info.name.startswith("_")]
    raise ValueError(f"task.env={path}: {parent} has no {leaf}; possible: {', '.join(names)}") from None


def pip_requirement(module: str, missing: str) -> str:
    """Return the pip requirement that provides `missing`; families of pettingzoo are extras of it."""
    family = module.split(".")
    if family[0] == "pettingzoo" and missing != "pettingzoo":
        return f"'pettingzoo[{family[1]}]'"
    return {"mpe2": "'mpe2>=1.1,<2'", "gymnasium_robotics": "gymnasium-robotics"}.get(missing, missing)
