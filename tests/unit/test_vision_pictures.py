"""Decoding of pictures and the encoder without weights."""

import io

import numpy as np
import pytest
from PIL import Image

from models.encoders import decoding
from models.encoders.decoding import Undecodable, decode
from models.encoders.image import ImageEncoder, pixel_features


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def halves(mode: str = "RGB", size: tuple[int, int] = (40, 40)) -> Image.Image:
    """Left half red, right half blue."""
    cells = np.zeros((size[1], size[0], 3), np.uint8)
    cells[:, : size[0] // 2, 0] = 255
    cells[:, size[0] // 2 :, 2] = 255
    return Image.fromarray(cells).convert(mode)


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "RGB", {"quality": 95}),
        ("JPEG", "CMYK", {"quality": 95}),
        ("PNG", "RGB", {}),
        ("PNG", "P", {}),
        ("PNG", "RGBA", {}),
        ("WEBP", "RGB", {"lossless": True}),
    ],
)
def test_formats_and_modes_decode_to_the_same_colours(kind, mode, options):
    found = decode(encoded(halves(mode), kind, **options), 32).astype(int)
    assert found.shape == (32, 32, 3)
    assert np.abs(found[16, 4] - (255, 0, 0)).max() < 30
    assert np.abs(found[16, 28] - (0, 0, 255)).max() < 30


def test_what_is_clear_becomes_white():
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert (decode(encoded(clear, "PNG"), 8) == 255).all()
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([0, 0, 0] * 256)
    assert (decode(encoded(palette, "PNG", transparency=0), 8) == 255).all()


def test_sixteen_bits_keep_their_brightness():
    wide = Image.fromarray(np.full((8, 8), 200 * 256 + 7, np.uint16))
    assert (decode(encoded(wide, "PNG"), 8) == 200).all()


@pytest.mark.parametrize(("turn", "red_at"), [(1, (0.5, 0.1)), (3, (0.5, 0.9)), (6, (0.1, 0.5))])
def test_pictures_are_turned_as_exif_says(turn, red_at):
    exif = Image.Exif()
    exif[0x0112] = turn
    found = decode(encoded(halves(), "JPEG", quality=95, exif=exif), 32).astype(int)
    down, across = (int(share * 31) for share in red_at)
    assert np.abs(found[down, across] - (255, 0, 0)).max() < 30


def test_pictures_keep_their_shape_and_are_padded_with_their_border():
    wide = Image.new("RGB", (60, 20), (90, 90, 90))
    wide.paste((255, 255, 255), (25, 5, 35, 15))
    found = decode(encoded(wide, "PNG"), 30)
    assert (found[:9] == 90).all() and (found[-9:] == 90).all()
    bright = np.argwhere(found[..., 0] > 200)
    height, width = np.ptp(bright, axis=0)
    assert height == width


def test_extreme_shapes_still_decode():
    assert decode(encoded(Image.new("RGB", (4000, 1)), "PNG"), 16).shape == (16, 16, 3)
    assert decode(encoded(Image.new("RGB", (1, 1), "red"), "PNG"), 16)[3, 3].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"just words, named picture.jpg",
        encoded(halves(), "GIF"),
        encoded(halves(), "BMP"),
        encoded(halves(), "PNG")[:60],
        encoded(halves(), "JPEG")[:200],
        encoded(halves(), "WEBP")[:40],
    ],
    ids=["empty", "words", "gif", "bmp", "cut png", "cut jpeg", "cut webp"],
)
def test_what_is_no_picture_has_a_named_error(data):
    with pytest.raises(Undecodable, match="no JPEG, PNG, WEBP picture"):
        decode(data, 16)


def test_damaged_bytes_never_raise_anything_else():
    draw = np.random.default_rng(1)
    for kind in ("PNG", "JPEG", "WEBP"):
        whole = np.frombuffer(encoded(halves(), kind), np.uint8)
        for _ in range(60):
            damaged = whole.copy()
            places = draw.integers(0, len(whole), 6)
            damaged[places] = draw.integers(0, 256, 6)
            try:
                assert decode(damaged.tobytes(), 16).shape == (16, 16, 3)
            except Undecodable:
                continue


def test_too_many_pixels_are_refused_before_they_are_read(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 1000)
    with pytest.raises(Undecodable, match="40 x 40 pixels, more than 1,000"):
        decode(encoded(halves(), "PNG"), 16)


def test_the_encoder_names_the_picture_that_cant_be_read():
    good = encoded(halves(), "PNG")
    with pytest.raises(Undecodable, match="picture 3:") as caught:
        ImageEncoder.pixels().encode([good, good, good, b"words"], batch=2)
    assert caught.value.at == 3


def test_pixel_vectors_are_the_same_whatever_the_batches():
    draw = np.random.default_rng(0)
    pictures = [
        encoded(Image.fromarray(draw.integers(0, 256, (20, 30, 3), np.uint8)), "PNG")
        for _ in range(7)
    ]
    encoder = ImageEncoder.pixels()
    vectors = encoder.encode(pictures, batch=64)
    assert vectors.dtype == np.float32 and len(vectors) == 7
    np.testing.assert_array_equal(vectors, encoder.encode(pictures, batch=2))
    np.testing.assert_array_equal(vectors[::-1], encoder.encode(pictures[::-1]))
    assert encoder.encode([]).shape == (0, vectors.shape[1])
    again = ImageEncoder.from_bundle(encoder.to_bundle())
    assert again.identity == encoder.identity
    np.testing.assert_array_equal(vectors, again.encode(pictures))


def test_the_histogram_of_colours_sums_to_one():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    colours = pixel_features(pictures)[:, -64:]
    np.testing.assert_allclose((colours**2).sum(1), 1.0, rtol=1e-5)


def test_a_bundle_of_another_kind_is_refused():
    bundle = ImageEncoder.pixels().to_bundle()
    with pytest.raises(ValueError, match="no image-encoder"):
        ImageEncoder.from_bundle(type(bundle)("text-encoder", bundle.config))
