"""precision=high: the update's ratios begin at one, whatever acting rounded."""

import pytest
import torch

from harl_isaac.training.trainer import Trainer
from tests.support.rank_runs import environment

SMALL = ["algo.hidden=[16]", "algo.rollout_length=6", "algo.lr=0.0", "algo.epochs=1"]
CASES = {
    "own networks": ["task=MixedGame", "algo=happo"],
    "one network": ["task=mpe/simple_spread", "algo=mappo", "algo.share_param=true"],
    "recurrent": ["task=mpe/simple_spread", "algo=happo", "algo.recurrent=true", "algo.chunk_length=3"],
    "each dimension": ["task=MixedGame", "algo=happo", "algo.action_aggregation=mean"],
}


@pytest.fixture(autouse=True)
def exact_again():
    yield
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("name", CASES)
def test_ratios_begin_at_one_where_acting_rounded_otherwise(name):
    for precision, begins_at_one in (("high", True), ("highest", False)):
        trainer = Trainer(environment([*CASES[name], *SMALL, f"precision={precision}"], 12)[1])
        learner = trainer.learner
        trainer.step, _ = learner.collect(trainer.env, trainer.step)
        agents = range(learner.spec.num_agents)
        stored = [learner.rollout.agent(i).log_prob.clone() for i in agents]
        learner.rollout.log_prob += 0.1  # as if acting had been coarse
        metrics = learner.update(0.0)
        assert (abs(metrics["actor/ratio"].item() - 1.0) < 1e-5) == begins_at_one
        if begins_at_one:
            found = [learner.rollout.agent(i).log_prob for i in agents]
            torch.testing.assert_close(found, stored, rtol=1e-4, atol=1e-5)


def test_an_unknown_precision_is_named():
    with pytest.raises(ValueError, match="precision=medium is unknown; possible: highest, high"):
        Trainer(environment(["task=SumGame", "algo=happo", "precision=medium"], 12)[1])
