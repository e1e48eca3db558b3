"""Where inputs come from: every form, and one line with file and line number for everything that can be wrong."""

import argparse
import bz2
import gzip
import io
import json
import lzma
import os

import pytest

from nanodistil import InputError
from nanodistil.cli import records
from nanodistil.reading.lines import Lines, lines_of

PAIR = {"text": "a text", "text_pair": "another"}


def arguments(*argv, fields=PAIR):
    parser = argparse.ArgumentParser()
    records.add_arguments(parser, fields)
    return parser.parse_args([str(one) for one in argv])


def read(*argv, needed=("text",), optional=(), fields=PAIR):
    chunks = records.chunks(arguments(*argv, fields=fields), needed, optional)
    return [record for chunk in chunks for record in chunk.records]


def fields(*argv, **more):
    found = read(*argv, **more)
    assert not [record for record in found if record.problem]
    return [record.fields for record in found]


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_arguments_are_texts_as_they_stand():
    assert fields("one", "", " two ") == [{"text": "one"}, {"text": ""}, {"text": " two "}]


def test_lines_of_a_file(tmp_path):
    file = write(tmp_path / "x.txt", "\ufeffeins\r\n\nzwei\u2028drei\nend")
    assert fields("--input", file) == [{"text": t} for t in ("eins", "", "zwei\u2028drei", "end")]
    assert [r.place for r in read("--input", file)][:2] == [f"line 1 of {file}", f"line 2 of {file}"]
    assert fields("--input", write(tmp_path / "empty", "")) == []


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("xz", lzma.compress), ("bz2", bz2.compress)])
def test_packed_files(tmp_path, ending, pack):
    text = "".join(f"line {i}\n" for i in range(30_000))
    assert len(fields("--input", write(tmp_path / f"x.{ending}", pack(text.encode())))) == 30_000
    jsonl = write(tmp_path / f"x.jsonl.{ending}", pack(b'{"text": "a"}\n'))
    assert fields("--input", jsonl) == [{"text": "a"}]
    broken = write(tmp_path / f"broken.{ending}", pack(text.encode())[:-20])
    with pytest.raises(InputError, match=f"broken.{ending} cannot be read"):
        read("--input", broken)
    with pytest.raises(InputError, match=f"wrong.{ending} cannot be read"):
        read("--input", write(tmp_path / f"wrong.{ending}", b"no such thing"))


def test_jsonl(tmp_path):
    file = write(tmp_path / "x.jsonl", '{"text": "a", "id": 1}\n\n"b"\n{"text": "c", "text_pair": "d"}\n')
    assert fields("--input", file, optional=["text_pair"]) == [
        {"text": "a"},
        {"text": "b"},
        {"text": "c", "text_pair": "d"},
    ]
    named = write(tmp_path / "y.jsonl", '{"review": "a", "x=y": "b"}\n')
    assert fields("--input", named, "--column", "review") == [{"text": "a"}]
    assert fields("--input", file, "--column", "text")[0] == {"text": "a"}  # a name that is the field's too
    assert fields("--input", named, "--column", "x=y") == [{"text": "b"}]
    pair = ["--column", "text=review", "--column", "text_pair=x=y"]
    assert fields("--input", named, *pair, optional=["text_pair"]) == [{"text": "a", "text_pair": "b"}]


def test_several_columns_make_a_list(tmp_path):
    choose = {"prompt": "p", "choices": "c"}
    columns = ["--column", "choices=end1", "--column", "choices=end2"]
    file = write(tmp_path / "x.csv", "prompt,end1,end2\nIt,rains,snows\n")
    assert fields("--input", file, *columns, needed=list(choose), fields=choose) == [
        {"prompt": "It", "choices": ["rains", "snows"]}
    ]
    file = write(tmp_path / "x.jsonl", '{"prompt": "It", "end1": "rains", "end2": "snows"}\n')
    assert fields("--input", file, *columns, needed=list(choose), fields=choose)[0]["choices"] == ["rains", "snows"]


def test_csv(tmp_path):
    file = write(tmp_path / "x.csv", '\ufeffid,text,text_pair\r\n1,"a, ""b""\nc",d\r\n\r\n2,e,\r\n')
    found = read("--input", file, optional=["text_pair"])
    assert [r.fields for r in found] == [{"text": 'a, "b"\nc', "text_pair": "d"}, {"text": "e", "text_pair": ""}]
    assert [r.place for r in found] == [f"line 2 of {file}", f"line 5 of {file}"]  # cells may hold line feeds
    assert fields("--input", file, "--column", "3")[0] == {"text": "d"}
    bare = write(tmp_path / "y.csv", "a,b\nc,d\n")
    assert fields("--input", bare, "--no-header") == [{"text": "a"}, {"text": "c"}]
    assert fields("--input", bare, "--no-header", "--column", "2") == [{"text": "b"}, {"text": "d"}]
    assert fields("--input", write(tmp_path / "long.csv", "text\n" + "a" * 500_000 + "\n")) == [{"text": "a" * 500_000}]


def test_tsv_has_no_quotes(tmp_path):
    file = write(tmp_path / "x.tsv", 'text\tlabel\n"a\t0\n\nb"\t1\n')
    assert fields("--input", file) == [{"text": '"a'}, {"text": 'b"'}]


def test_the_format_can_be_said(tmp_path):
    file = write(tmp_path / "x", '{"text": "a"}\n')
    assert fields("--input", file, "--format", "jsonl") == [{"text": "a"}]
    assert fields("--input", file) == [{"text": '{"text": "a"}'}]


@pytest.mark.parametrize(
    ("name", "content", "argv", "message"),
    [
        ("x", b"good\n\xff\n", [], r"line 2 of \S+x is not UTF-8"),
        ("x.jsonl", b'{"text": "a"}\n{"text"\n', [], r"line 2 of \S+ is not JSON: .* at character 8"),
        ("x.jsonl", b"[" * 100_000, [], r"line 1 of \S+ is not JSON that can be read"),
        ("x.jsonl", b'\n{"review": "a"}\n', [], r"line 2 of \S+ has no 'text' \(it has 'review'\): .* --column text="),
        ("x.jsonl", b"[1]\n", [], r"line 1 of \S+ must be a JSON object with 'text'"),
        ("x.jsonl", b'{"text": null}\n', [], r"line 1 of \S+ has no 'text'"),
        ("x.csv", b"text,b\na,b\nc\n", ["--column", "b"], r"line 3 of \S+ has 1 cells, and the header 2: a comma"),
        (
            "x.csv",
            b"text,label\na,1\nwell, yes,0\n",
            [],
            r"line 3 of \S+ has 3 cells, and the header 2: .* quotes",
        ),
        ("x.csv", b"a,1\nb\n", ["--no-header"], r"line 2 of \S+ has 1 cells, and the first row 2"),
        ("x.tsv", b"text\tlabel\na\t1\na\tb\t0\n", [], r"line 3 of \S+ has 3 cells, and the header 2: a tab"),
        ("x.jsonl", b'{"text": "a", "text": "b"}\n', [], r"line 1 of \S+ .* the key 'text' is there twice"),
        ("x", b"good\nba\0d\n", [], r"line 2 of \S+x has a NUL byte"),
        ("x.csv", b"text,b\na,b\nc,\0\n", [], r"line 3 of \S+ has a NUL byte"),
        ("x.tsv", b"text\tb\na\tb\nc\0\t\n", [], r"line 3 of \S+ has a NUL byte"),
        ("x.jsonl", b'{"text": "a"}\n"\0"\n', [], r"line 2 of \S+ has a NUL byte"),
        ("x.json", b'[{"text": "a"}, {"id": 1}]', [], r"record 2 of \S+ has no 'text' \(it has 'id'\)"),
        ("x.json", b'["a", 3]', [], r"record 2 of \S+ must be a JSON object with 'text'"),
        ("x.json", b'{"text": "a"}\n{"text": }\n', [], r"line 2 of \S+ is not JSON"),
        ("x.csv", b"text\n\xff\n", [], r"line 2 of \S+ is not UTF-8"),
        ("x.tsv", b"text\ta\n\xff\n", [], r"line 2 of \S+ is not UTF-8"),
    ],
)
def test_a_record_that_cannot_be_read_carries_its_problem(tmp_path, name, content, argv, message):
    found = read("--input", write(tmp_path / name, content), *argv)
    assert [r.problem is None for r in found] == [True] * (len(found) - 1) + [False]
    with pytest.raises(InputError, match=message):
        raise found[-1].problem
    assert "\n" not in str(found[-1].problem)


def test_records_behind_a_broken_one(tmp_path):
    for name, content in (
        ("x.jsonl", b'{"text": "a"}\n{\n{"text": "b"}\n'),
        ("x.csv", b'text\na\n"b"c\nb\n'),
        ("u.csv", b"text,id\na,1\nb, c,2\nb,3\n"),
        ("u.tsv", b"text\tid\na\t1\nb\nb\t3\n"),
        ("n.csv", b"text\na\n\0\nb\n"),
        ("x.json", b'["a", {}, "b"]'),
        ("y.csv", b"text\na\n\xff\nb\n"),
        ("z.tsv", b"text\na\n\xff\nb\n"),
        ("x", b"a\n\xff\nb\n"),
    ):
        found = read("--input", write(tmp_path / name, content))
        assert [r.fields.get("text") for r in found] == ["a", None, "b"], name


@pytest.mark.parametrize(
    "content",
    [
        '[{"text": "a", "id": 1}, {"text": "b", "id": 2}]',
        '\ufeff[\n {"text": "a", "id": 1},\n\n {"text": "b", "id": 2}\n]\n',
        '{"text": ["a", "b"], "id": [1, 2]}',
        '{"text": {"0": "a", "7": "b"}, "id": {"0": 1, "7": 2}}',  # pandas' to_json
        '{"text": "a", "id": 1}\n{"text": "b", "id": 2}\n',  # JSON lines by another name
        '\n{"text": "a", "id": 1}\r\n\r\n{"text": "b", "id": 2}',
    ],
)
def test_a_json_file_is_a_list_of_records_however_it_is_written(tmp_path, content):
    found = read("--input", write(tmp_path / "x.json", content))
    assert [r.fields for r in found] == [{"text": "a"}, {"text": "b"}]
    assert [r.columns for r in found] == [{"text": "a", "id": 1}, {"text": "b", "id": 2}]
    packed = write(tmp_path / "x.json.gz", gzip.compress(content.encode()))
    assert [r.columns for r in read("--input", packed)] == [r.columns for r in found]


def test_other_json_files(tmp_path):
    def read_json(content):
        return fields("--input", write(tmp_path / "x.json", content))

    assert read_json('["a", "b"]') == read_json('"a"\n"b"') == [{"text": "a"}, {"text": "b"}]
    assert read_json('{"text": "a", "tags": [1, 2]}') == [{"text": "a"}]
    assert read_json("") == read_json("[]") == read_json("\n\n") == []
    for content, message in (
        ('{"data": [{"title": "x"}], "version": "1.1"}', "must hold a list of records.* 'data', 'version'"),
        ('{"text": ["a", "b"], "id": [1]}', "'text' has 2 values and 'id' 1"),
        ('{"text": {"0": "a"}, "id": {"1": "a"}}', "columns must go together"),
        ("3", "must hold a list of records.* 3"),
        ("{}", "must hold a list of records"),
        ('[{"text": "a"}', "x.json is not JSON"),
        ('[{"text": "a", "text": "b"}]', "'text' is there twice"),
        ("[1]\0", "NUL"),
        ("[" * 100_000, "not JSON"),
    ):
        with pytest.raises(InputError, match=message) as error:
            read_json(content)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize(("name", "content"), [("x", "añ\n𝄞\n"), ("x.csv", "text,b\r\nañ,\r\n𝄞,\r\n"),
                                               ("x.json", '["añ", "𝄞"]')])  # fmt: skip
def test_files_that_say_what_they_are_written_in(tmp_path, codec, name, content):
    """As Windows writes them, with a mark at their beginning; without one a NUL tells of it."""
    mark = "\ufeff" * codec.endswith("e")
    assert fields("--input", write(tmp_path / name, (mark + content).encode(codec))) == [{"text": "añ"}, {"text": "𝄞"}]


def test_wide_files_in_pieces(tmp_path):
    whole = "ab\n𝄞c\nd".encode("utf-16")
    for size in (1, 2, 3, 5):
        stream = io.BytesIO(whole)
        with open(os.devnull, "rb") as device:
            assert list(Lines("x", device.fileno(), lambda _, s=stream, n=size: s.read(n))) == [
                b"ab",
                "𝄞c".encode(),
                b"d",
            ]
    for content, message in (
        (b"a\0b\0\n\0", "NUL"),
        (whole[:-1], "cannot be read"),
        (b"\xff\xfe\n\xd8", "cannot be read"),
    ):
        with pytest.raises(InputError, match=message):
            for record in read("--input", write(tmp_path / "x", content)):
                if record.problem:
                    raise record.problem


def test_all_columns_go_along(tmp_path):
    file = write(tmp_path / "x.csv", "id,,text,id,id\n1,2,a,3,4\n")
    assert [r.columns for r in read("--input", file)] == [{"id": "1", "2": "2", "text": "a", "id_4": "3", "id_5": "4"}]
    file = write(tmp_path / "x.tsv", "a\tb\tc\n")
    assert [r.columns for r in read("--input", file, "--no-header", "--column", "2")] == [
        {"1": "a", "text": "b", "3": "c"}
    ]
    assert [r.columns for r in read("one")] == [{"text": "one"}]
    assert [r.columns for r in read("--input", write(tmp_path / "x", "one\n"))] == [{"text": "one"}]
    file = write(tmp_path / "x.jsonl", '{"review": "a", "id": [1]}\n"b"\n')
    assert [r.columns for r in read("--input", file, "--column", "review")][:1] == [{"review": "a", "id": [1]}]


@pytest.mark.parametrize(
    ("content", "argv", "message"),
    [
        ("id,review\n", [], r"has no column 'text' \(it has 'id', 'review'\): --column text=NAME"),
        ("", [], r"has no column 'text' \(it has none\)"),
        ("text,text\n", [], "several columns 'text'"),
        ("text\n", ["--column", "2"], "no column '2'"),
        ("a,b\n", ["--no-header", "--column", "a"], "numbers only"),
        ("text\n", ["--column", "text_pair=b"], "no column 'b'"),
        ('"text\n', [], "line 1 of .* is not CSV"),
        ("text\n", ["--format", "lines", "--column", "text"], "lines have no columns"),
    ],
)
def test_columns_that_are_not_there(tmp_path, content, argv, message):
    with pytest.raises(InputError, match=message):
        read("--input", write(tmp_path / "x.csv", content), *argv, optional=["text_pair"])


def test_nothing_to_read(tmp_path):
    for argv, message in (
        ([], "nothing to do"),
        (["a", "--input", "b"], "not from both"),
        (["--input", tmp_path / "none"], "cannot be opened: No such file"),
        (["--input", tmp_path], "cannot be opened: Is a directory"),
        (["--input", "a\0b"], "cannot be opened"),
    ):
        with pytest.raises(InputError, match=message):
            read(*argv)
    for argv in (["a"], ["--input", write(tmp_path / "x", "a\n")]):
        with pytest.raises(InputError, match="a question alone is not enough: give its context"):
            read(*argv, needed=["question", "context"])
    assert [r.fields for r in read(needed=[])] == [{}]  # the options have said it all
    with pytest.raises(InputError, match="all there is"):
        read("a", needed=[])


def test_chunks_grow_and_know_their_share(tmp_path):
    file = write(tmp_path / "x", "abc\n" * 1000)
    found = list(records.chunks(arguments("--input", file), ["text"]))
    assert [len(chunk.records) for chunk in found] == [8, 16, 32, 64, 128, 256, 256, 240]
    assert [chunk.share for chunk in found][:2] == [0.008, 0.024] and found[-1].share == 1
    with gzip.open(tmp_path / "x.gz", "wb") as out:
        out.write(os.urandom(100_000).hex().encode())
    assert list(records.chunks(arguments("--input", tmp_path / "x.gz"), ["text"]))[-1].share == 1


def test_a_program_that_writes_now_and_then_is_not_waited_for(monkeypatch):
    """A record is there as soon as its line is; CSV too."""
    for form, first, second in (
        ("lines", "a\n", "b\nc\n"),
        ("csv", "text\na\n", "b\nc\n"),
        ("jsonl", '"a"\n', '"b"\n"c"\n'),
    ):
        ours, theirs = os.pipe()
        with os.fdopen(ours) as standard_input:
            monkeypatch.setattr("sys.stdin", standard_input)
            found = records.chunks(arguments("-", "--format", form), ["text"])
            os.write(theirs, first.encode())
            assert [r.fields["text"] for r in next(found).records] == ["a"]
            os.write(theirs, second.encode())
            assert [r.fields["text"] for r in next(found).records] == ["b", "c"]
            os.close(theirs)
            assert list(found) == []


def test_a_line_over_many_blocks(tmp_path):
    """Joined once, not block by block."""
    file = write(tmp_path / "x", b"a" * 10_000_000 + b"\nb")
    with lines_of(str(file)) as lines:
        assert [len(line) for line in lines] == [10_000_000, 1]
    blocks = iter([b"ab", b"c\r", b"\nd", b"\n", b"\n", b"e", b""])
    with open(os.devnull, "rb") as device:
        assert list(Lines("x", device.fileno(), lambda _: next(blocks))) == [b"abc\r", b"d", b"", b"e"]


def test_standard_input_from_a_file_knows_its_size(tmp_path, monkeypatch):
    with open(write(tmp_path / "x", json.dumps({"text": "a"}) + "\n")) as file:
        monkeypatch.setattr("sys.stdin", file)
        (chunk,) = records.chunks(arguments("-", "--format", "jsonl"), ["text"])
        assert chunk.share == 1 and chunk.records[0].place == "line 1 of standard input"
    monkeypatch.setattr("sys.stdin", io.StringIO("a"))  # no descriptor
    with pytest.raises(InputError, match="closed"):
        read("-")


def test_a_packed_table_that_is_cut_ends(tmp_path):
    """An error of reading is no bad row, to be passed over again and again."""
    whole = gzip.compress(b"text\n" + b"".join(b"%d line of some length\n" % (i * 7919) for i in range(20_000)))
    with pytest.raises(InputError, match="cannot be read"):
        read("--input", write(tmp_path / "x.csv.gz", whole[:-2000]))


def test_a_byte_in_the_middle_of_a_cell_spoils_its_row_alone(tmp_path):
    file = write(tmp_path / "x.csv", b'text,id\n"one\n\xff\nINNER1\nINNER2",1\nok,2\n')
    broken, fine = read("--input", file)
    assert str(broken.problem) == f"line 2 of {file} is not UTF-8" and fine.fields == {"text": "ok"}


def test_a_quote_that_is_never_closed_ends_the_run(tmp_path):
    file, before = write(tmp_path / "x.csv", b'text\nfine\n"open\nmore\n'), []
    with pytest.raises(InputError, match=r"line 3 of .* is not CSV: a quote is opened there and never closed"):
        for chunk in records.chunks(arguments("--input", file), ["text"]):
            before += [record.fields for record in chunk.records]
    assert before == [{"text": "fine"}]


def test_line_ends_within_cells_stay(tmp_path):
    assert fields("--input", write(tmp_path / "x.csv", b'text\r\n"a\r\nJohn"\r\n')) == [{"text": "a\r\nJohn"}]
