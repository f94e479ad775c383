"""What a finished run says of itself."""
from cryosgd_plugin.engines.abinitio.config import AbInitioConfig
from cryosgd_plugin.engines.refine.config import RefineConfig
from cryosgd_plugin.job.refine_summary import outcome as refine_outcome
from cryosgd_plugin.job.words import outcome

SETTINGS = dict(pixel_size=4.0, box_size=64, diameter_a=190.0)


def test_a_starved_class_and_an_undetermined_map_are_named():
    words = outcome(AbInitioConfig(**SETTINGS, classes=3), 1000, [15.0, None, 12.0], 12.0, None, [600, 390, 10], [3],
                    None)
    assert "class 1 with 600 particles (60%), consistent between halves to 15.0 Å" in words
    assert "class 2 with 390 particles (39%), not consistent between halves at any resolution" in words
    assert "Class 3 won hardly any particles" in words and "consider 2 classes" in words
    words = outcome(AbInitioConfig(**SETTINGS, classes=3), 1000, [15.0] * 3, 12.0, None, [980, 10, 10], [2, 3], None)
    assert "Classes 2, 3 won hardly any particles: look whether their maps are structures at all" in words
    assert "consider a single class." in words


def test_one_map_without_starved_classes_says_nothing_of_them():
    words = outcome(AbInitioConfig(**SETTINGS), 1000, [12.0], 12.0, [0.83], [1000], [],
                    "the 100 held-out particles were explained no better")
    assert words.startswith("A map from 1000 particles, consistent between halves to 12.0 Å")
    assert "several seeds before you trust it" in words and "C1 explained 83% of the unsymmetrised map's power" in words
    assert "ended early: the 100 held-out" in words and "hardly any" not in words


def test_it_is_said_when_the_symmetry_was_imposed():
    def of(imposed):
        return outcome(AbInitioConfig(**SETTINGS, symmetry="D2"), 1000, [12.0], 12.0, [0.83], [1000], [], None, imposed)

    assert "D2 explained 83% of the unsymmetrised map's power when it was imposed, after 45 of 150" in of((45, 150))
    assert "after the last iteration, so that no step was made under it" in of((110, 110))


def test_few_particles_are_a_reason_for_caution():
    def of(n, classes):
        return outcome(AbInitioConfig(**SETTINGS, classes=classes), n, [12.0] * classes, 12.0, None, [n // classes] *
                       classes, [], None)

    assert "200 particles are few: take the finer details with caution" in of(200, 1)
    assert "few for so many maps" in of(1200, 3)
    assert "caution" not in of(500, 1) + of(1500, 3)


def test_a_refinement_tells_of_a_cut_search_and_of_indefinite_poses():
    def of(classes=1, counts=(1000,), **found):
        config = RefineConfig(**SETTINGS, classes=classes)
        return refine_outcome(config, [9.0] * classes, counts, 1000, "they did", {"capped": 0, "broad": 0, **found})

    assert "poses" not in of(capped=0.05, broad=0.5)
    cut = "For 99% of the particles the bound left more poses than are followed, and only the likeliest by then were: "
    assert cut + "the best may be missed." in of(capped=0.99)
    assert cut + "the certificate tells what that cost." in of(capped=0.99, certificate=dict(images=29))
    assert "60% of the particles have no definite pose" in of(broad=0.6)
    assert "hardly any" not in of(2, (600, 400))
    assert "Class 2 won hardly any particles: leave its reference out." in of(2, (950, 50))
    assert "Classes 2, 3 won hardly any particles: leave their references out." in of(3, (980, 10, 10))
