"""Code written for transformers and PyTorch runs with the import changed: the model cards' own snippets, tensors in
and tensors out. Every snippet below runs twice, as it stands on the card, with the hub's name a folder's."""

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers
from random_models import ROOT, save

import nanodistil
from nanodistil import InputError

pytestmark = pytest.mark.parity

UNMASKER = """
from transformers import pipeline
unmasker = pipeline('fill-mask', model='distilbert-base-uncased')
found = unmasker("Hello I'm a [MASK] model.")
"""
FEATURES = """
from transformers import DistilBertTokenizer, DistilBertModel
tokenizer = DistilBertTokenizer.from_pretrained('distilbert-base-uncased')
model = DistilBertModel.from_pretrained("distilbert-base-uncased")
text = "Replace me by any text you'd like."
encoded_input = tokenizer(text, return_tensors='pt')
output = model(**encoded_input)
found = output.last_hidden_state
"""
SST2 = """
import torch
from transformers import DistilBertTokenizer, DistilBertForSequenceClassification

tokenizer = DistilBertTokenizer.from_pretrained("distilbert-base-uncased-finetuned-sst-2-english")
model = DistilBertForSequenceClassification.from_pretrained("distilbert-base-uncased-finetuned-sst-2-english")

inputs = tokenizer("Hello, my dog is cute", return_tensors="pt")
with torch.no_grad():
    logits = model(**inputs).logits

predicted_class_id = logits.argmax().item()
found = logits, model.config.id2label[predicted_class_id]
"""
SST2_LOSS = """
import torch
from transformers import AutoTokenizer, DistilBertForSequenceClassification
tokenizer = AutoTokenizer.from_pretrained("distilbert-base-uncased-finetuned-sst-2-english")
model = DistilBertForSequenceClassification.from_pretrained(
    "distilbert-base-uncased-finetuned-sst-2-english", torch_dtype="auto", attn_implementation="sdpa"
)
inputs = tokenizer("Hello, my dog is cute", return_tensors="pt").to(model.device)
labels = torch.tensor([1])
loss = model(**inputs, labels=labels).loss
found = loss, round(loss.item(), 2)
"""
MASKED_LM = """
from transformers import AutoTokenizer, DistilBertForMaskedLM
import torch
tokenizer = AutoTokenizer.from_pretrained("distilbert-base-uncased")
model = DistilBertForMaskedLM.from_pretrained("distilbert-base-uncased")
inputs = tokenizer("The capital of France is [MASK].", return_tensors="pt")
with torch.no_grad():
    logits = model(**inputs).logits
mask_token_index = (inputs.input_ids == tokenizer.mask_token_id)[0].nonzero(as_tuple=True)[0]
predicted_token_id = logits[0, mask_token_index].argmax(axis=-1)
word = tokenizer.decode(predicted_token_id)
labels = tokenizer("The capital of France is Paris.", return_tensors="pt")["input_ids"]
labels = torch.where(inputs.input_ids == tokenizer.mask_token_id, labels, -100)
outputs = model(**inputs, labels=labels)
found = word, outputs.loss
"""
ANSWERS = """
from transformers import AutoTokenizer, AutoModelForQuestionAnswering
import torch
tokenizer = AutoTokenizer.from_pretrained("distilbert-base-uncased-distilled-squad")
model = AutoModelForQuestionAnswering.from_pretrained("distilbert-base-uncased-distilled-squad").eval()
question, text = "Who was Jim Henson?", "Jim Henson was a nice puppet"
inputs = tokenizer(question, text, return_tensors="pt")
with torch.no_grad():
    outputs = model(**inputs)
answer_start_index = torch.argmax(outputs.start_logits)
answer_end_index = torch.argmax(outputs.end_logits)
predict_answer_tokens = inputs.input_ids[0, answer_start_index: answer_end_index + 1]
loss = model(**inputs, start_positions=torch.tensor([3]), end_positions=torch.tensor([5])).loss
found = outputs.start_logits, loss, tokenizer.decode(predict_answer_tokens)
"""
NAMES = """
from transformers import AutoTokenizer, AutoModelForTokenClassification
import torch
tokenizer = AutoTokenizer.from_pretrained("a-hub-name", use_fast=True)
model = AutoModelForTokenClassification.from_pretrained("a-hub-name").to("cpu")
inputs = tokenizer(["HuggingFace is a company", "based in Paris and New York"], padding=True, return_tensors="pt")
inputs = {k: v.to("cpu") for k, v in inputs.items()}
with torch.inference_mode():
    logits = model(**inputs, output_attentions=True)[0]
predicted_token_class_ids = logits.argmax(-1)
scores = torch.softmax(logits, dim=-1)[inputs["attention_mask"].bool()]
found = scores, [model.config.id2label[t.item()] for t in predicted_token_class_ids[0]]
"""
CHOICES = """
from transformers import AutoTokenizer, DistilBertForMultipleChoice
import torch
tokenizer = AutoTokenizer.from_pretrained("a-hub-name")
model = DistilBertForMultipleChoice.from_pretrained("a-hub-name")
prompt = "In Italy, pizza served in formal settings is presented unsliced."
choice0 = "It is eaten with a fork and a knife."
choice1 = "It is eaten while held in the hand."
labels = torch.tensor(0).unsqueeze(0)
encoding = tokenizer([[prompt, choice0], [prompt, choice1]], return_tensors="pt", padding=True)
outputs = model(**{k: v.unsqueeze(0) for k, v in encoding.items()}, labels=labels)
found = outputs.loss, outputs.logits
"""
POOLED = """
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, AutoModel
def mean_pooling(model_output, attention_mask):
    token_embeddings = model_output[0]
    input_mask_expanded = attention_mask.unsqueeze(-1).expand(token_embeddings.size()).float()
    return torch.sum(token_embeddings * input_mask_expanded, 1) / torch.clamp(input_mask_expanded.sum(1), min=1e-9)
tokenizer = AutoTokenizer.from_pretrained('a-hub-name')
model = AutoModel.from_pretrained('a-hub-name')
encoded_input = tokenizer(['This is an example sentence', 'Each'], padding=True, truncation=True, return_tensors='pt')
with torch.no_grad():
    model_output = model(**encoded_input)
found = F.normalize(mean_pooling(model_output, encoded_input['attention_mask']), p=2, dim=1)
"""
SIZES = """
from transformers import AutoModelForMaskedLM
model = AutoModelForMaskedLM.from_pretrained("a-hub-name", low_cpu_mem_usage=True)
found = (model.num_parameters(), sum(p.numel() for p in model.parameters()),
         model.num_parameters(exclude_embeddings=True),
         tuple(model.get_input_embeddings().weight.shape), tuple(model.get_output_embeddings().weight.shape),
         sorted(name for name, _ in model.named_parameters()), next(model.parameters()).device.__str__())
"""
SNIPPETS = {
    "DistilBertForMaskedLM": [UNMASKER, MASKED_LM, SIZES],
    "DistilBertModel": [FEATURES, POOLED],
    "DistilBertForSequenceClassification": [SST2, SST2_LOSS],
    "DistilBertForQuestionAnswering": [ANSWERS],
    "DistilBertForTokenClassification": [NAMES],
    "DistilBertForMultipleChoice": [CHOICES],
}


def ran(snippet, library, folder):
    """`found` at the end of the snippet, with the hub's name replaced."""
    code = snippet.replace("from transformers", f"from {library}")
    for name in ("distilbert-base-uncased-finetuned-sst-2-english", "distilbert-base-uncased-distilled-squad"):
        code = code.replace(name, str(folder))
    names = {}
    code = code.replace("distilbert-base-uncased", str(folder)).replace("a-hub-name", str(folder))
    exec(compile(code, "the card", "exec"), names)
    return names["found"]


def assert_alike(mine, other):
    assert type(mine) is type(other)
    if isinstance(other, torch.Tensor):
        assert mine.dtype == other.dtype and mine.shape == other.shape and mine.device == other.device
        torch.testing.assert_close(mine, other.detach(), rtol=1e-4, atol=2e-5)
    elif isinstance(other, list | tuple):
        assert len(mine) == len(other)
        for a, b in zip(mine, other, strict=True):
            assert_alike(a, b)
    elif isinstance(other, dict):
        assert list(mine) == list(other)
        assert_alike(list(mine.values()), list(other.values()))
    else:
        assert mine == (pytest.approx(other, abs=1e-4) if isinstance(other, float) else other)


@pytest.mark.parametrize(("head", "number"), [(head, i) for head, them in SNIPPETS.items() for i in range(len(them))])
def test_snippets_of_model_cards(tmp_path, head, number):
    folder = save(tmp_path, head, "mini", ROOT, seed=3)
    snippet = SNIPPETS[head][number]
    wanted = ran(snippet, "transformers", folder)
    assert_alike(ran(snippet, "nanodistil", folder), wanted)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", [0, 1])
def test_snippets_with_the_embedded_model(number):
    snippet = [UNMASKER, FEATURES][number]
    assert ran(snippet, "nanodistil", "nanodistil-mini") is not None


def test_tensors_share_their_memory():
    tokenizer = nanodistil.AutoTokenizer.from_pretrained("nanodistil-mini")
    arrays = tokenizer(["a b", "c"], padding=True, return_tensors="np", return_offsets_mapping=True)
    tensors = tokenizer(["a b", "c"], padding=True, return_tensors="pt", return_offsets_mapping=True)
    for key, array in arrays.items():
        assert isinstance(tensors[key], torch.Tensor) and tensors[key].dtype == torch.int64
        np.testing.assert_array_equal(tensors[key].numpy(), array)
    named = tokenizer(["a b", "c"], padding=True, return_tensors=transformers.TensorType.PYTORCH)
    assert torch.equal(named["input_ids"], tensors["input_ids"])
    tensor = nanodistil.torch_tensors.as_tensor(arrays["input_ids"])
    tensor[0, 0] = 7
    assert arrays["input_ids"][0, 0] == 7
    padded = tokenizer.pad([{"input_ids": torch.tensor([1, 2])}, {"input_ids": torch.tensor([3])}])
    assert isinstance(padded["input_ids"], torch.Tensor) and padded["attention_mask"].tolist() == [[1, 1], [1, 0]]
    again = tokenizer(["a b", "c"], padding=True).convert_to_tensors("pt")
    assert torch.equal(again["input_ids"], tensors["input_ids"])
    assert tensors.to(torch.device("cpu")) is tensors and tensors.to("meta")["input_ids"].device.type == "meta"


def test_arrays_for_arrays_and_tensors_for_tensors():
    model = nanodistil.AutoModelForMaskedLM.from_pretrained("nanodistil-mini", backend="numpy")
    ids = [[101, 7592, 103, 102]]
    mine = model(torch.tensor(ids), output_hidden_states=True, output_attentions=True)
    plain = model(np.array(ids), output_hidden_states=True, output_attentions=True)
    assert isinstance(plain.logits, np.ndarray) and isinstance(model(ids).logits, np.ndarray)
    for name, value in plain.items():
        for tensor, array in zip(getattr(mine, name), value, strict=True):
            assert isinstance(tensor, torch.Tensor)
            np.testing.assert_array_equal(tensor.numpy(), array)
    assert all(isinstance(value, torch.Tensor) for value in model(torch.tensor(ids), return_dict=False))
    embeds = model.get_input_embeddings()(torch.tensor(ids))
    assert isinstance(embeds, torch.Tensor) and torch.equal(model(inputs_embeds=embeds).logits, mine.logits)
    with pytest.raises(InputError, match="detach"):
        model(inputs_embeds=embeds.requires_grad_())


def test_torch_is_not_imported_by_us():
    code = """
import sys, nanodistil
tokenizer = nanodistil.AutoTokenizer.from_pretrained("nanodistil-mini")
model = nanodistil.AutoModel.from_pretrained("nanodistil-mini", backend="numpy", torch_dtype="auto", device_map="cpu")
model.eval()
model(**tokenizer("a", return_tensors="np")).last_hidden_state
tokenizer("a", return_tensors="np").to("cpu"), sum(p.numel() for p in model.parameters())
assert "torch" not in sys.modules
tokenizer("a", return_tensors="pt")["input_ids"]
assert "torch" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ), timeout=120)


@pytest.mark.parametrize("kind", ["DataCollatorWithPadding", "DataCollatorForTokenClassification"])
def test_collators_as_transformers_has_them(kind):
    tokenizer = nanodistil.AutoTokenizer.from_pretrained("nanodistil-mini")
    theirs = transformers.DistilBertTokenizerFast(
        str(ROOT / "nanodistil" / "weights" / "nanodistil-mini" / "vocab.txt")
    )
    rows = [dict(tokenizer(text)) for text in ("a good film", "bad", "who was in it ?")]
    for row in rows:
        row["labels"] = 1 if kind == "DataCollatorWithPadding" else [3] * len(row["input_ids"])
    for wanted in ("pt", "np"):
        mine = getattr(nanodistil, kind)(tokenizer, return_tensors=wanted)([dict(row) for row in rows])
        other = getattr(transformers, kind)(theirs, return_tensors=wanted)([dict(row) for row in rows])
        assert set(mine) == set(other)
        for key in mine:
            assert type(mine[key]) is type(other[key]) and mine[key].tolist() == other[key].tolist()
    loader = torch.utils.data.DataLoader(
        [{"input_ids": [2, 5, 3], "label": 1}] * 4, batch_size=2,
        collate_fn=nanodistil.DataCollatorWithPadding(tokenizer, return_tensors="pt"),
    )  # fmt: skip
    assert [batch["labels"].tolist() for batch in loader] == [[1, 1], [1, 1]]
