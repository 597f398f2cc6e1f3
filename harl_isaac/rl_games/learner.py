"""The PPO of rl_games as a learner: its Runner builds the agent, our trainer runs one iteration of it at a time.

`cfg` is an RlGamesPpoCfg (algos/rl_games_ppo.py) throughout.
"""

import tempfile
from typing import Any, Dict, List, Optional, Tuple

import torch
from rl_games.algos_torch.a2c_continuous import A2CAgent
from rl_games.algos_torch.a2c_discrete import DiscreteA2CAgent
from rl_games.common.a2c_common import A2CBase
from rl_games.common.algo_observer import AlgoObserver
from rl_games.torch_runner import Runner
from torch import Tensor

from harl_isaac.acting import FEW_ROWS
from harl_isaac.env import EnvSpec, MultiAgentEnv, Step
from harl_isaac.learning.learner import Learner, Metrics, Observer
from harl_isaac.learning.metrics import explained_variance
from harl_isaac.rl_games.policy import RlGamesPolicy, mlp_settings, model_settings, no_output
from harl_isaac.rl_games.rows import Rows
from harl_isaac.rl_games.vec_env import TaskEnv
from harl_isaac.runtime import one_thread


class SplitEpoch(A2CBase):
    """An rl_games agent whose `train_epoch` learns from the rollout that `collect_rollout` took before it."""

    rollout: Optional[Dict[str, Any]] = None  # as `play_steps` returns it, from `collect_rollout` to `train_epoch`

    def collect_rollout(self, obs: Dict[str, Tensor]) -> Dict[str, Any]:
        """Take the steps of a rollout, the first one at `obs`."""
        self.obs = self.obs_to_tensors(obs)
        self.set_eval()
        with torch.no_grad():
            self.rollout = super().play_steps()
        return self.rollout

    def play_steps(self) -> Optional[Dict[str, Any]]:
        """Hand the collected rollout to `train_epoch`."""
        rollout = self.rollout
        self.rollout = None
        return rollout


class ContinuousPpo(SplitEpoch, A2CAgent):
    """PPO of continuous actions."""


class DiscretePpo(SplitEpoch, DiscreteA2CAgent):
    """PPO of choices."""


class Scalars(Dict[str, float]):
    """Latest scalars by name, in place of the SummaryWriter to which the agent writes some of its losses."""

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Keep the value, as SummaryWriter.add_scalar writes it."""
        self[name] = value


def run_settings(cfg: Any, rows: Rows, env: TaskEnv, folder: str) -> Dict[str, Any]:
    """Return rl_games' "config" of a run in this environment; `folder` receives the files that it insists on."""
    spec = rows.spec
    batch = cfg.rollout_length * spec.num_envs // cfg.minibatches
    common = {
        "normalize_input": cfg.normalize_obs,
        "clip_value": True,
        "e_clip": cfg.clip,
        "learning_rate": cfg.lr,
        "mini_epochs": cfg.epochs,
        "truncate_grads": cfg.max_grad_norm > 0,
        "grad_norm": cfg.max_grad_norm,
    }
    config = {
        **common,
        "name": "run",
        "env_name": "run",
        "full_experiment_name": "run",
        "train_dir": folder,
        "vec_env": env,
        "env_info": env.get_env_info(),
        "device": str(spec.device),
        "num_actors": spec.num_envs,
        "use_action_masks": spec.has_action_mask,
        "reward_shaper": {"scale_value": cfg.reward_scale},
        "horizon_length": cfg.rollout_length,
        "minibatch_size": batch * rows.agents,
        "seq_length": 1,
        "gamma": cfg.gamma,
        "tau": cfg.gae_lambda,
        "kl_threshold": cfg.kl_threshold,
        "schedule_type": "standard",
        "lr_schedule": "adaptive" if cfg.lr_schedule == "adaptive" else None,
        "entropy_coef": cfg.entropy_coef,
        "critic_coef": cfg.value_coef,
        "bounds_loss_coef": cfg.bounds_coef,
        "normalize_advantage": True,
        "normalize_value": cfg.normalize_value,
        "value_bootstrap": True,
        "print_stats": False,
    }
    if cfg.central_value:
        network = {"name": "actor_critic", "central_value": True, "mlp": mlp_settings(cfg)}
        config["central_value_config"] = {**common, "minibatch_size": batch, "network": network}
    return config


class RlGamesLearner(Learner):
    """The learner of algo=rl_games_ppo: adapts an agent that rl_games' Runner built."""

    replay = None
    actors: RlGamesPolicy

    def __init__(self, spec: EnvSpec, cfg: Any, seed: int):
        self.spec = spec
        self.cfg = cfg
        self.scalars = Scalars()
        self.rows = Rows(spec, cfg.policy, cfg.agent_id)
        self.env = TaskEnv(self.rows)
        self.agent = self._new_agent(seed)
        self.actors = RlGamesPolicy(spec, cfg, self.agent.model)
        self.rollout: Dict[str, Any] = {}  # what `update` learns from, see SplitEpoch

    def _new_agent(self, seed: int) -> SplitEpoch:
        """Build the agent. rl_games writes folders and event files of its own: the run's records are the trainer's."""
        with no_output(), tempfile.TemporaryDirectory() as folder:
            runner = Runner(AlgoObserver())
            runner.algo_factory.register_builder("a2c_continuous", ContinuousPpo)
            runner.algo_factory.register_builder("a2c_discrete", DiscretePpo)
            algo = "a2c_continuous" if self.rows.continuous else "a2c_discrete"
            runner.load_config(
                {
                    "seed": seed,
                    "torch_threads": 0,
                    "algo": {"name": algo},
                    **model_settings(self.cfg, self.rows),
                    "config": run_settings(self.cfg, self.rows, self.env, folder),
                }
            )
            agent = runner.algo_factory.create(runner.algo_name, base_name="run", params=runner.params)
            agent.writer.close()
        agent.writer = self.scalars
        if agent.has_central_value:
            agent.central_value_net.writter = self.scalars
        agent.init_tensors()
        return agent

    def collect(self, env: MultiAgentEnv, step: Step, observer: Optional[Observer] = None) -> Tuple[Step, int]:
        """Take a rollout by sampled actions; returns the last Step and the number of steps of each environment."""
        with one_thread(self.spec.device, self.spec.num_envs * self.rows.agents <= FEW_ROWS):
            self.rollout = self.agent.collect_rollout(self.env.continue_from(env, step, observer))
        return self.env.current, self.cfg.rollout_length

    def update(self, progress: float) -> Metrics:
        """Run one epoch of rl_games on the rollout; the linear schedule follows `progress`."""
        agent = self.agent
        value = self.rollout["values"]
        target = self.rollout["returns"]
        self.rollout = {}
        if self.cfg.lr_schedule == "linear":
            self._set_learning_rate(self.cfg.lr * (1.0 - progress))
        agent.update_epoch()
        losses = agent.train_epoch()[4:-2]  # after four times; before the learning rate and its factor
        agent.dataset.update_values_dict(None)
        agent.frame += agent.curr_frames
        return {
            **self._loss_metrics(losses),
            "actor/learning_rate": agent.last_lr,
            "critic/value": value.mean(),
            "critic/explained_variance": explained_variance(value, target),
        }

    def _loss_metrics(self, losses: Tuple[List[Tensor], ...]) -> Metrics:
        """Mean over the minibatches of each loss that rl_games returns; only continuous actions have a bounds loss."""
        names = ["actor/loss", "critic/loss", "actor/bound_loss", "actor/entropy", "actor/kl"]
        if len(losses) < len(names):
            names.remove("actor/bound_loss")
        metrics = {}
        for name, parts in zip(names, losses):
            if len(parts):
                metrics[name] = torch.stack([each.detach().reshape(()) for each in parts]).mean()
        if self.agent.has_central_value:
            metrics["critic/loss"] = self.scalars["losses/cval_loss"]
        return metrics

    def _set_learning_rate(self, lr: float) -> None:
        self.agent.last_lr = lr
        self.agent.update_lr(lr)
        if self.agent.has_central_value:
            self.agent.central_value_net.lr = lr
            self.agent.central_value_net.update_lr(lr)

    def on_episodes_lost(self) -> None:
        """Do nothing: no state of the running episodes is kept here."""

    def state_dict(self) -> Dict[str, Any]:
        """Policy, rl_games' own full state (networks, optimizers, counters), learning rate."""
        return {
            "actors": self.actors.state_dict(),
            "agent": self.agent.get_full_state_weights(),
            "learning_rate": self.agent.last_lr,
        }

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a `state_dict` of a learner with the same settings and sizes."""
        self.agent.set_full_state_weights(state["agent"])
        self.agent.last_lr = state["learning_rate"]
