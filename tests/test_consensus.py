"""Restarts compared: which maps agree, how far, and what is said about them."""
import json
from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.masks import soft_sphere
from cryosgd_plugin.core.shells import fsc
from cryosgd_plugin.core.symmetry import rotate_volume
from cryosgd_plugin.engines.align import align_volume, mirror
from cryosgd_plugin.engines.consensus import compare_maps, match_classes
from cryosgd_plugin.io.agreement import agreement_of, read_agreements
from cryosgd_plugin.io.runfolder import write_json
from cryosgd_plugin.tests.abinitio_samples import BLOBS, density

BOX, PIXEL, RADIUS = 32, 6.0, 9
OTHER = np.array([[50.0, 0, 0], [-50, 8, 5], [10, 45, 20], [0, -10, -45], [25, 25, 30], [-20, -30, 40.0]])
THIRD = np.array([[0.0, 0, 60], [10, 5, 30], [0, -10, 0], [-12, 4, -30], [40, 0, -55], [-35, 10, -50]])


def start(blobs, seed, noise=0.08, hand=False):
    """One run's map: turned, moved, perhaps mirrored, with noise of its own."""
    rng = np.random.default_rng(seed)
    volume = rotate_volume(density(blobs, box=BOX, pixel=PIXEL), Rotation.random(random_state=seed).as_matrix(),
                           rng.uniform(-1.5, 1.5, 3))
    volume = mirror(volume) if hand else volume
    return volume + rng.normal(0, noise, volume.shape).astype(np.float32)


def compared(volumes, **options):
    return compare_maps(volumes, **{"radius": RADIUS, "pixel_size": PIXEL, **options})


def test_most_starts_agree_and_the_odd_one_is_named():
    maps = [start(BLOBS, 1), start(OTHER, 2), start(BLOBS, 3, hand=True), start(BLOBS, 4)]
    found = compared(maps, names=["restart_01", "restart_02", "restart_03", "restart_04"])
    assert found.clusters == ((0, 2, 3), (1,))
    assert found.verdict.startswith("3 of 4 maps show the same structure to ")
    assert "One differs: look at restart_02." in found.verdict
    agreeing = found.similarity[np.ix_([0, 2, 3], [0, 2, 3])].sum(axis=1)
    assert found.reference == (0, 2, 3)[int(agreeing.argmax())], "the frame is that of the most typical map"
    hands = dict(zip(found.used, (alignment.mirrored for alignment in found.alignments)))
    assert hands[0] == hands[3] != hands[2]
    # the mean is nearer to the truth than any of its parts, in whichever frame and hand
    shells = slice(1, RADIUS + 1)
    truth = density(BLOBS, box=BOX, pixel=PIXEL)
    truth = align_volume(truth, found.consensus, radius=RADIUS).apply(truth)
    own = [fsc(found.aligned[i], truth)[shells].mean() for i in (0, 2, 3)]
    assert fsc(found.consensus, truth)[shells].mean() > max(own)
    assert found.curves.shape == (4, 4, BOX // 2 + 1)
    np.testing.assert_allclose(found.curves, found.curves.transpose(1, 0, 2))
    upper = np.array([found.curves[i, j] for i in range(4) for j in range(i)])
    np.testing.assert_allclose(found.mean, upper.mean(axis=0))
    np.testing.assert_allclose(found.std, upper.std(axis=0))


def test_two_maps_of_one_structure():
    found = compared([start(BLOBS, 5), start(BLOBS, 6, hand=True)])
    assert found.clusters == ((0, 1),)
    assert found.verdict.startswith("Both maps show the same structure to ")
    assert np.allclose(found.std, 0)


def test_identical_maps():
    volume = start(BLOBS, 7, noise=0.0)
    found = compared([volume, volume, volume.copy()])
    assert found.clusters == ((0, 1, 2),) and found.similarity.min() > 0.999
    assert found.verdict.startswith("All 3 maps show the same structure")
    assert np.corrcoef(found.consensus.ravel(), found.aligned[0].ravel())[0, 1] > 0.999


def test_the_report_comes_back_from_its_file(tmp_path):
    found = compared([start(BLOBS, 1), start(OTHER, 2), start(BLOBS, 3)], names=["one", "two", "three"])
    report = dict(found.report(), consensus="mean.mrc",
                  maps=[dict(name=name, file=f"{name}.mrc", agrees=name != "two") for name in found.names])
    report["pairs"][0]["resolution_a"] = np.inf
    write_json(tmp_path / "of_one.json", report)
    write_json(tmp_path / "of_two.json", {"classes": [report, dict(report, verdict="other words")]})
    back, = read_agreements(tmp_path / "of_one.json")
    assert back.names == list(found.names) and back.agree and back.reference in ("one", "three")
    assert back.maps[1]["file"] == tmp_path / "two.mrc" and back.consensus == tmp_path / "mean.mrc"
    for i, j in combinations(range(3), 2):
        np.testing.assert_allclose(back.curves[found.names[i], found.names[j]], found.curves[i, j])
    np.testing.assert_allclose(back.mean, found.mean)
    assert back.resolution_a[0, 1] == back.resolution_a[1, 0] == np.inf == back.pair_resolutions_a[0]
    np.testing.assert_allclose(back.pair_resolutions_a[1:], found.pair_values(found.resolution_a)[1:])
    np.testing.assert_allclose(back.frequencies, np.arange(BOX // 2 + 1) / (BOX * PIXEL))
    assert [entry.verdict for entry in read_agreements(tmp_path / "of_two.json")] == [found.verdict, "other words"]
    del report["pairs"]
    (tmp_path / "old.json").write_text(json.dumps({"maps": [], "mean_fsc": [1.0]}))
    with pytest.raises(InputError, match="old.json lacks .*'pairs'.*run the comparison again"):
        read_agreements(tmp_path / "old.json")


@pytest.mark.parametrize("count, values", [(2, True), (5, True), (14, False)])
def test_the_picture_orders_maps_by_group_and_prints_few_values(count, values):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    from cryosgd_plugin.io.consensus_pictures import draw_agreement
    names, odd = [f"run {i}" for i in range(count)], 1
    shells = np.arange(17)
    pairs = [dict(maps=[names[i], names[j]], resolution_a=None if odd in (i, j) else 10.0 + i + j,
                  fsc=np.exp(-shells / (3 if odd in (i, j) else 9))) for i, j in combinations(range(count), 2)]
    groups = [[name for name in names if name != names[odd]], [names[odd]]]
    maps = [dict(name=name, file=name, agrees=name in groups[0]) for name in names]
    agreement = agreement_of(dict(
        maps=maps, consensus="c", reference=names[0], groups=groups, verdict="In words.", pairs=pairs,
        mean_fsc=np.mean([pair["fsc"] for pair in pairs], axis=0),
        sd_fsc=np.std([pair["fsc"] for pair in pairs], axis=0), box_size=32, pixel_size=6.0), "folder")
    figure = Figure(layout="constrained")
    draw_agreement(figure, agreement, "Title")
    curves, matrix = figure.axes[:2]
    assert figure.get_suptitle() == "Title\nIn words."
    assert [label.get_text() for label in matrix.get_yticklabels()] == [*groups[0], "run 1"]
    printed = [text.get_text() for text in matrix.texts]
    assert len(printed) == (count * (count - 1) if values else 0)
    if values:
        assert printed.count("none") == 2 * (count - 1), "pairs with the odd one agree nowhere"
    drawn = [line for line in curves.lines if len(line.get_xdata()) == 16]
    assert len(drawn) == len(pairs) + (count > 2), "each pair, and the mean where there are several"
    if count > 2:
        np.testing.assert_allclose(drawn[-1].get_ydata(), agreement.mean[1:])


def test_all_different_maps_are_not_trusted():
    found = compared([start(BLOBS, 8), start(OTHER, 9), start(THIRD, 10)])
    assert len(found.clusters) == 3
    assert found.verdict.startswith("No two of 3 maps agree") and "do not trust any of them" in found.verdict
    two = compared([start(BLOBS, 8), start(OTHER, 9)])
    assert two.verdict.startswith("The two maps do not agree")


def test_failed_restarts_are_named_and_left_out():
    broken = start(BLOBS, 11)
    broken[0, 0, 0] = np.nan
    found = compared([np.zeros((BOX,) * 3), start(BLOBS, 12), broken, start(BLOBS, 13)], names=list("abcd"))
    assert found.used == (1, 3) and set(found.failed) == {"a", "c"}
    assert "a was left out" in found.verdict and "c was left out" in found.verdict
    with pytest.raises(InputError, match="1 of 2 maps can be compared, at least 2 are needed; map 2 is empty"):
        compared([start(BLOBS, 1), np.zeros((BOX,) * 3)])


def test_a_mask_makes_the_first_map_the_reference():
    maps = [start(BLOBS, 14, noise=0.3), start(BLOBS, 15, noise=0.3)]
    mask = soft_sphere(BOX, 11, 3)
    found = compared(maps, mask=mask)
    assert found.reference == 0
    # noise outside the particle is taken away from both maps
    assert found.similarity[0, 1] > compared(maps).similarity[0, 1]
    with pytest.raises(InputError, match="mask of 16"):
        compared(maps, mask=mask[::2, ::2, ::2])
    with pytest.raises(InputError, match="diameter of 900 Å does not fit"):
        compared(maps, diameter_a=900.0)


def test_boxes_must_agree():
    with pytest.raises(InputError, match="boxes of 24, 32 px"):
        compared([start(BLOBS, 1), density(box=24, pixel=8.0)])


def test_classes_of_runs_are_paired():
    first = [start(BLOBS, 20), start(OTHER, 21), start(THIRD, 22)]
    second = [start(THIRD, 23, hand=True), start(BLOBS, 24)]
    orders, tables = match_classes([first, second], radius=RADIUS)
    assert orders[0].tolist() == [0, 1, 2]
    assert orders[1].tolist() == [1, -1, 0]
    assert tables[0].shape == (3, 3) and tables[1].shape == (3, 2)


def test_an_empty_class_is_paired_last():
    first = [np.zeros_like(start(BLOBS, 20)), start(OTHER, 21)]
    second = [start(OTHER, 23), np.zeros_like(start(BLOBS, 24))]
    orders, tables = match_classes([first, second], radius=RADIUS)
    assert orders[1].tolist() == [1, 0]
    assert tables[1][0].tolist() == [-1, -1] and tables[1][1, 0] > 0.5
