"""What the plots of a run share: colours, grid lines, axes that count frequency and are labelled in Å."""
from __future__ import annotations

# Okabe & Ito's colours, told apart by colour-blind readers, and two more for runs of ten structures
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8C6D31", "#868E96", "#7B2CBF")
GRID = dict(color="#e9ecef", lw=0.8)
GREY = "#495057"
# resolutions to write on an axis, the roundest first
TICKS_A = (100, 50, 20, 10, 5, 4, 3, 2, 1, 200, 40, 30, 15, 12, 8, 7, 6, 3.5, 2.5, 60, 25, 18, 9, 4.5, 2.2, 1.8,
           1.5, 1.2, 80, 70, 45, 35, 28, 22, 16, 14, 13, 11, 9.5, 8.5, 7.5, 6.5, 5.5, 2.8, 2.6, 2.4, 1.6, 1.4, 1.3, 1.1)

LABEL_INCHES = 0.3


def angstrom_axis(axes, label, axis="x"):
    """Label an axis of spatial frequency (1/Å) with resolutions in Å, as many as fit beside one another.

    Call it when the axes have their place in the figure.
    """
    low, high = axes.get_xlim() if axis == "x" else axes.get_ylim()
    target = axes.xaxis if axis == "x" else axes.yaxis
    wide = axes.get_position().width * axes.get_figure().get_figwidth()
    # of the axis, for a label
    room = (max(0.05, LABEL_INCHES / wide) if axis == "x" else 0.08) * (high - low)
    ticks = []
    for resolution in TICKS_A:
        frequency = 1 / resolution
        if low <= frequency <= high and all(abs(frequency - other) >= room for other in ticks):
            ticks.append(frequency)
    target.set_ticks(sorted(ticks))
    target.set_major_formatter(lambda frequency, _: f"{1 / frequency:.3g}" if frequency > 0 else "∞")
    target.set_minor_formatter("")
    (axes.set_xlabel if axis == "x" else axes.set_ylabel)(label)
