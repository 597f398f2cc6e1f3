"""Play a Game of harl_isaac.adapters.workers.game in this process, as a worker does."""

import numpy as np

from harl_isaac.adapters.workers.game import GameView
from harl_isaac.env import Box, action_width, mask_width


def empty_view(spec):
    """View for a game to write, filled with NaN that no game may leave there."""
    masks = [np.zeros(mask_width(space), dtype=bool) for space in spec.actions] if spec.has_action_mask else None
    return GameView(
        [np.full(size, np.nan, np.float32) for size in spec.obs_sizes],
        np.full((spec.state_agents, spec.state_size), np.nan, np.float32),
        masks,
        np.zeros(len(spec.agents), dtype=bool) if spec.has_alive else None,
    )


def look(game):
    """Return a new view, checked for gaps."""
    view = empty_view(game.spec)
    game.look(view)
    assert all(np.isfinite(obs).all() for obs in view.obs) and np.isfinite(view.state).all()
    assert view.action_mask is None or all(mask.any() for mask in view.action_mask)
    return view


def parts(view):
    """All arrays of a view."""
    return [*view.obs, view.state, *(view.action_mask or ()), *([] if view.alive is None else [view.alive])]


def same(one, other):
    """Whether two views are equal."""
    return all(np.array_equal(a, b) for a, b in zip(parts(one), parts(other)))


def random_actions(spec, view, rng):
    """Draw allowed actions."""
    actions = []
    for i, space in enumerate(spec.actions):
        if isinstance(space, Box):
            actions.append(rng.uniform(space.low, space.high, space.size).astype(np.float32))
            continue
        mask = view.action_mask[i] if view.action_mask is not None else np.ones(mask_width(space), dtype=bool)
        actions.append(np.array([rng.choice(np.flatnonzero(mask))] * action_width(space), dtype=np.int64))
    return actions


def play(game, seed, steps, rng):
    """Return outcomes and views of random steps, episode after episode."""
    game.reset(seed)
    history = []
    view = look(game)
    for t in range(steps):
        outcome = game.step(random_actions(game.spec, view, rng))
        assert not (outcome.terminated and outcome.truncated) and set(outcome.metrics) == set(game.spec.metrics)
        assert len(outcome.reward) == game.spec.reward_agents
        view = look(game)
        history.append((outcome, view))
        if outcome.terminated or outcome.truncated:
            game.reset(seed + t + 1)
            view = look(game)
    return history
