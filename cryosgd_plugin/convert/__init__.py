"""The one border with Scipion: sets of particles to the particle table and back, maps and classes.

Conventions (core/CONVENTIONS.md): the table holds A (volume to image) and the shift o to apply in Å; Scipion's
projection alignment holds M = inv([[A, −o], [0, 1]]) with o in px. Nothing else in the project knows M.
"""
from .from_scipion import half_sets_of, some_images, table_from_set
from .maps import fill_classes, mask_object, volume_object, volume_to_mrc, volumes_in
from .stars import ID_TAG, table_from_star, table_to_star
from .to_scipion import copy_particles, fsc_object, set_from_table
from .transforms import poses_from_transforms, transforms_from_poses

__all__ = ["ID_TAG", "copy_particles", "fill_classes", "fsc_object", "half_sets_of", "mask_object",
           "poses_from_transforms", "set_from_table", "some_images", "table_from_set", "table_from_star",
           "table_to_star", "transforms_from_poses", "volume_object", "volume_to_mrc", "volumes_in"]
