"""The multilingual and the German vocabulary over pairs of texts, in XNLI's 15 languages and 8 scripts more.

    pytest tests/parity/test_scripts_parity.py -m "parity and not sweep"     a few texts of each language
    pytest tests/parity/test_scripts_parity.py -m "parity and sweep"         thousands, with every switch

Sentences are real for the languages that ../shared has paragraphs of. For the others they are made of the words of the
multilingual vocabulary that are in the language's script, glued, capitalised and accented at random, with the script's
digits and punctuation.
"""

import json
import random
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from test_tokenizer_parity import SHARED, compare

from nanodistil import AutoTokenizer
from nanodistil.tokenization import DistilBertTokenizer

transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

MULTILINGUAL = SHARED / "tokenizers" / "distilbert-base-multilingual-cased"
GERMAN = SHARED / "tokenizers" / "distilbert-base-german-cased"
LANGUAGES = {  # language -> its script as Unicode names it, letters of its own, digits, punctuation
    "en": ("LATIN", "", "0123456789", ".,;!?'\"()-"),
    "fr": ("LATIN", "éèêëçàùôîœÉÀŒ", "0123456789", " ;:«»’…"),
    "es": ("LATIN", "áéíóúñüÁÑ", "0123456789", "¿¡.,"),
    "de": ("LATIN", "äöüßÄÖÜẞ", "0123456789", "„“–.,"),
    "el": ("GREEK", "άέήίόύώϊϋΐΰςΆΈ", "0123456789", ";·.,«»"),
    "bg": ("CYRILLIC", "йщъьюяЙѝ", "0123456789", "„“.,—"),
    "ru": ("CYRILLIC", "ёйэыЁЙ", "0123456789", "«»—.,"),
    "tr": ("LATIN", "ıİğĞşŞçÇöÖüÜâ", "0123456789", ".,'"),
    "ar": ("ARABIC", "ًٌٍَُِّْٰـآأإة", "٠١٢٣٤٥٦٧٨٩", "،؛؟٪"),
    "vi": ("LATIN", "ăâđêôơưạảấầẩẫậắằặếềểễệốồộớờợứừựỳỵĐƯ", "0123456789", ".,!"),
    "th": ("THAI", "ะาำิีึืุูเแโใไ็่้๊๋์ๆฯ", "๐๑๒๓๔๕๖๗๘๙", "๏๚ฯ"),
    "zh": ("CJK", "的一是不了〇々", "0123456789一二三", "，。！？、：；「」《》…"),
    "hi": ("DEVANAGARI", "ािीुूेैोौ्ंःँ़", "०१२३४५६७८९", "।॥,"),
    "sw": ("LATIN", "", "0123456789", ".,?"),
    "ur": ("ARABIC", "ٹڈڑںھہۂۃیےۓ", "۰۱۲۳۴۵۶۷۸۹", "۔،؟"),
    "he": ("HEBREW", "ְֱֲֳִֵֶַָֹּׁׂךםןףץ", "0123456789", "־״׳׃"),
    "ko": ("HANGUL", "각ᆫㄱㅏ가힣", "0123456789", ".,·~"),
    "ja": ("HIRAGANA", "がぱゃっー゙゚", "０１２３", "。、「」・"),
    "ja katakana": ("KATAKANA", "ガパャッヴーｶﾞﾊﾟ゙", "０１２３", "。、・＝"),
    "ta": ("TAMIL", "ாிீுூெேைொோௌ்", "௦௧௨௩", ".,"),
    "bn": ("BENGALI", "ািীুূৃেৈোৌ্ংঃঁ়", "০১২৩৪৫", "।,"),
    "ka": ("GEORGIAN", "ჱჲᲐᲑⴀ", "0123456789", ".,„“"),
    "hy": ("ARMENIAN", "և՚ԱՖ", "0123456789", "։՝՞՜«»"),
}  # fmt: skip
SWITCHES = [
    {"do_lower_case": lower, "strip_accents": strip, "tokenize_chinese_chars": lower is (strip is None)}
    for lower in (False, True)
    for strip in (None, True, False)
]


def folder(path: Path) -> Path:
    if not path.is_dir():
        pytest.skip("needs ../shared")
    return path


@cache
def words_of(script: str) -> list[str]:
    """The words of the multilingual vocabulary in a script, whole ones and continuations."""
    lines = (MULTILINGUAL / "vocab.txt").read_text(encoding="utf-8").split("\n")
    found = [line.removeprefix("##") for line in lines if not line.startswith("[")]
    return [word for word in found if word and unicodedata.name(word[-1], "").startswith(script)]


@cache
def paragraphs(language: str) -> list[str]:
    path = SHARED / "eval" / "xquad" / f"xquad.{language}.json"
    if not path.is_file():
        return []
    data = json.loads(path.read_text(encoding="utf-8"))["data"]
    parts = [part for article in data for part in article["paragraphs"]]
    return [part["context"] for part in parts] + [asked["question"] for part in parts for asked in part["qas"]]


def sentence(rng: random.Random, language: str) -> str:
    script, letters, digits, marks = LANGUAGES[language]
    real = paragraphs(language)
    if real and rng.random() < 0.5:
        text = rng.choice(real)
        at = rng.randrange(len(text))
        return text[at : at + rng.randrange(10, 200)]
    parts = []
    for _ in range(rng.randrange(1, 12)):
        word = "".join(rng.choices(words_of(script), k=rng.choice([1, 1, 2])))
        if letters and rng.random() < 0.3:
            at = rng.randrange(len(word) + 1)
            word = word[:at] + rng.choice(letters) + word[at:]
        change = rng.random()
        if change < 0.1:
            word = word.upper()
        elif change < 0.2:
            word = word.title()
        elif change < 0.3:
            word = unicodedata.normalize(rng.choice(["NFD", "NFC", "NFKD"]), word)
        elif change < 0.35:
            word = "".join(rng.choices(digits, k=rng.randrange(1, 6)))
        parts.append(word + rng.choice(["", "", "", *marks]))
    return rng.choice([" ", " ", " ", "", "\u200b", "\u00a0"]).join(parts)


def differences(ours: Any, theirs: Any, count: int) -> list[str]:
    """Of so many pairs of sentences a language, whole and cut, by the definition and by the compiled scan."""
    rng = random.Random(count)
    texts = [(sentence(rng, language), sentence(rng, language)) for language in LANGUAGES for _ in range(count)]
    singles = [first for first, _ in texts]
    ours.encoder.scanner, ours.encoder.seen = None, None
    wrong = compare(ours, theirs, singles[::4]) + compare(ours, theirs, texts[::4])
    ours.encoder.scanner = ours.encoder.load_scanner()
    assert ours.encoder.scanner is not None
    wrong += compare(ours, theirs, singles) + compare(ours, theirs, texts)
    return wrong + compare(ours, theirs, texts, truncation=True, max_length=40, padding="max_length")


def both(path: Path, **switches: Any) -> tuple[DistilBertTokenizer, Any]:
    vocabulary = str(folder(path) / "vocab.txt")
    return DistilBertTokenizer(vocabulary, **switches), transformers.BertTokenizerFast(vocabulary, **switches)


@pytest.mark.parametrize("count", [6, pytest.param(60, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("path", [MULTILINGUAL, GERMAN], ids=["multilingual", "german"])
def test_every_script(path: Path, count: int) -> None:
    folder(MULTILINGUAL)
    wrong = differences(*both(path, do_lower_case=False), count)
    assert not wrong, f"{len(wrong)} differ: {wrong[:5]}"


@pytest.mark.sweep
@pytest.mark.parametrize("path", [MULTILINGUAL, GERMAN], ids=["multilingual", "german"])
def test_every_switch(path: Path) -> None:
    folder(MULTILINGUAL)
    for number, switches in enumerate(SWITCHES):
        wrong = differences(*both(path, **switches), 7 + number)
        assert not wrong, f"{switches}: {len(wrong)} differ: {wrong[:5]}"


@pytest.mark.parametrize("path, name", [(MULTILINGUAL, "BertTokenizer"), (GERMAN, "DistilBertTokenizer")])
def test_a_checkpoints_folder(path: Path, name: str, tmp_path: Path) -> None:
    """As the hub has it: vocab.txt and what the config says; then as both save it."""
    (tmp_path / "vocab.txt").write_bytes((folder(path) / "vocab.txt").read_bytes())
    said = {"do_lower_case": False, "model_max_length": 512, "tokenizer_class": name}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(said))
    ours, theirs = AutoTokenizer.from_pretrained(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert len(ours) == len(theirs) and ours.all_special_ids == theirs.all_special_ids
    rng = random.Random(name)
    texts = [sentence(rng, language) for language in LANGUAGES for _ in range(6)]
    assert compare(ours, theirs, texts) == []
    assert [ours.decode(ours.encode(text)) for text in texts] == [theirs.decode(theirs.encode(text)) for text in texts]
    ours.save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    for one, other in (("ours", "theirs"), ("theirs", "ours")):
        again = AutoTokenizer.from_pretrained(tmp_path / one)
        known = transformers.AutoTokenizer.from_pretrained(tmp_path / other)
        assert again(texts)["input_ids"] == known(texts)["input_ids"] == theirs(texts)["input_ids"]
