"""Values from titles: the chain's sums against brute force, marking, and a small model that learns."""

from itertools import product

import numpy as np
import pytest
import torch

from models.language.extraction import (
    NEVER,
    Gazetteer,
    States,
    Title,
    chosen,
    log_partition,
    shape,
    span_chances,
    weight_of,
    words,
)
from models.language.extraction_training import fit, marked
from models.language.settings import TaggerSettings


@pytest.fixture
def chain():
    """Scores of two rows, three labels and four words, the second row two words long."""
    torch.manual_seed(1)
    scores, follow, first = torch.randn(2, 4, 3), torch.randn(3, 3), torch.randn(3)
    follow[0, 2] = NEVER
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    return scores, mask, follow, first


def every(scores, follow, first, length):
    """Each label sequence with the logarithm of its weight."""
    found = {}
    for path in product(range(3), repeat=length):
        total = first[path[0]] + sum(scores[at, label] for at, label in enumerate(path))
        found[path] = float(total + sum(follow[a, b] for a, b in zip(path, path[1:], strict=False)))
    return found


def values_of(path):
    """Begin and length of the values in a sequence of labels of one field."""
    begins = [at for at, label in enumerate(path) if label == 1]
    ends = [at for at, label in enumerate(path) if label != 2]
    return [(at, next((e for e in ends if e > at), len(path)) - at) for at in begins]


def test_the_chain_sums_over_all_sequences(chain):
    scores, mask, follow, first = chain
    sums = log_partition(scores, mask, follow, first)
    for row, length in enumerate((4, 2)):
        paths = every(scores[row], follow, first, length)
        total = np.logaddexp.reduce(list(paths.values()))
        assert float(sums[row]) == pytest.approx(total, abs=1e-4)
        labels = torch.zeros(1, 4, dtype=torch.int64)
        labels[0, :length] = torch.tensor((1, 2, 0, 1)[:length])
        own = weight_of(scores[row : row + 1], labels, mask[row : row + 1], follow, first)
        assert float(own) == pytest.approx(paths[(1, 2, 0, 1)[:length]], abs=1e-4)


@pytest.mark.parametrize("longest", [1, 3, 6])
def test_a_value_has_the_chance_of_all_sequences_that_hold_it(chain, longest):
    scores, _, follow, first = chain
    first[2] = NEVER
    for row, length in enumerate((4, 2)):
        paths = every(scores[row], follow, first, length)
        total = np.logaddexp.reduce(list(paths.values()))
        expected = np.zeros((1, length, longest))
        for path, weight in paths.items():
            for begin, words_of in values_of(path):
                if words_of <= longest:
                    expected[0, begin, words_of - 1] += np.exp(weight - total)
        found = span_chances(
            *(one.double().numpy() for one in (scores[row, :length], follow, first)), longest
        )
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_likeliest_values_are_chosen_one_a_field_and_apart():
    chances = np.zeros((3, 4, 2))
    chances[0, 0, 0], chances[0, 0, 1], chances[0, 3, 0] = 0.4, 0.5, 0.45
    chances[1, 1, 0], chances[1, 2, 0] = 0.49, 0.41
    chances[2, 3, 0] = 0.3
    assert chosen(chances, 0.4) == [(0, 0, 2, 0.5), (1, 2, 3, 0.41)]
    assert chosen(chances, 0.6) == []
    assert chosen(np.zeros((0, 3, 1)), 0.4) == []


def test_words_tell_numbers_letters_and_marks_apart():
    text = "Tea, 16.9 Fl-Oz (12Count) 茶"
    assert [text[a:b] for a, b in words(text)] == [
        "Tea",
        ",",
        "16.9",
        "Fl",
        "-",
        "Oz",
        "(",
        "12",
        "Count",
        ")",
        "茶",
    ]
    assert shape("Keurig2") == "Xx0" and shape("16.9") == "0.0"


def test_values_are_marked_once_and_do_not_overlap():
    title = Title("Red Red Bull, 8 oz", "Drink", ())
    found = marked(
        title, {"Brand": ["Red Bull"], "Colour": ["Red"], "Size": ["8 oz "], "X": ["ull"]}
    )
    assert found == [("Colour", 0, 1), ("Brand", 1, 3), ("Size", 4, 6)]


def test_a_title_does_not_learn_from_its_own_values():
    gazetteer = Gazetteer.of(
        [(("Red", "Bull"), "Brand"), (("red",), "Colour"), (("red",), "Colour")]
    )
    assert gazetteer.marks(["red", "bull"], {}) == [["B:Brand"], ["I:Brand"]]
    own = {("red", "bull"): "Brand"}
    assert gazetteer.marks(["red", "bull"], own) == [["B:Colour"], []]


def test_a_small_reader_learns_what_is_marked():
    brands, colours = ("Acme", "Zeta", "Orbo"), ("red", "blue", "green")
    rows = [(b, c, n) for b in brands for c in colours for n in (1, 2, 3)]
    titles = [
        Title(f"{b} mug {c}, {n} pieces", "Mug", ("Brand", "Colour", "Pack")) for b, c, n in rows
    ]
    values = [{"Brand": [b], "Colour": [c], "Pack": [f"{n} pieces"]} for b, c, n in rows]
    settings = TaggerSettings(
        hidden=16, epochs=14, batch=4, rate=0.02, decay=0.0, dropout=0.1, voices=2, least=0.4
    )
    model = fit(titles, values, States(None), settings, 3)
    asked = [
        Title("Nova mug blue, 7 pieces", "Mug", ("Colour", "Pack")),
        Title("", "Mug", ("Colour",)),
        Title("Acme mug red, 2 pieces", "Mug", ()),
    ]
    first, empty, last = model.read(asked)
    assert {name: value for name, (value, _) in first.items()} == {
        "Colour": "blue",
        "Pack": "7 pieces",
    }
    assert empty == {}
    assert {name: value for name, (value, _) in last.items()} == {
        "Brand": "Acme",
        "Colour": "red",
        "Pack": "2 pieces",
    }
    assert all(0 < sure <= 1 for _, sure in last.values())
