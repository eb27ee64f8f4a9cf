"""The door's verbs on pictures: every asked id once, in order, whatever the files hold."""

import csv
import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.vision.packs import Line, Reader
from pipelines.benchmark import run
from pipelines.harness import BadConfig, BadData
from tests.conftest import REPOSITORY

SHADES = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (30, 40, 200)}


def picture(shade: str, seed: int, mode: str = "RGB") -> Image.Image:
    draw = np.random.default_rng(seed)
    cells = np.full((24, 32, 3), 255.0)
    cells[4:20, 6:26] = SHADES[shade]
    cells += draw.normal(0, 12, cells.shape)
    return Image.fromarray(cells.clip(0, 255).astype(np.uint8)).convert(mode)


def bomb() -> bytes:
    """A PNG that says it has 40,000 x 40,000 pixels."""
    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + head
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", zlib.crc32(b"IHDR" + head))


def bad_files(folder: Path) -> dict[str, str]:
    """Name to the name of a file that is no picture we read."""
    whole = io.BytesIO()
    picture("red", 1).save(whole, "JPEG")
    contents = {
        "empty.jpg": b"",
        "cut.jpg": whole.getvalue()[:200],
        "words.jpg": b"not a picture at all",
        "bomb.png": bomb(),
        "page.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    (folder / "folder.jpg").mkdir()
    return {name: name for name in (*contents, "folder.jpg", "absent.jpg")}


def odd_files(folder: Path) -> dict[str, str]:
    """Id to the name of a file that is a picture, of an unusual make."""
    picture("red", 2, "CMYK").save(folder / "cmyk.jpg")
    picture("green", 3, "RGBA").save(folder / "alpha.png")
    Image.fromarray(np.full((9, 9), 40_000, np.uint16)).save(folder / "deep.png")
    Image.new("RGB", (1, 1), "blue").save(folder / "one.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture("blue", 4).save(folder / "turned.jpg", exif=exif)
    frames = [picture("red", at) for at in range(3)]
    frames[0].save(folder / "moving.webp", save_all=True, append_images=frames[1:])
    picture("green", 5).save(folder / "红 苹果.jpg")
    names = (
        "cmyk.jpg",
        "alpha.png",
        "deep.png",
        "one.png",
        "turned.jpg",
        "moving.webp",
        "红 苹果.jpg",
    )
    return {name: name for name in names}


def table(path: Path, columns: list[str], rows: list[list[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Twelve pictures a shade, a bad one among them, and files to ask."""
    rows = []
    for at in range(36):
        shade = list(SHADES)[at % 3]
        name = f"{at:03d}.png"
        picture(shade, 100 + at).save(tmp_path / name)
        title = f"{shade} mug no. {at}" if at % 4 else ""
        rows.append(
            [f"00{at}", name, title, shade, "" if at % 5 == 0 else "mug" if at % 2 else "cup"]
        )
    rows.append(["bad", "cut.jpg", "red mug", "red", "mug"])
    table(tmp_path / "train.csv", ["id", "path", "title", "shade", "kind"], rows)
    asked = [
        [one, name, ""] for one, name in {**odd_files(tmp_path), **bad_files(tmp_path)}.items()
    ]
    asked += [["twin", str(tmp_path / "001.png"), "green mug"]]
    table(tmp_path / "test.csv", ["id", "path", "title"], asked)
    return tmp_path


def answers(shop: Path, verb: str, *words: str) -> tuple[list[dict], dict[str, float]]:
    out = shop / f"{verb}.jsonl"
    call = [verb, *words, "--out", str(out), "--profile", "tiny", "--threads", "1"]
    figures = run(call, REPOSITORY)
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()], figures


def ids(shop: Path) -> list[str]:
    with (shop / "test.csv").open(encoding="utf-8") as file:
        return [row["id"] for row in csv.DictReader(file)]


def test_one_catalogue_picture_a_class_tells_photos_of_another_light(tmp_path, capsys):
    """Each class has one picture; the asked ones are all darker, with a cast of red."""
    rows, asked = [], []
    for name in SHADES:
        picture(name, 1).save(tmp_path / f"{name}.png")
        rows.append([name, f"{name}.png", name])
    for at in range(48):
        cells = np.asarray(picture(list(SHADES)[at % 3], 10 + at)).astype(float)
        dark = (cells * 0.6 + (80, 0, 0)).clip(0, 255).astype(np.uint8)
        Image.fromarray(dark).save(tmp_path / f"{at}.png")
        asked.append([str(at), f"{at}.png"])
    table(tmp_path / "train.csv", ["id", "path", "shade"], rows)
    table(tmp_path / "test.csv", ["id", "path"], asked)
    table(tmp_path / "some.csv", ["id", "path"], asked[:6])

    def right(file: str) -> float:
        files = ["--train", str(tmp_path / "train.csv"), "--test", str(tmp_path / file)]
        found, _ = answers(tmp_path, "recognise", *files, "--field", "shade")
        return float(np.mean([row["pred"] == list(SHADES)[int(row["id"]) % 3] for row in found]))

    assert right("some.csv") <= 0.5
    assert "tell how cameras differ" not in capsys.readouterr().err
    assert right("test.csv") >= 0.9
    assert "48 of the asked ones tell how cameras differ" in capsys.readouterr().err


def test_recognise_answers_every_id_once(shop, capsys):
    files = ["--train", str(shop / "train.csv"), "--test", str(shop / "test.csv")]
    found, figures = answers(shop, "recognise", *files, "--field", "shade")
    assert [row["id"] for row in found] == ids(shop)
    assert figures["rows"] == len(found)
    by = {row["id"]: row for row in found}
    assert by["twin"]["pred"] == "green"
    assert by["alpha.png"]["conf"] != by["empty.jpg"]["conf"]
    assert by["红 苹果.jpg"]["conf"] != by["empty.jpg"]["conf"]
    for row in found:
        assert row["topk"][0] == [row["pred"], pytest.approx(row["conf"], abs=1e-5)]
        assert sum(share for _, share in row["topk"]) == pytest.approx(1.0, abs=1e-4)
    # What can't be read gets the shares of train.
    assert by["bomb.png"]["topk"] == by["empty.jpg"]["topk"] == by["absent.jpg"]["topk"]
    told = capsys.readouterr().err
    for name in ("empty.jpg", "cut.jpg", "words.jpg", "bomb.png", "folder.jpg", "absent.jpg"):
        assert f"id {name}: the picture can't be read" in told


def test_recognise_tells_the_coarser_class_beside_the_label(shop):
    with (shop / "train.csv").open(encoding="utf-8") as file:
        rows = [[*row.values()] for row in csv.DictReader(file)]
    bright = {"red": "warm", "green": "cold", "blue": "cold"}
    above = [[*row, bright[row[3]]] for row in rows]
    table(shop / "above.csv", ["id", "path", "title", "shade", "kind", "bright"], above)
    asked = ["--test", str(shop / "test.csv"), "--field", "shade"]
    plain, _ = answers(shop, "recognise", "--train", str(shop / "train.csv"), *asked)
    files = ["--train", str(shop / "above.csv"), *asked, "--coarse", "bright"]
    found, _ = answers(shop, "recognise", *files)
    assert [row["id"] for row in found] == ids(shop)
    for row, other in zip(found, plain, strict=True):
        shares = dict.fromkeys(bright.values(), 0.0)
        for name, share in row["topk"]:
            shares[bright[name]] += share
        assert row.pop("coarse") == max(shares, key=shares.get)
        assert row.pop("coarse_conf") == pytest.approx(max(shares.values()), abs=1e-5)
        assert row == other


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (
            "cold",
            "column bright, row 3: the class 'red' is of 'cold', but of 'warm' in row 1; write the same",
        ),
        ("", "column bright, row 3: there is no value for the class 'red'; fill it in"),
        (None, "column 'bright' is missing; the file has: id, path, shade"),
    ],
)
def test_a_coarser_class_that_does_not_hold_is_told(shop, last, said):
    rows = [["1", "000.png", "red", "warm"], ["2", "001.png", "green", "cold"]]
    rows += [["3", "003.png", "red", last]]
    width = 3 if last is None else 4
    columns = ["id", "path", "shade", "bright"][:width]
    file = table(shop / "above.csv", columns, [row[:width] for row in rows])
    files = ["--train", str(file), "--test", str(shop / "test.csv"), "--field", "shade"]
    with pytest.raises(BadData, match=said):
        answers(shop, "recognise", *files, "--coarse", "bright")


def test_attributes_answer_from_what_is_there(shop):
    files = ["--train", str(shop / "train.csv"), "--test", str(shop / "test.csv")]
    found, _ = answers(shop, "attributes", *files, "--fields", "shade,kind")
    assert [row["id"] for row in found] == ids(shop)
    by = {row["id"]: row for row in found}
    assert by["twin"]["pred"]["shade"] == "green"
    for row in found:
        assert set(row["pred"]) == set(row["conf"]) == {"shade", "kind"}
        assert all(0 < share <= 1 for share in row["conf"].values())


def test_search_finds_what_looks_alike_and_never_itself(shop):
    files = ["--gallery", str(shop / "train.csv"), "--queries", str(shop / "train.csv")]
    found, _ = answers(shop, "search", *files, "--k", "5")
    assert len(found) == 37
    shades = {f"00{at}": at % 3 for at in range(36)}
    for row in found[:-1]:
        near = [one for one, _ in row["neighbours"]]
        assert len(near) == 5 and row["id"] not in near
        assert shades[near[0]] == shades[row["id"]]
        scores = [score for _, score in row["neighbours"]]
        assert scores == sorted(scores, reverse=True)
    assert found[-1]["neighbours"] == []


def column(shop: Path, name: str) -> dict[str, str]:
    with (shop / "train.csv").open(encoding="utf-8") as file:
        return {row["id"]: row[name] for row in csv.DictReader(file)}


def test_search_keeps_neighbours_that_agree_and_their_scores(shop, capsys):
    files = ["--gallery", str(shop / "train.csv"), "--queries", str(shop / "train.csv")]
    whole, _ = answers(shop, "search", *files, "--k", "50")
    shade, kind = column(shop, "shade"), column(shop, "kind")

    def expected(agrees) -> list[list]:
        return [
            [pair for pair in row["neighbours"] if agrees(row["id"], pair[0])][:6] for row in whole
        ]

    def found(*words: str) -> list[list]:
        return [row["neighbours"] for row in answers(shop, "search", *files, "--k", "6", *words)[0]]

    near = found("--same", "shade, kind")
    assert near == expected(
        lambda one, other: kind[one] and shade[one] == shade[other] and kind[one] == kind[other]
    )
    assert near[0] == [] and kind["000"] == ""
    assert min(map(len, near[1:-1])) < 6
    near = found("--where", "shade=red")
    assert near == expected(lambda one, other: shade[other] == "red")
    assert "12 of them have the values of --where" in capsys.readouterr().err
    both = found("--same", "kind", "--where", '"shade=red",kind=mug')
    assert both == expected(
        lambda one, other: kind[one] == kind[other] == "mug" and shade[other] == "red"
    )
    assert not any(found("--where", "shade=mauve"))


@pytest.mark.parametrize(
    ("words", "fault", "said"),
    [
        (
            ["--same", "shade"],
            BadData,
            "test.csv: column 'shade' is missing; the file has: id, path, title",
        ),
        (
            ["--where", "size=M"],
            BadData,
            "train.csv: column 'size' is missing; the file has: id, path, title, shade",
        ),
        (
            ["--where", "shade"],
            BadConfig,
            "--where shade: write a column and its value, such as colour=red",
        ),
        (["--where", "shade=red,shade=blue"], BadConfig, "names 'shade' twice"),
    ],
)
def test_a_filter_that_can_not_be_read_is_told(shop, words, fault, said):
    files = ["--gallery", str(shop / "train.csv"), "--queries", str(shop / "test.csv")]
    with pytest.raises(fault, match=said):
        answers(shop, "search", *files, *words)


def test_a_large_gallery_is_sought_in_an_index_and_its_recall_told(tmp_path, capsys):
    """Twelve pictures of each of twelve shades; large is what has a hundred, enough to learn from pairs, too."""
    rows = []
    for at in range(144):
        turned = np.roll(np.asarray(picture(list(SHADES)[at % 3], at)), at % 12, axis=1)
        Image.fromarray(turned).save(tmp_path / f"{at}.png")
        rows.append([str(at), f"{at}.png", "red" if at % 2 else "blue"])
    file = str(table(tmp_path / "gallery.csv", ["id", "path", "shade"], rows))
    params = (REPOSITORY / "params.yaml").read_text("utf-8")
    assert params.count("indexed: 50000") == params.count("enough: 1000") == 1
    params = params.replace("enough: 1000", "enough: 100")
    found = {}
    for least, filtered in ((50_000, []), (100, []), (100, ["--same", "shade"])):
        changed = params.replace("indexed: 50000", f"indexed: {least}")
        (tmp_path / "params.yaml").write_text(changed, "utf-8")
        out = tmp_path / "near.jsonl"
        words = ["search", "--gallery", file, "--queries", file, "--k", "5", "--out", str(out)]
        figures = run([*words, "--profile", "tiny", "--threads", "1", *filtered], tmp_path)
        near = [json.loads(line)["neighbours"] for line in out.read_text("utf-8").splitlines()]
        assert [len(row) for row in near] == [5] * 144
        assert not any(str(at) in dict(row) for at, row in enumerate(near))
        found[least, len(filtered)] = (figures, near)
        told = capsys.readouterr().err
        assert ("cells of an index" in told) == (least == 100)
    (exact, whole), (figures, near), (same, _) = found.values()
    assert "recall" not in exact and "recall" not in same
    assert 0.9 <= figures["recall"] <= 1
    share = [len(dict(a).keys() & dict(b).keys()) / 5 for a, b in zip(whole, near, strict=True)]
    assert np.mean(share) >= 0.9


def test_a_file_without_a_usable_row_is_told(shop):
    table(shop / "none.csv", ["id", "path", "shade"], [["1", "empty.jpg", "red"]])
    with pytest.raises(BadData, match="no row has both a picture that can be read"):
        answers(
            shop,
            "recognise",
            *(
                "--train",
                str(shop / "none.csv"),
                "--test",
                str(shop / "test.csv"),
                "--field",
                "shade",
            ),
        )


def test_attributes_heed_the_text_on_packs(tmp_path, monkeypatch):
    """What packs say is told by a reader that knows the files; nothing of it is to be seen in the pictures."""
    brands, said, rows = ("Arla", "Oatly"), {}, []
    for at in range(60):
        path = tmp_path / f"{at}.png"
        picture("red", at).save(path)
        said[path.read_bytes()] = f"{brands[at % 2]} 500 ml"
        rows.append([str(at), path.name, brands[at % 2]])
    monkeypatch.setattr(Reader, "__init__", lambda self, threads, side: None)
    monkeypatch.setattr(Reader, "lines", lambda self, data: [Line(said[data], 0, 0, 9, 1.0)])
    table(tmp_path / "train.csv", ["id", "path", "brand"], rows[:48])
    table(tmp_path / "test.csv", ["id", "path"], [row[:2] for row in rows[48:]])
    files = ["--train", str(tmp_path / "train.csv"), "--test", str(tmp_path / "test.csv")]
    found, _ = answers(tmp_path, "attributes", *files, "--fields", "brand", "--packs")
    assert [row["pred"]["brand"] for row in found] == [row[2] for row in rows[48:]]
