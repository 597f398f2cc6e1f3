"""`WorkerEnv`: CPU simulators that play one environment at a time, many of them in worker processes over shared memory.

A step wakes every worker once, by an empty message; actions and all that comes of them go through the shared memory, and
to a CUDA device in two copies. Environments are spread over the workers in blocks; what happens in an environment depends
on its number and on the run's seed, not on who plays it.
"""

import os
import time
import weakref
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np
import torch
from torch import Tensor

from harl_isaac.adapters.workers.child import Job
from harl_isaac.adapters.workers.handle import GRACE, Died, WorkerProcess
from harl_isaac.adapters.workers.shared_memory import RESULTS, Board, Layout, shared_file
from harl_isaac.env import Box, EnvSpec, SimulatorError, Step

PORTABLE = 1  # cudaHostRegisterPortable: pinned for every device


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class WorkerEnv:
    """Environments of a Game (game.py), which is named as package.module:Class and made in the workers with `settings`.

    workers: processes; 0: one for each usable core. on_crash: where a game raises or its process dies, "stop" raises
    SimulatorError; "restart" begins anew with a new game, and a metric `restarts` counts it. timeout: seconds that a
    worker may take for a step of its environments before it is taken for dead; 0: any time.

    Raises MissingSimulator, and ValueError where a game refuses its settings with one.
    """

    def __init__(
        self,
        game: str,
        settings: Dict[str, Any],
        num_envs: int,
        device: torch.device,
        workers: int = 0,
        on_crash: str = "stop",
        timeout: float = 0.0,
    ):
        self.restart = on_crash == "restart"
        self.timeout = timeout
        # type: Any, Optional[str]
        self.file = shared_file()
        self.failure = None
        count = min(workers or usable_cores(), num_envs)
        jobs = [
            Job(
                game,
                settings,
                w,
                count,
                range(num_envs * w // count, num_envs * (w + 1) // count),
                num_envs,
                self.restart,
            )
            for w in range(count)
        ]
        self.crew = []  # type: List[WorkerProcess]
        self.close = weakref.finalize(self, end_all, self.crew, os.getpid())  # at the latest when this process ends
        try:
            for job in jobs:
                self.crew.append(WorkerProcess(job, self.file))
            specs = [spec for worker in self.crew for spec in worker.answer()]
            self.layout = self._lay_out(specs, count)
            for worker in self.crew:
                worker.step()  # any message: the memory is laid out
        except Died as death:
            self.close()
            raise SimulatorError(str(death)) from None
        except BaseException:
            self.close()
            raise
        self.spec = self._spec(specs[0], num_envs, device)
        self.results = Results(self.layout, self.spec, self.board.memory)
        self.board.start_seeds(0)

    def reset(self, seed: Optional[int] = None) -> Step:
        if seed is not None:
            self.board.start_seeds(seed)
        self._refuse_failed()
        self.results.settle()
        self._each(lambda worker: worker.order("begin", worker.unproven), self._replace, timed=False)
        self.board.clear()
        return self.results.read()

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        self._refuse_failed()
        self._write_actions(actions)
        self._each(lambda worker: worker.step(), self._break_off)
        return self.results.read()

    def state_dict(self) -> Dict[str, Any]:
        """With "games" None where they cannot be saved, or are lost: new episodes then begin."""
        saved = [] if self.failure else self._saved_games()
        whole = bool(saved) and all(value is not None for value in saved)
        games = [torch.from_numpy(np.array(bytearray(value), np.uint8)) for value in saved] if whole else None
        return {
            "games": games,
            **{name: torch.from_numpy(getattr(self.board, name).copy()) for name in ("base", "episode", "seed")},
        }

    def load_state_dict(self, state: Dict[str, Any]) -> Optional[Step]:
        for name in ("base", "episode", "seed"):
            getattr(self.board, name)[:] = state[name].numpy()
        if state["games"] is None:
            return self.reset()
        saved = [value.numpy().tobytes() for value in state["games"]]
        self._refuse_failed()
        self.results.settle()
        self._each(
            lambda worker: worker.order("restore", [saved[e] for e in worker.job.envs]), self._give_up, timed=False
        )
        self.board.clear()
        self.results.read()
        return None

    def _lay_out(self, specs, count: int) -> Layout:
        for e, spec in enumerate(specs):
            if spec != specs[0]:
                raise ValueError(f"environment {e} is unlike environment 0: {spec}, {specs[0]}")
        layout = Layout(specs[0], len(specs), count)
        self.board = Board(layout, self.file)
        return layout

    def _spec(self, game, num_envs: int, device: torch.device) -> EnvSpec:
        return EnvSpec(
            num_envs=num_envs,
            agents=game.agents,
            obs_sizes=game.obs_sizes,
            actions=game.actions,
            state_size=game.state_size,
            max_episode_steps=game.max_episode_steps,
            device=device,
            state_agents=game.state_agents,
            reward_agents=game.reward_agents,
            metrics=game.metrics + (("restarts",) if self.restart else ()),
            has_action_mask=game.has_action_mask,
            has_alive=game.has_alive,
        )

    def _write_actions(self, actions: Tuple[Tensor, ...]) -> None:
        """From the device in one copy for each of the two types."""
        spaces = self.spec.actions
        for room, box in ((self.board.reals, True), (self.board.choices, False)):
            parts = [action for action, space in zip(actions, spaces) if isinstance(space, Box) == box]
            if parts:
                torch.from_numpy(room).copy_(torch.cat(parts, 1))

    def _each(
        self, order: Callable[[WorkerProcess], None], on_death: Callable[[int, Died], Any], timed: bool = True
    ) -> List:
        """Give all workers an order, then wait for all answers; `on_death(w, death)` answers for a dead one."""
        deaths = {}  # type: Dict[int, Died]
        try:
            for w, worker in enumerate(self.crew):
                try:
                    order(worker)
                except Died as death:
                    deaths[w] = death
            return [
                on_death(w, deaths[w]) if w in deaths else self._answer(w, on_death, timed)
                for w in range(len(self.crew))
            ]
        except SimulatorError as error:
            self._fail(str(error))
        except BaseException:  # Ctrl-C: answers that nobody waited for would be taken for later ones
            self.failure = "a step was interrupted"
            raise

    def _answer(self, w: int, on_death: Callable[[int, Died], Any], timed: bool) -> Any:
        try:
            return self.crew[w].answer(self.timeout if timed else 0.0)
        except Died as death:
            return on_death(w, death)

    def _saved_games(self) -> List[Optional[bytes]]:
        """Nothing where a worker is dead or a game raises: the next step will tell."""
        try:
            answers = self._each(lambda worker: worker.order("save"), lambda w, death: [None], timed=False)
        except SimulatorError:
            return []
        return [value for answer in answers for value in answer]

    def _break_off(self, w: int, death: Died) -> None:
        """The episodes of a dead worker break off, and new ones begin. Raises SimulatorError where it must not be replaced."""
        before = self.results.before()
        job = self.crew[w].job
        board = self.board
        for name in RESULTS:  # the dead one may have written a part
            getattr(board, name)[job.envs[0] : job.envs[-1] + 1] = before[name][job.envs[0] : job.envs[-1] + 1]
        for e in job.envs:
            board.lose(e)
        self._replace(w, death)

    def _replace(self, w: int, death: Died) -> None:
        """A new worker, and new episodes, for a dead one. Raises SimulatorError."""
        old = self.crew[w]
        if not self.restart or old.unproven:
            self._give_up(w, death)
        old.let_go()
        old.end(time.monotonic())
        try:
            self.crew[w] = new = WorkerProcess(old.job, self.file, unproven=True)
            new.answer()
            new.step()  # any message: the memory is laid out
            new.order("begin", True)
            new.answer()
        except (Died, ValueError, SimulatorError) as error:
            raise SimulatorError(f"{self._account(w, death)}\n\nIt could not be replaced: {error}") from None

    def _give_up(self, w: int, death: Died) -> None:
        raise SimulatorError(self._account(w, death)) from None

    def _account(self, w: int, death: Died) -> str:
        """What is known of a worker's death."""
        e = int(self.board.busy[w])
        return f"environment {e} failed in the episode of seed {self.board.seed[e]}: {death}"

    def _fail(self, message: str) -> None:
        """The end of all workers. Raises SimulatorError."""
        self.failure = message
        self.close()
        raise SimulatorError(message) from None

    def _refuse_failed(self) -> None:
        if self.failure:
            raise SimulatorError(self.failure)


class Results:
    """What the workers wrote, brought to the device, numbers and flags in one copy each; and the Step of views into that."""

    def __init__(self, layout: Layout, spec: EnvSpec, memory):
        self.layout = layout
        flags_at = layout.parts["flags"][0]
        self.memory = torch.frombuffer(memory, dtype=torch.uint8)
        if spec.device.type == "cuda":
            pin(self.memory)
        self.shared = (
            self.memory[:flags_at].view(torch.float32),
            self.memory[flags_at : layout.results_size].view(torch.bool),
        )
        self.here = tuple(torch.zeros_like(part, device=spec.device) for part in self.shared)
        now, after, outcome, flags = map(self._part, RESULTS)
        columns = {**{name: spec.reward_agents + i for i, name in enumerate(layout.spec.metrics)}, "restarts": -1}
        masks = (
            tuple(flags[:, 2 + part.start : 2 + part.stop] for part in layout.masks) if spec.has_action_mask else None
        )
        self.step = Step(
            *self._view(now),
            outcome[:, : spec.reward_agents],
            flags[:, 0],
            flags[:, 1],
            *self._view(after),
            {name: outcome[:, columns[name]] for name in spec.metrics},
            masks,
            flags[:, layout.alive] if spec.has_alive else None,
        )

    def read(self) -> Step:
        """The workers do not write before the next step, whose actions depend on these copies: no need to wait for them."""
        for here, shared in zip(self.here, self.shared):
            here.copy_(shared, non_blocking=True)
        return self.step

    def settle(self) -> None:
        """Wait for the last copies, before workers write without having been given actions."""
        if self.here[0].is_cuda:
            torch.cuda.current_stream(self.here[0].device).synchronize()

    def _part(self, name: str) -> Tensor:
        offset, dtype, shape = self.layout.parts[name]
        if name == "flags":
            return self.here[1][: int(np.prod(shape))].view(shape)
        return self.here[0][offset // 4 : offset // 4 + int(np.prod(shape))].view(shape)

    def _view(self, rows: Tensor):
        layout = self.layout
        spec = self.layout.spec
        state = rows[:, layout.obs[-1].stop :].view(-1, spec.state_agents, spec.state_size)
        return tuple(rows[:, part] for part in layout.obs), state

    def before(self) -> Dict[str, np.ndarray]:
        """The last step's results, on the host, after a worker has begun to write those of the next."""
        return {name: self._part(name).cpu().numpy() for name in RESULTS}


def pin(memory: Tensor) -> None:
    """Keep shared memory from being paged out, so that GPUs read it directly; without leave to do so copies are slower."""
    torch.cuda.cudart().cudaHostRegister(memory.data_ptr(), memory.numel(), PORTABLE)
    weakref.finalize(memory, torch.cuda.cudart().cudaHostUnregister, memory.data_ptr())


def end_all(crew: List[WorkerProcess], owner: int) -> None:
    """End all workers; a fork of the process that started them leaves them alone."""
    if os.getpid() != owner:
        return
    for worker in crew:
        worker.let_go()
    deadline = time.monotonic() + GRACE
    for worker in crew:
        worker.end(deadline)
