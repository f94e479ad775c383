"""What a finished run says of itself, in sentences that a biologist can act on."""
from __future__ import annotations

# a map of fewer particles follows their noise: in a test with 200 (benchmarks/hard_sets.py) it claimed 10.2 Å and was
# right to 12.8
FEW_PARTICLES = 500


def outcome(config, n_particles, consistent, in_use, scores, counts, starved, stopped, imposed=None):
    """What a biologist should know of the result, in sentences.

    imposed : (iterations done when the symmetry was imposed, iterations in all), None without one
    """
    if config.classes == 1:
        words = f"A map from {n_particles} particles, {_limit(consistent[0], in_use)}."
    else:
        each = "; ".join(f"class {k + 1} with {count} particles ({count / n_particles:.0%}), {_limit(c, in_use)}"
                         for k, (count, c) in enumerate(zip(counts, consistent)))
        words = f"{config.classes} maps from {n_particles} particles: {each}."
        if starved:
            several, left = len(starved) > 1, config.classes - len(starved)
            words += (f" Class{'es' if several else ''} {', '.join(map(str, starved))} won hardly any particles: look "
                      f"whether {'their maps are structures' if several else 'its map is a structure'} at all, and "
                      f"consider {'a single class' if left == 1 else f'{left} classes'}.")
    if n_particles < FEW_PARTICLES * config.classes:
        words += (f" {n_particles} particles are few{'' if config.classes == 1 else ' for so many maps'}: take the "
                  "finer details with caution, they follow the noise of the images.")
    if scores is not None:
        words += (f" {config.symmetry} explained {', '.join(f'{score:.0%}' for score in scores)} of the unsymmetrised "
                  f"{'map' if len(scores) == 1 else 'maps'}' power when it was imposed").replace("map' ", "map's ")
        words += f"{_when(imposed)}."
    if stopped:
        words += f" The iterations ended early: {stopped}."
    return words + " The hand is not determined."


def _when(imposed):
    if imposed is None:
        return ""
    after, iterations = imposed
    if after == iterations:
        return ", after the last iteration, so that no step was made under it"
    return f", after {after} of {iterations} iterations"


def _limit(consistent, in_use):
    if consistent is None:
        return "not consistent between halves at any resolution: the images did not determine a map"
    words = (f"consistent between halves to {consistent:.1f} Å (FSC 0.143, both halves aligned to one map: no "
             "gold-standard resolution)")
    if consistent <= in_use * 1.001:
        # halves of a wrong map agree as well: this curve is no reason to ask for a finer resolution
        words += ", the final resolution asked for; compare maps of several seeds before you trust it"
    return words
