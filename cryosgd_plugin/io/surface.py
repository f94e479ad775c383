"""The isosurface of a volume: a mesh by marching cubes, and its picture at any rotation, without OpenGL."""
from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from ..core.errors import InputError
from ._raster import rasterise

DUST_SHARE = 0.02         # pieces smaller than this share of the largest are dust
SURFACE_RGB = (0.53, 0.71, 0.87)
BACKGROUND_RGB = (1.0, 1.0, 1.0)
# towards the key and the fill light; the viewer looks down -z
KEY_LIGHT = np.array([-0.35, 0.45, 0.82])
FILL_LIGHT = np.array([0.70, -0.10, 0.70])


@dataclass(frozen=True)
class Mesh:
    """A triangulated surface.

    vertices : (n, 3) float32, x, y, z in Å from the origin voxel; normals : (n, 3) float32, unit, pointing outwards
    faces : (m, 3) int32; dust_hidden : number of small pieces left out; pieces : number of pieces drawn
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    dust_hidden: int = 0
    pieces: int = 0

    @cached_property
    def radii_a(self):
        """Distance of each vertex from the origin, Å."""
        return np.linalg.norm(self.vertices, axis=1)


def build_mesh(data, level, hide_dust=False) -> Mesh:
    """The surface of a volume's coarse copy at a density level.

    data : VolumeData; level : density; hide_dust : leave out pieces under DUST_SHARE of the largest
    An empty mesh where no voxel exceeds the level (or all do).
    Marching cubes: Lorensen & Cline (1987), in scikit-image's topologically correct form.
    """
    survey = data.survey
    # one layer of "outside" closes the surface where density reaches the edge of the box
    outside = min(survey.minimum, level - abs(level)) if survey.sigma else survey.minimum
    padded = np.pad(survey.coarse, 1, constant_values=outside)
    hidden, pieces, above = 0, 0, padded > level
    if above.any():
        labels, pieces = ndimage.label(above, ndimage.generate_binary_structure(3, 1))
        if hide_dust and pieces > 1:
            sizes = np.bincount(labels.ravel())
            sizes[0] = 0
            dust = sizes < DUST_SHARE * sizes.max()
            dust[0] = False
            hidden, pieces = int(dust.sum()), int(pieces - dust.sum())
            padded = np.where(dust[labels], outside, padded)
    if not above.any() or not np.isfinite(level):
        return Mesh(np.empty((0, 3), np.float32), np.empty((0, 3), np.float32), np.empty((0, 3), np.int32))
    vertices, faces, normals, _ = _marching_cubes()(padded, level, gradient_direction="descent",
                                                    allow_degenerate=False)
    # the centre of coarse voxel i is the fine index i * factor + (factor - 1) / 2; -1 undoes the padding
    fine = (vertices - 1) * survey.factor + (survey.factor - 1) / 2
    placed = (fine - np.array(data.centre)) * data.voxel_size_a
    normals = normals * data.voxel_size_a.min() / data.voxel_size_a   # normals scale inversely to the axes
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return Mesh(np.ascontiguousarray(placed[:, ::-1], np.float32), np.ascontiguousarray(normals[:, ::-1], np.float32),
                np.ascontiguousarray(faces, np.int32), hidden, pieces)


def can_draw_surfaces() -> bool:
    """Whether scikit-image is there, which Scipion brings along and the engines by themselves do without."""
    return importlib.util.find_spec("skimage") is not None


def render(mesh, rotation, pixels, half_width_a, colour_by_radius=False, background=BACKGROUND_RGB, oversample=2):
    """The shaded picture of a mesh in parallel projection.

    mesh : Mesh; rotation : (3, 3), p_screen = rotation · p_volume, x right, y up, z towards the viewer
    pixels : side of the square picture; half_width_a : Å from its middle to its edge
    Returns (pixels, pixels, 3) float32 in [0, 1], first row at the top.
    Depth cue and depth darkening (Luft, Colditz & Deussen 2006) set folds and channels apart.
    """
    size = pixels * oversample
    picture = np.empty((size, size, 3), np.float32)
    picture[:] = background
    if len(mesh.faces):
        rotated = mesh.vertices @ np.asarray(rotation, np.float32).T
        normals = mesh.normals @ np.asarray(rotation, np.float32).T
        scale = size / (2 * half_width_a)
        screen = np.empty_like(rotated)
        screen[:, 0] = size / 2 + rotated[:, 0] * scale
        screen[:, 1] = size / 2 - rotated[:, 1] * scale
        screen[:, 2] = rotated[:, 2]
        shade = mesh.radii_a.astype(np.float32)
        depth, normal, radius = rasterise(screen, normals, shade, mesh.faces, size)
        hit = np.isfinite(depth)
        picture[hit] = _shade(depth, normal, radius, hit, mesh, colour_by_radius, size, background)
    return picture.reshape(pixels, oversample, pixels, oversample, 3).mean(axis=(1, 3))


def turn(rotation, dx, dy):
    """A rotation after dragging the mouse by (dx, dy) widths of the picture, right and up positive."""
    angle_y, angle_x = np.pi * dx, -np.pi * dy
    cy, sy, cx, sx = np.cos(angle_y), np.sin(angle_y), np.cos(angle_x), np.sin(angle_x)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    turned = about_x @ about_y @ rotation
    u, _, vt = np.linalg.svd(turned)       # thousands of small turns must stay a rotation
    return u @ vt


def view_along(axis):
    """The rotation that looks along an axis: "z" shows x right and y up, "y" x right and z up, "x" y right and z up."""
    return {"z": np.eye(3),
            "y": np.array([[1., 0, 0], [0, 0, 1], [0, -1, 0]]),
            "x": np.array([[0., 1, 0], [0, 0, 1], [1, 0, 0]])}[axis].copy()


def _shade(depth, normal, radius, hit, mesh, colour_by_radius, size, background):
    facing = normal[hit]
    facing = facing / np.maximum(np.linalg.norm(facing, axis=1, keepdims=True), 1e-6)
    facing = np.where(facing[:, 2:] < 0, -facing, facing)      # the inside of an open surface is lit as well
    key = np.clip(facing @ (KEY_LIGHT / np.linalg.norm(KEY_LIGHT)), 0, 1)
    fill = np.clip(facing @ (FILL_LIGHT / np.linalg.norm(FILL_LIGHT)), 0, 1)
    halfway = KEY_LIGHT / np.linalg.norm(KEY_LIGHT) + np.array([0, 0, 1.0])
    gloss = np.clip(facing @ (halfway / np.linalg.norm(halfway)), 0, 1) ** 30
    near, far = np.percentile(depth[hit], (99.5, 0.5))
    span = max(near - far, 1e-6)
    # depth darkening: pixels that lie behind their surroundings are darker
    weight = ndimage.gaussian_filter(hit.astype(np.float32), 0.02 * size)
    around = ndimage.gaussian_filter(np.where(hit, depth, 0).astype(np.float32), 0.02 * size)
    around /= np.maximum(weight, 1e-3)
    buried = np.clip((around[hit] - depth[hit]) / span, 0, 0.35) * 1.6
    light = (0.30 + 0.62 * key + 0.22 * fill) * (1 - buried)
    colour = _radius_colours(radius[hit], mesh) if colour_by_radius else np.array(SURFACE_RGB, np.float32)
    colour = np.clip(colour * light[:, None] + 0.16 * gloss[:, None], 0, 1)
    fog = 0.45 * np.clip((near - depth[hit]) / span, 0, 1)[:, None] ** 1.5
    return colour * (1 - fog) + np.asarray(background, np.float32) * fog


def _radius_colours(radii, mesh):
    from matplotlib import colormaps
    low, high = np.percentile(mesh.radii_a, (2, 98))
    # the pale middle of the map would vanish on white: the colours are darkened a little
    return colormaps["RdYlBu_r"](np.clip((radii - low) / max(high - low, 1e-6), 0, 1))[:, :3].astype(np.float32) * 0.92


def _marching_cubes():
    try:
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise InputError(f"the surface needs scikit-image, which can't be imported ({error}); "
                         "install it with: pip install scikit-image") from error
    return marching_cubes
