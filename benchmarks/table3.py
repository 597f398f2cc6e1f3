"""Table 3 of the paper (Zhong et al., 2024, Section 5.7): what sequential updates cost beside one shared update."""

from harl_isaac.algos.happo import HappoCfg
from harl_isaac.algos.mappo import MappoCfg
from harl_isaac.buffers.rollout import collect
from harl_isaac.registry import TASKS, import_object

SCENARIOS = (
    ("mamujoco/HalfCheetah", "2x3"),
    ("mamujoco/HalfCheetah", "3x2"),
    ("mamujoco/HalfCheetah", "6x1"),
    ("mamujoco/Walker2d", "2x3"),
    ("mamujoco/Walker2d", "3x2"),
    ("mamujoco/Walker2d", "6x1"),
    ("mamujoco/Humanoid", "17x1"),
)
# environment steps of an experiment
NUM_ENVS = 20
STEPS = 1_000_000
FIXED = {
    "rollout_length": 200,
    "hidden": [128, 128, 128],
    "gamma": 0.99,
    "critic_lr": 5e-4,
    "lr": 5e-4,
    "lr_decay": False,
}
ALGORITHMS = {"happo": HappoCfg(**FIXED), "mappo": MappoCfg(share_param=True, agent_id=False, **FIXED)}


class Timed:
    """An algorithm on a task, one iteration at a time: seconds of the whole and of the agents' update."""

    def __init__(self, task: str, agents: str, algo, device, sim: str, clock):
        self.env = import_object(TASKS[task])(agents=agents).make(NUM_ENVS, device, sim)
        self.learner = algo.learner(self.env.spec, 0)
        self.clock = clock
        self.step = self.env.reset(0)
        self.agents_seconds = 0.0
        scheme = self.learner._scheme

        def timed(*arguments):
            begin = clock.now()
            result = scheme(*arguments)
            self.agents_seconds = clock.now() - begin
            return result

        self.learner._scheme = timed

    def iterate(self):
        """(seconds of an iteration, of its agents' update)"""
        begin = self.clock.now()
        self.step = collect(self.env, self.learner.actors, self.learner.rollout, self.step)
        self.learner.update(0.0)
        return self.clock.now() - begin, self.agents_seconds


def table3(device, sim: str, repeats: int, clock, spread):
    """Rows of the table, printed as they come: seconds of a million steps, from iterations of both algorithms in turn."""
    print("scenario             HAPPO: experiment, agents' update    MAPPO: experiment, shared update    update ratio")
    iterations = STEPS / (NUM_ENVS * FIXED["rollout_length"])
    for task, agents in SCENARIOS:
        both = {name: Timed(task, agents, algo, device, sim, clock) for name, algo in ALGORITHMS.items()}
        times = {name: [] for name in both}
        for _ in range(repeats + 1):  # the first warms up
            for name, timed in both.items():
                times[name].append(timed.iterate())
        figures = {
            name: {
                "experiment_seconds": spread([iterations * whole for whole, _ in pairs[1:]]),
                "update_seconds": spread([iterations * part for _, part in pairs[1:]]),
            }
            for name, pairs in times.items()
        }
        ratio = spread([mine[1] / other[1] for mine, other in zip(times["happo"][1:], times["mappo"][1:])])
        medians = [figures[name][key]["median"] for name in both for key in ("experiment_seconds", "update_seconds")]
        print(
            "%-20s %12.1f s %12.1f s %20.1f s %12.1f s %14.2f [%.2f, %.2f]"
            % (task.split("/")[1] + " " + agents, *medians, ratio["median"], ratio["lowest"], ratio["highest"]),
            flush=True,
        )
        yield {"scenario": task, "agents": agents, **figures, "update_ratio": ratio}
