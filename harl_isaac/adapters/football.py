"""`FootballGame`: Google Research Football (Kurach et al., 2020; gfootball 2.10), without gym's wrappers.

An agent moves the player that the game assigns to it: `active` may change in an episode, and be the goalkeeper.
Observations are simple115v2. The state is made of them as in Zhong et al. (2024), Section 5.4: the part that all agents
share once, then the player of each.
"""

import io
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Dict, List, Tuple

import numpy as np

from harl_isaac.adapters.workers.game import GameSpec, GameView, Outcome, fill
from harl_isaac.adapters.workers.settings import SimulatorCfg
from harl_isaac.env import Discrete, MissingSimulator
from harl_isaac.hints import source_file
from harl_isaac.settings import check_choices

# scenario -> players moved by agents: all of the left team but the goalkeeper (of academy_corner also that)
PLAYERS = {
    "academy_pass_and_shoot_with_keeper": 2,
    "academy_run_pass_and_shoot_with_keeper": 2,
    "academy_3_vs_1_with_keeper": 3,
    "academy_counterattack_easy": 4,
    "academy_counterattack_hard": 4,
    "academy_corner": 11,
}
REWARDS = ("dense", "sparse")
ACTIONS = 19
OBS = 115
ACTIVE = slice(97, 108)  # of simple115v2: which of the 11 players is the agent's; the rest is common to all agents
NUM_CHECKPOINTS = 10
CHECKPOINT_REWARD = 0.1
# distances from the goal's center; half the field's length is 1
FIRST_CHECKPOINT = 0.99
LAST_CHECKPOINT = 0.19


@dataclass
class FootballCfg(SimulatorCfg):
    """Settings of a scenario of gfootball, the last part of the task's name."""

    reward: str = "dense"  # goals, and checkpoints on the way of the ball to the goal; or (sparse) goals alone

    def pickled_state(self) -> str:
        """Google Research Football, whose engine pickles what it saves."""
        return "Google Research Football"

    def game(self) -> Tuple[str, Dict[str, Any]]:
        """Return FootballGame and its arguments. Raises ValueError, MissingSimulator."""
        check_choices("task", self, (("reward", REWARDS),))
        if not (find_spec("gfootball") and find_spec("gfootball_engine")):
            raise missing_football(self.name)
        scenario = self.name.rpartition("/")[2]
        return "harl_isaac.adapters.football:FootballGame", {
            "scenario": scenario,
            "players": PLAYERS[scenario],
            "dense": self.reward == "dense",
        }


def missing_football(task: str, cause: str = "") -> MissingSimulator:
    """Error for a task whose simulator is not installed, or cannot be loaded because of `cause`; says what to do."""
    return MissingSimulator(
        f"task={task} needs Google Research Football{cause}: {source_file('scripts/install_football.sh')} "
        "builds and installs it (Debian 12, Python 3.11; some minutes)"
    )


class FootballGame:
    """Matches of `scenario`, one after another; agents move `players` of the left team.

    dense: whether checkpoints are rewarded, or goals alone. Raises MissingSimulator.
    """

    def __init__(self, scenario: str, players: int, dense: bool):
        try:
            import gfootball_engine  # noqa: F401  (gfootball itself would only fail later without it)
            from gfootball.env import config, football_env, wrappers
        except ImportError as error:
            raise missing_football("football/" + scenario, f", which does not load ({error})") from error
        self._convert = wrappers.Simple115StateWrapper.convert_observation
        self._config = config.Config(
            {"level": scenario, "players": [f"agent:left_players={players}"], "game_engine_random_seed": 0}
        )
        self._env = football_env.FootballEnv(self._config)
        self._dense = dense
        self._seed = 0
        self._checkpoints = Checkpoints(players)
        duration = self._config.ScenarioConfig().game_duration
        self.spec = GameSpec(
            agents=tuple(f"player{i}" for i in range(players)),
            obs_sizes=(OBS,) * players,
            actions=(Discrete(ACTIONS),) * players,
            state_size=OBS + (players - 1) * (ACTIVE.stop - ACTIVE.start),
            max_episode_steps=duration + 1,  # the engine plays one step more than it says
            metrics=("success",),
        )

    def reset(self, seed: int) -> None:
        """Begin a match."""
        self._seed = seed
        # Both, because gfootball chooses the side that it processes first by the first seed that it is ever given.
        self._config.update({"game_engine_random_seed": seed, "reverse_team_processing": bool(seed % 2)})
        self._env.reset()
        self._checkpoints.clear()

    def step(self, actions: List[np.ndarray]) -> Outcome:
        """Advance by one step; actions: A x [1] int64."""
        _, _, done, info = self._env.step([int(action[0]) for action in actions])
        raw_obs = self._env.observation()
        goal = float(info["score_reward"])
        reward = self._checkpoints.reward(goal, raw_obs) if self._dense else goal
        # Time is up: nothing else ended it, as far as the game tells.
        truncated = bool(done) and raw_obs[0]["steps_left"] <= 0 and goal == 0.0
        scored = raw_obs[0]["score"][0] > raw_obs[0]["score"][1]
        return Outcome([reward], bool(done) and not truncated, truncated, {"success": float(scored)})

    def look(self, view: GameView) -> None:
        """Write the current observations and state."""
        obs = self._convert(self._env.observation(), True)
        for agent, own, row in zip(self.spec.agents, view.obs, obs):
            fill(own, row, f"agent {agent}: observation")
        fill(view.state[0], joint_state(obs), "state")

    def save(self) -> bytes:
        """Return the seed, the engine's state and the checkpoints reached."""
        state = np.frombuffer(self._env.get_state({}), np.uint8)
        content = io.BytesIO()
        np.savez(content, seed=self._seed, engine=state, reached=self._checkpoints.reached)
        return content.getvalue()

    def restore(self, saved: bytes) -> None:
        """Go on from a `save`."""
        with np.load(io.BytesIO(saved), allow_pickle=False) as state:
            self.reset(int(state["seed"]))  # settings that the engine's state does not hold
            self._env.set_state(state["engine"].tobytes())
            self._checkpoints.reached[:] = state["reached"]

    def close(self) -> None:
        """Close the engine."""
        self._env.close()


def joint_state(obs: np.ndarray) -> np.ndarray:
    """State [115 + (A - 1) 11] of Zhong et al. from simple115v2 observations [A, 115].

    It holds the parts common to all agents, then the player of each.
    """
    return np.concatenate((obs[0, : ACTIVE.start], obs[0, ACTIVE.stop :], obs[:, ACTIVE].ravel()))


class Checkpoints:
    """gfootball's reward for bringing the ball closer to the goal: 0.1 for each of 10 distances, once in an episode.

    They are counted for each agent, whose player must have the ball; a goal makes up for those left. The team's reward
    is the mean over its agents.
    """

    def __init__(self, agents: int):
        self.reached = [0] * agents  # number of checkpoints of each agent

    def clear(self) -> None:
        """Begin an episode."""
        self.reached[:] = [0] * len(self.reached)

    def reward(self, goal: float, observations: List[Dict[str, Any]]) -> float:
        """Team's reward of a step; goal: 1, -1 or 0; observations: gfootball's raw ones, one for each agent."""
        before = sum(self.reached)
        for i, obs in enumerate(observations):
            if goal == 1.0:
                self.reached[i] = NUM_CHECKPOINTS
            elif obs["ball_owned_team"] == 0 and obs["ball_owned_player"] == obs["active"]:
                distance = np.hypot(obs["ball"][0] - 1.0, obs["ball"][1])
                self.reached[i] = max(self.reached[i], checkpoints_passed(distance))
        return goal + CHECKPOINT_REWARD * (sum(self.reached) - before) / len(self.reached)


def checkpoints_passed(distance: float) -> int:
    """Number of checkpoints at `distance` from the goal or further away."""
    checkpoints = np.linspace(FIRST_CHECKPOINT, LAST_CHECKPOINT, NUM_CHECKPOINTS)
    return int((distance <= checkpoints).sum())
