"""rl_games at work: its Runner makes the agent, our trainer asks it for an iteration at a time."""

import contextlib
import io
import tempfile
from typing import Any, Dict, List, Optional, Tuple

import torch
from rl_games.algos_torch.a2c_continuous import A2CAgent
from rl_games.algos_torch.a2c_discrete import DiscreteA2CAgent
from rl_games.algos_torch.model_builder import ModelBuilder
from rl_games.common.algo_observer import AlgoObserver
from rl_games.torch_runner import Runner
from torch import Tensor, nn

from harl_isaac.acting import FEW_ROWS, pack_agents
from harl_isaac.env import EnvSpec, MultiAgentEnv, Step, action_width, mask_width
from harl_isaac.learning.metrics import explained_variance
from harl_isaac.rl_games.vec_env import Rows, TaskEnv  # first: it says what to install where rl_games is missing
from harl_isaac.runtime import one_thread


class TwoHalves:
    """An rl_games agent whose `train_epoch` learns from the steps that `play` took before it."""

    def play(self, obs: Dict[str, Tensor]) -> Dict[str, Any]:
        """Take a rollout's steps from what is seen now."""
        self.obs = self.obs_to_tensors(obs)
        self.set_eval()
        with torch.no_grad():
            self.played = super().play_steps()
        return self.played

    def play_steps(self) -> Dict[str, Any]:
        played = self.played
        self.played = None
        return played


class Continuous(TwoHalves, A2CAgent):
    """PPO of a Box."""


class Choosing(TwoHalves, DiscreteA2CAgent):
    """PPO of choices."""


class Scalars(Dict[str, float]):
    """Stands for the SummaryWriter in which the agent notes some of its losses."""

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self[name] = value


def model_settings(cfg, rows: Rows) -> Dict[str, Any]:
    """rl_games' "model" and "network" for a policy."""
    space = {
        "continuous": {
            "mu_activation": "None",
            "sigma_activation": "None",
            "mu_init": {"name": "default"},
            "sigma_init": {"name": "const_initializer", "val": 0},
            "fixed_sigma": True,
        }
    }
    model = "continuous_a2c_logstd"
    if not rows.continuous:
        space, model = (
            ({"multi_discrete": {}}, "multi_discrete_a2c")
            if len(rows.heads) > 1
            else ({"discrete": {}}, "discrete_a2c")
        )
    network = {"name": "actor_critic", "separate": False, "space": space, "mlp": mlp(cfg)}
    return {"model": {"name": model}, "network": network}


def mlp(cfg) -> Dict[str, Any]:
    """rl_games' "mlp"."""
    return {"units": list(cfg.hidden), "activation": cfg.activation, "initializer": {"name": "default"}}


def run_settings(cfg, rows: Rows, env: TaskEnv, folder: str) -> Dict[str, Any]:
    """rl_games' "config" of a run in this environment."""
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
        network = {"name": "actor_critic", "central_value": True, "mlp": mlp(cfg)}
        config["central_value_config"] = {**common, "minibatch_size": batch, "network": network}
    return config


@contextlib.contextmanager
def silence():
    """rl_games prints what it builds."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


class RlGamesPolicy(nn.Module):
    """The joint policy (see rollout.JointPolicy), with rl_games' model inside: a new one, or that of an agent."""

    hidden_size = 0

    def __init__(self, spec: EnvSpec, cfg, model: Optional[nn.Module] = None):
        super().__init__()
        self.spec = spec
        self.rows = Rows(spec, cfg.policy, cfg.agent_id)
        self.model = self._new_model(cfg) if model is None else model

    def _new_model(self, cfg) -> nn.Module:
        rows = self.rows
        widths = sum(action_width(space) for space in rows.spaces) if rows.continuous else list(rows.heads)
        with silence():
            return (
                ModelBuilder()
                .load(model_settings(cfg, rows))
                .build(
                    {
                        "actions_num": widths[0] if len(rows.heads) == 1 else widths,
                        "input_shape": (rows.obs_size,),
                        "num_seqs": 1,
                        "value_size": 1,
                        "normalize_value": cfg.normalize_value,
                        "normalize_input": cfg.normalize_obs,
                    }
                )
                .to(self.spec.device)
            )

    def empty_obs(self, *lead: int) -> Tensor:
        """Room for padded observations [*lead, A, O]."""
        return torch.zeros(lead + (self.spec.num_agents, max(self.spec.obs_sizes)), device=self.spec.device)

    def fused_layers(self) -> List:
        """Nothing to prepare, but that observations no longer count in the running mean."""
        self.model.eval()
        return []

    @torch.no_grad()
    def mode(self, obs: Tensor, mask: Optional[Tensor] = None, hidden: Optional[Tensor] = None, layers=None) -> Tensor:
        """Likeliest actions [E, A, W] at padded obs [E, A, O]; a Box's in units in which its bounds are -1 and 1."""
        rows = self.rows.obs([obs[:, i, :size] for i, size in enumerate(self.spec.obs_sizes)])
        head = self.model.a2c_network({"obs": self.model.norm_obs(rows)})[0]
        if not self.rows.continuous:
            head = self._likeliest(head if isinstance(head, list) else [head], mask)
        width = max(action_width(space) for space in self.spec.actions)
        action = torch.zeros((obs.shape[0], self.spec.num_agents, width), device=self.spec.device)
        pack_agents(action, self.rows.apart(head))
        return action

    def _likeliest(self, logits: List[Tensor], mask: Optional[Tensor]) -> Tensor:
        """[rows, heads] as floats, of those that the padded mask [E, A, N] allows."""
        if mask is not None:
            allowed = self.rows.masks([mask[:, i, : mask_width(space)] for i, space in enumerate(self.spec.actions)])
            parts = allowed.split(list(self.rows.heads), 1)
            logits = [each.masked_fill(~part, -torch.inf) for each, part in zip(logits, parts)]
        return torch.stack([each.argmax(1) for each in logits], 1).float()


class RlGamesLearner:
    """What the trainer asks of a learner, of an agent that rl_games' Runner made."""

    replay = None

    def __init__(self, spec: EnvSpec, cfg, seed: int):
        self.spec = spec
        self.cfg = cfg
        self.scalars = Scalars()
        self.rows = Rows(spec, cfg.policy, cfg.agent_id)
        self.env = TaskEnv(self.rows)
        self.agent = self._new_agent(seed)
        self.actors = RlGamesPolicy(spec, cfg, self.agent.model)
        self.played = None

    def _new_agent(self, seed: int):
        """rl_games makes folders and event files of its own: the run's records are the trainer's."""
        with silence(), tempfile.TemporaryDirectory() as folder:
            runner = Runner(AlgoObserver())
            runner.algo_factory.register_builder("a2c_continuous", Continuous)
            runner.algo_factory.register_builder("a2c_discrete", Choosing)
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

    def collect(self, env: MultiAgentEnv, step: Step, observer=None) -> Tuple[Step, int]:
        """A rollout by sampled actions; the last Step and the number of steps of each environment."""
        with one_thread(self.spec.device, self.spec.num_envs * self.rows.agents <= FEW_ROWS):
            self.played = self.agent.play(self.env.go_on(env, step, observer))
        return self.env.current, self.cfg.rollout_length

    def update(self, progress: float) -> Dict[str, Tensor]:
        """One epoch of rl_games from what was collected."""
        agent = self.agent
        played = self.played
        self.played = None
        if self.cfg.lr_schedule == "linear":
            self._set_learning_rate(self.cfg.lr * (1.0 - progress))
        value = played["values"]
        target = played["returns"]
        agent.update_epoch()
        losses = agent.train_epoch()[4:-2]  # behind four times; in front of the learning rate and its factor
        agent.dataset.update_values_dict(None)
        agent.frame += agent.curr_frames
        names = ("actor/loss", "critic/loss", "actor/bound_loss", "actor/entropy", "actor/kl")
        names = names if len(losses) == len(names) else names[:2] + names[3:]
        metrics = {
            name: torch.stack([each.detach().reshape(()) for each in parts]).mean()
            for name, parts in zip(names, losses)
            if len(parts)
        }
        if agent.has_central_value:
            metrics["critic/loss"] = self.scalars["losses/cval_loss"]
        return {
            **metrics,
            "actor/learning_rate": agent.last_lr,
            "critic/value": value.mean(),
            "critic/explained_variance": explained_variance(value, target),
        }

    def _set_learning_rate(self, lr: float) -> None:
        self.agent.last_lr = lr
        self.agent.update_lr(lr)
        if self.agent.has_central_value:
            self.agent.central_value_net.lr = lr
            self.agent.central_value_net.update_lr(lr)

    def forget(self) -> None:
        """The running episodes were lost: nothing of them is kept here."""

    def state_dict(self) -> Dict[str, Any]:
        return {
            "actors": self.actors.state_dict(),
            "agent": self.agent.get_full_state_weights(),
            "learning_rate": self.agent.last_lr,
        }

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        self.agent.set_full_state_weights(state["agent"])
        self.agent.last_lr = state["learning_rate"]
