"""Table 3 of the paper (Zhong et al., 2024, Section 5.7): cost of sequential updates beside one shared update."""

from typing import Any, Dict, Iterator, List, Tuple

from benchmarks.clock import Clock, ratios, spread
from harl_isaac.algos.happo import Happo, HappoCfg
from harl_isaac.algos.mappo import Mappo, MappoCfg
from harl_isaac.env import EnvSpec
from harl_isaac.learning.on_policy import OnPolicyLearner
from harl_isaac.registry import import_object
from harl_isaac.tasks import TASKS

SCENARIOS = (
    ("mamujoco/HalfCheetah", "2x3"),
    ("mamujoco/HalfCheetah", "3x2"),
    ("mamujoco/HalfCheetah", "6x1"),
    ("mamujoco/Walker2d", "2x3"),
    ("mamujoco/Walker2d", "3x2"),
    ("mamujoco/Walker2d", "6x1"),
    ("mamujoco/Humanoid", "17x1"),
)
NUM_ENVS = 20
STEPS = 1_000_000  # environment steps of an experiment
ROLLOUT_LENGTH = 200
FIXED: Dict[str, Any] = {
    "rollout_length": ROLLOUT_LENGTH,
    "hidden": [128, 128, 128],
    "gamma": 0.99,
    "critic_lr": 5e-4,
    "lr": 5e-4,
    "lr_decay": False,
}
HEADER = "scenario             HAPPO: experiment, agents' update    MAPPO: experiment, shared update    update ratio"


class Experiment:
    """An algorithm on a task, one iteration at a time."""

    def __init__(self, task: str, agents: str, algo: str, clock: Clock, sim: str):
        self.env = import_object(TASKS[task])(agents=agents).make(NUM_ENVS, clock.device, sim)
        self.learner = new_learner(algo, self.env.spec)
        self.clock = clock
        self.step = self.env.reset(0)
        self.scheme = self.learner.scheme
        self.learner.scheme = self._timed_scheme
        self.agents_seconds = 0.0  # of the last update

    def _timed_scheme(self, *args: Any) -> Any:
        """Update the agents as the learner does, and take the time."""
        begin = self.clock.now()
        result = self.scheme(*args)
        self.agents_seconds = self.clock.now() - begin
        return result

    def iterate(self) -> Tuple[float, float]:
        """Seconds of an iteration, and of its agents' update."""
        begin = self.clock.now()
        self.step, _ = self.learner.collect(self.env, self.step)
        self.learner.update(0.0)
        return self.clock.now() - begin, self.agents_seconds


def new_learner(algo: str, spec: EnvSpec) -> OnPolicyLearner:
    """HAPPO, or MAPPO with one shared network."""
    if algo == "happo":
        return Happo(spec, HappoCfg(**FIXED))
    return Mappo(spec, MappoCfg(share_param=True, agent_id=False, **FIXED))


def table3(clock: Clock, sim: str, repeats: int) -> Iterator[Dict[str, Any]]:
    """Rows of the table, printed as they come: seconds of a million steps, from iterations of both in turn."""
    print(HEADER)
    for task, agents in SCENARIOS:
        row = scenario_figures(task, agents, clock, sim, repeats)
        print_row(task, agents, row)
        yield {"scenario": task, "agents": agents, **row}


def scenario_figures(task: str, agents: str, clock: Clock, sim: str, repeats: int) -> Dict[str, Any]:
    """Seconds of an experiment and of its updates by algorithm, and the ratio of the updates."""
    experiments = {algo: Experiment(task, agents, algo, clock, sim) for algo in ("happo", "mappo")}
    iterations: Dict[str, List[float]] = {algo: [] for algo in experiments}
    updates: Dict[str, List[float]] = {algo: [] for algo in experiments}
    for k in range(repeats + 1):
        for algo, experiment in experiments.items():
            seconds, agents_seconds = experiment.iterate()
            if k > 0:  # the first warms up
                iterations[algo].append(seconds)
                updates[algo].append(agents_seconds)
    count = STEPS / (NUM_ENVS * ROLLOUT_LENGTH)
    figures: Dict[str, Any] = {}
    for algo in experiments:
        figures[algo] = {
            "experiment_seconds": spread([count * seconds for seconds in iterations[algo]]),
            "update_seconds": spread([count * seconds for seconds in updates[algo]]),
        }
    figures["update_ratio"] = ratios(updates["happo"], updates["mappo"])
    return figures


def print_row(task: str, agents: str, row: Dict[str, Any]) -> None:
    """Medians under HEADER."""
    name = task.split("/")[1] + " " + agents
    happo = row["happo"]
    mappo = row["mappo"]
    ratio = row["update_ratio"]
    print(
        f"{name:<20} {happo['experiment_seconds']['median']:12.1f} s {happo['update_seconds']['median']:12.1f} s "
        f"{mappo['experiment_seconds']['median']:20.1f} s {mappo['update_seconds']['median']:12.1f} s "
        f"{ratio['median']:14.2f} [{ratio['lowest']:.2f}, {ratio['highest']:.2f}]",
        flush=True,
    )
