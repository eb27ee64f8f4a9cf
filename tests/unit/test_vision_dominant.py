"""Dominant colours: what of a picture is its product, in which colours, by which names."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks import vision as bench
from models.encoders.decoding import decode_stretched
from models.vision.colour_names import NAMES, named
from models.vision.dominant import MOST, Palettes, dominant
from models.vision.ground import products

SIDE = 48
RED, BLUE, GREEN, BLACK = (200, 30, 40), (40, 70, 190), (40, 140, 60), (18, 18, 20)


def picture(ground: tuple[int, int, int] = (255, 255, 255)) -> np.ndarray:
    return np.full((1, SIDE, SIDE, 3), ground, np.uint8)


def told(palettes: Palettes, row: int = 0) -> list[tuple[str, str, float]]:
    """Hex, name and share of each colour of one picture."""
    shares = palettes.shares[row]
    kept = shares > 0
    hexes, names = palettes.hexes[row][kept], palettes.names[row][kept]
    return list(zip(hexes, names, shares[kept].round(3).tolist(), strict=True))


def test_a_plain_ground_is_left_out() -> None:
    one = picture()
    one[:, 12:36, 12:36] = RED
    assert told(dominant(one)) == [("#c81e28", "red", 1.0)]


def test_a_ground_that_darkens_to_its_corners_is_left_out() -> None:
    across = np.abs(np.linspace(-1, 1, SIDE))
    shade = 250 - 15 * (across[:, None] + across)
    one = np.repeat(shade[None, :, :, None], 3, axis=3).astype(np.uint8)
    one[:, 12:36, 12:36] = BLUE
    assert told(dominant(one)) == [("#2846be", "blue", 1.0)]


def test_a_product_of_two_colours_has_the_shares_of_its_area() -> None:
    one = picture()
    one[:, 8:40, 8:40] = RED
    one[:, 8:40, 32:40] = BLUE
    first, second = told(dominant(one))
    assert (first[1], second[1]) == ("red", "blue")
    assert first[2] == pytest.approx(0.75, abs=0.03) and first[2] + second[2] == pytest.approx(1)


def test_a_picture_of_two_halves_is_no_ground_with_a_product() -> None:
    one = picture(RED)
    one[:, :, SIDE // 2 :] = BLUE
    # Equal shares stand in the order of their hexadecimal.
    assert told(dominant(one)) == [("#2846be", "blue", 0.5), ("#c81e28", "red", 0.5)]


def test_without_a_plain_border_all_counts_and_the_middle_most() -> None:
    draw = np.random.default_rng(0)
    shelf = draw.integers(60, 190, (1, SIDE, SIDE, 1)).repeat(3, axis=3).astype(np.uint8)
    assert (products(shelf) > 0).all()
    assert {name for _, name, _ in told(dominant(shelf))} <= {"grey", "black"}
    middle, corner = shelf.copy(), shelf.copy()
    middle[:, 16:32, 16:32] = RED
    corner[:, :16, :16] = RED
    area = 16**2 / SIDE**2
    shares = [dict(line[1:] for line in told(dominant(one))) for one in (middle, corner)]
    assert shares[0]["red"] > 2 * area > area > 2 * shares[1].get("red", 0)


@pytest.mark.parametrize(("colour", "name"), [(BLACK, "black"), ((255, 255, 255), "white")])
def test_a_product_in_its_grounds_colour_has_that_colour(
    colour: tuple[int, int, int], name: str
) -> None:
    one = picture(colour)
    one[:, 16:32, 16:32] = np.array(colour) - 4
    assert [line[1] for line in told(dominant(one))] == [name]


def test_a_hole_shows_the_ground_and_a_shaded_surface_does_not() -> None:
    ring = picture()
    ring[:, 8:40, 8:40] = GREEN
    ring[:, 18:30, 18:30] = 255
    assert told(dominant(ring)) == [("#288c3c", "green", 1.0)]
    shirt = picture()
    shirt[:, 8:40, 8:40] = 225
    shirt[:, 16:32, 14:34] = 255
    assert [line[1] for line in told(dominant(shirt))][:1] == ["white"]
    assert products(shirt)[0, 20, 20] == 1


def test_shades_of_one_colour_are_one_and_other_colours_are_not() -> None:
    one = picture()
    one[:, 8:40, 8:40] = RED
    one[:, 8:40, 8:16] = np.array(RED) - 15
    one[:, 8:24, 30:40] = GREEN
    assert [name for _, name, _ in told(dominant(one))] == ["red", "green"]


def test_specks_are_not_told() -> None:
    one = picture()
    one[:, 8:40, 8:40] = RED
    one[:, 20:22, 20:22] = GREEN
    (only,) = told(dominant(one))
    assert only[1] == "red" and 0.97 < only[2] < 1


def test_no_more_than_five_are_told() -> None:
    colours = [RED, BLUE, GREEN, BLACK, (240, 210, 40), (150, 60, 150), (240, 130, 20), (120,) * 3]
    one = picture()
    one[:, 4:44, 4:44] = np.repeat(np.array(colours, np.uint8), 5, axis=0)
    found = dominant(one)
    assert (found.shares > 0).sum() == MOST
    assert 0.5 < found.shares.sum() < 0.8


def encoded(pixels: np.ndarray, mode: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels, mode).save(out, "png")
    return out.getvalue()


def test_a_clear_ground_is_left_out_whatever_the_product_looks_like() -> None:
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[10:30, 10:30] = 255
    pixels[14:17, 14:17] = (*BLACK, 255)
    seen, opaque = decode_stretched(encoded(pixels, "RGBA"), SIDE)
    white, *_ = told(dominant(seen[None], opaque[None]))
    assert white[1] == "white" and white[2] > 0.9
    nothing = decode_stretched(encoded(np.zeros((9, 9, 4), np.uint8), "RGBA"), SIDE)
    assert told(dominant(nothing[0][None], nothing[1][None])) == [("#ffffff", "white", 1.0)]


def test_pictures_are_stretched_so_that_shares_stay() -> None:
    pixels = np.full((10, 40, 3), 255, np.uint8)
    pixels[2:8, 4:20], pixels[2:8, 20:36] = RED, BLUE
    seen, opaque = decode_stretched(encoded(pixels, "RGB"), 80)
    assert seen.shape == (80, 80, 3) and opaque.all()
    assert [line[2] for line in told(dominant(seen[None]))] == [0.5, 0.5]


@pytest.mark.parametrize("side", [1, 2, 3])
def test_the_smallest_pictures_have_their_colour(side: int) -> None:
    assert told(dominant(np.full((1, side, side, 3), GREEN, np.uint8))) == [
        ("#288c3c", "green", 1.0)
    ]
    assert (
        decode_stretched(encoded(np.full((1, 1, 3), RED, np.uint8), "RGB"), 4)[0].tolist()
        == [[list(RED)] * 4] * 4
    )


def test_no_picture_is_no_palette() -> None:
    found = dominant(np.zeros((0, 8, 8, 3), np.uint8))
    assert len(found) == 0 and found.hexes.shape == found.names.shape == (0, MOST)


def test_a_pictures_colours_do_not_depend_on_those_beside_it() -> None:
    draw = np.random.default_rng(1)
    coarse = draw.integers(0, 256, (70, 6, 6, 3)).astype(np.uint8)
    pictures = coarse.repeat(4, axis=1).repeat(4, axis=2)
    together = dominant(pictures)
    for row in (0, 33, 69):
        alone = dominant(pictures[row : row + 1])
        assert np.array_equal(alone.colours[0], together.colours[row])
        assert np.array_equal(alone.shares[0], together.shares[row])
        assert alone.names[0].tolist() == together.names[row].tolist()


@settings(max_examples=60, deadline=None)
@given(
    side=st.integers(1, 12),
    scale=st.integers(1, 3),
    levels=st.integers(1, 255),
    framed=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_shares_descend_and_mirrored_pictures_have_the_same_colours(
    side: int, scale: int, levels: int, framed: bool, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    cells = (draw.integers(0, levels + 1, (2, side, side, 3)) * (255 // levels)).astype(np.uint8)
    pictures = cells.repeat(scale, axis=1).repeat(scale, axis=2)
    if framed:
        pictures = np.pad(pictures, ((0, 0), (4, 4), (4, 4), (0, 0)), constant_values=255)
    found = dominant(pictures)
    assert (np.diff(found.shares, axis=1) <= 0).all()
    assert (found.shares[:, 0] > 0).all() and (found.shares >= 0).all()
    assert (found.shares.sum(1) <= 1 + 1e-9).all()
    for mirrored in (pictures[:, :, ::-1], pictures[:, ::-1], pictures[:, ::-1, ::-1]):
        other = dominant(mirrored)
        assert np.array_equal(other.colours, found.colours)
        assert np.array_equal(other.shares, found.shares)


def test_every_name_is_that_of_the_surfaces_that_it_stands_for() -> None:
    for name, hexes in NAMES.items():
        surfaces = np.array([list(bytes.fromhex(one)) for one in hexes.split()])
        assert set(named(surfaces)) == {name}


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ((0, 0, 255), "blue"),
        ((255, 255, 0), "yellow"),
        ((250, 128, 10), "orange"),
        ((24, 32, 66), "navy"),
        ((110, 70, 45), "brown"),
        ((225, 205, 170), "beige"),
        ((100, 10, 35), "maroon"),
        ((30, 160, 150), "turquoise"),
        ((250, 170, 190), "pink"),
        ((130, 130, 130), "grey"),
    ],
)
def test_plain_colours_have_the_names_that_people_use(
    colour: tuple[int, int, int], name: str
) -> None:
    assert named(np.array(colour, np.uint8)) == name


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Navy Blue", ["navy"]),
        ("Grey Melange", ["grey"]),
        ("dusty/PINK", ["pink"]),
        ("Cream", ["beige", "white"]),
        ("Multi", []),
        ("", []),
    ],
)
def test_words_of_shops_become_our_names(text: str, names: list[str]) -> None:
    assert bench.stated_names(text) == names


def test_every_word_of_shops_stands_for_names_of_ours() -> None:
    assert {name for names in bench.STATED.values() for name in names.split()} <= set(NAMES)


def test_the_benchmark_tells_how_often_names_agree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = picture()[0]
    one[8:40, 8:40], one[8:40, 32:40] = RED, BLUE
    (tmp_path / "one.png").write_bytes(encoded(one, "RGB"))
    rows = ("a,one.png,Dark Red", "b,one.png,Blue", "c,one.png,Green", "d,one.png,Multi")
    (tmp_path / "rows.csv").write_text("\n".join(["id,path,colour", *rows, "e,gone.png,Red"]))
    words = ["--colours", "--train", str(tmp_path / "rows.csv"), "--field", "colour"]
    assert bench.main(words, tmp_path) == 0
    said = capsys.readouterr()
    assert "gone.png" in said.err and "3 of 5" in said.out
    (last,) = [line for line in said.out.splitlines() if line.startswith("│ all")]
    assert " 0.333 " in last and " 0.667 " in last
