"""Views of an image: what the config says, and boxes that come back to where they are in the image."""

import jax
import numpy as np
import pytest

from selftrain_jax.data.records import decode_record, encode_record
from selftrain_jax.data.source import Source, decode_image, encode_png
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.label_job import write_pseudo_labels
from selftrain_jax.tasks.detection.pseudo.labeller import Network, box_labeller
from selftrain_jax.tasks.detection.pseudo.source import read_pseudo_boxes
from selftrain_jax.tasks.detection.pseudo.views import View, count_pixels, format_views, read_views
from selftrain_jax.types import Category, Detections
from tests.tasks.detection.pseudo.pseudo_toy import label

pytestmark = pytest.mark.tf

SIZE_PX = 64


def test_views_are_scales_of_the_input_with_an_f_for_mirrored():
    found = read_views("1,1f, 0.75,.5f", 100)
    assert found == (View(1, False, 100), View(1, True, 100), View(0.75, False, 75), View(0.5, True, 50))
    assert format_views(found) == "1,1f,0.75,0.5f"


def test_one_view_of_an_image_of_any_size_is_no_change():
    assert read_views("1", 7) == (View(1.0, False, 7),)


def test_pixels_are_those_that_the_network_is_padded_to():
    assert count_pixels(read_views("1,1f,0.75", 128), 128) == 3 * 128**2
    assert count_pixels(read_views("1,1f,0.75", 128), 32) == 2 * 128**2 + 96**2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no view; expected scales"),
        ("1,", "'' is no view"),
        ("1,f", "'f' is no view"),
        ("1,x2", "'x2' is no view"),
        ("1,1ff", "'1ff' is no view"),
        ("nan", "'nan' is no view"),
        ("-1", "'-1' is no view"),
        ("1e9", "'1e9' is no view"),
        ("1,0", "the view 0 is too small"),
        ("1,5f", "the view 5f is too large; .*at most 4"),
        ("1,0.2", r"the view 0\.2 is too small for the network: 20 px .*at least 32 px, a scale of 0\.32"),
        ("1,0.75f,1.0", "the views 1 and 1 are the same, 100 px at"),
        ("1f,1.001f", r"the views 1f and 1\.001f are the same, mirrored, 100 px .*leave one out"),
    ],
)
def test_views_that_do_not_fit_are_refused(text, message):
    with pytest.raises(InputError, match=rf"config\.pseudo\.views='{text}': .*{message}"):
        read_views(text, 100)


def test_the_scale_that_a_message_names_is_accepted():
    read_views("0.32", 100)
    read_views("0.058", 555)


BOXES = np.array([[4, 8, 20, 40], [12, 0, 28, 12]], np.float32)  # of the two images
HEIGHT, WIDTH = 32, 48


def make_source():
    """Return two images in which a box is white."""
    images = np.zeros((2, HEIGHT, WIDTH, 3), np.uint8)
    for image, (ymin, xmin, ymax, xmax) in zip(images, BOXES.astype(int), strict=True):
        image[ymin:ymax, xmin:xmax] = 255
    ids = ("first", "second")
    encoded = [encode_png(image) for image in images]
    return Source(
        "white", (), ids, lambda index: {"image_id": ids[index]}, encoded.__getitem__,
        lambda index: decode_image(encoded[index], ids[index]),
    )  # fmt: skip


def load(image, size_px):
    """Enlarge by the whole number of times that fits."""
    times = size_px // max(image.shape[:2])
    inputs = np.zeros((size_px, size_px, 3), np.uint8)
    large = image.repeat(times, axis=0).repeat(times, axis=1)
    inputs[: large.shape[0], : large.shape[1]] = large
    return inputs, np.array(large.shape[:2])


class Finder:
    """Finds the white box, of score 0.8 in small images and 0.4 in large ones, `shift_px` lower in these."""

    def __init__(self, shift_px=0.0, class_id=3):
        self.shift_px, self.class_id, self.sides_px = shift_px, class_id, []

    def __call__(self, fitted):
        images = fitted.images
        side_px = images.shape[1]
        self.sides_px.append(side_px)
        is_large = side_px > SIZE_PX
        found = Detections(
            np.zeros((len(images), 3, 4), np.float32),
            np.zeros((len(images), 3), np.float32),
            np.zeros((len(images), 3), np.int32),
            np.zeros((len(images), 3), bool),
        )
        for row, image in enumerate(images[..., 0]):
            if not image.any():
                continue
            y, x = np.nonzero(image)
            box = np.array([y.min(), x.min(), y.max() + 1, x.max() + 1], np.float32)
            found.boxes[row, 0] = box + is_large * np.array([self.shift_px, 0, self.shift_px, 0])
            found.scores[row, 0], found.classes[row, 0] = 0.4 if is_large else 0.8, self.class_id
            found.valid[row, 0] = True
        return Detections(*map(jax.numpy.asarray, found))


def make_labeller(source, views, *finders, score_floor=0.05):
    network = Network(load, finders or (Finder(),), 4, SIZE_PX, score_floor, read_views(views, SIZE_PX))
    return box_labeller(source, network, num_threads=2)


def infer(views, *finders, score_floor=0.05):
    labeller = make_labeller(make_source(), views, *finders, score_floor=score_floor)
    ((_, images),) = labeller.infer([(0, [0, 1])])
    return [image.labels for image in images], labeller.settings


@pytest.mark.parametrize("views", ["1", "1f", "2f"])
def test_a_single_view_comes_back_to_the_image_and_says_nothing_of_the_place(views):
    found, settings = infer(views)
    for labels, box in zip(found, BOXES, strict=True):
        np.testing.assert_array_equal(labels["boxes"], [box])
        assert "place_std" not in labels
    assert settings.views == views


def test_views_agree_on_a_box_that_is_there():
    finder = Finder()
    found, settings = infer("1,1f,2,2f", finder)
    assert finder.sides_px == [64, 64, 128, 128]
    assert settings.views == "1,1f,2,2f"
    for labels, box in zip(found, BOXES, strict=True):
        np.testing.assert_allclose(labels["boxes"], [box], atol=1e-5)
        np.testing.assert_allclose(labels["scores"], [0.6], rtol=1e-6)
        np.testing.assert_allclose(labels["place_std"], [0], atol=1e-6)
        assert labels["classes"].tolist() == [3]


def test_a_box_that_moves_between_the_views_has_the_spread_of_its_edges():
    (labels, _), _ = infer("1,2", Finder(shift_px=4))  # 2 px of the image, with a third of the weight
    np.testing.assert_allclose(labels["boxes"], [BOXES[0] + [2 / 3, 0, 2 / 3, 0]], rtol=1e-6)
    np.testing.assert_allclose(labels["place_std"], [2 * np.sqrt(8 / 9) / 4 / 24], rtol=1e-5)


def test_models_are_merged_as_views_are():
    """In view 1 all find the box at its place, in view 2 one of them finds it 2 px lower."""
    alone, settings = infer("1")
    assert (settings.num_models, settings.has_places) == (1, False)
    for labels, one in zip(infer("1", Finder(), Finder())[0], alone, strict=True):
        np.testing.assert_allclose(labels["boxes"], one["boxes"])
        np.testing.assert_allclose(labels["scores"], one["scores"])
        np.testing.assert_array_equal(labels["place_std"], [0])
    (labels, _), settings = infer("1,2", Finder(), Finder(shift_px=4))
    assert (settings.num_models, settings.views, settings.has_places) == (2, "1,2", True)
    low = 2 * 0.4 / (0.8 + 0.8 + 0.4 + 0.4)
    np.testing.assert_allclose(labels["boxes"], [BOXES[0] + [low, 0, low, 0]], rtol=1e-6)
    np.testing.assert_allclose(labels["scores"], [0.6], rtol=1e-6)


def test_a_class_that_one_of_two_models_says_counts_half():
    (labels, _), _ = infer("1,1f", Finder(), Finder(class_id=2))
    assert sorted(zip(labels["classes"], labels["scores"], strict=True)) == [
        (2, pytest.approx(0.4)),
        (3, pytest.approx(0.4)),
    ]


def test_the_floor_holds_after_the_merge():
    # 12 px apart in the image, the boxes stay two: half of 0.8, and half of 0.4.
    (labels, _), _ = infer("1,2", Finder(shift_px=24), score_floor=0.1)
    assert labels["scores"].tolist() == pytest.approx([0.4, 0.2])
    (labels, _), _ = infer("1,2", Finder(shift_px=24), score_floor=0.3)
    assert labels["scores"].tolist() == pytest.approx([0.4])


def test_no_more_boxes_are_kept_than_a_view_has():
    class Scattered(Finder):
        def __call__(self, fitted):
            found = super().__call__(fitted)
            shift = len(self.sides_px) * jax.numpy.array([0.0, 14, 0, 14])
            many = found.boxes[:, :1] / 64 + shift + jax.numpy.arange(3)[None, :, None] * 4
            return Detections(many, found.scores[:, :1].repeat(3, 1), found.classes[:, :1].repeat(3, 1),
                              found.valid[:, :1].repeat(3, 1))  # fmt: skip

    (labels, _), _ = infer("1,1f", Scattered())
    assert len(labels["boxes"]) == 3


def test_labels_of_one_view_are_recorded_as_they_always_were(tmp_path):
    manifest = label(tmp_path)
    assert "views" not in manifest
    assert '"views"' not in (tmp_path / "job.json").read_text()


def test_place_std_is_kept_in_records_and_may_be_absent():
    (labels, _), _ = infer("1,2", Finder(shift_px=4))
    read, _ = decode_record(encode_record(labels, b"", HEIGHT, WIDTH))
    np.testing.assert_array_equal(read["place_std"], labels["place_std"])
    del labels["place_std"]
    assert "place_std" not in decode_record(encode_record(labels, b"", HEIGHT, WIDTH))[0]


def test_a_folder_of_several_views_says_so_and_keeps_places_at_any_threshold(tmp_path):
    source = make_source()
    manifest = write_pseudo_labels(
        directory=tmp_path,
        source=source,
        labeller=make_labeller(source, "1,2", Finder(shift_px=24)),
        categories=(Category(3, "white"),),
        provenance={"teacher": {"checkpoint": "t/1", "digest": "a", "step": 1}, "config": {}, "versions": {}},
    )
    assert manifest.labels.settings.views == "1,2"
    for threshold, places in ((0.1, [1, 1]), (0.3, [1])):
        assert read_pseudo_boxes(tmp_path, threshold=threshold).read_labels(0)["place_std"].tolist() == places
