"""In which language a text is written: by its script, and among those in Latin script by its small words.

English and Chinese are what the readers of this package know; the others are told apart so that they can be named and
left out, not so that they could be read. Short texts without a small word of another language pass for English.
"""

import re
from collections.abc import Iterable, Mapping

ENGLISH, CHINESE = "en", "zh"
LETTERS = re.compile(r"[^\W\d_]")
WORDS = re.compile(r"[^\W\d_]+")
SCRIPTS = {
    "ja": re.compile(r"[\u3040-\u30ff]"),
    CHINESE: re.compile(r"[\u3400-\u9fff\U00020000-\U0002fa1f]"),
    "ko": re.compile(r"[\uac00-\ud7af\u1100-\u11ff]"),
    "ru": re.compile(r"[\u0400-\u04ff]"),
    "el": re.compile(r"[\u0370-\u03ff]"),
    "ar": re.compile(r"[\u0600-\u06ff]"),
    "he": re.compile(r"[\u0590-\u05ff]"),
    "hi": re.compile(r"[\u0900-\u097f]"),
    "th": re.compile(r"[\u0e00-\u0e7f]"),
}
"""A script stands for the language that most who write it use: Cyrillic for Russian, Arabic for Arabic."""
LEAST_SHARE = 1 / 3
"""Of the letters, from which on a text is of that script; of kana, that part of it is enough among ideographs."""
KANA_SHARE = 0.1
LEAST_VOTES, BESIDE_ENGLISH = 1.0, 1.5
"""What another language needs: one small word may be a name or a loan where a small word of English stands beside it."""
SIGNS = {
    "fr": "éèêàâçùûîôœë",
    "de": "äöüß",
    "es": "áéíóúñ¿¡",
    "it": "àèéìòù",
    "pt": "ãõáéíóúâêôç",
    "sv": "åäö",
    "pl": "ąćęłńóśźż",
    "tr": "ığşçöü",
}
"""Letters that English does without: a word with one of them is a vote, too, parted among the languages that use it."""
SMALL_WORDS = {
    ENGLISH: "the and is it its to of this in for my that was were with but not have has had very are on you your so as "
    "be at or if they i we he she me from when would will can could just all there than then them been one out up what "
    "good great nice love works well too only after also more no don doesn didn a an do does did get got use used",
    "fr": "le la des est une un et pour pas que très tres avec dans ce cette il elle je mais plus sur bien mon ma qui du "
    "au aux ai qu vous nous sont été bon bonne produit rien tout sans même fait par leur ne se son ses où votre",
    "de": "der die und ist nicht ein eine einen mit für sehr auch auf es ich aber den dem des von zu sich wie bei gut "
    "sind habe hat wird nur oder noch kein keine aus dass als man wenn leider zum zur im am werden kann schon qualität schlecht schlechte",
    "es": "el la los las es un una que muy con para por pero en se lo mi más mas este esta como su todo bien producto "
    "del al bueno buena buen me sin ha son está le nada cuando hay ya fue también si porque bastante perfecto calidad funciona quiero compra",
    "it": "il la che è di un una per non molto con ma sono del della dei questo questa le si ho più bene anche lo gli nel "
    "alla ottimo buono buona prodotto al come ha da mi tutto era stato perché nella se",
    "pt": "as que é de uma para não muito mas do da se na no por mais bom boa produto foi eu está "
    "ótimo recomendo meu minha ao tem bem são muita já também você ser",
    "nl": "de het een en is niet van met voor ik maar dat zeer goed op heel te zijn deze erg dit bij ook naar heb wel aan "
    "geen mijn als er nog wordt om uit werkt worden kan",
    "sv": "och det är inte en ett som på med för jag mycket bra av den men till var har så att de om kan eller ska från",
    "pl": "nie jest się na do bardzo że dobry jak ale za produkt polecam po są od tak co dla jakość lub być",
    "tr": "ve bir çok bu için ile ama değil gibi ürün da ürünü güzel iyi daha kadar var yok ben olarak tavsiye ederim veya",
}


def _turned(table: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Language to words, as word to its languages."""
    found: dict[str, list[str]] = {}
    for language, words in table.items():
        for word in dict.fromkeys(words):
            found.setdefault(word, []).append(language)
    return found


LANGUAGES_OF = _turned({language: words.split() for language, words in SMALL_WORDS.items()})
LANGUAGES_BY_SIGN = _turned(SIGNS)


def language_of(text: str) -> str:
    """The language's code (ISO 639-1). What has no letters, as an emoji, is English: any reader reads it.

    >>> [language_of(text) for text in ("很好 ok", "fine", "Très bon produit", "とても良い", "Sehr gut, danke", "👍")]
    ['zh', 'en', 'fr', 'ja', 'de', 'en']
    """
    letters = len(LETTERS.findall(text))
    if not letters:
        return ENGLISH
    found = {name: len(signs.findall(text)) for name, signs in SCRIPTS.items()}
    ideographs = found["ja"] + found[CHINESE]
    if ideographs >= LEAST_SHARE * letters:
        return "ja" if found["ja"] >= KANA_SHARE * ideographs else CHINESE
    most = max(found, key=lambda name: found[name])
    if found[most] >= LEAST_SHARE * letters:
        return most
    votes: dict[str, float] = dict.fromkeys(SMALL_WORDS, 0.0)
    for word in WORDS.findall(text.lower()):
        small = LANGUAGES_OF.get(word)
        signs = [LANGUAGES_BY_SIGN[sign] for sign in word if sign in LANGUAGES_BY_SIGN]
        languages = small or min(signs, key=len, default=[])
        for language in languages:
            votes[language] += 1 / len(languages)
    best = max(votes, key=lambda language: votes[language])
    least = BESIDE_ENGLISH if votes[ENGLISH] else LEAST_VOTES
    return best if votes[best] >= least else ENGLISH
