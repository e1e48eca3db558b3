"""What a type checker sees of the interface: no Any where a user would like to know, and slips are found."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from conftest import ROOT

pytestmark = pytest.mark.sweep  # mypy reads NumPy's stubs first

SNIPPET = """
import nanodistil
from nanodistil import AutoTokenizer, DistilBertForMaskedLM

fill = nanodistil.pipeline("fill-mask")
reveal_type(fill)
reveal_type(nanodistil.pipeline("ner", "folder", aggregation_strategy="simple"))
reveal_type(nanodistil.pipeline("sentiment-analysis", device=-1))
reveal_type(nanodistil.pipeline("question-answering"))
tok = AutoTokenizer.from_pretrained("nanodistil-mini")
reveal_type(tok)
reveal_type(tok("a")["input_ids"])
reveal_type(tok("a", "b", truncation=True).input_ids)
reveal_type(tok(["a"], padding=True)["attention_mask"])
reveal_type(tok(["a"], return_tensors="np")["input_ids"])
reveal_type(tok("a")[0])
model = DistilBertForMaskedLM.from_pretrained("nanodistil-mini", torch_dtype="auto").eval().to("cpu")
reveal_type(model)
reveal_type(model(tok(["a"])["input_ids"]).logits)
reveal_type(model.get_input_embeddings().weight)
tok("a", paddin=True)
model(None, attention_maks=None)
fill("a", topp_k=3)
"""
REVEALED = [
    "FillMaskPipeline",
    "TokenClassificationPipeline",
    "TextClassificationPipeline",
    "QuestionAnsweringPipeline",
    "Tokenizer",
    "list[int]",
    "list[int]",
    "list[list[int]]",
    "ndarray[",
    "Encoding",
    "DistilBertForMaskedLM",
    "ndarray[",
    "Parameter",
]


def test_what_mypy_reveals(tmp_path):
    if not find_spec("mypy"):
        pytest.skip("mypy is not installed")
    (tmp_path / "snippet.py").write_text(SNIPPET)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "snippet.py"]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}  # type checkers do not see an editable installation
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    lines = ran.stdout.splitlines()
    revealed = [line.split('Revealed type is "')[1].rstrip('"') for line in lines if "Revealed type" in line]
    assert len(revealed) == len(REVEALED), lines
    for found, wanted in zip(revealed, REVEALED, strict=True):
        name = found.replace("builtins.", "")
        assert wanted in name and (name.startswith(wanted) or name.rpartition(".")[2] == wanted or "[" in wanted), found
    slips = {int(line.split(":")[1]) for line in lines if line.startswith("snippet.py") and ": error:" in line}
    last = SNIPPET.count("\n")
    assert slips == {last - 2, last - 1, last}, lines
