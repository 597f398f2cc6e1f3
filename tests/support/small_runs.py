"""Settings of tiny runs, by task, and the algorithms by family."""

from harl_isaac.algos import ALGOS
from harl_isaac.learning.off_policy_cfg import OffPolicyCfg, ReplayCfg
from harl_isaac.learning.on_policy_cfg import OnPolicyCfg
from harl_isaac.learning.value_factorization_cfg import FactorizationCfg
from harl_isaac.registry import import_object
from harl_isaac.tasks import TASKS

ON_POLICY = [name for name, path in ALGOS.items() if issubclass(import_object(path), OnPolicyCfg)]
OFF_POLICY = [name for name, path in ALGOS.items() if issubclass(import_object(path), ReplayCfg)]
FACTORIZED = [name for name, path in ALGOS.items() if issubclass(import_object(path), FactorizationCfg)]
ACTOR_CRITIC = [name for name, path in ALGOS.items() if issubclass(import_object(path), OffPolicyCfg)]
SMALL = {
    "CountingGame": ["algo.rollout_length=5", "algo.hidden=[8]"],
    "MatrixGame": ["algo.rollout_length=5", "algo.hidden=[8]"],
    "MemoryGame": ["algo.rollout_length=5", "algo.hidden=[8]"],
    "MixedGame": ["algo.rollout_length=5", "algo.hidden=[8]"],
    "OppositesGame": ["algo.rollout_length=5", "algo.hidden=[8]"],
    "SumGame": ["algo.rollout_length=5", "algo.hidden=[8]"],
    "TwoStepGame": ["algo.rollout_length=5", "algo.hidden=[8]"],
    "pettingzoo": ["algo.rollout_length=5", "algo.hidden=[8]", "task.workers=2"],
}
SMALL.update(
    {
        name: ["algo.rollout_length=5", "algo.hidden=[16]", "sim=mujoco"]
        for name in TASKS
        if name.startswith(("mamujoco/", "ShadowHand"))
    }
)
SMALL.update({name: ["algo.rollout_length=5", "algo.hidden=[8]"] for name in TASKS if name.startswith("mpe/")})
SMALL_REPLAY = [
    "algo.train_interval=5",
    "algo.warmup_steps=60",
    "algo.batch_size=16",
    "algo.buffer_size=300",
    "algo.save_replay=true",
]
