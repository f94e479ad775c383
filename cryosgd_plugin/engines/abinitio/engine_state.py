"""What a run must keep to go on bit for bit, in a checkpoint's flat names: `volumes`, `memory/used`, …"""
from __future__ import annotations

import json

import numpy as np

from ...core.backend import to_host


def collect_state(engine) -> dict:
    """Everything that the next step of an AbInitio depends on, as arrays."""
    model, symmetriser = engine.model, engine.symmetriser
    parts = dict(optimiser=engine.optimiser.state(), memory=engine.memory.state(), progress=engine.progress.state(),
                 heldout=engine.held_out.state())
    state = {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}
    return dict(state, iteration=engine.iteration, images_visited=engine.images_visited, inflation=engine.inflation,
                queue=engine.queue, volumes=to_host(model.volumes), weight=to_host(model.weight),
                weight_images=model.weight_images, radius=model.radius, noise=engine.noise.spectrum.copy(),
                noise_images=engine.noise.images_seen.copy(), symmetry=symmetriser.current,
                prior_scale=np.array(engine.prior.measured),
                symmetry_scores=np.empty(0) if symmetriser.scores is None else symmetriser.scores,
                symmetry_imposed=-1 if symmetriser.imposed is None else symmetriser.imposed,
                centres=engine.centring.targets, class_shares=engine.class_shares, stopped=engine.stopped or "",
                random_state=json.dumps(engine.rng.bit_generator.state))


def restore_state(engine, state: dict) -> None:
    """Make an AbInitio of the same configuration go on from what `collect_state` gave."""
    xp, model = engine.xp, engine.model
    engine.iteration, engine.images_visited = int(state["iteration"]), int(state["images_visited"])
    engine.inflation, engine.queue = float(state["inflation"]), np.asarray(state["queue"])
    model.volumes, model.weight = xp.asarray(state["volumes"]), xp.asarray(state["weight"])
    model.weight_images, model.radius = np.asarray(state["weight_images"]), int(state["radius"])
    engine.noise.spectrum, engine.noise.images_seen = np.asarray(state["noise"]), np.asarray(state["noise_images"])
    engine.symmetriser.current = str(state["symmetry"])
    engine.prior.measured = float(state["prior_scale"][0]), int(state["prior_scale"][1])
    scores = np.asarray(state["symmetry_scores"])
    engine.symmetriser.scores = scores if len(scores) else None
    imposed = int(state.get("symmetry_imposed", -1))  # older checkpoints don't tell
    engine.symmetriser.imposed = imposed if imposed >= 0 else None
    engine.centring.targets = np.array(state["centres"])
    engine.class_shares, engine.stopped = np.asarray(state["class_shares"]), str(state["stopped"]) or None
    engine.rng.bit_generator.state = json.loads(str(state["random_state"]))
    engine.optimiser.restore(_part(state, "optimiser"), xp)
    for name, part in (("memory", engine.memory), ("progress", engine.progress), ("heldout", engine.held_out)):
        part.restore(_part(state, name))


def _part(state, name):
    return {key[len(name) + 1:]: value for key, value in state.items() if key.startswith(name + "/")}
