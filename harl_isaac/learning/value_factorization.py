"""The learner of joint values made of the agents' own: all agents and the mixer take one step together."""

from typing import Any, Dict, List, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac import ranks
from harl_isaac.buffers.replay import Batch
from harl_isaac.buffers.rollout import RowIndex
from harl_isaac.buffers.sequences import SequenceReplay
from harl_isaac.env import EnvSpec, MultiAgentEnv, Step
from harl_isaac.learning.batching import chunks
from harl_isaac.learning.gradient import gradient_step
from harl_isaac.learning.learner import Metrics, Observer
from harl_isaac.learning.metrics import living
from harl_isaac.learning.optimizers import Optimizer, adam
from harl_isaac.learning.replay_learner import ADAM_EPS, ReplayLearner
from harl_isaac.learning.value_factorization_cfg import FactorizationCfg
from harl_isaac.learning.values import restore_rows
from harl_isaac.networks.gru import SequenceStart
from harl_isaac.networks.joint_policy import Layers
from harl_isaac.networks.q_actors import QActors

ALL = slice(None)


class FactorizationLearner(ReplayLearner):
    """Q_tot(s, a) = mixer(Q_1(o_1, a_1), ..., Q_n(o_n, a_n); s), fitted to r + gamma Q_tot' of the best next choices.

    An algorithm says the mixer (`new_critic`), which takes the agents' values [B, A] and states [B, S]; the value of
    a dead agent enters as zero. A batch is N sequences of L steps, single steps of networks without a memory. Where
    each agent has a reward, all learn from the mean.
    """

    cfg: Any  # the algorithm's own class derived from FactorizationCfg
    actors: QActors
    replay_type = SequenceReplay

    def __init__(self, spec: EnvSpec, cfg: FactorizationCfg, seed: int = 0):
        super().__init__(spec, cfg, seed)
        self.target_actors = cfg.actors(spec)
        self.target_actors.load_state_dict(self.actors.state_dict())
        self.targets.append((self.target_actors, self.actors))
        trained = self.actors.agents if cfg.share_param else [self.actors.agent(i) for i in self.trained]
        parameters = [parameter for network in (*trained, self.critic) for parameter in network.parameters()]
        self.optimizer = adam(parameters, cfg.lr, ADAM_EPS)
        self.length = cfg.chunk_length if cfg.recurrent else 1
        self.burn_in = cfg.burn_in if cfg.recurrent else 0
        self.steps = torch.zeros((), dtype=torch.long, device=spec.device)  # environment steps, of all together
        shape = (spec.num_envs, spec.num_agents, self.actors.hidden_size)
        self.hidden = torch.zeros(shape, device=spec.device)  # [E, A, H] what recurrent networks remember

    def epsilon(self) -> Tensor:
        """Probability [] of a random choice."""
        share = (self.steps / self.cfg.epsilon_steps).clamp(max=1.0)
        return self.cfg.epsilon_start + share * (self.cfg.epsilon_finish - self.cfg.epsilon_start)

    def collect(self, env: MultiAgentEnv, step: Step, observer: Optional[Observer] = None) -> Tuple[Step, int]:
        """Store an iteration's steps; returns the last Step and the number of steps that each environment took."""

        def observe(step: Step) -> None:
            self.hidden.masked_fill_(step.done[:, None, None], 0.0)
            if observer is not None:
                observer(step)

        return super().collect(env, step, observe if self.cfg.recurrent else observer)

    def explore(self, step: Step, layers: Layers) -> Tensor:
        """Exploring actions [E, A, W] at a Step; recurrent networks remember it."""
        return self._act(step, layers, self.epsilon())

    def act_at_random(self, step: Step, layers: Layers) -> Tensor:
        """Actions [E, A, W] of the warmup; recurrent networks remember the Step."""
        return self._act(step, layers, torch.ones_like(self.epsilon()))

    def _act(self, step: Step, layers: Layers, epsilon: Tensor) -> Tensor:
        self.steps += self.spec.num_envs * ranks.world()
        hidden = self.hidden if self.cfg.recurrent else None
        return self.actors.explore(*self.packer(step), hidden, layers, epsilon)

    def update(self, progress: float) -> Metrics:
        """One iteration's updates; returns their metrics and epsilon."""
        metrics = super().update(progress)
        if metrics:
            metrics["epsilon"] = self.epsilon()
        return metrics

    def draw_batch(self) -> Batch:
        """Transitions or, for recurrent networks, sequences for one update."""
        if not self.cfg.recurrent:
            return super().draw_batch()
        count = self.batch_size // self.length
        return self.replay.sample_sequences(count, self.length, self.burn_in, self.cfg.gamma)

    def learn(self, batch: Batch) -> Metrics:
        """One step of all agents and the mixer; then the targets follow."""
        fitted = self.fit(batch)
        interval = self.cfg.target_interval
        if not interval:
            self._move_targets(self.cfg.polyak)
        elif (self.count + 1) % interval == 0:
            self._move_targets(1.0)
        return fitted

    def fit(self, batch: Batch) -> Metrics:
        """One step towards the target, by the mean squared error of valid transitions."""
        target = self.target(batch)
        taken = torch.stack([head.encode(action) for head, action in zip(self.actors.heads, batch.action)], 1)
        weight = 1.0 / living(batch.valid)

        def loss_of(part: RowIndex) -> Tuple[Tensor, Tensor]:
            values, _ = self._values(self.actors, batch, part)
            alive, state, goal, valid, index = [
                self._rows(value, part) for value in (batch.alive, batch.state, target, batch.valid, taken)
            ]
            joint = self.critic(picked(values, index) * alive, state)
            error = (joint - goal) * valid
            loss = error.square().sum() * weight
            means = torch.stack(((joint * valid).sum(), error.abs().sum())).detach() * weight
            return loss, torch.cat((loss.detach()[None], means))

        means, norm = gradient_step(self.optimizer, loss_of, self._parts(batch), self._max_norm())
        return {"loss": means[0], "q": means[1], "td_error": means[2], "grad_norm": norm}

    @torch.no_grad()
    def target(self, batch: Batch) -> Tensor:
        """The value that Q_tot is fitted to, [B, 1]."""
        return batch.reward.mean(1, keepdim=True) + batch.discount * self.next_value(batch)

    def next_value(self, batch: Batch) -> Tensor:
        """Target value [B, 1] of the best choices in the next states."""
        values = self._next_values(self.target_actors, batch)
        choosing = self._next_values(self.actors, batch) if self.cfg.double_q else values
        heads = self.actors.heads
        best = [head.argmax(value, mask) for head, value, mask in zip(heads, choosing, batch.next_mask)]
        return self.target_critic(picked(values, torch.stack(best, 1)) * batch.next_alive, batch.next_state)

    def _values(self, actors: QActors, batch: Batch, part: RowIndex) -> Tuple[List[Tensor], Tensor]:
        """Values A x [b, H_i] of a part's transitions, and recurrent states [A, n, L, H] after each."""
        obs = [self._sequences(value)[part] for value in batch.obs]
        values, states = actors.values(obs, self._start(actors, batch, part))
        return [value.flatten(0, 1) for value in values], states

    def _next_values(self, actors: QActors, batch: Batch) -> List[Tensor]:
        """Values A x [B, H_i] at the transitions' successors, each one step after its transition."""
        start = None
        if self.cfg.recurrent:
            _, states = self._values(actors, batch, ALL)
            hidden = states.flatten(1, 2)
            start = SequenceStart(hidden, torch.zeros_like(hidden[0, :, :1], dtype=torch.bool))
        values, _ = actors.values([value[:, None] for value in batch.next_obs], start)
        return [value[:, 0] for value in values]

    @torch.no_grad()
    def _start(self, actors: QActors, batch: Any, part: RowIndex) -> Optional[SequenceStart]:
        """The state that a part's sequences begin with: zeros, brought up to date by the steps before them."""
        if not self.cfg.recurrent:
            return None
        starts = batch.episode_starts[part]
        hidden = starts.new_zeros((self.spec.num_agents, len(starts), actors.hidden_size), dtype=batch.state.dtype)
        if self.burn_in:
            before = SequenceStart(hidden, starts[:, : self.burn_in])
            _, states = actors.values([value[part] for value in batch.earlier], before)
            hidden = states[:, :, -1]
        return SequenceStart(hidden, starts[:, self.burn_in :])

    def _sequences(self, value: Tensor) -> Tensor:
        """The rows [B, ...] of a batch as sequences [N, L, ...]."""
        return value.unflatten(0, (-1, self.length))

    def _rows(self, value: Tensor, part: RowIndex) -> Tensor:
        """The rows [b, ...] of a part's sequences, of [B, ...]."""
        return self._sequences(value)[part].flatten(0, 1)

    def _parts(self, batch: Batch) -> List[RowIndex]:
        count = len(batch.state) // self.length
        return chunks(slice(0, count), count, batch.state.device, max(self.cfg.hidden), self.burn_in + self.length)

    def on_episodes_lost(self) -> None:
        """Truncate the running episodes in the replay, and forget them."""
        super().on_episodes_lost()
        self.hidden.zero_()

    def all_optimizers(self) -> List[Optimizer]:
        """The one of all agents and the mixer."""
        return [self.optimizer]

    def own_state(self) -> Dict[str, Any]:
        """Memory of recurrent networks in the running episodes."""
        return {"hidden": self.hidden} if self.cfg.recurrent else {}

    def load_own_state(self, state: Dict[str, Any]) -> None:
        """Continue from an `own_state`."""
        if self.cfg.recurrent:
            self.hidden.copy_(state["hidden"])

    def state_dict(self) -> Dict[str, Any]:
        """Everything needed to continue exactly, without the replay."""
        return {**super().state_dict(), "steps": self.steps, "hidden": self.hidden}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a `state_dict` of a learner with the same settings and sizes."""
        super().load_state_dict(state)
        self.steps.copy_(state["steps"])
        restore_rows(self.hidden, state["hidden"])


def picked(values: List[Tensor], index: Tensor) -> Tensor:
    """Each agent's value [B, A] of one of its choices, by their indices [B, A] into values A x [B, H_i]."""
    return torch.cat([value.gather(1, index[:, i : i + 1]) for i, value in enumerate(values)], 1)
