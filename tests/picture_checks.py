"""What every saved picture has to be."""
import matplotlib.image


def check_picture(path):
    """Fail unless a PNG is large enough, shows something, and has all of it within."""
    picture = matplotlib.image.imread(path)
    assert picture.shape[0] > 300 and picture[..., :3].std() > 0.01
    # titles and axis labels lie within the picture: its border is white
    for border in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert (border[:, :3] == 1).all(), path.name
