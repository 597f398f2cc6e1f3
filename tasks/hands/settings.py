"""Settings of the two-hand tasks, and their checks."""

from dataclasses import dataclass, field, replace

from harl_isaac.settings import INFINITY, MOST_STEPS, TaskCfg, check_choices, check_ranges
from harl_isaac.tasks.hands.curriculum import CurriculumCfg
from harl_isaac.tasks.hands.hand import PhysicsCfg, free_physics
from harl_isaac.tasks.hands.randomization import RandomizationCfg

COMPAT = ("fixed", "original")


@dataclass
class HandsCfg(TaskCfg):
    """Settings of every two-hand task."""

    agents: str = "hands"  # hands (2), fingers (12, others 8), or groups of a hand's parts: palm+FF+MF,RF+LF+TH (4)
    compat: str = "fixed"  # fixed: the originals' known defects are repaired; original: as in their code
    episode_length: int = 75  # [control steps of 1/60 s]
    joint_noise: float = 0.2  # reset: fraction of each joint's range
    position_noise: float = 0.01  # [m] reset: the object's start
    physics: PhysicsCfg = field(default_factory=PhysicsCfg)  # solver and actuators
    randomization: RandomizationCfg = field(default_factory=RandomizationCfg)  # of the physics and the signals
    curriculum: CurriculumCfg = field(default_factory=CurriculumCfg)  # settings that move while training

    def for_evaluation(self) -> "HandsCfg":
        """These settings without their curriculum, of which they are the end."""
        return replace(self, curriculum=CurriculumCfg())


@dataclass
class FreeHandsCfg(HandsCfg):
    """Settings of tasks in which hands fly to objects; these start as built."""

    joint_noise: float = 0.0
    position_noise: float = 0.0
    physics: PhysicsCfg = field(default_factory=free_physics)


def check_hands(cfg: HandsCfg) -> None:
    """Raise ValueError for an impossible number or choice, but for agents, randomization and curriculum."""
    check_choices("task", cfg, (("compat", COMPAT),))
    check_ranges(cfg, [("episode_length", 1, MOST_STEPS), ("joint_noise", 0, 1), ("position_noise", 0, 1)], "task")
    check_ranges(cfg.physics, [("timestep", 1e-6, 1), ("substeps", 1, 1000)], "task.physics")
    check_ranges(cfg.physics.gains, [(name, 0, INFINITY) for name in ("kp", "force", "damping")], "task.physics.gains")
