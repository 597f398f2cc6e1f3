"""Training speed beside other projects on the same task, with the same networks, epochs and batches, in turn.

rl_games: its own agent, built by its own Runner, as algo=rl_games_ppo trains it. Both sides have networks of their own
for policy and value behind running moments of the inputs, no LayerNorm, value normalization, GAE, a clipped surrogate.
"""

from importlib.util import find_spec
from typing import Any, Callable, Dict, Iterator, List, NamedTuple

from benchmarks.clock import FREE, Clock, Cost, Turns, show, speed
from harl_isaac.algos.mappo import MappoCfg
from harl_isaac.algos.rl_games_ppo import RlGamesPpoCfg
from harl_isaac.env import MultiAgentEnv
from harl_isaac.learning.learner import AlgoCfg
from harl_isaac.tasks.mamujoco.half_cheetah import HalfCheetahCfg

NUM_ENVS = 64
TURNS = 5  # iterations of either side in a repeat
SAME: Dict[str, Any] = {
    "rollout_length": 32,
    "hidden": [128, 128],
    "activation": "elu",
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "clip": 0.2,
    "epochs": 4,
    "minibatches": 4,
}


class Pairing(NamedTuple):
    """Two learners of the same agents."""

    name: str
    agents: str  # of HalfCheetah
    ours: AlgoCfg
    other: AlgoCfg


class Iterations:
    """A learner in environments of its own, one iteration at a time."""

    def __init__(self, env: MultiAgentEnv, algo: AlgoCfg):
        self.env = env
        self.learner = algo.learner(env.spec, 0)
        self.step = env.reset(0)

    def iterate(self) -> None:
        """Collect and update."""
        self.step, _ = self.learner.collect(self.env, self.step)
        self.learner.update(0.0)


def peers(clock: Clock, sim: str, repeats: int) -> Iterator[Dict[str, Any]]:
    """Figures beside each project, printed as they come; one that is not installed is named."""
    for package, pairings in PEERS.items():
        if find_spec(package) is None:
            print(f"{package} is not installed", flush=True)
            continue
        for pairing in pairings():
            yield figures_of(pairing, clock, sim, repeats)


def figures_of(pairing: Pairing, clock: Clock, sim: str, repeats: int) -> Dict[str, Any]:
    """Steps/s of whole iterations of both, and the time of ours as a multiple of the other's."""
    task = HalfCheetahCfg(agents=pairing.agents)
    sides = [Iterations(task.make(NUM_ENVS, clock.device, sim), algo) for algo in (pairing.ours, pairing.other)]
    costs: List[List[Cost]] = [[], []]
    for _ in range(repeats + 1):  # the first warms up
        totals = [FREE, FREE]
        for k in range(TURNS):
            for side in (0, 1) if k % 2 else (1, 0):
                totals[side] = totals[side].plus(clock.cost(sides[side].iterate))
        for side in (0, 1):
            costs[side].append(totals[side])
    measured = Turns(*costs).after_warmup()
    rows = NUM_ENVS * SAME["rollout_length"] * TURNS
    figures = {**speed("steps", rows, measured.ours), **speed("other_steps", rows, measured.bare), **measured.ratio()}
    show(pairing.name, NUM_ENVS, figures)
    return {"what": "peers", "pairing": pairing.name, "num_envs": NUM_ENVS, **figures}


def rl_games_pairings() -> List[Pairing]:
    """One policy of all joints, and one that two agents share."""
    critic = {"critic_epochs": SAME["epochs"], "critic_minibatches": SAME["minibatches"]}
    ours = MappoCfg(input_norm="running", layer_norm=False, share_param=True, **critic, **SAME)
    return [
        Pairing("one agent", "1x6", ours, RlGamesPpoCfg(policy="joint", **SAME)),
        Pairing("two agents of one policy", "2x3", ours, RlGamesPpoCfg(policy="shared", **SAME)),
    ]


PEERS: Dict[str, Callable[[], List[Pairing]]] = {"rl_games": rl_games_pairings}
