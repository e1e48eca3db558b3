"""JSON and text of strangers: bounded by kind before they are parsed; what they hold is never quoted whole."""

import ast
import json
from pathlib import Path

import pytest

from nanodistil import DistilBertConfig
from nanodistil.cli.conversion import _objects as answers_of
from nanodistil.family.bert import BertConfig
from nanodistil.reading.forms import records_of
from nanodistil.reading.lines import lines_of
from nanodistil.reading.records import columns_of
from nanodistil.tokenization.bert_kind import BERT
from nanodistil.tokenization.files import MAX_TOKENS, read_vocab_txt
from nanodistil.tokenization.settings import read_settings
from nanodistil.tokenization.tokenizer_json import read_tokenizer_json
from nanodistil.training.plot import read_log
from nanodistil.training.run import Run, log_lines
from nanodistil.training.shards import read_index
from nanodistil.training.token_counts import read_token_counts
from nanodistil.weights.cache import _lacks
from nanodistil.weights.errors import CheckpointError, InputError, NanoDistilError, excerpt
from nanodistil.weights.files import weight_map
from nanodistil.weights.small_files import (
    FOR_CONFIG,
    FOR_SETTINGS,
    FOR_TOKENIZER,
    FOR_TOKENS,
    Limits,
    check_form,
    parsed,
    read_json,
    read_text,
)

HOUSE = Path(__file__).resolve().parents[2] / "nanodistil"
DEEP = "[" * 800 + "]" * 800


def in_folder(name, reader):
    def read(path):
        path.rename(path.parent / name)
        return reader(path.parent)

    return read


READERS = {
    "config": DistilBertConfig.from_json_file,
    "bert config": BertConfig.from_json_file,
    "tokenizer.json": lambda path: read_tokenizer_json(path, BERT),
    "tokenizer_config": in_folder("tokenizer_config.json", lambda folder: read_settings(folder, {}, BERT)),
    "special_tokens_map": in_folder("special_tokens_map.json", lambda folder: read_settings(folder, {}, BERT)),
    "added_tokens": in_folder("added_tokens.json", lambda folder: read_settings(folder, {}, BERT)),
    "index": weight_map,
    "data set": in_folder("data.json", lambda folder: read_index(folder, "data.json")),
    "counts": read_token_counts,
    "log": in_folder("log.jsonl", lambda folder: list(log_lines(folder / "log.jsonl"))),
    "run": in_folder("settings.json", lambda folder: Run(folder, {}, resume=True)),
    "plot": in_folder("log.jsonl", read_log),
}
BAD = {
    "nested": b'{"x": ' + DEEP.encode() + b"}\n",
    "nested objects": b'{"x":' * 1000 + b"1" + b"}" * 1000 + b"\n",
    "half nested": b"[" * 100_000 + b"\n",
    "values": b'{"x": [' + b"[]," * 4_000_001 + b"[]]}\n",
    "not UTF-8": b'{"x": "\xff"}\n',
    "a list": b"[1e999]\n",
    "many digits": b'{"step": ' + b"9" * 5000 + b"}\n",
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_refuses_in_one_line(tmp_path, reader, kind):
    path = tmp_path / "file.json"
    path.write_bytes(BAD[kind])
    with pytest.raises(CheckpointError) as caught:
        READERS[reader](path)
    assert len(str(caught.value)) < 400 + len(str(tmp_path)) and "\n" not in str(caught.value)
    assert "sys." not in str(caught.value)


@pytest.mark.parametrize("limits", [FOR_SETTINGS, FOR_CONFIG, FOR_TOKENS, FOR_TOKENIZER])
def test_a_file_too_large_for_its_kind_is_not_parsed(tmp_path, limits, monkeypatch):
    path = tmp_path / "x.json"
    with path.open("wb") as file:
        file.truncate(limits.size + 1)
    monkeypatch.setattr(json, "loads", None)
    with pytest.raises(CheckpointError, match="larger than any file of its kind"):
        read_json(path, limits)
    with pytest.raises(CheckpointError, match="larger than any file of its kind"):
        read_text(path, limits)


@pytest.mark.parametrize(
    ("text", "values", "depth"),
    [
        ("{}", 1, 1),
        ("[1,2,3]", 3, 1),
        ('{"a":[{"b":"]}[{"}]}', 3, 3),
        ('["\\\\",["\\"[[[",[]]]', 5, 3),
        ('[[],{},[{}]]', 7, 3),
    ],
)  # fmt: skip
def test_form_is_counted_outside_of_strings(text, values, depth):
    check_form(text.encode(), Limits(1000, values, 9, depth))
    with pytest.raises(ValueError, match="deep"):
        check_form(text.encode(), Limits(1000, values, 9, depth - 1))
    many = f"[{text}{',0' * 20}]"
    with pytest.raises(ValueError, match="more than 19 values"):
        check_form(many.encode(), Limits(1000, 19, 9, 10))
    with pytest.raises(ValueError, match="more than 0 objects and lists"):
        check_form(text.encode(), Limits(1000, values, 0, depth))


def test_what_honest_files_hold_is_within_the_limits(tmp_path):
    labels = {str(i): f"a label of some length, number {i}" for i in range(100_000)}
    values = {"model_type": "distilbert", "id2label": labels, "label2id": {v: int(k) for k, v in labels.items()}}
    (tmp_path / "config.json").write_text(json.dumps(values, indent=2))
    assert DistilBertConfig.from_json_file(tmp_path / "config.json").num_labels == 100_000
    nested = "[" * 100 + "]" * 100
    assert json.dumps(parsed(nested)) == nested
    with pytest.raises(ValueError, match="nested"):
        parsed(f"[{nested}]")


ODD = [
    "1e999",
    "-1e999",
    "NaN",
    "[1e999]",
    '{"0": [1e999]}',
    '{"0": 1e999}',
    '"' + "a" * 100_000 + '"',
    "[" * 20 + "]" * 20,
]


@pytest.mark.parametrize("name", ["x", "pruned_heads", "id2label", "dropout", "n_layers", "pad_token_id", "num_labels"])
@pytest.mark.parametrize("value", ODD, ids=lambda value: value[:15])
def test_odd_values_in_a_config(tmp_path, name, value):
    path = tmp_path / "config.json"
    path.write_text(f'{{"model_type": "distilbert", "{name}": {value}}}')
    try:
        config = DistilBertConfig.from_json_file(path)
    except CheckpointError as error:
        assert len(str(error)) < 300
    else:  # a key nobody reads, or one in which it is harmless
        json.dumps(config.to_dict())


def test_what_is_not_read_is_not_copied():
    """`extra` once went through a deep copy: 60 MB of it took minutes, and 800 levels ended in RecursionError."""
    extra = {"x": []}
    for _ in range(5000):
        extra = {"x": extra}
    config = DistilBertConfig.from_dict(extra)
    assert config.to_dict()["x"] is extra["x"]


def test_a_vocabulary_of_too_many_lines_is_not_cut_into_them(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes(b"\n" * (9 * MAX_TOKENS))
    with pytest.raises(CheckpointError, match="more than 1,000,000 lines"):
        read_vocab_txt(path)


@pytest.mark.parametrize(
    "line", [b"\xff", b"[" * 900 + b"]" * 900, b"{}", b'{"step": "1"}', b'{"step": true}', b"null"]
)
def test_a_damaged_log(tmp_path, line):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1, "loss": null}\n' + line + b"\n")
    with pytest.raises(CheckpointError, match="UTF-8" if line == b"\xff" else r"is no log of a training run \(line 2"):
        list(log_lines(path))
    with pytest.raises(CheckpointError):
        read_log(tmp_path)


def test_a_damaged_log_on_resume(tmp_path):
    settings = {"seed": 1, "name": "x" * 10_000}
    Run(tmp_path, settings).begin()
    (tmp_path / "log.jsonl").write_bytes(b'{"step": 1, "loss": 2}\n\xff\n')
    with pytest.raises(CheckpointError, match="UTF-8"):
        Run(tmp_path, settings, resume=True).begin()
    with pytest.raises(InputError, match=r"began with name = .xxxx") as caught:
        Run(tmp_path, {**settings, "name": "y" * 10_000}, resume=True)
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


def test_damaged_answers_of_a_resumed_run(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b'{"index": 0}\n' + DEEP.encode() + b"\n")
    with pytest.raises(InputError, match=r"line 2 of .* is no answer"):
        list(answers_of(str(path)))


@pytest.mark.parametrize("figures", ['"loss": "x"', '"loss": 1, "lr": [1], "tokens_per_second": 2', '"loss": {}'])
def test_a_log_whose_figures_are_none(tmp_path, figures):
    (tmp_path / "log.jsonl").write_text(f'{{"step": 1, {figures}}}\n')
    with pytest.raises(CheckpointError, match="is no log of a training run"):
        read_log(tmp_path)


def test_a_record_nested_too_deep(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "a"}\n{"text": ' + "[" * 800 + "]" * 800 + "}\n")
    with lines_of(str(path)) as lines:
        first, second = records_of(lines, "jsonl", columns_of([], ["text"], []), False)
    assert first.fields == {"text": "a"}
    assert isinstance(second.problem, InputError) and "nested more than 100 deep" in str(second.problem)


def test_the_cache_is_listed_whatever_lies_in_it(tmp_path):
    for name in ("vocab.txt", "model.safetensors"):
        (tmp_path / name).write_text("x")
    (tmp_path / "config.json").write_text(f'{{"x": {DEEP}}}')
    assert _lacks(tmp_path) == "has a broken config.json"
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "x" * 100_000}))
    assert len(_lacks(tmp_path)) < 100


class Rude:
    def __repr__(self):
        raise RuntimeError


LONG = {
    "string": "x" * 100_000,
    "line ends": "\n" * 1000,
    "list": ["x" * 1000] * 1000,
    "dict": {str(i): "y" * 1000 for i in range(100)},
    "digits": 10**5000,
    "no repr": Rude(),
}


@pytest.mark.parametrize("kind", LONG)
def test_excerpts_are_one_short_line(kind):
    said = excerpt(LONG[kind])
    assert len(said) < 130 and "\n" not in said


def test_no_message_fills_the_screen():
    error = CheckpointError("a\nb" + "x" * 100_000)
    assert str(error).startswith("a b") and len(str(error)) < 2100


def test_messages_quote_by_excerpt():
    """A value that comes from outside may be of any length, so `!r` stands only for names of our own."""
    ours = {"name", "FORMAT", "main", "kind", "theirs"}
    for path in HOUSE.rglob("*.py"):
        if "kernels" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)):
                continue
            if getattr(node.exc.func, "id", "") not in {c.__name__ for c in NanoDistilError.__subclasses__()}:
                continue
            for part in ast.walk(node.exc):
                if isinstance(part, ast.FormattedValue) and part.conversion == ord("r"):
                    bounded = isinstance(part.value, ast.Subscript) and isinstance(part.value.slice, ast.Slice)
                    assert bounded or getattr(part.value, "id", "") in ours, (
                        f"{path}:{part.lineno}: quote it with excerpt()"
                    )
