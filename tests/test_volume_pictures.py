"""What the volume viewer draws: planes, projections, surface, histogram, and what it says of bad volumes."""
import mrcfile
import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("skimage")
pytest.importorskip("pwem", reason="the viewers need Scipion (scipion-em)")

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.io.section_state import PROJECTIONS, default_level
from cryosgd_plugin.io.surface import build_mesh, render, turn, view_along
from cryosgd_plugin.io.view_state import ViewState
from cryosgd_plugin.io.volume_data import VolumeData, open_volume
from cryosgd_plugin.io.volume_pictures import VolumeFigure, save_volume_picture
from cryosgd_plugin.job import result_files
from cryosgd_plugin.job.result_files import save_map_pictures
from cryosgd_plugin.tests.picture_checks import check_picture


@pytest.fixture
def blob():
    """A soft ball of radius 20 Å at x 8, y −4, z 12 Å in a box of 20 × 24 × 28 voxels of 4 Å, with a little noise."""
    z, y, x = (np.arange(n)[axis_shape] * 4.0 - n // 2 * 4.0 for n, axis_shape in
               ((20, np.s_[:, None, None]), (24, np.s_[None, :, None]), (28, np.s_[None, None, :])))
    radius = np.sqrt((x - 8) ** 2 + (y + 4) ** 2 + (z - 12) ** 2)
    noise = np.random.default_rng(3).normal(scale=0.01, size=radius.shape)
    return VolumeData((1 / (1 + np.exp((radius - 20) / 2)) + noise).astype(np.float32), 4.0, label="blob")


@pytest.fixture
def figure():
    canvas = FigureCanvasAgg(Figure(figsize=(7, 7), dpi=60))
    return canvas.figure


def write_mrc(path, voxels, pixel_size=2.0):
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(voxels.astype(np.float32))
        file.voxel_size = pixel_size
    return path


def test_planes_are_the_volumes_sections_in_angstroms(figure, blob):
    state = ViewState.of(blob)
    state.position[:] = [13, 11, 16]      # z, y, x: the ball's centre
    picture = VolumeFigure(figure, blob, state)
    expected = {0: blob.voxels[13], 1: blob.voxels[:, 11], 2: blob.voxels[:, :, 16].T}
    labels = {0: ("x (Å)", "y (Å)"), 1: ("x (Å)", "z (Å)"), 2: ("z (Å)", "y (Å)")}
    for plane in picture.planes:
        np.testing.assert_array_equal(plane.image.get_array(), expected[plane.normal])
        assert (plane.axes.get_xlabel(), plane.axes.get_ylabel()) == labels[plane.normal]
    # the voxel n//2 lies at 0 Å, in the middle of its pixel
    left, right, bottom, top = picture.planes[0].image.get_extent()
    assert (left, right, bottom, top) == (-58, 54, -50, 46)
    assert picture.planes[0].axes.get_title() == "z = 12.0 Å  (section 14 of 20)"


def test_averaged_sections(figure, blob):
    state = ViewState.of(blob)
    state.position[0], state.thickness = 10, 3
    picture = VolumeFigure(figure, blob, state)
    np.testing.assert_allclose(picture.planes[0].image.get_array(), blob.voxels[9:12].mean(axis=0), rtol=1e-5)
    assert "mean of 3 sections" in picture.planes[0].axes.get_title()


def test_projections_are_means_along_the_axes(figure, blob):
    state = ViewState.of(blob)
    state.mode = PROJECTIONS
    picture = VolumeFigure(figure, blob, state)
    for plane, expected in zip(picture.planes, (blob.voxels.mean(0), blob.voxels.mean(1), blob.voxels.mean(2).T)):
        np.testing.assert_allclose(plane.image.get_array(), expected, atol=1e-6)
        assert plane.contour is None, "a contour of the density means nothing on a projection"
    assert picture.planes[2].axes.get_title() == "projection along x"


def test_cross_hair_and_density_under_the_cursor(figure, blob):
    picture = VolumeFigure(figure, blob)
    xz = picture.planes[1]
    assert xz.voxel_at(8.0, 12.0) == [13, 12, 16]
    assert xz.voxel_at(100.0, 0.0) is None
    value = blob.voxels[13, 12, 16]
    sentence = xz.describe(8.0, 12.0)
    assert sentence.startswith("x 8.0, y 0.0, z 12.0 Å (voxel x 16, y 12, z 13)")
    assert f"density {value:.4g} = {blob.survey.in_sigma(value):+.2f} σ" in sentence
    picture.state.position[:] = [13, 11, 16]
    picture.update_planes()
    vertical, horizontal = xz.cross_hair
    assert vertical.get_xdata()[0] == 8.0 and horizontal.get_ydata()[0] == 12.0


def test_contour_lines_lie_at_the_level(figure, blob):
    state = ViewState.of(blob)
    state.position[:] = [13, 11, 16]
    state.level = 0.5
    plane = VolumeFigure(figure, blob, state).planes[0]
    line = max(plane.contour.allsegs[0], key=len)
    # the density is 0.5 at a radius of 20 Å about x 8, y −4
    radii = np.hypot(line[:, 0] - 8, line[:, 1] + 4)
    assert abs(radii.mean() - 20) < 0.5 and radii.std() < 0.7


def test_survey_matches_numpy(blob):
    survey = blob.survey
    assert survey.mean == pytest.approx(blob.voxels.mean(dtype=float), rel=1e-5)
    assert survey.sigma == pytest.approx(blob.voxels.std(dtype=float), rel=1e-5)
    assert (survey.minimum, survey.maximum) == (blob.voxels.min(), blob.voxels.max())
    assert survey.counts.sum() == blob.voxels.size
    assert survey.quantile(0.9) == pytest.approx(np.quantile(blob.voxels, 0.9), abs=2e-3)
    assert survey.from_sigma(survey.in_sigma(0.3)) == pytest.approx(0.3)


@pytest.mark.parametrize("shape", [(40, 300, 260), (150, 131, 133)])
def test_coarse_copy_of_a_large_volume(shape, monkeypatch):
    monkeypatch.setattr("cryosgd_plugin.io.volume_data.SLAB_BYTES", 1e6)      # several slabs
    voxels = np.random.default_rng(5).normal(size=shape).astype(np.float32)
    survey = VolumeData(voxels, 1.0).survey
    factor = survey.factor
    assert factor == -(-max(shape) // 128)
    assert survey.coarse.shape == tuple(n // factor for n in shape)
    last = tuple(n - 1 for n in survey.coarse.shape)
    block = voxels[tuple(slice(i * factor, (i + 1) * factor) for i in last)]
    assert survey.coarse[last] == pytest.approx(block.mean(), abs=1e-6)
    np.testing.assert_allclose(survey.projections["z"], voxels.mean(axis=0, dtype=float), atol=1e-5)
    np.testing.assert_allclose(survey.projections["x"], voxels.mean(axis=2), atol=1e-5)


def test_mesh_is_the_balls_surface(blob):
    mesh = build_mesh(blob, 0.5)
    centred = mesh.vertices - np.array([8, -4, 12])
    radii = np.linalg.norm(centred, axis=1)
    assert abs(radii.mean() - 20) < 0.4 and radii.std() < 0.6
    outwards = np.einsum("nk,nk->n", mesh.normals, centred / radii[:, None])
    assert outwards.mean() > 0.9, "normals must point out of the density, for the light"


@pytest.mark.parametrize("factor", [2, 3])
def test_mesh_of_a_binned_copy_stays_in_place(factor, monkeypatch):
    box = 48
    grid = np.indices((box, box, box)) - box // 2
    radius = np.sqrt(((grid - np.array([3, -4, 5])[:, None, None, None]) ** 2).sum(axis=0))
    data = VolumeData((1 / (1 + np.exp(radius - 12))).astype(np.float32), 1.5)
    monkeypatch.setattr("cryosgd_plugin.io.volume_data.COARSE_BOX", box // factor)
    assert data.survey.factor == factor
    # z, y, x offsets of 3, −4, 5 voxels of 1.5 Å
    np.testing.assert_allclose(build_mesh(data, 0.5).vertices.mean(axis=0), [7.5, -6.0, 4.5], atol=0.3)


def test_small_pieces_are_hidden_and_counted(figure):
    voxels = np.zeros((32, 32, 32), np.float32)
    voxels[8:20, 8:20, 8:20] = 1
    voxels[28, 28, 28] = voxels[4, 28, 4] = 1
    data = VolumeData(voxels, 1.0)
    assert build_mesh(data, 0.5).pieces == 3
    clean = build_mesh(data, 0.5, hide_dust=True)
    assert (clean.pieces, clean.dust_hidden) == (1, 2)
    assert clean.vertices.max() < 5
    state = ViewState.of(data)
    state.level, state.hide_dust = 0.5, True
    assert "2 small pieces hidden" in VolumeFigure(figure, data, state).surface.note.get_text()


def test_render_shows_the_front(blob):
    """A ball in front of another hides it; from behind it is the other way round."""
    z, y, x = np.indices((32, 32, 32)) - 16
    near = (x ** 2 + y ** 2 + (z - 9) ** 2 < 9).astype(np.float32)
    far = (x ** 2 + y ** 2 + (z + 8) ** 2 < 36).astype(np.float32)
    mesh = build_mesh(VolumeData(near + far, 1.0), 0.5)
    front = render(mesh, np.eye(3), 64, 16.0, colour_by_radius=True)
    back = render(mesh, view_along("z") @ np.diag([1.0, -1.0, -1.0]), 64, 16.0, colour_by_radius=True)
    np.testing.assert_array_equal(front[0, 0], [1, 1, 1])
    assert np.abs(front[32, 32] - back[32, 32]).max() > 0.1
    # the far ball, of radius 6 in a half width of 16, is what shows around the near one
    covered = (front < 0.999).any(axis=2).sum()
    assert covered == pytest.approx(np.pi * (6 / 16 * 32) ** 2, rel=0.12)


@pytest.mark.parametrize("axis, right, up", [("z", 0, 1), ("y", 0, 2), ("x", 1, 2)])
def test_views_along_the_axes(axis, right, up):
    rotation = view_along(axis)
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_array_equal(rotation[0], np.eye(3)[right])
    np.testing.assert_array_equal(rotation[1], np.eye(3)[up])


def test_dragging_turns_with_the_mouse():
    """The point that faces the viewer moves where the mouse goes; many small turns stay a rotation."""
    facing = np.array([0, 0, 1.0])
    assert (turn(np.eye(3), 0.1, 0.0) @ facing)[0] > 0.3
    assert (turn(np.eye(3), 0.0, 0.1) @ facing)[1] > 0.3
    rotation = np.eye(3)
    for _ in range(500):
        rotation = turn(rotation, 0.013, -0.007)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)


def test_the_surface_states_level_and_scale(figure, blob):
    state = ViewState.of(blob)
    state.level, state.half_width_a = 0.5, 100.0
    panel = VolumeFigure(figure, blob, state).surface
    assert panel.axes.get_title() == f"surface at 0.5  ({blob.survey.in_sigma(0.5):+.2f} σ)"
    assert panel.bar_text.get_text() == "50 Å"
    left, right = panel.bar.get_xdata()
    assert (right - left) * 100 == pytest.approx(50), "the bar's length in the panel's own units"


def test_histogram_marks_the_contour(figure, blob):
    picture = VolumeFigure(figure, blob)
    picture.state.level = 0.25
    picture.update()
    assert picture.histogram.line.get_xdata()[0] == 0.25
    assert "σ" in picture.histogram.text.get_text()
    assert default_level(blob.survey) == pytest.approx(blob.survey.from_sigma(3.0), rel=0.5)


def test_another_volume_keeps_the_contours_sigma(figure, blob):
    picture = VolumeFigure(figure, blob)
    sigmas = blob.survey.in_sigma(picture.state.level)
    louder = VolumeData(blob.voxels * 50 + 7, 4.0, label="louder")
    picture.show_data(louder)
    assert louder.survey.in_sigma(picture.state.level) == pytest.approx(sigmas, abs=1e-4)
    np.testing.assert_array_equal(picture.planes[0].image.get_array(), louder.voxels[10])
    assert "louder" in picture.title.get_text()
    smaller = VolumeData(blob.voxels[:10, :10, :10], 4.0, label="smaller")
    picture.show_data(smaller)
    assert picture.planes[0].image.get_array().shape == (10, 10)


def test_nan_voxels_are_said(figure, blob):
    voxels = blob.voxels.copy()
    voxels[0, 0, :5] = np.nan
    picture = VolumeFigure(figure, VolumeData(voxels, 4.0))
    assert "5 of 13440 voxels are NaN or infinite" in picture.remark.get_text()
    assert "5 NaN or infinite voxels drawn as 0" in picture.surface.note.get_text()
    assert np.isfinite(picture.data.survey.sigma)
    figure.canvas.draw()


def test_a_volume_of_nan_is_refused():
    dead = VolumeData(np.full((4, 4, 4), np.nan, np.float32), 1.0, label="dead.mrc")
    with pytest.raises(InputError, match="no finite value .64 voxels are NaN.*diverged"):
        default_level(dead.survey)


def test_a_constant_volume_says_so(figure):
    picture = VolumeFigure(figure, VolumeData(np.full((8, 8, 8), 0.3, np.float32), 1.0))
    assert "0.3 everywhere" in picture.surface.message.get_text()
    figure.canvas.draw()


def test_a_contour_above_all_density_says_so(figure, blob):
    state = ViewState.of(blob)
    state.level = 9.0
    assert "no density above 9" in VolumeFigure(figure, blob, state).surface.message.get_text()


def test_open_honours_pixel_size_and_axis_order(tmp_path):
    voxels = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    path = write_mrc(tmp_path / "map.mrc", voxels)
    data = open_volume(path)
    np.testing.assert_array_equal(data.voxels, voxels)
    np.testing.assert_allclose(data.voxel_size_a, 2.0)
    assert data.note == ""
    assert "header says 2 Å/px" in open_volume(path, pixel_size=1.3).note
    with mrcfile.open(path, "r+") as file:      # columns are z, rows y, sections x
        file.header.mapc, file.header.mapr, file.header.maps = 3, 2, 1
    np.testing.assert_array_equal(open_volume(path).voxels, voxels.transpose(2, 1, 0))


def test_open_reads_no_voxels(tmp_path):
    data = open_volume(write_mrc(tmp_path / "map.mrc", np.zeros((4, 5, 6))))
    assert isinstance(data.voxels, np.memmap)


def test_volume_of_a_stack(tmp_path):
    stack = np.arange(2 * 4 * 4 * 4, dtype=np.float32).reshape(2, 4, 4, 4)
    path = write_mrc(tmp_path / "two.mrc", stack)
    np.testing.assert_array_equal(open_volume(path, index=2).voxels, stack[1])
    with pytest.raises(InputError, match="2 volumes and number 3"):
        open_volume(path, index=3)


def test_files_that_are_no_volume(tmp_path):
    with pytest.raises(InputError, match="not there"):
        open_volume(tmp_path / "absent.mrc")
    other = tmp_path / "map.hdf"
    other.write_bytes(b"x")
    with pytest.raises(InputError, match="not an MRC.*convert it"):
        open_volume(other)
    path = write_mrc(tmp_path / "cut.mrc", np.zeros((8, 8, 8)))
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(InputError, match="truncated or still being written"):
        open_volume(path)
    with mrcfile.new(tmp_path / "transform.mrc") as file:
        file.set_data(np.zeros((4, 4, 4), np.complex64))
    with pytest.raises(InputError, match="Fourier transform"):
        open_volume(tmp_path / "transform.mrc")
    with pytest.raises(InputError, match="three axes"):
        open_volume(write_mrc(tmp_path / "image.mrc", np.zeros((8, 8))))


def test_picture_to_file(tmp_path, blob):
    path = tmp_path / "blob.png"
    save_volume_picture(blob, path)
    from PIL import Image
    pixels = np.asarray(Image.open(path).convert("RGB"), float)
    assert pixels.shape[0] > 400 and pixels.std() > 20


def test_a_run_without_scikit_image_draws_all_but_the_surface(tmp_path, blob, monkeypatch, capsys):
    monkeypatch.setattr(result_files, "can_draw_surfaces", lambda: False)
    save_map_pictures(tmp_path, np.asarray(blob.voxels), 2.0, "blob", structure=1, classes=2)
    assert [path.name for path in tmp_path.iterdir()] == ["class002.png"]
    assert "class002_surface.png is not drawn: it needs scikit-image" in capsys.readouterr().out
    monkeypatch.undo()
    save_map_pictures(tmp_path, np.asarray(blob.voxels), 2.0, "blob", structure=1, classes=2)
    check_picture(tmp_path / "class002_surface.png")
