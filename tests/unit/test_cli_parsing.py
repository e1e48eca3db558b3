"""The command line: what it says of a mistake, in one line, and what a shell is told of it."""

import argparse
import re
import shutil
import subprocess
from importlib import import_module

import pytest

from nanodistil.cli import VERBS, completion, main
from nanodistil.cli.command import parsed, whole_parser
from nanodistil.cli.parsing import Parser
from nanodistil.pipelines import DEFAULTS, KNOWN
from nanodistil.weights.errors import InputError

MISTAKES = [  # a command line; what its one line says
    ("fill-msak x", "no verb 'fill-msak'; did you mean fill-mask?"),
    ("text-classification x", "did you mean classify?"),
    ("question-answering x", "did you mean answer?"),
    ("", "a verb is needed"),
    ("--verison", "did you mean --version?"),
    ("fill-mask --tpo-k 3 x", "no option --tpo-k; did you mean --top-k?"),
    ("fill-mask --top_k=3 x", "no option --top_k; did you mean --top-k?"),
    ("finetune classification --model x --train x --out x --learning-rat", "--learning-rate needs a value"),
    ("finetune classification --modle x", "no option --modle; did you mean --model?"),
    ("finetune clasification", "did you mean classification?"),
    ("evaluate masked-lm --model x --data y --lmit 3", "did you mean --limit?"),
    ("ner --aggregation-strategy simpel x", "did you mean simple?"),
    ("completion zhs", "did you mean zsh?"),
    ("fill-mask -[MASK]", "put -- before a text that begins with -"),
    ("fill-mask -- a --model x", "--model stands behind --"),
    ("fill-mask -- a --model=x", "--model stands behind --"),
    ("fill-mask --top-k x a", "--top-k: must be a whole number from 1, not 'x'"),
    ("fill-mask --top-k 0 a", "--top-k: must be a whole number from 1, not '0'"),  # an answer of nothing
    ("classify --top-k 0 a", "--top-k: must be a whole number from 1 or all, not '0'"),
    ("fill-mask --joint --beams 0 a", "--beams: must be a whole number from 1"),
    ("answer q --context c --top-k -1", "--top-k: must be a whole number from 1"),
    ("fill-mask --top-k 1.5 a", "--top-k: must be a whole number from 1, not '1.5'"),
    ("fill-mask --top-k " + "9" * 5000 + " a", "--top-k: must be a whole number from 1"),
    ("fill-mask --threads 0 a", "--threads: must be a whole number from 1, not '0'"),
    ("fill-mask --threads -3 a", "--threads: must be a whole number from 1, not '-3'"),
    ("bench --threads 0", "--threads: must be a whole number from 1"),
    ("bench --seconds nan", "--seconds: must be a number, not 'nan'"),
    ("bench --seconds inf", "--seconds must be from 0"),
    ("bench --seconds -1", "--seconds must be from 0"),
    ("extract-student a b --seed -1", "--seed: must be a whole number from 0"),
    ("classify --top-k alle x", "--top-k: must be a whole number from 1 or all, not 'alle'"),
    ("evaluate masked-lm --model x --data y --mlm-probability 2", "must be above 0 and at most 1, not '2'"),
    ("distill --dump-path a --data-file b --n-epoch two", "--n-epoch: must be a whole number, not 'two'"),
    ("distill --dump-path a --data-file b --alpha-ce x", "--alpha-ce: must be a number, not 'x'"),
    ("zero-shot --labels travel cooking text", "if --labels has taken it, write --labels ... -- 'text'"),
    ("choose --model m --choices a b", "if --choices has taken it, write --choices ... -- 'b'"),
    ("fill-mask --targets a", "if --targets has taken it"),
    ("ner --ignore-labels O text", "if --ignore-labels has taken it"),
    ("zero-shot text", "required: --labels"),
    ("answer --context", "--context needs a value; one that begins with - is written --context=-..."),
    ("answer q --context -x", "--context needs a value; one that begins with - is written --context=-..."),
    ("download a b", "'b' is one argument too many"),
    ("ner --stride 3 --truncate x", "--truncate: not allowed with argument --stride"),
]


@pytest.mark.parametrize(("line", "said"), MISTAKES, ids=[line[:40] for line, _ in MISTAKES])
def test_a_mistake_is_one_line_that_says_what_was_meant(capsys, line, said):
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("nanodistil: ") and said in err
    assert "usage:" not in err and len(err) < 420


def test_inputs_stand_wherever_they_are_put():
    one = parsed(["fill-mask", "A", "--top-k", "2", "B", "--json", "C"])
    assert (one.inputs, one.top_k, one.json) == (["A", "B", "C"], 2, True)
    assert parsed(["fill-mask", "--", "-[MASK]"]).inputs == ["-[MASK]"]
    assert parsed(["fill-mask", "--top-k", "1", "--", "-a", "-b"]).inputs == ["-a", "-b"]
    assert parsed(["fill-mask", "A", "--top-k", "1", "--", "-b"]).inputs == ["A", "-b"]
    assert parsed(["fill-mask", "-", "--top-k", "1"]).inputs == ["-"]
    assert parsed(["zero-shot", "--labels", "a", "b", "--", "--text"]).inputs == ["--text"]
    assert parsed(["zero-shot", "T", "--labels", "a", "b"]).labels == ["a", "b"]
    assert parsed(["tokenize", "A", "--json", "B"]).inputs == ["A", "B"]
    assert parsed(["binarize", "A", "--out", "x", "B"]).files == ["A", "B"]


def test_an_input_that_is_no_text(capsys):
    assert main(["fill-mask", "a [MASK]", b"\xff [MASK]".decode("utf-8", "surrogateescape")]) == 2
    assert "is not UTF-8" in capsys.readouterr().err


def test_the_models_that_the_help_names_are_those_of_the_pipelines():
    helps = {verb: Parser(verb) for verb in ("classify", "answer", "ner", "zero-shot")}
    for verb, parser in helps.items():
        import_module(VERBS[verb]).add_arguments(parser)
        helps[verb] = " ".join(parser.format_help().split())
    assert DEFAULTS["text-classification"] in helps["classify"]
    assert DEFAULTS["question-answering"] in helps["answer"]
    for verb, task in (("ner", "token-classification"), ("zero-shot", "zero-shot-classification")):
        (name,) = [word for word in KNOWN[task].split() if "/" in word]
        assert f"such as {name}" in helps[verb]


@pytest.mark.parametrize("value", ["-1e-3", "-inf", "-5", "-.5", "inf", "1E3"])
def test_negative_numbers_are_values(value):
    line = ["evaluate", "question-answering", "--model", "m", "--data", "d", "--null-score-diff-threshold", value]
    assert parsed(line).null_score_diff_threshold == float(value)


def parsers(parser):
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from parsers(sub)


def test_every_value_is_read_by_a_function_that_speaks():
    """Of int, float and others argparse says "invalid int value", or their private names."""
    for parser in parsers(whole_parser()):
        assert isinstance(parser, Parser)
        for action in parser._actions:
            try:
                action.type and action.type("???")
            except (ValueError, argparse.ArgumentTypeError) as error:
                assert isinstance(error, argparse.ArgumentTypeError), (parser.prog, action.dest)
                assert str(error).startswith("must be "), (parser.prog, action.dest)


@pytest.mark.parametrize("width", ["30", "80", "200"])
def test_every_help_fits_its_terminal(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", width)
    for parser in parsers(whole_parser()):
        text = parser.format_help()
        assert "SUPPRESS" not in text and "None" not in text and parser.prog in text
        for action in parser._actions:
            assert action.help or isinstance(action, argparse._SubParsersAction), (parser.prog, action.dest)
        if int(width) >= 80:
            _, _, told = text.removesuffix(parser.epilog or "").partition("\n\n")  # below the usage
            lines = [line for line in told.splitlines() if len(line.split()) > 1]  # names of models are not broken
            assert max(map(len, lines)) <= int(width), parser.prog


@pytest.mark.parametrize("line", ["-V", "--version", "-q -V"])
def test_the_version(capsys, line):
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == 0 and re.fullmatch(r"nanodistil \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_quiet_says_nothing_but_results_and_errors(capsys, tmp_path):
    mini = ["--model", "nanodistil-mini", "--backend", "numpy"]
    strange = ["fill-mask", "A [MASK].", "--targets", "zzzyx", *mini]
    assert main(strange) == 0
    loud, err = capsys.readouterr()
    assert "warning: " in err
    for line in (["-q", *strange], [*strange, "--quiet"]):
        assert main(line) == 0 and capsys.readouterr() == (loud, "")
    assert main(["-q", "fill-mask", "none", *mini]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    data, run = tmp_path / "train.tsv", tmp_path / "run"
    data.write_text("sentence\tlabel\ngood\t1\nbad\t0\n")
    line = f"finetune classification -q --model nanodistil-mini --train {data} --out {run} --max-steps 1"
    assert main([*line.split(), "--backend", "numpy"]) == 0
    out, err = capsys.readouterr()
    assert err == "" and out.splitlines()[-1].endswith(str(run))


# ---- completion

ASKED = [  # the words so far, the last one begun; what may come
    (["fi"], {"fill-mask", "finetune"}),
    (["fill-mask", "--top"], {"--top-k"}),
    (["finetune", "cl"], {"classification"}),
    (["finetune", "classification", "--task-name", "m"], {"mnli", "mrpc"}),
    (["ner", "--aggregation-strategy", "m"], {"max"}),
    (["completion", "z"], {"zsh"}),
    (["--ver"], {"--version"}),
    (["evaluate", "masked-lm", "--mlm"], {"--mlm-probability"}),
]


def script(capsys, shell):
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def test_completion_knows_every_verb_and_option():
    found = {" ".join(place.words): place for place in completion.places(whole_parser(), [])}
    assert set(found[""].next) == set(VERBS)
    for parser in parsers(whole_parser()):
        place = found[parser.prog.removeprefix("nanodistil").strip()]
        assert {name for flag in place.flags for name in flag.names} == set(parser.flags())


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes(capsys):
    text = script(capsys, "bash")
    for words, expected in ASKED:
        quoted = " ".join(f"'{word}'" for word in ["nanodistil", *words])
        ask = f'{text}\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words)}; _nanodistil; printf "%s\\n" "${{COMPREPLY[@]}}"'
        done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, timeout=30, check=True)
        assert set(done.stdout.split()) == expected, words


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh here")
def test_zsh_takes_it(capsys):
    ask = f"autoload -U compinit; compinit -u -D\n{script(capsys, 'zsh')}\nprint $_comps[nanodistil]"
    done = subprocess.run(["zsh", "-f", "-c", ask], capture_output=True, text=True, timeout=30, check=True)
    assert "_nanodistil" in done.stdout and done.stderr == ""


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish here")
def test_fish_completes(capsys, tmp_path):
    asks = "\n".join(f"echo (complete -C 'nanodistil {' '.join(words)}' | cut -f1)" for words, _ in ASKED)
    (tmp_path / "asked.fish").write_text(f"{script(capsys, 'fish')}\n{asks}\n")  # longer than an argument may be
    done = subprocess.run(
        ["fish", "-N", str(tmp_path / "asked.fish")],
        capture_output=True, text=True, timeout=30, check=True, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert [set(line.split()) for line in done.stdout.splitlines()] == [expected for _, expected in ASKED]


def test_words_of_a_shell_cannot_end_early():
    assert completion.quoted("it's `x` $(y)") == "'its `x` $(y)'"
    with pytest.raises(InputError):
        parsed(["completion", "tcsh"])
