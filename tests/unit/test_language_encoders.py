"""Texts as n-grams, vectors and scores of pairs."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bundle import load, save
from models.encoders.ngrams import CJK, FACTOR, Grams, bucket_ids, hashed_ngrams
from models.encoders.reranker import Reranker
from models.encoders.text import Hashing, TextEncoder

ODD = ["", " ", "😀", "x" * 100_000, "\x00\x01\x1b", "很好，推荐！", "a\ud800b", "ﬁne\u2028print"]
MASK = (1 << 64) - 1
GRAMS = Grams(words=2, low=2, high=3, buckets=1 << 12)


def slow_mix(value: int) -> int:
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def slow_sum(text: str) -> int:
    return sum(ord(char) * pow(FACTOR, place, 1 << 64) for place, char in enumerate(text)) & MASK


def slow_words(text: str) -> list[str]:
    words, run = [], ""
    for char in text:
        alone = char.isalnum() and any(low <= ord(char) <= high for low, high in CJK)
        if char.isalnum() and not alone:
            run += char
            continue
        words += [run] * bool(run) + [char] * alone
        run = ""
    return words + [run] * bool(run)


def slow_ngrams(text: str, grams: Grams) -> list[int]:
    text = " ".join(unicodedata.normalize("NFKC", text).lower().split())
    found = set()
    if text:
        framed = f" {text} "
        for length in range(grams.low, grams.high + 1):
            for at in range(len(framed) - length + 1):
                found.add(slow_mix((slow_sum(framed[at : at + length]) + 2 * length) & MASK))
    words = [slow_mix(slow_sum(word)) for word in slow_words(text)]
    for length in range(1, grams.words + 1):
        for at in range(len(words) - length + 1):
            folded = words[at]
            for word in words[at + 1 : at + length]:
                folded = (folded * FACTOR + word) & MASK
            found.add(slow_mix((folded + 2 * length + 1) & MASK))
    return sorted(found)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=6))
def test_ngrams_equal_the_slow_reference(texts: list[str]) -> None:
    values, offsets = hashed_ngrams(texts, GRAMS)
    found = [values[a:b].tolist() for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
    assert found == [slow_ngrams(text, GRAMS) for text in texts]


def test_ngrams_of_many_texts_are_those_of_each() -> None:
    values, offsets = hashed_ngrams(ODD, GRAMS)
    for at, text in enumerate(ODD):
        alone, _ = hashed_ngrams([text], GRAMS)
        assert np.array_equal(values[offsets[at] : offsets[at + 1]], alone)


def test_buckets_are_the_highest_bits_and_a_power_of_two() -> None:
    assert bucket_ids(np.array([0, MASK], dtype=np.uint64), 8).tolist() == [0, 7]
    with pytest.raises(ValueError, match="power of two"):
        bucket_ids(np.zeros(1, np.uint64), 10)


def toy_transformer(model_type: str = "bert") -> TextEncoder:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["[UNK]", "[CLS]", "[SEP]", "good", "bad", "radio", "很"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    config = {
        "model_type": model_type,
        "hidden_act": "gelu",
        "vocab_size": len(words),
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 32,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
    }
    from models.encoders.text import Bert

    rng = np.random.default_rng(3)
    weights = {
        name: rng.normal(size=tuple(value.shape)).astype(np.float32)
        for name, value in Bert(config).state_dict().items()
    }
    return TextEncoder.transformer(config, weights, tokenizer.to_str(), "mean", 16)


@pytest.mark.parametrize("make", [lambda: TextEncoder.hashing(64), toy_transformer])
def test_encoders_survive_any_text_and_their_bundle(make, tmp_path) -> None:
    encoder = make()
    vectors = encoder.encode(ODD)
    assert vectors.dtype == np.float32 and vectors.shape == (len(ODD), encoder.width)
    lengths = np.linalg.norm(vectors, axis=1)
    assert np.all(np.isclose(lengths, 1, atol=1e-5) | (lengths == 0))
    save(encoder.to_bundle(), tmp_path / "bundle")
    again = TextEncoder.from_bundle(load(tmp_path / "bundle"))
    assert again.identity == encoder.identity
    assert np.array_equal(again.encode(ODD), vectors)


@pytest.mark.parametrize("make", [lambda: TextEncoder.hashing(64), toy_transformer])
def test_a_vector_depends_on_its_text_alone(make) -> None:
    texts = ["good radio", "bad", "good good good radio radio", "bad", ""]
    encoder = make()
    together = encoder.encode(texts, batch=2)
    assert np.array_equal(together[1], together[3])
    for text, vector in zip(texts, together, strict=True):
        assert np.array_equal(encoder.encode([text])[0], vector)
    assert encoder.encode([]).shape == (0, encoder.width)


def test_our_transformer_gives_what_the_published_one_gives() -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    encoder = toy_transformer()
    config, weights, vocabulary = encoder._backend.parts()
    inner = transformers.BertModel(
        transformers.BertConfig(**config["transformer"]), add_pooling_layer=False
    )
    state = {name: torch.from_numpy(value).float() for name, value in weights.items()}
    inner.load_state_dict(state, strict=False)
    tokenizer, ours = encoder._backend.ready()
    tokens = torch.tensor([tokenizer.encode("good bad radio").ids, [1, 3, 2, 0, 0]])
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    with torch.inference_mode():
        wanted = inner.eval()(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
        found = ours(tokens, mask)
    assert torch.allclose(found[mask], wanted[mask], atol=1e-5)


def test_similar_texts_are_nearer_by_hashing() -> None:
    vectors = TextEncoder.hashing(256).encode(["kids cereal, 14 oz", "kids cereal", "nasal spray"])
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2]


def test_overlap_prefers_the_passage_with_the_words_of_the_question(tmp_path) -> None:
    reranker = Reranker.overlap()
    found = reranker.score(["is the battery good"] * 3, ["the battery is good", "it is red", ""])
    assert found[0] > found[1] > found[2] == 0
    save(reranker.to_bundle(), tmp_path / "bundle")
    again = Reranker.from_bundle(load(tmp_path / "bundle"))
    assert np.array_equal(again.score(ODD, ODD[::-1]), reranker.score(ODD, ODD[::-1]))
    with pytest.raises(ValueError, match="2 questions and 1 passages"):
        reranker.score(["a", "b"], ["a"])


def test_texts_are_hashed_alike_however_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*(f"Teekanne 茶壶 {at} of kind {at % 7}" for at in range(40)), "", "a"]
    backend, told = Hashing(32), []
    whole = backend.vectors(texts, 8, lambda done, what: None)
    monkeypatch.setattr("models.encoders.text.HASHED", 9)
    np.testing.assert_array_equal(
        backend.vectors(texts, 8, lambda done, what: told.append(done)), whole
    )
    assert told == sorted(told) and told[-1] == 1.0
    assert backend.vectors([], 8, lambda done, what: None).shape == (0, 32)
