"""Triangles to pixels with a depth buffer, on one CPU core."""
from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)   # no fastmath: it would forbid the -inf of empty pixels
def rasterise(screen, normals, shades, faces, size):
    """Depth, normal and shade of the nearest triangle in each pixel.

    screen : (n, 3) float32, column and row in pixels, and depth (larger is nearer); normals : (n, 3) float32
    shades : (n,) float32, any number carried by the vertices; faces : (m, 3) int32
    Returns (size, size) float32 depth (-inf where nothing is), (size, size, 3) normals, (size, size) shades, all
    interpolated linearly over the triangle (barycentric coordinates).
    """
    depth = np.full((size, size), -np.inf, np.float32)
    normal = np.zeros((size, size, 3), np.float32)
    shade = np.zeros((size, size), np.float32)
    for face in range(len(faces)):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        ax, ay, bx, by, cx, cy = (screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1], screen[c, 0], screen[c, 1])
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0:
            continue
        first_column = max(0, int(np.ceil(min(ax, bx, cx) - 0.5)))
        last_column = min(size - 1, int(np.floor(max(ax, bx, cx) - 0.5)))
        first_row = max(0, int(np.ceil(min(ay, by, cy) - 0.5)))
        last_row = min(size - 1, int(np.floor(max(ay, by, cy) - 0.5)))
        for row in range(first_row, last_row + 1):
            y = row + 0.5
            for column in range(first_column, last_column + 1):
                x = column + 0.5
                wa = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                wb = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                wc = 1.0 - wa - wb
                # a sliver of tolerance closes the seams between neighbours
                if wa < -1e-4 or wb < -1e-4 or wc < -1e-4:
                    continue
                z = wa * screen[a, 2] + wb * screen[b, 2] + wc * screen[c, 2]
                if z > depth[row, column]:
                    depth[row, column] = z
                    shade[row, column] = wa * shades[a] + wb * shades[b] + wc * shades[c]
                    for k in range(3):
                        normal[row, column, k] = wa * normals[a, k] + wb * normals[b, k] + wc * normals[c, k]
    return depth, normal, shade
