"""Fine-tuning against transformers and torch: twenty steps of every task, the rows of SQuAD, and its metrics.

Both sides see the same batches in the same order, without dropout; the optimiser is torch's AdamW with transformers'
groups (no decay of biases and LayerNorms), schedule and clipping.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers
from transformers.data.metrics import squad_metrics
from transformers.data.processors.squad import SquadExample, SquadResult, squad_convert_example_to_features

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tiny_folders import TEXTS, tiny_folder

from nanodistil import DistilBertConfig, DistilBertTokenizer, heads
from nanodistil.training import metrics, squad
from nanodistil.training.evaluate import task_of
from nanodistil.training.finetune import Options, finetune
from nanodistil.training.loop import key_of
from nanodistil.training.part import load_model
from nanodistil.training.sampler import epoch_order, epochs
from nanodistil.training.together import Also, Woven

pytestmark = pytest.mark.parity

STEPS, BATCH, WARMUP, RATE, DECAY = 20, 3, 3, 5e-4, 0.01
SURE = {"dropout": 0.0, "attention_dropout": 0.0, "qa_dropout": 0.0, "seq_classif_dropout": 0.0}
CONTEXT = "the film was good . a bad example was in the film , this is b"
QUESTIONS = [("who was good ?", "film"), ("what was bad ?", "a bad example"), ("what is b ?", "this"), ("who", "good")]


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def squad_file():
    qas = [
        {"id": str(i), "question": q, "answers": [{"text": a, "answer_start": CONTEXT.index(a)}]}
        for i, (q, a) in enumerate(QUESTIONS)
    ]
    return json.dumps({"data": [{"paragraphs": [{"context": CONTEXT, "qas": qas}]}]})


SINGLE = [{"text": t, "label": "xyz"[i % 3]} for i, t in enumerate(TEXTS)]
SEVERAL = [{"text": t, "label": [["x"], [], ["x", "y"]][i % 3]} for i, t in enumerate(TEXTS)]
NUMBERS = [{"text": t, "label": i / 4 - 1} for i, t in enumerate(TEXTS)]
CHOICES = [{"prompt": t, "choices": ["good film", "a", "bad"], "label": i % 3} for i, t in enumerate(TEXTS)]
WORDS = [{"tokens": t.split(), "tags": ["OAB"[len(w) % 3] for w in t.split()]} for t in TEXTS]
QA = {"max_seq_length": 16, "doc_stride": 6}
CASES = {  # task, file, its content, settings, config
    "classes": ("classification", "x.jsonl", jsonl(SINGLE), {}, {"id2label": {0: "x", 1: "y", 2: "z"}}),
    "labels": ("classification", "x.jsonl", jsonl(SEVERAL), {}, {"id2label": {0: "x", 1: "y"}}),
    "numbers": ("classification", "x.jsonl", jsonl(NUMBERS), {}, {"id2label": {0: "LABEL_0"}}),
    "words": ("token-classification", "x.jsonl", jsonl(WORDS), {}, {"id2label": {0: "O", 1: "A", 2: "B"}}),
    "answers": ("question-answering", "x.json", squad_file(), QA, {}),
    "taught answers": ("question-answering", "x.json", squad_file(), QA, {}),
    "choices": ("multiple-choice", "x.jsonl", jsonl(CHOICES), {}, {}),
    "masks": ("masked-lm", "x.txt", "\n".join(TEXTS), {"mlm_probability": 0.3}, {}),
}


@pytest.mark.filterwarnings("ignore:note")
@pytest.mark.parametrize("backend, dtype, tolerance", [("numba", "float32", 1e-5), ("numpy", "float64", 1e-10)])
@pytest.mark.parametrize("case", CASES)
def test_twenty_steps(case, backend, dtype, tolerance, tmp_path):
    name, data, content, settings, config = CASES[case]
    settings = {"max_seq_length": 16, **settings}
    task = task_of(name, **settings)
    folder = tiny_folder(
        tmp_path / "m", getattr(heads, "DistilBert" + task.HEAD), initializer_range=0.2, **SURE, **config
    )
    teacher = None
    if case == "taught answers":
        shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20}
        torch.manual_seed(0)
        bert = transformers.BertForQuestionAnswering(
            transformers.BertConfig(vocab_size=25, **shape, max_position_embeddings=32, initializer_range=0.5)
        ).eval()
        bert.save_pretrained(tmp_path / "bert")
        teacher = str(tmp_path / "bert")
    (tmp_path / data).write_text(content, "utf-8")
    out = tmp_path / "run"
    options = Options(
        model=folder, train=str(tmp_path / data), out=str(out), max_steps=STEPS, batch_size=BATCH, learning_rate=RATE,
        warmup_steps=WARMUP, weight_decay=DECAY, logging_steps=1, backend=backend, dtype=dtype, teacher=teacher, seed=3,
    )  # fmt: skip
    finetune(name, settings, options)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]
    mine = [line["loss"] for line in lines]

    # ---- the same with torch
    floats = getattr(torch, dtype)
    tokenizer = DistilBertTokenizer.from_pretrained(folder)
    examples = task.read(tmp_path / data)
    told = task.config(examples, DistilBertConfig.from_pretrained(folder))
    told.pop("id2label", None)
    rows = task.rows(examples, tokenizer, DistilBertConfig.from_pretrained(out))
    model = (
        getattr(transformers, "DistilBert" + task.HEAD).from_pretrained(folder, dtype=floats, **told).to(floats).train()
    )
    plain = [p for n, p in model.named_parameters() if n.endswith("bias") or "norm" in n.lower()]
    matrices = [p for n, p in model.named_parameters() if not (n.endswith("bias") or "norm" in n.lower())]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}], lr=RATE, eps=1e-8
    )
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, WARMUP, STEPS)
    each, theirs = -(-len(rows) // BATCH), []
    for step in range(STEPS):
        epoch, at = divmod(step, each)
        order = epoch_order(np.array([task.length(r) for r in rows]), BATCH, 3, epoch, group_by_size=False)
        batch = task.batch([rows[i] for i in order[at * BATCH : (at + 1) * BATCH]], key_of(3, step, 0))
        inputs = {key: torch.tensor(np.asarray(value)) for key, value in batch.items()}
        if inputs.get("labels") is not None and inputs["labels"].is_floating_point():
            inputs["labels"] = inputs["labels"].to(floats)
        output = model(**inputs)
        loss = output.loss
        if teacher is not None:
            loss = 0.5 * loss + 0.5 * soft_loss(bert.to(floats), inputs, output, 2.0)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        theirs.append(float(loss.detach()))
    assert abs(theirs[0] - theirs[-1]) > 0.01  # something was learned
    assert np.abs(np.array(mine) - theirs).max() < tolerance
    if (
        dtype == "float64"
    ):  # in float32 a gradient that is 0 but for rounding, as that of k_lin.bias, moves it by the rate
        ours = getattr(heads, "DistilBert" + task.HEAD).from_pretrained(out, backend="numpy", dtype=dtype).state_dict()
        end = model.state_dict()
        assert max(np.abs(ours[key] - end[key].numpy()).max() for key in ours) < 1e-8


def test_two_tasks_with_one_body(tmp_path):
    """Forty micro-batches of classes and of masked words, two to a step, on one body with two heads."""
    folder = tiny_folder(tmp_path / "m", heads.DistilBertForMaskedLM, initializer_range=0.2, **SURE)
    (tmp_path / "x.jsonl").write_text(jsonl(SINGLE), "utf-8")
    (tmp_path / "x.txt").write_text("\n".join(TEXTS), "utf-8")
    tasks = {"classification": {}, "masked-lm": {"mlm_probability": 0.3}}
    tasks = {name: {"max_seq_length": 16, **more} for name, more in tasks.items()}
    out = tmp_path / "run"
    options = Options(
        model=folder, train=str(tmp_path / "x.jsonl"), out=str(out), max_steps=STEPS, batch_size=BATCH,
        gradient_accumulation_steps=2, accumulate_across_epochs=True, learning_rate=RATE, warmup_steps=WARMUP,
        weight_decay=DECAY, logging_steps=1, backend="numpy", dtype="float64", seed=3,
    )  # fmt: skip
    also = Also(task="masked-lm", train=str(tmp_path / "x.txt"), settings=tasks["masked-lm"], batch_size=2)
    finetune("classification", tasks["classification"], options, also=[also])
    mine = [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text("utf-8").splitlines()]

    # ---- the same with torch: the second model's body is the first's
    tokenizer = DistilBertTokenizer.from_pretrained(folder)
    made, rows, models, orders = [], [], [], []
    for (name, settings), data, size, home in zip(
        tasks.items(), ("x.jsonl", "x.txt"), (BATCH, 2), (out, out / "masked-lm"), strict=True
    ):
        task = task_of(name, **settings)
        examples, config = task.read(tmp_path / data), DistilBertConfig.from_pretrained(home)
        made.append(task)
        rows.append(task.rows(examples, tokenizer, config))
        told = {"num_labels": 3} if name == "classification" else {}
        kind = getattr(transformers, "DistilBert" + task.HEAD)
        models.append(kind.from_pretrained(folder, dtype=torch.float64, **told).to(torch.float64).train())
        lengths = np.array([task.length(row) for row in rows[-1]])
        orders.append(epochs(lengths, size, 3, group_by_size=False, max_length=16))
    models[1].distilbert = models[0].distilbert
    models[1].vocab_projector.weight = models[0].distilbert.embeddings.word_embeddings.weight
    # a new head is drawn from the seed: torch is given ours
    begun = load_model(made[0], options, made[0].read(tmp_path / "x.jsonl")).state_dict()
    models[0].load_state_dict({name: torch.tensor(array) for name, array in begun.items()})
    named = dict(models[1].named_parameters()) | dict(models[0].named_parameters())
    plain = [p for n, p in named.items() if n.endswith("bias") or "norm" in n.lower()]
    matrices = [p for n, p in named.items() if not (n.endswith("bias") or "norm" in n.lower())]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}], lr=RATE, eps=1e-8
    )
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, WARMUP, STEPS)
    each, theirs, seen = sum(len(order(0)) for order in orders), [], set()
    for step in range(STEPS):
        losses = []
        for micro in range(2):
            epoch, at = divmod(2 * step + micro, each)
            which, items = Woven([order(epoch) for order in orders], 3, epoch)[at]
            batch = made[which].batch([rows[which][i] for i in items], key_of(3, step, micro))
            loss = models[which](**{key: torch.tensor(np.asarray(value)) for key, value in batch.items()}).loss / 2
            loss.backward()
            losses.append(float(loss.detach()))
            seen.add((step, which))
        torch.nn.utils.clip_grad_norm_(named.values(), 1.0)
        optimizer.step()
        schedule.step()
        for parameter in named.values():  # as ours: a head that was not asked has no gradient, which is not none
            parameter.grad = torch.zeros_like(parameter)
        theirs.append(sum(losses))
    assert len(seen) > STEPS  # some steps are of both
    assert np.abs(np.array(mine) - theirs).max() < 1e-10
    ends = [
        getattr(heads, "DistilBert" + task.HEAD).from_pretrained(home, backend="numpy", dtype="float64").state_dict()
        for task, home in zip(made, (out, out / "masked-lm"), strict=True)
    ]
    for ours, model in zip(ends, models, strict=True):
        end = model.state_dict()
        assert max(np.abs(ours[key] - end[key].numpy()).max() for key in ours) < 1e-8


def soft_loss(bert, inputs, output, tau):
    """run_squad_w_distillation's, with its class and reduction."""
    ended = (inputs["input_ids"] == 3).cumsum(1) - (inputs["input_ids"] == 3).int()  # [SEP] before this token
    types = ((ended > 0) & (inputs["attention_mask"] > 0)).long()
    with torch.no_grad():
        taught = bert(inputs["input_ids"], attention_mask=inputs["attention_mask"].long(), token_type_ids=types)
    kl, log_softmax, softmax = torch.nn.KLDivLoss(reduction="batchmean"), torch.log_softmax, torch.softmax
    start = kl(log_softmax(output.start_logits / tau, -1), softmax(taught.start_logits / tau, -1)) * tau**2
    end = kl(log_softmax(output.end_logits / tau, -1), softmax(taught.end_logits / tau, -1)) * tau**2
    return (start + end) / 2


# -------------------------------------------------------------------------------------------------------------- SQuAD


@pytest.fixture(scope="module")
def questions(shared):
    """Some questions of xquad, a few of them made unanswerable; and both tokenizers."""
    articles = json.loads((shared / "data" / "eval" / "xquad" / "xquad.en.json").read_text("utf-8"))["data"]
    paragraphs = [p for article in articles[:6] for p in article["paragraphs"][:2]]
    for number, paragraph in enumerate(paragraphs):
        for qa in paragraph["qas"][: number % 3]:
            qa["is_impossible"], qa["answers"] = True, []
    folder = shared / "data" / "tokenizers" / "distilbert-base-uncased"
    theirs = transformers.BertTokenizer(str(folder / "vocab.txt"), model_max_length=512)
    return {"data": [{"paragraphs": paragraphs}]}, DistilBertTokenizer.from_pretrained(folder), theirs


def their_examples(data, training):
    return [
        SquadExample(
            qa["id"], qa["question"], p["context"], qa["answers"][0]["text"] if qa["answers"] and training else None,
            qa["answers"][0]["answer_start"] if qa["answers"] and training else None, "", qa["answers"],
            qa.get("is_impossible", False),
        )
        for article in data["data"] for p in article["paragraphs"] for qa in p["qas"]
    ]  # fmt: skip


def their_features(examples, tokenizer, size, stride, training):
    transformers.data.processors.squad.squad_convert_example_to_features_init(tokenizer)
    found = []
    for number, example in enumerate(examples):
        for one in squad_convert_example_to_features(example, size, stride, 16, "do_not_pad", training):
            one.example_index, one.unique_id = number, len(found)
            found.append(one)
    return found


@pytest.mark.parametrize("size, stride", [(96, 32), (384, 128), (64, 20)])
def test_rows_are_those_of_run_squad(size, stride, questions, tmp_path):
    data, mine, theirs = questions
    (tmp_path / "x.json").write_text(json.dumps(data), "utf-8")
    task = task_of(
        "question-answering", version_2_with_negative=True, max_seq_length=size, doc_stride=stride, max_query_length=16
    )
    rows = task.rows(task.read(tmp_path / "x.json"), mine, DistilBertConfig())
    features = their_features(their_examples(data, True), theirs, size, stride, True)
    assert len(rows) == len(features) > 20
    for row, one in zip(rows, features, strict=True):
        assert row.row.ids.tolist() == one.input_ids
        widest = [one.token_is_max_context[row.window.before + i] for i in range(one.paragraph_len)]
        assert row.window.widest.tolist() == widest
        assert (row.start, row.end) == (one.start_position, one.end_position)


@pytest.mark.parametrize("v2, seed", [(False, 0), (True, 1), (True, 2)])
def test_answers_are_those_of_squad_metrics(v2, seed, questions, tmp_path):
    data, mine, theirs = questions
    if not v2:
        data = json.loads(json.dumps(data))
        for paragraph in data["data"][0]["paragraphs"]:
            paragraph["qas"] = [qa for qa in paragraph["qas"] if qa["answers"]]
    (tmp_path / "x.json").write_text(json.dumps(data), "utf-8")
    task = task_of(
        "question-answering", version_2_with_negative=v2, max_seq_length=96, doc_stride=32, max_query_length=16
    )
    examples = task.read(tmp_path / "x.json")
    contexts = task._contexts(examples, mine)
    windows = list(task._windows(examples, contexts, mine, DistilBertConfig()))
    wanted = their_examples(data, False)
    features = their_features(wanted, theirs, 96, 32, False)
    rng = np.random.default_rng(seed)
    logits = [tuple(rng.normal(0, 3, (2, len(row))).astype(np.float32)) for several in windows for row, _ in several]
    for start, end in logits[::3]:
        start[0], end[0] = 6, 6
    results = [SquadResult(i, start.tolist(), end.tolist()) for i, (start, end) in enumerate(logits)]
    threshold = 1.5
    files = [str(tmp_path / name) for name in ("predictions", "nbest", "odds")]
    answers = squad_metrics.compute_predictions_logits(
        wanted, features, results, 20, 30, True, *files, False, v2, threshold, theirs
    )
    nbest = json.loads((tmp_path / "nbest").read_text())
    it = iter(logits)
    found = {
        one.id: squad.answered(
            one.context, contexts[one.context].offsets, contexts[one.context].inside,
            [w for _, w in several], [next(it) for _ in several], n_best=20, longest=30, may_be_none=v2,
        )
        for one, several in zip(examples, windows, strict=True)
    }  # fmt: skip
    for key, answered in found.items():
        assert len(answered.nbest) == len(nbest[key])
        for candidate, p, other in zip(answered.nbest, answered.probabilities, nbest[key], strict=True):
            assert candidate.text == other["text"]
            logits_of = other["start_logit"], other["end_logit"], other["probability"]
            assert (candidate.start_logit, candidate.end_logit, p) == pytest.approx(logits_of, abs=1e-5)
    done = type(task)(version_2_with_negative=v2, null_score_diff_threshold=threshold)
    files = done._files(found, {key: a.null_odds for key, a in found.items()} if v2 else None)
    assert files["predictions"] == answers
    if not v2:
        return
    odds = json.loads((tmp_path / "odds").read_text())
    assert files["null_odds"] == pytest.approx(odds, abs=1e-5)
    # ---- and their scores
    truths = {one.id: [text for text, _ in one.answers] for one in examples}
    texts = {key: a.best for key, a in found.items()}
    mine_ = squad.metrics(truths, texts, odds, threshold)
    assert mine_ == pytest.approx(dict(squad_metrics.squad_evaluate(wanted, texts, odds, threshold)))
    assert 0 < mine_["f1"] < 100 and "best_f1_thresh" in mine_


def test_scores_of_odd_texts_are_those_of_squad_metrics():
    rng = np.random.default_rng(0)
    words = ["the", "The", "a", "cat", "cat.", "dog's", "(dog)", "12,5", "é", "—", "of", "", "AN"]
    texts = [" ".join(rng.choice(words, rng.integers(0, 5))) for _ in range(300)]
    for given, truth in zip(texts, rng.permutation(texts), strict=True):
        assert squad.normalized(given) == squad_metrics.normalize_answer(given)
        assert squad.exact(given, truth) == squad_metrics.compute_exact(truth, given)
        assert squad.f1(given, truth) == pytest.approx(squad_metrics.compute_f1(truth, given))


# --------------------------------------------------------------------------------------------------------------- GLUE


def test_figures_are_those_of_glue_and_seqeval():
    rng = np.random.default_rng(0)
    said, truth = rng.integers(0, 2, (2, 50))
    names = {
        "cola": "cola",
        "mrpc": "mrpc",
        "qqp": "qqp",
        "qnli": "qnli",
        "rte": "rte",
        "sst2": "sst-2",
        "wnli": "wnli",
    }
    for mine, theirs in names.items():
        expected = transformers.glue_compute_metrics(theirs, said, truth)
        assert metrics.glue(mine, said, truth) == pytest.approx(expected)
    assert (
        metrics.glue("mnli", said, truth)["acc"] == transformers.glue_compute_metrics("mnli", said, truth)["mnli/acc"]
    )
    x, y = rng.random((2, 50))
    expected = transformers.glue_compute_metrics("sts-b", x, y)
    found = metrics.glue("stsb", x, y)
    assert {key: found[key] for key in expected} == pytest.approx(expected)
