"""The loop of the verbs and where answers go: order, errors in their place, files that are resumed and never spoilt."""

import argparse
import bz2
import csv
import gzip
import io
import json
import lzma
import sys

import numpy as np
import pytest

from nanodistil import InputError, MissingExtraError
from nanodistil.cli import records, results
from nanodistil.cli.answering import answer
from nanodistil.cli.progress import Progress
from nanodistil.cli.rows import Rows
from nanodistil.reading.lines import lines_of
from nanodistil.reading.packed import opener


def arguments(*argv):
    parser = argparse.ArgumentParser()
    records.add_arguments(parser, {"text": "a text"})
    results.add_arguments(parser)
    return parser.parse_args([str(one) for one in argv])


def length(inputs, first):
    """A pipeline that measures texts, and cannot measure `bad`; it stops at `stop`, as with Ctrl-C."""
    for number, fields in enumerate(inputs, start=first + 1):
        if fields["text"] == "stop":
            raise KeyboardInterrupt
        if fields["text"] == "bad":
            raise InputError(f"input {number} is bad")
        yield {"n": len(fields["text"]), "input": number}


def table(record, given):
    return f"{record.fields['text']} {given['n']}"


def run(*argv, ask=length):
    args = arguments(*argv)
    with results.Results(args, table) as out:
        answer(args, records.chunks(args, ["text"]), ask, out)


def lines(path):
    """The results of a file of JSON lines."""
    return [json.loads(line)["result"] for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def texts(tmp_path):
    file = tmp_path / "texts"
    file.write_text("".join("a" * (i % 7) + "\n" for i in range(1000)), encoding="utf-8")
    return file


def test_forms(capsys, tmp_path):
    run("a", "bb")
    assert capsys.readouterr().out == "a 1\nbb 2\n"
    both = [
        {"index": 0, "text": "a", "result": {"n": 1, "input": 1}},
        {"index": 1, "text": "bb", "result": {"n": 2, "input": 2}},
    ]
    run("a", "bb", "--jsonl")
    assert capsys.readouterr().out == "".join(json.dumps(one) + "\n" for one in both)
    run("a", "bb", "--json")
    assert json.loads(capsys.readouterr().out) == both
    one = tmp_path / "one"
    one.write_text("a\n")
    for argv in (["a"], ["--input", one]):  # a list, however many inputs there are
        run(*argv, "--json")
        assert json.loads(capsys.readouterr().out) == both[:1]


def test_the_form_of_a_file_is_in_its_name(tmp_path, capsys):
    run("a", "--output", tmp_path / "x.jsonl")
    run("a", "--output", tmp_path / "x.json")
    run("é\ud800", "--output", tmp_path / "x.txt")
    run("a", "--output", tmp_path / "y.txt", "--jsonl")
    assert lines(tmp_path / "x.jsonl") == lines(tmp_path / "y.txt") == [{"n": 1, "input": 1}]
    assert json.loads((tmp_path / "x.json").read_text())[0]["result"]["n"] == 1
    assert (tmp_path / "x.txt").read_text(encoding="utf-8") == "é\\ud800 2\n"
    assert capsys.readouterr().out == ""


def test_numpy_in_answers(capsys):
    run("a", "--jsonl", ask=lambda inputs, _: iter([{"x": np.float32(0.5), "y": np.arange(2)}][: len(inputs)]))
    assert json.loads(capsys.readouterr().out)["result"] == {"x": 0.5, "y": [0, 1]}


def test_an_error_comes_after_the_answers_before_it(texts, tmp_path, capsys):
    with texts.open("a", encoding="utf-8") as file:
        file.write("bad\na\n")
    with pytest.raises(InputError, match=rf"^line 1001 of {texts}: input 1001 is bad$"):
        run("--input", texts, "--jsonl")
    assert len(capsys.readouterr().out.splitlines()) == 1000
    with pytest.raises(InputError, match=r"^input 2 is bad$"):
        run("a", "bad")


def test_errors_can_be_passed_over(tmp_path, capsys):
    file = tmp_path / "x.jsonl"
    file.write_text('"bad"\n"a"\n{\n"bad"\n"b"\n')
    run("--input", file, "--skip-errors", "--jsonl")
    out, err = capsys.readouterr()
    found = [json.loads(line) for line in out.splitlines()]
    assert ["error" in one for one in found] == [True, False, True, True, False] and found[4]["result"]["input"] == 5
    assert [one["index"] for one in found] == [0, 1, 2, 3, 4] and found[3]["text"] == "bad"
    assert found[0]["error"].startswith(f"line 1 of {file}: ") and "line 3" in found[2]["error"]
    assert err == "nanodistil: 3 of 5 inputs could not be answered\n"


def test_options_are_checked_before_inputs_are_read(tmp_path):
    def ask(inputs, first):
        raise InputError("top_k must be a number")

    with pytest.raises(InputError, match="top_k must"):
        run("--input", tmp_path / "none", "--skip-errors", ask=ask)


def test_resuming_gives_what_one_run_would(texts, tmp_path, capsys):
    whole, parts = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    run("--input", texts, "--output", whole)
    expected = whole.read_bytes()
    for cut in (0, 1, 20, 21, 22, 5000, len(expected) - 1, len(expected)):
        parts.write_bytes(expected[:cut])
        run("--input", texts, "--output", parts, "--resume")
        assert parts.read_bytes() == expected, cut
    parts.write_bytes(expected + b'{"n"')  # a cut line with nothing to take its place
    run("--input", texts, "--output", parts, "--resume")
    assert parts.read_bytes() == expected
    parts.unlink()
    run("--input", texts, "--output", parts, "--resume")  # nothing there yet
    assert parts.read_bytes() == expected


def test_every_answer_is_in_the_file_when_the_next_is_asked_for(texts, tmp_path):
    file, seen = tmp_path / "x.jsonl", []

    def ask(inputs, first):
        for number, given in enumerate(length(inputs, first), start=first):
            seen.append(number == 0 or len(lines(tmp_path / "x.jsonl.partial")) == number)
            yield given

    run("--input", texts, "--output", file, ask=ask)
    assert len(seen) == 1000 and all(seen)


def test_answers_that_are_there_are_not_computed_again(texts, tmp_path):
    file = tmp_path / "x.jsonl"
    run("--input", texts, "--output", file)
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:990]) + b'{"n": 3')
    asked = []

    def ask(inputs, first):
        asked.extend(inputs)
        return length(inputs, first)

    run("--input", texts, "--output", file, "--resume", ask=ask)
    assert len(asked) == 10 and [one["input"] for one in lines(file)] == list(range(1, 1001))


def test_an_interrupt_leaves_what_was_answered(texts, tmp_path, capsys):
    file = tmp_path / "x.jsonl"
    content = texts.read_text().splitlines()
    texts.write_text("\n".join([*content[:700], "stop", *content[700:]]))
    with pytest.raises(KeyboardInterrupt):
        run("--input", texts, "--output", file)
    assert [one["input"] for one in lines(tmp_path / "x.jsonl.partial")] == list(range(1, 701)) and not file.exists()
    assert capsys.readouterr().err == "nanodistil: interrupted after 700 answers; --resume goes on\n"
    texts.write_text("\n".join([*content[:700], "go on", *content[700:]]))
    run("--input", texts, "--output", file, "--resume")
    assert [one["input"] for one in lines(file)] == list(range(1, 1002))


def test_files_are_not_spoilt(texts, tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text("{}\nno json\n")
    for argv, message in (
        (["--output", file], "x.jsonl exists already: go on with it by --resume, or remove it"),
        (["--output", file, "--resume"], "line 2 of .* is not JSON"),
        (["--resume"], "name it with --output"),
        (["--output", tmp_path / "x.txt", "--resume"], "a table for the eye has none"),
        (["--output", tmp_path / "x.json", "--jsonl"], r"a \.json file is no JSONL"),
        (["--output", tmp_path / "x.csv", "--json"], r"a \.csv file is no JSON"),
        (["--output", tmp_path / "x.npy"], "is for vectors"),
        (["--output", tmp_path / "x.npz.gz"], "is for vectors"),
        (["--output", tmp_path / "x.parquet.gz"], "not packed once more"),
        *((["--output", tmp_path / name], "does not say what to write") for name in ("x", "x.xlsx", "x.gz", "x.parq")),
        (["--output", tmp_path / "no" / "x.jsonl"], "cannot be written: there is no folder"),
        (["--output", texts, "--jsonl", "--resume"], "is the input"),
        (["--output", tmp_path, "--jsonl", "--resume"], "is no file that could be written"),
    ):
        with pytest.raises(InputError, match=message):
            run("--input", texts, *argv)
    assert file.read_text() == "{}\nno json\n"
    file.write_text("{}\n" * 1001)
    with pytest.raises(InputError, match="1001 answers, but there are only 1000 inputs"):
        run("--input", texts, "--output", file, "--resume")


def test_no_inputs_are_no_answers(tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.write_text("")
    run("--input", empty, "--output", tmp_path / "x.jsonl")
    assert (tmp_path / "x.jsonl").read_bytes() == b""
    run("--input", empty, "--json")
    assert capsys.readouterr().out == "[]\n"


TABLE = [{"id": 7, "text": 'say "hi", é', "label": "x", "index": [1]}, {"id": 8, "text": "bb", "more": None}]


def run_table(tmp_path, name, *argv, ask=length):
    source = tmp_path / "source.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in TABLE))
    run("--input", source, "--output", tmp_path / name, *argv, ask=ask)
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name or path.name.startswith(".")]
    return tmp_path / name


def labelled(inputs, first):
    for found in length(inputs, first):
        yield {"label": "good", "score": found["n"] / 4, "all": [found["input"], "ä"]}


def test_csv_has_a_row_an_input(tmp_path):
    with run_table(tmp_path, "x.csv", ask=labelled).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"index": "0", "id": "7", "text": 'say "hi", é', "input_label": "x", "input_index": "[1]", "more": "",
         "label": "good", "score": "2.75", "all": '[1, "ä"]'},
        {"index": "1", "id": "8", "text": "bb", "input_label": "", "input_index": "", "more": "",
         "label": "good", "score": "0.5", "all": '[2, "ä"]'},
    ]  # fmt: skip


def test_tsv_has_no_quotes(tmp_path):
    text = run_table(tmp_path, "x.tsv").read_text(encoding="utf-8")
    assert text == (
        "index\tid\ttext\tlabel\tinput_index\tmore\tn\tinput\n"
        '0\t7\tsay "hi", é\tx\t[1]\t\t11\t1\n1\t8\tbb\t\t\t\t2\t2\n'
    )
    for odd in ("a\tb", "a\nb", "a\rb"):
        with pytest.raises(InputError, match="its 'text' has a tab or a line end"):
            run(odd, "--output", tmp_path / "y.tsv")


def test_vectors_and_lists_in_tables(tmp_path):
    def vector(inputs, first):
        return (np.array([0.5, first + i]) for i, _ in enumerate(inputs))

    assert run_table(tmp_path, "v.csv", ask=vector).read_text().splitlines()[0].endswith("more,vector_0,vector_1")
    lists = run_table(tmp_path, "l.csv", ask=lambda inputs, first: ([{"a": 1}] for _ in inputs))
    assert lists.read_text().splitlines()[2] == '1,8,bb,,,,"[{""a"": 1}]"'


def test_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")

    def scored(inputs, first):
        return ({"label": "good", "score": one["n"] / 4, "of": [1, 2]} for one in length(inputs, first))

    rows = parquet.read_table(run_table(tmp_path, "x.parquet", ask=scored).as_posix()).to_pylist()
    assert rows[0]["input_index"] == [1] and rows[1]["input_index"] is None and rows[0]["label"] == "good"
    assert [row["id"] for row in rows] == [7, 8] and [row["score"] for row in rows] == [2.75, 0.5]

    def mixed(inputs, first):
        return ({"a": 1 if i + first else "x"} for i, _ in enumerate(inputs))

    with pytest.raises(InputError, match=r"values of kinds.*x2\.parquet\.partial, as JSON lines"):
        run_table(tmp_path, "x2.parquet", ask=mixed)


def test_what_an_extra_brings_is_asked_for_by_name(tmp_path, monkeypatch):
    for module, name, extra in (("pyarrow", "x.parquet", "parquet"), ("zstandard", "x.csv.zst", "zst")):
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.setitem(sys.modules, "compression.zstd", None)
        with pytest.raises(MissingExtraError, match=rf"nanodistil\[{extra}\]"):
            run("a", "--output", tmp_path / name)


UNPACK = {"gz": gzip.open, "xz": lzma.open, "bz2": bz2.open}


@pytest.mark.parametrize("ending", [*UNPACK, "zst"])
@pytest.mark.parametrize("form", ["jsonl", "json", "csv", "tsv", "txt"])
def test_packed_answers_are_read_again(tmp_path, ending, form):
    if ending == "zst":
        pytest.importorskip("zstandard" if sys.version_info < (3, 14) else "compression.zstd")
    plain, packed = (run_table(tmp_path, f"x.{form}{more}") for more in ("", f".{ending}"))
    with lines_of(str(packed)) as unpacked:
        assert list(unpacked) == plain.read_bytes().removesuffix(b"\n").split(b"\n")
    if ending in UNPACK:
        with UNPACK[ending](packed) as file:
            assert file.read() == plain.read_bytes()


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.json", "x.csv", "x.tsv.xz"])
def test_every_form_is_resumed(texts, tmp_path, capsys, name):
    """From FILE.partial, which holds JSON lines; a FILE is whole."""
    whole, parts, partial = tmp_path / name, tmp_path / f"parts.{name}", tmp_path / f"parts.{name}.partial"
    run("--input", texts, "--output", tmp_path / "lines.jsonl")
    run("--input", texts, "--output", whole)
    begun = (tmp_path / "lines.jsonl").read_bytes()
    for cut in (0, 1, 5000, len(begun) - 1, len(begun)):
        partial.write_bytes(begun[:cut])
        with pytest.raises(InputError, match="partial exists already: go on"):
            run("--input", texts, "--output", parts)
        run("--input", texts, "--output", parts, "--resume")
        with lines_of(str(whole)) as a, lines_of(str(parts)) as b:
            assert list(a) == list(b), cut
        assert not partial.exists()
        before = parts.read_bytes()
        run("--input", texts, "--output", parts, "--resume")
        assert parts.read_bytes() == before and ("nothing to do" in capsys.readouterr().err) == (name != "x.jsonl")
        parts.unlink()


def test_the_files_of_no_inputs(tmp_path):
    empty = tmp_path / "empty"
    empty.write_text("")
    for name, content in (("x.json", b"[]\n"), ("x.csv", b"index\n"), ("x.tsv", b"index\n"), ("x.txt", b"")):
        run("--input", empty, "--output", tmp_path / name)
        assert (tmp_path / name).read_bytes() == content


def test_names_that_are_ours_and_numbers_that_json_has_not(tmp_path, capsys):
    file = tmp_path / "x.jsonl"
    file.write_text('{"text": "a", "index": 1, "input_index": 2, "result": 3, "error": NaN}\n')
    run("--input", file, "--jsonl")
    assert json.loads(capsys.readouterr().out) == {
        "index": 0, "text": "a", "input_input_index": 1, "input_index": 2, "input_result": 3, "input_error": None,
        "result": {"n": 1, "input": 1},
    }  # fmt: skip


# ---- rows


def vectors(inputs, first):
    for found in length(inputs, first):
        yield np.array([found["n"], found["input"], 0.5])


def run_rows(*argv, width=3, dtype="float32", ask=vectors):
    args = arguments(*argv)
    with Rows(args, width, dtype) as out:
        answer(args, records.chunks(args, ["text"]), ask, out)


def test_rows_are_an_array(texts, tmp_path):
    file = tmp_path / "x.npy"
    run_rows("--input", texts, "--output", file)
    array = np.load(file, mmap_mode="r")
    assert array.shape == (1000, 3) and array.dtype == np.float32 and list(array[8]) == [1, 9, 0.5]
    assert not (tmp_path / "x.npy.partial").exists()
    empty = tmp_path / "empty"
    empty.write_text("")
    run_rows("--input", empty, "--output", tmp_path / "y.npy", dtype="float64")
    assert np.load(tmp_path / "y.npy").shape == (0, 3)


def test_rows_in_a_npz(texts, tmp_path, capsys):
    file, partial = tmp_path / "x.npz", tmp_path / "x.npz.partial"
    run_rows("--input", texts, "--output", tmp_path / "x.npy")
    run_rows("--input", texts, "--output", file)
    wanted = np.load(tmp_path / "x.npy")
    np.testing.assert_array_equal(np.load(file)["vectors"], wanted)
    before = file.read_bytes()
    run_rows("--input", texts, "--output", file, "--resume")
    assert file.read_bytes() == before and "nothing to do" in capsys.readouterr().err
    file.unlink()
    partial.write_bytes((tmp_path / "x.npy").read_bytes()[:5000])
    run_rows("--input", texts, "--output", file, "--resume")
    np.testing.assert_array_equal(np.load(file)["vectors"], wanted)
    assert not partial.exists()


def test_rows_are_resumed(texts, tmp_path):
    file, partial = tmp_path / "x.npy", tmp_path / "x.npy.partial"
    run_rows("--input", texts, "--output", file)
    expected = file.read_bytes()
    header = len(expected) - 12_000
    for cut in (0, header, header + 1, header + 12, header + 6_001, len(expected)):
        file.unlink(missing_ok=True)
        partial.write_bytes(expected[:cut])
        run_rows("--input", texts, "--output", file, "--resume")
        assert file.read_bytes() == expected and not partial.exists(), cut
    file.unlink()
    partial.write_bytes(expected + b"cut")
    run_rows("--input", texts, "--output", file, "--resume")
    assert file.read_bytes() == expected
    run_rows("--input", texts, "--output", file, "--resume")  # it is whole
    assert file.read_bytes() == expected


def test_interrupted_rows_have_another_name(texts, tmp_path, capsys):
    file, partial = tmp_path / "x.npy", tmp_path / "x.npy.partial"
    content = texts.read_text()
    texts.write_text(content + "stop\n")
    with pytest.raises(KeyboardInterrupt):
        run_rows("--input", texts, "--output", file)
    assert not file.exists() and partial.stat().st_size == 128 + 12_000
    with pytest.raises(InputError, match=r"x.npy.partial exists already"):
        run_rows("--input", texts, "--output", file)
    for options in ({"width": 4}, {"dtype": "float64"}):
        with pytest.raises(InputError, match="has rows of 3 float32"):
            run_rows("--input", texts, "--output", file, "--resume", **options)
    texts.write_text(content + "go on\n")
    run_rows("--input", texts, "--output", file, "--resume")
    assert np.load(file).shape == (1001, 3)
    file.write_bytes(b"something else")
    with pytest.raises(InputError, match="not what an earlier run left"):
        run_rows("--input", texts, "--output", file, "--resume")
    assert file.read_bytes() == b"something else"
    with pytest.raises(InputError, match="room for an error"):
        run_rows("--input", texts, "--output", tmp_path / "y.npy", "--skip-errors")


# ---- progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_for_terminals_and_long_work(monkeypatch):
    monkeypatch.setattr("nanodistil.cli.progress.EVERY", 0)
    for out, first, shown in ((io.StringIO(), 0, False), (Terminal(), 1000, False), (Terminal(), 0, True)):
        monkeypatch.setattr("nanodistil.cli.progress.FIRST", first)
        with Progress(out) as progress:
            progress.reached(0.5)
            progress.answered()
        assert ("1 done" in out.getvalue()) == shown
        assert out.getvalue() == "" or out.getvalue().endswith("\r\x1b[K")


def test_progress_of_a_stream_has_no_bar():
    progress = Progress(None)
    progress.done = 1234
    progress.reached(None)
    assert progress.line(10) == "1,234 done, 123.4 a second"


def test_a_finished_array_survives_a_run_that_cannot_begin(tmp_path):
    """--resume that fails before its first row, or has none, leaves the file; one in another order is refused."""
    whole = tmp_path / "x.npy"
    np.save(whole, np.arange(6, dtype=np.float32).reshape(3, 2))
    before, args = whole.read_bytes(), arguments("--output", whole, "--resume", "a")
    with pytest.raises(KeyError), Rows(args, 2, "float32") as rows:
        assert rows.done == 3
        raise KeyError
    with Rows(args, 2, "float32"):
        pass
    assert whole.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["x.npy"]
    np.save(whole, np.asfortranarray(np.arange(6, dtype=np.float32).reshape(3, 2)))
    with pytest.raises(InputError, match="cannot be resumed"):
        Rows(args, 2, "float32")


def test_an_output_that_cannot_be_is_told_at_once(tmp_path):
    for name in ("x.json", "x.jsonl", "x.npy"):
        args = arguments("--output", tmp_path / "no" / name, "a")
        with pytest.raises(InputError, match="there is no folder"):
            Rows(args, 2, "float32") if name == "x.npy" else results.Results(args, table)


def test_a_packed_file_has_no_name_of_a_temporary_file_inside(tmp_path):
    made = tmp_path / ".x.gz.1a2b3c4d"
    with made.open("wb") as raw, opener(".gz")(raw, "wb") as out:
        out.write(b"a line\n")
    assert made.name.encode() not in made.read_bytes() and gzip.decompress(made.read_bytes()) == b"a line\n"
    with made.open("rb") as raw, opener(".gz")(raw, "rb") as back:
        assert back.read() == b"a line\n"
