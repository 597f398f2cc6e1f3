"""Task and wrapper by name; the real one evaluates the name of the class."""

from bidexhands.tasks.fake_hands import FakeHands
from bidexhands.tasks.hand_base.multi_vec_task import FakeMultiVecTaskPython


def parse_task(args, cfg, cfg_train, sim_params, agent_index):
    assert args.task_type == "MultiAgent"
    task = FakeHands(cfg, sim_params, args.device, args.device_id, args.headless, agent_index)
    return task, FakeMultiVecTaskPython(task, args.rl_device)
