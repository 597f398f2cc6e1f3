"""Settings of the tasks smac/<map> and smacv2/<race>_<units>_vs_<enemies>, battles of StarCraft II (see game.py)."""

import os
from dataclasses import dataclass
from typing import Any, Dict, Tuple

from harl_isaac.adapters.starcraft.game import check_installed
from harl_isaac.adapters.workers.settings import SimulatorCfg
from harl_isaac.settings import check_choices

STATES = ("environment", "agent")
REWARDS = ("dense", "sparse")
DIFFICULTIES = tuple("123456789A")

# SMACv2's own configurations (sc2_gen_<race>.yaml): (types drawn with these weights, types that cannot be a whole team)
WEIGHTS = (0.45, 0.45, 0.1)
UNITS = {
    "protoss": (("stalker", "zealot", "colossus"), ()),
    "terran": (("marine", "marauder", "medivac"), ("medivac",)),
    "zerg": (("zergling", "hydralisk", "baneling"), ("baneling",)),
}
ARENA = 32  # side of the square in which units are placed


@dataclass
class SmacCfg(SimulatorCfg):
    """Settings of a map of SMAC (Samvelyan et al., 2019), the last part of the task's name."""

    # of the critic: the environment's; or (agent) that and an agent's own observation, for each agent
    state: str = "environment"
    reward: str = "dense"  # damage, kills and victory, 20 in all; or (sparse) 1 for victory, -1 for defeat
    difficulty: str = "7"  # of the game's own players: 1 to 9, A; 7 is "very hard", the papers'
    game_version: str = ""  # of StarCraft II, such as 4.10; "": the newest installed
    replays: str = ""  # folder for a replay of each environment's battles, written when they end; "": none

    def game(self) -> Tuple[str, Dict[str, Any]]:
        """Return smac_game and its arguments. Raises ValueError, MissingSimulator."""
        self._check()
        check_installed(self.name, "smac", self._map())
        return "harl_isaac.adapters.starcraft.game:smac_game", self._settings({})

    def _map(self) -> str:
        return self.name.rpartition("/")[2]

    def _check(self) -> None:
        check_choices("task", self, (("state", STATES), ("reward", REWARDS), ("difficulty", DIFFICULTIES)))

    def _settings(self, special: Dict[str, Any]) -> Dict[str, Any]:
        """Arguments of the Game; `special` are further ones of the simulator's environment."""
        settings = {
            "difficulty": self.difficulty,
            "game_version": self.game_version or None,
            "reward_sparse": self.reward == "sparse",
            **special,
        }
        return {
            "map_name": self._map(),
            "agent_state": self.state == "agent",
            "replays": os.path.abspath(self.replays) if self.replays else "",  # absolute, because workers write there
            "settings": settings,
        }


@dataclass
class Smacv2Cfg(SmacCfg):
    """Settings of a battle of SMACv2 (Ellis et al., 2023): unit types and positions are drawn in every episode."""

    def game(self) -> Tuple[str, Dict[str, Any]]:
        """Return smacv2_game and its arguments. Raises ValueError, MissingSimulator."""
        self._check()
        check_installed(self.name, "smacv2", self._map())
        return "harl_isaac.adapters.starcraft.game:smacv2_game", self._settings(random_teams(*self._sides()))

    def _sides(self) -> Tuple[str, int, int]:
        race, units, _, enemies = super()._map().split("_")
        return race, int(units), int(enemies)

    def _map(self) -> str:
        return "10gen_" + self._sides()[0]


def random_teams(race: str, units: int, enemies: int) -> Dict[str, Any]:
    """SMACv2's own configuration of a race: ranges of sight and attack by unit type, teams, positions."""
    types, never_alone = UNITS[race]
    teams = {"dist_type": "weighted_teams", "unit_types": list(types), "weights": list(WEIGHTS), "observe": True}
    if never_alone:
        teams["exception_unit_types"] = list(never_alone)
    positions = {"dist_type": "surrounded_and_reflect", "p": 0.5, "map_x": ARENA, "map_y": ARENA}
    return {
        "conic_fov": False,
        "obs_own_pos": True,
        "use_unit_ranges": True,
        "min_attack_range": 2,
        "capability_config": {"n_units": units, "n_enemies": enemies, "team_gen": teams, "start_positions": positions},
    }
