"""The tasks smac/<map> and smacv2/<race>_<units>_vs_<enemies>: settings of StarCraft II's battles (see starcraft.py)."""

import os
from dataclasses import dataclass
from typing import Any, Dict, Tuple

from harl_isaac.adapters.starcraft.game import refuse_missing
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
    """A map of the StarCraft Multi-Agent Challenge (Samvelyan et al., 2019), the last part of the task's name."""

    state: str = (
        "environment"  # of the critic: the environment's, or (agent) that and an agent's own observation for each
    )
    reward: str = "dense"  # damage, kills and victory, 20 in all; or (sparse) 1 for victory, -1 for defeat
    difficulty: str = "7"  # of the game's own players: 1 to 9, A; 7 is "very hard", the papers'
    game_version: str = ""  # of StarCraft II, such as 4.10; "": the newest installed
    replays: str = ""  # folder for a replay of each environment's battles, written when they end; "": none

    def game(self) -> Tuple[str, Dict[str, Any]]:
        self._check()
        refuse_missing(self.name, "smac", self._map())
        return "harl_isaac.adapters.starcraft.game:smac_game", self._settings({})

    def _map(self) -> str:
        return self.name.rpartition("/")[2]

    def _check(self) -> None:
        check_choices("task", self, (("state", STATES), ("reward", REWARDS), ("difficulty", DIFFICULTIES)))

    def _settings(self, special: Dict[str, Any]) -> Dict[str, Any]:
        """Arguments of the Game. Replays are written by workers, so that their folder is named in full."""
        settings = {
            "difficulty": self.difficulty,
            "game_version": self.game_version or None,
            "reward_sparse": self.reward == "sparse",
            **special,
        }
        return {
            "map_name": self._map(),
            "agent_state": self.state == "agent",
            "replays": os.path.abspath(self.replays) if self.replays else "",
            "settings": settings,
        }


@dataclass
class Smacv2Cfg(SmacCfg):
    """A battle of SMACv2 (Ellis et al., 2023): unit types and places are drawn anew in every episode."""

    def game(self) -> Tuple[str, Dict[str, Any]]:
        self._check()
        refuse_missing(self.name, "smacv2", self._map())
        return "harl_isaac.adapters.starcraft.game:smacv2_game", self._settings(drawn_teams(*self._sides()))

    def _sides(self) -> Tuple[str, int, int]:
        race, units, _, enemies = super()._map().split("_")
        return race, int(units), int(enemies)

    def _map(self) -> str:
        return "10gen_" + self._sides()[0]


def drawn_teams(race: str, units: int, enemies: int) -> Dict[str, Any]:
    """What SMACv2's own configurations say of a race: sight and attack as far as each type's, teams, places."""
    types, never_alone = UNITS[race]
    teams = {"dist_type": "weighted_teams", "unit_types": list(types), "weights": list(WEIGHTS), "observe": True}
    if never_alone:
        teams["exception_unit_types"] = list(never_alone)
    places = {"dist_type": "surrounded_and_reflect", "p": 0.5, "map_x": ARENA, "map_y": ARENA}
    return {
        "conic_fov": False,
        "obs_own_pos": True,
        "use_unit_ranges": True,
        "min_attack_range": 2,
        "capability_config": {"n_units": units, "n_enemies": enemies, "team_gen": teams, "start_positions": places},
    }
