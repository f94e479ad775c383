"""What a user should hear of a simulation's form that is valid, but seldom what was meant."""
from __future__ import annotations

from ..engines.simulate.config import SimulateConfig

# far above what a detector records
HIGH_SNR = 10.0
# of the built-in phantom, and what its box should be at least
PHANTOM_A, BOX_PER_DIAMETER = 100.0, 1.2


def advice(config: SimulateConfig, map_boxes: list) -> list:
    """Sentences, or [].

    map_boxes : [(side of the box, pixel size)] in Å of the density maps; None for the built-in phantom, [] for models
    """
    found = [_on_snr(config), _on_phantom(config) if map_boxes is None else _on_maps(config, map_boxes)]
    return [sentence for sentence in found if sentence]


def _on_snr(config):
    if config.snr is None or config.snr <= HIGH_SNR:
        return None
    return (f"An SNR of {config.snr:g} leaves hardly any noise; images of cryo-EM have 0.01 to 0.1. For none at all "
            "set 'Add noise?' to No.")


def _on_phantom(config):
    box_a = config.box_size * config.pixel_size
    if box_a >= BOX_PER_DIAMETER * PHANTOM_A:
        return None
    return (f"The images are {box_a:.0f} Å wide and the phantom about {PHANTOM_A:.0f} Å: its defocused signal, or "
            "itself, is cut off. Take a larger box or pixel size; 64 px at 4 Å/px hold it.")


def _on_maps(config, map_boxes):
    box_a = config.box_size * config.pixel_size
    widest = max((side for side, _ in map_boxes), default=0.0)
    if widest > 1.01 * box_a:
        return (f"The images are {box_a:.0f} Å wide and a map's box {widest:.0f} Å: what the map holds beyond the "
                "images' box is cut off.")
    coarsest = max((pixel_size for _, pixel_size in map_boxes), default=0.0)
    if coarsest > 1.01 * config.pixel_size:
        return (f"The images have {config.pixel_size:g} Å/px and a map {coarsest:g} Å/px: nothing finer than "
                f"{2 * coarsest:g} Å will be in them.")
    return None
