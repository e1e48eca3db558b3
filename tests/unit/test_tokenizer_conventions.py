"""What a folder's files leave unsaid: the class they are written for decides; and added tokens of every number."""

import json
import warnings
from pathlib import Path

import pytest
from small_pipelines import small
from tokenizer_files import FLAGS, tokenizer_json

from nanodistil import AutoTokenizer, CheckpointError, DistilBertTokenizer, pipeline
from nanodistil.tokenization.added_tokens import MAX_ADDED, AddedToken, AddedTokens
from nanodistil.weights.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:.*(have capitals|the class counts|in the files and gets)")

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "hello",
    "Hello",
    "é",
    "e",
    "中",
    "国",
    "中国",
    "newtok",
    "a",
    "b",
]
ROLES = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"}
THREE = ["input_ids", "token_type_ids", "attention_mask"]


def cased_json(**changes):
    """A tokenizer.json of a cased BERT that leaves Chinese characters together."""
    vocab = {word: i for i, word in enumerate(WORDS)}
    return tokenizer_json(vocab, normalizer__handle_chinese_chars=False, normalizer__lowercase=False, **changes)


def folder_of(folder: Path, **files):
    """name=content: JSON files; vocab_txt=True: the vocabulary."""
    for name, content in files.items():
        if name == "vocab_txt":
            (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS))
        else:
            (folder / f"{name}.json").write_text(json.dumps(content))
    return DistilBertTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("name", ["PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend"])
@pytest.mark.parametrize("where", ["tokenizer_config", "config"])
def test_the_general_class_is_what_tokenizer_json_says(tmp_path, name, where):
    settings = {"do_lower_case": True, "tokenize_chinese_chars": True, **ROLES}  # the first two say nothing here
    files = {"tokenizer": cased_json(), "config": {"model_type": "distilbert"}, "tokenizer_config": settings}
    files[where] = {**files[where], "tokenizer_class": name}
    tokenizer = folder_of(tmp_path, **files)
    assert tokenizer.tokenize("Hello é 中国 HELLO") == ["Hello", "é", "中国", "[UNK]"]
    assert list(tokenizer("a", "b")) == tokenizer.model_input_names == THREE
    assert tokenizer("a", "b")["token_type_ids"] == [0, 0, 0, 1, 1]
    assert tokenizer.mask_token == "[MASK]"
    tokenizer.save_pretrained(tmp_path / "again")
    again = AutoTokenizer.from_pretrained(tmp_path / "again")
    assert again.tokenize("Hello É 中国") == tokenizer.tokenize("Hello É 中国") and again.model_input_names == THREE


def test_the_general_class_has_the_roles_that_files_name(tmp_path):
    plain = {"tokenizer_class": "PreTrainedTokenizerFast"}
    padding = {"direction": "Left", "strategy": "BatchLongest", "pad_to_multiple_of": None}
    padding |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
    tokenizer = folder_of(tmp_path, tokenizer=cased_json(padding=padding), tokenizer_config=plain)
    assert tokenizer.special_tokens_map == {"pad_token": "[PAD]"} and tokenizer.padding_side == "left"
    assert tokenizer("a")["input_ids"] == [2, 13, 3]
    assert tokenizer.build_inputs_with_special_tokens([5], [6]) == [5, 6]  # as in transformers
    tokenizer.save_pretrained(tmp_path / "again")
    assert DistilBertTokenizer.from_pretrained(tmp_path / "again").special_tokens_map == {"pad_token": "[PAD]"}
    tokenizer = folder_of(tmp_path, special_tokens_map={"mask_token": "[MASK]", "cls_token": None})
    assert tokenizer.mask_token_id == 4 and tokenizer.cls_token is None
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"needs a tokenizer\.json"):
        folder_of(tmp_path, vocab_txt=True)


@pytest.mark.parametrize("name", ["BertTokenizer", "BertTokenizerFast", "ElectraTokenizer", "MobileBertTokenizerFast"])
@pytest.mark.parametrize("source", ["tokenizer", "vocab_txt"])
def test_berts_class_gives_token_types(tmp_path, name, source):
    content = cased_json()
    content["normalizer"]["lowercase"] = True
    tokenizer = folder_of(tmp_path, **{source: content}, tokenizer_config={"tokenizer_class": name})
    assert tokenizer.model_input_names == THREE and tokenizer.tokenize("HELLO") == ["hello"]
    tokenizer.save_pretrained(tmp_path / "again")
    written = json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())
    assert written["tokenizer_class"] == name.removesuffix("Fast") and written["model_input_names"] == THREE
    tokenizer = folder_of(tmp_path, tokenizer_config={"tokenizer_class": name, "model_input_names": ["input_ids"]})
    assert list(tokenizer("a")) == ["input_ids"]


def test_model_type_stands_for_a_class_that_nothing_names(tmp_path):
    for kind, names in (("distilbert", THREE[::2]), ("bert", THREE), ("electra", THREE)):
        assert folder_of(tmp_path, vocab_txt=True, config={"model_type": kind}).model_input_names == names


@pytest.mark.parametrize("name", ["RobertaTokenizer", "FooTokenizerFast", 3, "x" * 100_000])
@pytest.mark.parametrize("where", ["tokenizer_config", "config"])
def test_other_classes_are_refused_by_name(tmp_path, name, where):
    with pytest.raises(CheckpointError, match=f"{where}.json: tokenizer_class is .*not read here") as caught:
        folder_of(tmp_path, tokenizer=cased_json(), **{where: {"tokenizer_class": name}})
    assert len(str(caught.value)) < 400 and str(name)[:12] in str(caught.value)


PARTS = [
    ("normalizer", {"type": "Sequence", "normalizers": []}, "normalizer.type: is 'Sequence'"),
    ("normalizer", None, "normalizer: is null"),
    ("pre_tokenizer", {"type": "Whitespace"}, "pre_tokenizer.type: is 'Whitespace'"),
    ("pre_tokenizer", {"type": "ByteLevel"}, "pre_tokenizer.type: is 'ByteLevel'"),
    ("post_processor", {"type": "RobertaProcessing"}, "post_processor.type: is 'RobertaProcessing'"),
    ("post_processor", None, "post_processor: is null"),
    ("decoder", {"type": "BPEDecoder"}, "decoder.type: is 'BPEDecoder'"),
    ("model", {"type": "Unigram", "vocab": []}, "model.type: is 'Unigram'"),
    ("model", {"type": "x" * 100_000}, "model.type: is 'xxx"),
]


@pytest.mark.parametrize(("part", "content", "says"), PARTS, ids=lambda value: str(value)[:30])
@pytest.mark.parametrize("name", ["PreTrainedTokenizerFast", "DistilBertTokenizer"])
def test_parts_that_are_not_reproduced_are_refused_by_name(tmp_path, part, content, says, name):
    with pytest.raises(CheckpointError, match=says) as caught:
        folder_of(tmp_path, tokenizer=cased_json(**{part: content}), tokenizer_config={"tokenizer_class": name})
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


TASKS = {
    "fill-mask": ("DistilBertForMaskedLM", "a [MASK]"),
    "text-classification": ("DistilBertForSequenceClassification", {"text": "a", "text_pair": "b"}),
    "token-classification": ("DistilBertForTokenClassification", "a b"),
    "question-answering": ("DistilBertForQuestionAnswering", {"question": "who", "context": "it was he"}),
    "feature-extraction": ("DistilBertModel", "a b"),
    "multiple-choice": ("DistilBertForMultipleChoice", {"prompt": "a", "choices": ["b", "c"]}),
}


@pytest.mark.parametrize("task", TASKS)
def test_pipelines_answer_whatever_the_inputs_are_called(task):
    head, question = TASKS[task]
    answers = []
    for names in (["input_ids", "attention_mask"], THREE, ["input_ids"]):
        model, tokenizer = small(head)
        tokenizer.model_input_names = names
        answers.append(json.dumps(pipeline(task, model, tokenizer)(question), default=str))
    assert len(set(answers)) == 1


def test_zero_shot_answers_whatever_the_inputs_are_called():
    labels = {0: "entailment", 1: "neutral", 2: "contradiction"}
    answers = []
    for names in (["input_ids", "attention_mask"], THREE, ["input_ids"]):
        model, tokenizer = small("DistilBertForSequenceClassification", id2label=labels)
        tokenizer.model_input_names = names
        answers.append(
            json.dumps(pipeline("zero-shot-classification", model, tokenizer)("a", candidate_labels=["b", "c"]))
        )
    assert len(set(answers)) == 1


# ---- added tokens


@pytest.mark.parametrize(
    ("added", "ids"),
    [
        ({"x1": 15, "x2": 16}, {"x1": 15, "x2": 16}),
        ({"x1": 15, "x2": 18}, {"x1": 15, "x2": 16}),  # a hole
        ({"x2": 30, "x1": 20}, {"x1": 15, "x2": 16}),  # begins after the vocabulary's end
        ({"newtok": 12, "x1": 15}, {"newtok": 12, "x1": 15}),  # one that the vocabulary has
        ({"newtok": 15, "x1": 16}, {"newtok": 12, "x1": 15}),
        ({"[MASK]": 4, "x1": 15}, {"[MASK]": 4, "x1": 15}),
    ],
)
@pytest.mark.parametrize("source", ["vocab_txt", "tokenizer"])
def test_added_tokens_json(tmp_path, added, ids, source):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        content = cased_json()
        content["normalizer"]["lowercase"] = True
        tokenizer = folder_of(tmp_path, **{source: content}, added_tokens=added)
    assert {token: tokenizer.convert_tokens_to_ids(token) for token in added} == ids
    assert [tokenizer.tokenize(f"a{token}b") for token in ("x1",) if token in added] in ([["a", "x1", "b"]], [])
    moved = [str(w.message) for w in told if "has the id" in str(w.message)]
    assert bool(moved) == (added != ids)
    assert len(tokenizer) == 1 + max(14, *ids.values())


def test_an_id_that_another_token_has(tmp_path):
    added = {"x1": 2, "x2": 15}
    with pytest.warns(UserWarning, match="'x1' has the id 2 in the files and gets 15"):
        assert folder_of(tmp_path, vocab_txt=True, added_tokens=added).convert_tokens_to_ids(["x1", "x2"]) == [15, 16]
    with pytest.warns(UserWarning, match="'x1' has the id of another token in tokenizer.json, and is left out"):
        tokenizer = folder_of(tmp_path, tokenizer=cased_json())
    assert tokenizer.convert_tokens_to_ids(["x1", "x2"]) == [1, 15]  # as in transformers


def test_added_tokens_of_tokenizer_json_that_are_given_other_ids(tmp_path):
    content = cased_json()
    more = [
        {"id": 40, "content": "x1", **FLAGS},
        {"id": 40, "content": "x2", **FLAGS},
        {"id": 41, "content": "x1", **FLAGS},
    ]
    content["added_tokens"] += more
    with pytest.warns(UserWarning, match="'x1' has the id 40 in the files and gets 15 .and 2 more have others"):
        tokenizer = folder_of(tmp_path, tokenizer=content, tokenizer_config={"do_lower_case": False})
    assert tokenizer("x1x2")["input_ids"] == [2, 15, 16, 3]


@pytest.mark.parametrize("normalized", [False, pytest.param(True, marks=pytest.mark.sweep)])
def test_very_many_added_tokens(tmp_path, normalized):
    """17,000 were once more than 10,000, the most; and an expression of so many alternatives takes a second a line."""
    _, tokenizer = small("DistilBertModel")
    n, size = 17_000, len(tokenizer)
    tokens = [AddedToken(f"<tok{i}>" if i % 2 else f"word{i}x", normalized=normalized) for i in range(n)]
    assert tokenizer.add_tokens(tokens) == n
    tokenizer.save_pretrained(tmp_path)
    loaded = DistilBertTokenizer.from_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    slow = DistilBertTokenizer.from_pretrained(tmp_path)
    text = "a<tok1>bword2x <tok16999> word16998x word16998 <tok" * 200
    ids = [size + 1, size + 2, size + 16999, size + 16998]
    for one in (tokenizer, loaded, slow):
        found = one(text, verbose=False)["input_ids"]
        assert [i for i in found if i >= size] == ids * 200
        assert one.convert_tokens_to_ids("<tok16999>") == size + 16999


def test_the_longest_of_those_that_begin_first():
    added = AddedTokens({}, str.lower)
    added.add(
        [AddedToken(t, normalized=False) for t in ("a", "ab", "abcd", "abcde x", "cd", "\U0001f600b", "]", "^-\\")]
    )
    for text, wanted in {
        "abcdx": ["abcd", "x"],
        "abc": ["ab", "c"],
        "xabcde xab": ["x", "abcde x", "ab"],
        "acd": ["a", "cd"],
        "\U0001f600\U0001f600b]": ["\U0001f600", "\U0001f600b", "]"],
        "^-^-\\": ["^-", "^-\\"],
        "": [],
    }.items():
        assert [text[start:end] for start, end, _ in added.cut_raw(text)] == wanted


def test_more_added_tokens_than_are_taken():
    added = AddedTokens({}, str.lower)
    with pytest.raises(InputError, match="more than 200,000 added tokens"):
        added.add(AddedToken(str(i), normalized=False) for i in range(MAX_ADDED + 1))
    assert not added.ids
