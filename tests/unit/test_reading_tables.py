"""Parquet and Arrow in and out, and files at an address: the same records as from JSON lines, a few rows at a time."""

import io
import json
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

from nanodistil import InputError, MissingExtraError  # noqa: E402
from nanodistil.cli import main  # noqa: E402
from nanodistil.reading import remote, tables  # noqa: E402
from nanodistil.reading.forms import names_of, records_of, texts_in  # noqa: E402
from nanodistil.reading.lines import Lines, lines_of  # noqa: E402
from nanodistil.reading.records import columns_of  # noqa: E402
from nanodistil.reading.tables import rows_of_arrow  # noqa: E402

TEXTS = ["A cat.", "Ein Käse", "", "日本"]


def write(table, file):
    name = str(file)
    if name.endswith("parquet"):
        parquet.write_table(table, file, row_group_size=3)
    else:
        new = pa.ipc.new_stream if name.endswith("stream.arrow") else pa.ipc.new_file
        with new(name, table.schema) as writer:
            writer.write_table(table, max_chunksize=3)
    return name


def records(file, form="parquet", needed=("text",), columns=()):
    with lines_of(file) as lines:
        return list(records_of(lines, form, columns_of(columns, needed, []), False))


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather", "a.stream.arrow"])
@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_texts_of_every_kind(tmp_path, name, kind):
    if name == "a.parquet" and kind == pa.string_view():
        pytest.skip("Parquet writes no views")
    many = TEXTS * 2
    column = pa.array(many).dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else pa.array(many, kind)
    file = write(pa.table({"id": range(len(many)), "text": column}), tmp_path / name)
    found = records(file, "parquet" if name == "a.parquet" else "arrow")
    assert [one.columns for one in found] == [{"id": i, "text": text} for i, text in enumerate(many)]
    assert [one.fields for one in found] == [{"text": text} for text in many]
    assert found[4].place == f"row 5 of {file}"
    with lines_of(file) as lines:
        assert list(texts_in(lines, file)) == many
    with lines_of(file) as lines:
        assert names_of(lines, "parquet" if name == "a.parquet" else "arrow") == ["id", "text"]


def test_what_goes_along_is_such_as_json_has(tmp_path):
    row = {
        "text": "a",
        "no": None,
        "yes": True,
        "x": 0.5,
        "words": ["b", "c"],
        "day": date(2026, 11, 29),
        "cost": Decimal("1.50"),
    }
    (found,) = records(write(pa.Table.from_pylist([row]), tmp_path / "a.parquet"))
    assert found.columns == {**row, "day": "2026-11-29", "cost": "1.50"}
    assert json.dumps(found.columns)


def test_a_row_that_cannot_be_read_does_not_end_the_others(tmp_path):
    broken = pa.array([b"fine", b"\xff", b"fine", b"nul\0"]).cast(pa.string(), safe=False)
    file = write(pa.table({"text": pa.StringArray.from_buffers(4, *broken.buffers()[1:])}), tmp_path / "a.arrow")
    found = records(file, "arrow")
    assert [one.problem and str(one.problem) for one in found[:3]] == [
        None,
        f"row 2 of {file}: 'text' is not UTF-8",
        None,
    ]
    assert "NUL" in str(found[3].problem)
    file = write(pa.table({"text": ["a", None]}), tmp_path / "b.parquet")
    assert "row 2 of" in str(records(file)[1].problem) and "has no 'text'" in str(records(file)[1].problem)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"words": ["a"]}, "has no column 'text' .it has 'words'.: --column text=NAME"),
        ({"text": ["a"], "more": [{"b": 1}]}, "the column 'more' holds struct<b: int64>.*write the file without it"),
        ({"text": [b"a"]}, "the column 'text' holds binary"),
    ],
)
def test_what_cannot_be(tmp_path, table, message):
    with pytest.raises(InputError, match=message):
        records(write(pa.table(table), tmp_path / "a.parquet"))


def test_what_is_none(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "a.arrow").write_bytes(b"")
    for form in ("parquet", "arrow"):
        with pytest.raises(InputError, match=f"is no {form} file that can be read"):
            records(str(tmp_path / f"a.{form}"), form)
    whole = write(pa.table({"text": TEXTS * 300}), tmp_path / "b.parquet")
    data = bytearray(Path(whole).read_bytes())
    data[20:2000] = bytes(1980)
    Path(whole).write_bytes(data)
    with pytest.raises(InputError, match=r"cannot be read"):
        records(whole)
    (tmp_path / "a.parquet.gz").write_bytes(b"")
    with pytest.raises(InputError, match="is not packed once more"):
        records(str(tmp_path / "a.parquet.gz"))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r'pip install "nanodistil\[parquet\]"'):
        records(str(tmp_path / "a.parquet"))


def test_few_rows_at_a_time(tmp_path, monkeypatch):
    """What is held is one piece, however many rows a batch of the file has."""
    monkeypatch.setattr(tables, "ROWS", 10)
    sizes, plain = [], tables._values
    monkeypatch.setattr(tables, "_values", lambda column: sizes.append(len(column)) or plain(column))
    for name, form in (("a.parquet", "parquet"), ("a.arrow", "arrow")):
        file = str(tmp_path / name)
        table = pa.table({"text": ["x"] * 95})
        write(table, file) if form == "parquet" else pa.ipc.new_file(file, table.schema).write_table(table)
        with lines_of(write(table, file)) as lines:
            found = records_of(lines, form, columns_of([], ["text"], []), False)
            for _ in range(3):
                next(found)
            assert sum(sizes) <= 10 and max(sizes) <= 10
            assert len(list(found)) == 92
        sizes.clear()


def test_a_row_group_is_not_read_at_once(monkeypatch):
    """Left to itself pyarrow reads a column of a group whole: with a group of all rows, as pandas writes, the file."""
    monkeypatch.setattr(tables, "PIECE", 4096)
    sink, sizes = io.BytesIO(), []
    random = np.random.default_rng(0)
    texts = ["".join(map(chr, random.integers(33, 127, 100))) for _ in range(3000)]
    parquet.write_table(pa.table({"text": texts}), sink, use_dictionary=False, data_page_size=4096, write_batch_size=20)

    class Watched(io.BytesIO):
        def read(self, size=-1):
            sizes.append(size)
            return super().read(size)

    lines = Lines("a.parquet", Watched(sink.getvalue()), sink.read)
    found = rows_of_arrow(lines, "parquet", columns_of([], ["text"], []))
    assert [one.fields["text"] for one in found] == texts
    assert 0 < max(sizes) < 100_000 < 300_000 < len(sink.getvalue())


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_through_a_verb(tmp_path, capsys, ending):
    file = write(pa.table({"id": [7, 8], "review": TEXTS[:2]}), tmp_path / f"in.{ending}")
    out = tmp_path / f"out.{ending}"
    asked = ["tokenize", "--model", "nanodistil-mini", "--input", file, "--column", "review"]
    assert main([*asked, "--output", str(out)]) == 0
    assert main([*asked, "--jsonl"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = parquet.read_table(out) if ending == "parquet" else pa.ipc.open_file(str(out)).read_all()
    rows = found.to_pylist()
    assert [row["id"] for row in rows] == [7, 8] and [row["review"] for row in rows] == TEXTS[:2]
    assert [{"index": r["index"], "id": r["id"], "review": r["review"]} for r in rows] == [
        {name: line[name] for name in ("index", "id", "review")} for line in lines
    ]
    assert [row["tokens"] for row in rows] == [line["result"]["tokens"] for line in lines]
    assert not list(tmp_path.glob("*.partial"))


# ---- addresses


@pytest.fixture
def memory():
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


@pytest.mark.parametrize("name", ["in.parquet", "in.jsonl", "in.txt"])
def test_in_and_out_of_an_address(tmp_path, memory, name):
    sink = io.BytesIO()
    parquet.write_table(pa.table({"text": TEXTS[:2]}), sink)
    lines = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS[:2])
    data = {"in.parquet": sink.getvalue(), "in.jsonl": lines.encode(), "in.txt": "\n".join(TEXTS[:2]).encode()}
    memory.pipe_file(f"/bucket/{name}", data[name])
    asked = ["tokenize", "--model", "nanodistil-mini", "--input", f"memory://bucket/{name}"]
    assert main([*asked, "--output", "memory://bucket/out.jsonl"]) == 0
    found = [json.loads(line) for line in memory.cat_file("/bucket/out.jsonl").splitlines()]
    assert [one["text"] for one in found] == TEXTS[:2]
    assert sorted(memory.ls("/bucket", detail=False)) == sorted([f"/bucket/{name}", "/bucket/out.jsonl"])
    local = tmp_path / "in.txt"
    local.write_text("a\n", encoding="utf-8")
    asked[-1] = f"file://{local}"
    assert main([*asked, "--output", f"file://{tmp_path}/out.csv"]) == 0
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").startswith("index,text,tokens")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--input", "memory://b/none.txt"], "memory://b/none.txt cannot be opened: there is no such file"),
        (["a", "--output", "memory://b/there.jsonl"], "memory://b/there.jsonl exists already"),
        (["a", "--output", "memory://b/new.jsonl", "--resume"], "--resume goes on with a file of this machine"),
        (["a", "--output", "nowhere://b/new.jsonl"], "nowhere://b/new.jsonl is no address that can be used"),
        (["a", "--output", "memory://b/new.what"], "its name does not say what to write"),
    ],
)
def test_addresses_that_cannot_be(memory, capsys, words, message):
    memory.pipe_file("/b/there.jsonl", b"")
    assert main(["tokenize", "--model", "nanodistil-mini", *words]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert message in said


def test_what_cannot_be_sent_is_kept(memory, monkeypatch, capsys):
    def refuse(*_, **__):
        raise PermissionError("not yours")

    monkeypatch.setattr(type(memory), "put_file", refuse)
    assert main(["tokenize", "--model", "nanodistil-mini", "a", "--output", "memory://b/new.jsonl"]) == 2
    said = capsys.readouterr().err
    assert "cannot be written: not yours; all answers are in " in said
    with open(said.split("all answers are in ")[1].strip(), encoding="utf-8") as file:
        assert json.loads(file.read())["text"] == "a"


def test_packages_that_are_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match=r'pip install "nanodistil\[fsspec\]"'):
        remote.place_of("s3://bucket/a.csv")
    monkeypatch.undo()
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(fsspec.registry.target if hasattr(fsspec.registry, "target") else {}, "s3", raising=False)
    with pytest.raises(MissingExtraError, match=r'pip install "nanodistil\[s3\]"'):
        remote.place_of("s3://bucket/a.csv")
