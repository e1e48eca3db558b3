"""Folders as sentence-transformers writes them: the same vectors, scores, words and order. Skipped where it is not."""

import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
sentence_transformers = pytest.importorskip("sentence_transformers")

from sentence_transformers import CrossEncoder, SentenceTransformer, SparseEncoder  # noqa: E402
from sentence_transformers.base.modules import Dense, Normalize, Transformer  # noqa: E402
from sentence_transformers.sentence_transformer.modules import Pooling  # noqa: E402
from sentence_transformers.sparse_encoder.modules import SpladePooling  # noqa: E402
from sentence_transformers.util import quantize_embeddings  # noqa: E402
from sentence_transformers.util.similarity import SimilarityFunction  # noqa: E402

import nanodistil  # noqa: E402
from nanodistil.sentences.precision import quantize_embeddings as ours_quantized  # noqa: E402

pytestmark = pytest.mark.parity

TEXT = "[PAD] [UNK] [CLS] [SEP] [MASK] a cat sat on the mat query passage : . , hello world ##s ##ing dog ran"
WORDS = TEXT.split()
CASED = [*WORDS, "Cat", "Hello", "World"]
TEXTS = [
    "a cat sat on the mat",
    "hello",
    "the cat . on a mat , hello world cats",
    "Hello World , the Dog ran on [MASK] mats",
    "a dog " * 30,
    "dog ran : running . sat",
]
SHAPE = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 32}
DIM = {"dim": 16, "n_heads": 2, "n_layers": 2, "hidden_dim": 32, "max_position_embeddings": 40}
CONFIGS = {
    "distilbert": lambda **more: transformers.DistilBertConfig(**DIM, initializer_range=0.4, **more),
    "bert": lambda **more: transformers.BertConfig(**SHAPE, max_position_embeddings=40, initializer_range=0.4, **more),
    "roberta": lambda **more: transformers.RobertaConfig(
        **SHAPE, max_position_embeddings=42, type_vocab_size=1, initializer_range=0.4, pad_token_id=1, **more
    ),
}


def body(folder, family, head="AutoModel", lower=True, **config):
    """A random model of that family, with its tokenizer, as transformers saves them."""
    words = WORDS if lower else CASED
    if family == "roberta":
        tokens = [
            "<s>",
            "<pad>",
            "</s>",
            "<unk>",
            *transformers.models.gpt2.tokenization_gpt2.bytes_to_unicode().values(),
        ]
        folder.mkdir(parents=True)
        (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate([*tokens, "<mask>"])}))
        (folder / "merges.txt").write_text("#version: 0.2\n")
        tokenizer = transformers.RobertaTokenizerFast(
            str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=40
        )
        words = [*tokens, "<mask>"]
    else:
        folder.mkdir(parents=True)
        (folder / "vocab.txt").write_text("\n".join(words) + "\n")
        kind = transformers.BertTokenizerFast if family == "bert" else transformers.DistilBertTokenizerFast
        tokenizer = kind(str(folder / "vocab.txt"), do_lower_case=lower)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(3)
    cls = getattr(transformers, head)
    cls.from_config(CONFIGS[family](vocab_size=len(words), **config)).save_pretrained(folder)
    return str(folder)


def theirs(folder):
    """Their model in float64, which keeps the bits of the weights."""
    return SentenceTransformer(str(folder), device="cpu").double()


def check(folder, texts=TEXTS, **options):
    """The same vectors and the same order, in float32 and float64, alone and together."""
    wanted = theirs(folder).encode(texts, **options)
    exact = nanodistil.SentenceEncoder.from_pretrained(folder, backend="numpy", dtype="float64").encode(
        texts, **options
    )
    assert exact.shape == wanted.shape and exact.dtype == wanted.dtype == np.float64
    lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(wanted, axis=1)
    assert ((exact * wanted).sum(axis=1) >= (1 - 1e-12) * lengths).all()
    np.testing.assert_allclose(exact, wanted, rtol=1e-12, atol=1e-12)
    encoder = nanodistil.SentenceEncoder.from_pretrained(folder)
    found = encoder.encode(texts, **options)
    scale = max(1.0, float(np.abs(wanted).max()))
    assert np.abs(found - wanted).max() < 1e-6 * scale
    assert (found == np.stack([encoder.encode(text, **options) for text in texts])).all()
    return encoder


POOLINGS = [
    "cls",
    "max",
    "mean",
    "mean_sqrt_len_tokens",
    "weightedmean",
    "lasttoken",
    ("mean", "cls", "weightedmean"),
    ("cls", "max"),
]


@pytest.mark.parametrize("family", list(CONFIGS))
@pytest.mark.parametrize("ways", POOLINGS, ids=str)
def test_every_pooling_of_every_family(tmp_path, family, ways):
    model = Transformer(body(tmp_path / "body", family), max_seq_length=20)
    made = SentenceTransformer(modules=[model, Pooling(16, ways)], device="cpu")
    made.save_pretrained(str(tmp_path / "st"), create_model_card=False)
    encoder = check(tmp_path / "st")
    assert encoder.max_seq_length == 20
    encoder.save_pretrained(tmp_path / "ours")
    wanted = made.double().encode(TEXTS)
    np.testing.assert_allclose(theirs(tmp_path / "ours").encode(TEXTS), wanted, rtol=1e-12, atol=1e-12)
    check(tmp_path / "ours")


ACTIVATIONS = [
    *("Tanh", "GELU", "ReLU", "Identity", "SiLU", "ELU", "SELU", "LeakyReLU", "Mish", "Sigmoid", "Hardtanh"),
    *("Softsign", "LogSigmoid", "ReLU6"),
]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_of_a_dense(tmp_path, name):
    model = Transformer(body(tmp_path / "body", "distilbert"))
    dense = Dense(16, 6, bias=name != "GELU", activation_function=getattr(torch.nn, name)())
    torch.nn.init.normal_(dense.linear.weight, std=0.5)
    modules = [model, Pooling(16, "mean"), dense]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(tmp_path / "st"), create_model_card=False)
    check(tmp_path / "st")


def orders():
    """Modules in several sensible orders."""
    dense = lambda i, o, **more: Dense(i, o, **more)  # noqa: E731
    tokens = {"module_input_name": "token_embeddings"}
    return {
        "pooled, dense, normalized": [Pooling(16, "mean"), dense(16, 8), Normalize()],
        "normalized before the dense": [Pooling(16, "cls"), Normalize(), dense(16, 8)],
        "two dense": [Pooling(16, ("mean", "max")), dense(32, 8), dense(8, 12, bias=False), Normalize()],
        "dense on tokens": [dense(16, 8, **tokens), Pooling(8, "max"), Normalize()],
        "normalized tokens": [Normalize(**tokens), Pooling(16, "weightedmean")],
        "residual": [Pooling(16, "mean"), dense(16, 16, use_residual=True), dense(16, 4, use_residual=True)],
    }


@pytest.mark.parametrize("order", list(orders()))
def test_every_order_and_what_is_asked_of_a_call(tmp_path, order):
    model = Transformer(body(tmp_path / "body", "bert"))
    torch.manual_seed(4)
    made = SentenceTransformer(modules=[model, *orders()[order]], device="cpu", similarity_fn_name="dot")
    made.save_pretrained(str(tmp_path / "st"), create_model_card=False)
    encoder = check(tmp_path / "st")
    check(tmp_path / "st", truncate_dim=3)
    check(tmp_path / "st", normalize_embeddings=True)
    assert encoder.similarity_fn_name == "dot"
    assert encoder.get_sentence_embedding_dimension() == made.get_embedding_dimension()
    for ours, other in zip(
        encoder.encode(TEXTS, output_value="token_embeddings"),
        made.encode(TEXTS, output_value="token_embeddings"),
        strict=True,
    ):
        assert ours.shape == other.shape and np.abs(ours - other.numpy()).max() < 1e-5
    everything, wanted = encoder.encode(TEXTS[0], output_value=None), made.encode(TEXTS[0], output_value=None)
    for name, value in everything.items():
        np.testing.assert_allclose(value, wanted[name].numpy(), atol=1e-5)
    encoder.save_pretrained(tmp_path / "ours")
    np.testing.assert_allclose(
        theirs(tmp_path / "ours").encode(TEXTS), theirs(tmp_path / "st").encode(TEXTS), atol=1e-12
    )


@pytest.mark.parametrize("ways", ["cls", "mean", "weightedmean", ("max", "lasttoken", "mean_sqrt_len_tokens")], ids=str)
@pytest.mark.parametrize("family", ["distilbert", "roberta"])
@pytest.mark.parametrize("include", [True, False])
def test_prompts(tmp_path, family, ways, include):
    model = Transformer(body(tmp_path / "body", family), max_seq_length=30)
    prompts = {"query": "query : ", "passage": "passage : "}
    made = SentenceTransformer(
        modules=[model, Pooling(16, ways, include_prompt=include)],
        prompts=prompts,
        default_prompt_name="passage",
        device="cpu",
    )
    made.save_pretrained(str(tmp_path / "st"), create_model_card=False)
    encoder = nanodistil.SentenceEncoder.from_pretrained(tmp_path / "st", backend="numpy", dtype="float64")
    made = theirs(tmp_path / "st")
    assert encoder.prompts == made.prompts and encoder.default_prompt_name == "passage"
    for ours, other in (
        (encoder.encode(TEXTS), made.encode(TEXTS)),
        (encoder.encode_query(TEXTS), made.encode_query(TEXTS)),
        (encoder.encode_document(TEXTS), made.encode_document(TEXTS)),
        (encoder.encode(TEXTS, prompt="the cat : "), made.encode(TEXTS, prompt="the cat : ")),
        (encoder.encode(TEXTS, prompt=""), made.encode(TEXTS, prompt="")),
        (encoder.encode(TEXTS, "query"), made.encode(TEXTS, "query")),
    ):
        np.testing.assert_allclose(ours, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("family", list(CONFIGS))
def test_a_plain_model_gives_means(tmp_path, family):
    check(body(tmp_path / "body", family))
    check(body(tmp_path / "mlm", family, "AutoModelForMaskedLM"))


def test_old_configs_and_lower_case(tmp_path):
    """As versions 2 to 5 wrote them, of a cased model that is given texts in lower case."""
    folder = tmp_path / "st"
    body(folder / "0_Transformer", "distilbert", lower=False)
    said = {"max_seq_length": 9, "do_lower_case": True}
    (folder / "0_Transformer" / "sentence_bert_config.json").write_text(json.dumps(said))
    switches = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True, "pooling_mode_max_tokens": False}
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **switches}))
    (folder / "2_Dense").mkdir()
    dense = {
        "in_features": 32,
        "out_features": 5,
        "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh",
    }
    (folder / "2_Dense" / "config.json").write_text(json.dumps(dense))
    torch.manual_seed(1)
    torch.save(
        {f"linear.{n}": p for n, p in torch.nn.Linear(32, 5).state_dict().items()},
        folder / "2_Dense" / "pytorch_model.bin",
    )
    kinds = {"Transformer": "0_Transformer", "Pooling": "1_Pooling", "Dense": "2_Dense", "Normalize": "3_Normalize"}
    (folder / "3_Normalize").mkdir()
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    encoder = check(folder)
    assert encoder.max_seq_length == 9
    encoder.save_pretrained(tmp_path / "ours")
    check(tmp_path / "ours")
    np.testing.assert_allclose(theirs(tmp_path / "ours").encode(TEXTS), theirs(folder).encode(TEXTS), atol=1e-12)


def test_similarities_and_fewer_bits():
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((120, 24)).astype(np.float32), rng.standard_normal((120, 24)).astype(np.float32)
    encoder = nanodistil.SentenceEncoder.from_pretrained("nanodistil-mini", backend="numpy")
    for name in ("cosine", "dot", "euclidean", "manhattan"):
        encoder.similarity_fn_name, theirs = name, SimilarityFunction.to_similarity_fn(name)
        by_pair = SimilarityFunction.to_similarity_pairwise_fn(name)
        np.testing.assert_allclose(encoder.similarity(a, b), theirs(a, b).numpy(), atol=2e-5)
        wide = torch.from_numpy(a.astype(np.float64)), torch.from_numpy(b.astype(np.float64))
        exact = theirs(*wide).numpy()
        np.testing.assert_allclose(encoder.similarity(*wide), exact, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(encoder.similarity_pairwise(a, b), by_pair(a, b).numpy(), atol=2e-5)
    for precision in ("float32", "int8", "uint8", "binary", "ubinary"):
        assert (ours_quantized(a, precision) == quantize_embeddings(a, precision)).all(), precision
        ranges = np.array([[-1.0] * 24, [1.0] * 24])
        assert (ours_quantized(a, precision, ranges) == quantize_embeddings(a, precision, ranges)).all(), precision


@pytest.mark.parametrize("family", list(CONFIGS))
@pytest.mark.parametrize("labels", [1, 3])
@pytest.mark.parametrize("form", ["plain", "new", "4", "2"])
def test_cross_encoders(tmp_path, family, labels, form):
    folder = body(tmp_path / "ce", family, "AutoModelForSequenceClassification", num_labels=labels)
    path = tmp_path / "ce" / "config.json"
    config = json.loads(path.read_text())
    if form == "4":
        config["sentence_transformers"] = {"activation_fn": "torch.nn.modules.linear.Identity"}
    if form == "2":
        config["sbert_ce_default_activation_function"] = "torch.nn.modules.activation.Tanh"
    path.write_text(json.dumps(config))
    made = CrossEncoder(folder, device="cpu", max_length=24)
    if form == "new":
        made.activation_fn = torch.nn.SiLU()
        made.save_pretrained(str(tmp_path / "new"), create_model_card=False)
        folder = str(tmp_path / "new")
        made = CrossEncoder(folder, device="cpu")
    pairs = [(a, b) for a in TEXTS[:4] for b in [*TEXTS, ""]]
    ours = nanodistil.CrossEncoder.from_pretrained(folder, max_length=24)
    assert ours.max_length == 24
    wanted = made.double().predict(pairs)
    found = ours.predict(pairs)
    assert found.shape == wanted.shape and np.abs(found - wanted).max() < 1e-5
    assert (found == np.stack([ours.predict(pair) for pair in pairs])).all()
    softened = ours.predict(pairs, apply_softmax=True)
    assert np.abs(softened - made.predict(pairs, apply_softmax=True)).max() < 1e-5
    ours.save_pretrained(tmp_path / "ours")
    again = CrossEncoder(str(tmp_path / "ours"), device="cpu").double()
    assert np.abs(again.predict(pairs) - wanted).max() < 1e-12
    if labels == 1:
        ranked = ours.rank("the cat", TEXTS, top_k=4, return_documents=True)
        other = made.rank("the cat", TEXTS, top_k=4, return_documents=True)
        assert [(one["corpus_id"], one["text"]) for one in ranked] == [(one["corpus_id"], one["text"]) for one in other]


@pytest.mark.parametrize("family", list(CONFIGS))
@pytest.mark.parametrize("strategy", ["max", "sum"])
@pytest.mark.parametrize("function", ["relu", "log1p_relu"])
def test_sparse_encoders(tmp_path, family, strategy, function):
    folder = body(tmp_path / "mlm", family, "AutoModelForMaskedLM")
    model = Transformer(folder, transformer_task="fill-mask", max_seq_length=20)
    made = SparseEncoder(modules=[model, SpladePooling(strategy, function)], device="cpu")
    made.save_pretrained(str(tmp_path / "st"), create_model_card=False)
    made = made.double()
    ours = nanodistil.SparseEncoder.from_pretrained(tmp_path / "st")
    wanted = made.encode(TEXTS, convert_to_sparse_tensor=False).numpy()
    found = ours.encode(TEXTS, convert_to_sparse_tensor=False)
    assert found.shape == wanted.shape and np.abs(found - wanted).max() < 1e-5 * max(1, wanted.max())
    exact = nanodistil.SparseEncoder.from_pretrained(tmp_path / "st", backend="numpy", dtype="float64")
    np.testing.assert_allclose(exact.encode(TEXTS, convert_to_sparse_tensor=False), wanted, rtol=1e-12, atol=1e-12)
    assert all(
        (ours.encode(text).values == one.values).all() for text, one in zip(TEXTS, ours.encode(TEXTS), strict=True)
    )
    ours.save_pretrained(tmp_path / "ours")
    again = SparseEncoder(str(tmp_path / "ours"), device="cpu").double()
    np.testing.assert_allclose(again.encode(TEXTS, convert_to_sparse_tensor=False).numpy(), wanted, rtol=1e-12)
    few, other = exact.encode(TEXTS, max_active_dims=4), made.encode(TEXTS, max_active_dims=4).to_dense().numpy()
    np.testing.assert_allclose(exact.dense(few), other, rtol=1e-12, atol=1e-12)
    words = [[word for word, _ in row] for row in exact.decode(few)]
    assert words == [[word for word, _ in row] for row in made.decode(torch.from_numpy(other))]
    np.testing.assert_allclose(exact.similarity(few, few), made.similarity(other, other).numpy(), rtol=1e-12)
    if (strategy, function) == ("max", "relu"):
        plain = nanodistil.SparseEncoder.from_pretrained(folder, backend="numpy", dtype="float64")
        plain_theirs = SparseEncoder(folder, device="cpu").double()
        wanted = plain_theirs.encode(TEXTS, convert_to_sparse_tensor=False).numpy()
        np.testing.assert_allclose(plain.encode(TEXTS, convert_to_sparse_tensor=False), wanted, rtol=1e-12, atol=1e-12)


BROKEN = {
    "no modules": lambda folder: (folder / "modules.json").write_text("{"),
    "a foreign module": lambda folder: (folder / "modules.json").write_text(
        (folder / "modules.json").read_text().replace("sentence_transformers.base.modules.dense", "evil.code")
    ),
    "a path that leads out": lambda folder: (folder / "modules.json").write_text(
        (folder / "modules.json").read_text().replace("2_Dense", "../2_Dense")
    ),
    "no config of the dense": lambda folder: (folder / "2_Dense" / "config.json").unlink(),
    "no weights of the dense": lambda folder: (folder / "2_Dense" / "model.safetensors").unlink(),
    "cut weights": lambda folder: (folder / "2_Dense" / "model.safetensors").write_bytes(b"\x10"),
    "an unknown pooling": lambda folder: (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"embedding_dimension": 16, "pooling_mode": "median"})
    ),
    "another width": lambda folder: (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"embedding_dimension": 16, "pooling_mode": ["mean", "max"]})
    ),
    "no model": lambda folder: (folder / "model.safetensors").unlink(),
    "a default that is no prompt": lambda folder: (folder / "config_sentence_transformers.json").write_text(
        json.dumps({"default_prompt_name": "nothing", "prompts": {}})
    ),
}


@pytest.mark.parametrize("broken", list(BROKEN))
def test_a_broken_folder_is_refused_by_both(tmp_path, broken):
    model = Transformer(body(tmp_path / "body", "distilbert"))
    made = SentenceTransformer(modules=[model, Pooling(16, "mean"), Dense(16, 8), Normalize()], device="cpu")
    made.save_pretrained(str(tmp_path / "st"), create_model_card=False)
    shutil.copytree(tmp_path / "st", tmp_path / "whole")
    BROKEN[broken](tmp_path / "st")
    with pytest.raises(nanodistil.NanoDistilError) as refused:
        nanodistil.SentenceEncoder.from_pretrained(tmp_path / "st", backend="numpy")
    assert "\n" not in str(refused.value)
    with pytest.raises(Exception):  # noqa: B017
        theirs(tmp_path / "st").encode(TEXTS)
    assert nanodistil.SentenceEncoder.from_pretrained(tmp_path / "whole", backend="numpy").encode(TEXTS).shape == (6, 8)
