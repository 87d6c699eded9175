import numpy as np
import pytest
from skimage.color import rgb2lab
from skimage.draw import polygon2mask

from harness.data import scene
from harness.data.scene import BACKGROUNDS, SHAPES, compose_scene, polygon_area, unit_polygon

FINE = 256


def scenes(count, **settings):
    settings = {"overlap": 0.0, "edge": 0.0, "backgrounds": BACKGROUNDS} | settings
    return [compose_scene(np.random.default_rng(seed), **settings) for seed in range(count)]


def fine_mask(vertices):
    return polygon2mask((FINE, FINE), vertices[:, ::-1] * FINE)


def test_area_of_known_polygons():
    assert polygon_area(np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=float)) == pytest.approx(1)
    assert polygon_area(np.array([[0, 0], [0, 1], [1, 0]], dtype=float)) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("shape", "corners"),
    [("triangle", 3), ("square", 4), ("pentagon", 5), ("hexagon", 6), ("heptagon", 7), ("octagon", 8)],
)
def test_regular_polygons_have_equal_sides_and_their_number_of_corners(shape, corners):
    vertices = unit_polygon(shape, np.random.default_rng(3))
    sides = np.linalg.norm(vertices - np.roll(vertices, 1, axis=0), axis=1)
    assert len(vertices) == corners
    assert sides == pytest.approx(np.full(corners, 2 * np.sin(np.pi / corners)))


def test_circle_star_and_irregular_polygons_are_what_they_say():
    rng = np.random.default_rng(0)
    assert polygon_area(unit_polygon("circle", rng)) == pytest.approx(np.pi, rel=0.01)
    radii = np.linalg.norm(unit_polygon("star", rng), axis=1)
    assert len(radii) == 10
    assert (radii[::2] == pytest.approx(1)) and (radii[1::2] == pytest.approx(0.45))
    assert np.ptp(np.linalg.norm(unit_polygon("irregular", rng), axis=1)) > 0.05


def test_polygons_are_turned_by_any_angle():
    angles = [
        np.arctan2(*unit_polygon("square", np.random.default_rng(seed))[0][::-1]) for seed in range(200)
    ]
    assert np.histogram(angles, bins=4, range=(-np.pi, np.pi))[0].min() > 20


def test_every_shape_and_background_occurs():
    drawn = scenes(300)
    assert {item.shape for item in drawn} == set(range(len(SHAPES)))
    assert {item.background for item in drawn} == set(BACKGROUNDS)


def test_without_edge_the_polygon_lies_inside_with_room_for_its_line():
    for item in scenes(200):
        assert item.front.min() > 0.049 and item.front.max() < 0.951
        assert item.behind is None


def test_with_edge_the_border_cuts_the_polygon_and_leaves_most_of_it():
    for item in scenes(100, edge=1.0):
        assert item.front.min() < 0 or item.front.max() > 1
        visible = fine_mask(item.front).mean() / polygon_area(item.front)
        assert 0.5 < visible < 0.95


def test_with_overlap_the_front_hides_a_part_of_the_other_and_their_outlines_cross():
    for item in scenes(400, overlap=1.0, edge=0.3):
        front, behind = fine_mask(item.front), fine_mask(item.behind)
        assert 0.07 < (front & behind).sum() / behind.sum() < 0.63
        assert (front & ~behind).sum() > 0.1 * front.sum()


def test_overlap_and_backgrounds_do_not_change_the_front_polygon():
    first = scenes(20)
    second = scenes(20, overlap=1.0, backgrounds=("noisy_black",))
    for one, other in zip(first, second, strict=True):
        assert one.shape == other.shape
        np.testing.assert_array_equal(one.front, other.front)


def test_coloured_backgrounds_are_far_from_black_lines_and_grey_fills():
    papers = np.array([item.paper for item in scenes(300, backgrounds=("coloured",))])
    lab = rgb2lab(papers[None] / 255)[0]
    grey = rgb2lab(np.full((1, 1, 3), 128 / 255))[0]
    assert lab[:, 0].min() > 70
    assert np.linalg.norm(lab - grey, axis=1).min() > 20
    assert np.linalg.norm(lab[:, 1:], axis=1).min() > 5, "coloured, not grey"


def test_a_scene_does_not_need_its_neighbours():
    assert scene.compose_scene(
        np.random.default_rng(7), overlap=0.0, edge=0.0, backgrounds=BACKGROUNDS
    ).front == pytest.approx(scenes(8)[7].front)
