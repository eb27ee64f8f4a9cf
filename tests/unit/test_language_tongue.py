"""The language of a review, by script and small words: mixed files, short texts, foreign names in English."""

import pytest

from models.language.tongue import language_of

TEXTS = {
    "en": [
        "Great!",
        "I love the Les Paul, it sounds good and stays in tune.",
        "Café style mug, sturdy, my kids use it every day",
        "ok",
        "5/5",
        "🙂",
        "",
        "Die cast handle, works well",
    ],
    "zh": ["很好，非常满意", "屏幕不错 good", "iPhone 手机壳质量太差了"],
    "fr": [
        "Très bon produit",
        "La livraison était rapide mais la qualité est décevante.",
        "Je ne suis pas du tout content de cet achat",
    ],
    "de": [
        "Sehr gut",
        "Der Akku hält nicht lange und das Display ist zu dunkel.",
        "Schlechte Qualität",
    ],
    "es": [
        "Muy bueno",
        "El sonido es malo y se rompió en una semana",
        "No funciona, quiero que me devuelvan mi dinero",
    ],
    "it": ["Ottimo prodotto", "La batteria non dura molto, sono deluso della qualità"],
    "pt": ["Não recomendo", "Muito bom, chegou antes do prazo e está funcionando bem"],
    "nl": ["Zeer goed", "Het geluid is slecht maar de batterij gaat wel lang mee"],
    "sv": ["Mycket bra", "Jag är inte nöjd med den"],
    "pl": ["Bardzo dobry produkt", "Nie polecam, jakość jest słaba"],
    "tr": ["Çok güzel bir ürün", "Hiç beğenmedim, tavsiye etmiyorum çünkü ses kötü"],
    "ja": ["とても良いです", "品質が悪い。返品しました"],
    "ko": ["아주 좋아요"],
    "ru": ["Очень хорошо", "Плохое качество, верну"],
    "ar": ["منتج ممتاز"],
    "he": ["מוצר מצוין"],
    "el": ["Πολύ καλό"],
    "th": ["ดีมาก"],
    "hi": ["बहुत अच्छा"],
}


@pytest.mark.parametrize(("language", "text"), [(k, t) for k, ts in TEXTS.items() for t in ts])
def test_a_review_is_told_by_its_own_words(language: str, text: str) -> None:
    assert language_of(text) == language


def test_a_text_of_any_length_and_make_has_a_language() -> None:
    assert language_of("the " * 25_000) == "en"
    assert language_of("\ud800\x00 <b>très bien</b>") == "fr"
