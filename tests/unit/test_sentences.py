"""nanodistil/sentences/: folders of sentence-transformers, written here, and what is made of texts with them."""

import json

import numpy as np
import pytest
from tiny_folders import TEXTS, tiny_folder
from tiny_robertas import tiny_roberta
from weight_files import file_bytes

from nanodistil import CrossEncoder, SentenceEncoder, SparseEncoder
from nanodistil.cli import main
from nanodistil.family.distilbert import (
    DistilBertForMaskedLM,
    DistilBertForSequenceClassification,
    DistilBertModel,
)
from nanodistil.sentences.activations import ACTIVATIONS
from nanodistil.sentences.lowering import lowering
from nanodistil.sentences.pooling import OLD, WAYS
from nanodistil.sentences.precision import quantize_embeddings
from nanodistil.sentences.similarity import pairwise, similarities
from nanodistil.sentences.sparse_encoder import SpladePooling
from nanodistil.sentences.steps import Dense, Normalize, Pooling
from nanodistil.serve.served import loaded as serve_loaded
from nanodistil.serve.served import spec
from nanodistil.weights.errors import CheckpointError, InputError, MissingExtraError, NanoDistilError, TooLongError

D = 20
KINDS = {"Transformer": "", "Pooling": "1_Pooling", "Dense": "2_Dense", "Normalize": "3_Normalize"}
DENSE = {"in_features": D, "out_features": 6, "bias": True, "activation_function": "torch.nn.modules.activation.Tanh"}


def written(folder, pooling=None, dense=DENSE, kinds=KINDS, seed=0):
    """A folder with a Pooling, a Dense and a Normalize."""
    tiny_folder(folder, DistilBertModel)
    rows = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(rows))
    for path in kinds.values():
        (folder / path).mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling or {"pooling_mode_mean_tokens": True}))
    if "Dense" in kinds:
        rng = np.random.default_rng(seed)
        arrays = {"linear.weight": rng.standard_normal((6, D)), "linear.bias": rng.standard_normal(6)}
        arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
        (folder / "2_Dense" / "model.safetensors").write_bytes(file_bytes(arrays))
        (folder / "2_Dense" / "config.json").write_text(json.dumps(dense))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return written(tmp_path_factory.mktemp("sentences") / "st")


def loaded(folder, **more):
    return SentenceEncoder.from_pretrained(folder, backend="numpy", **more)


def hidden(encoder, text):
    return np.asarray(encoder.model([encoder.tokenizer(text)["input_ids"]]).last_hidden_state[0], np.float64)


def test_a_vector_is_what_the_modules_make_of_it(folder):
    encoder = loaded(folder, dtype="float64")
    dense = encoder.steps[1]
    for text, vector in zip(TEXTS, encoder.encode(TEXTS), strict=True):
        y = np.tanh(dense.weight.astype(np.float64) @ hidden(encoder, text).mean(axis=0) + dense.bias)
        np.testing.assert_allclose(vector, y / np.linalg.norm(y), rtol=1e-13)
    assert encoder.get_sentence_embedding_dimension() == encoder.get_embedding_dimension() == 6


@pytest.mark.parametrize("ways", [*[[way] for way in WAYS], ["mean", "cls"]], ids=str)
def test_both_forms_of_config_pool_alike(tmp_path, ways):
    kinds = {"Transformer": "", "Pooling": "1_Pooling"}
    new = written(tmp_path / "new", {"embedding_dimension": D, "pooling_mode": ways}, kinds=kinds)
    encoder = loaded(new, dtype="float64")
    x, t = hidden(encoder, TEXTS[0]), np.arange(1, 6)[:, None]
    made = {
        "cls": x[0],
        "max": x.max(0),
        "mean": x.mean(0),
        "mean_sqrt_len_tokens": x.sum(0) / 5**0.5,
        "weightedmean": (t * x).sum(0) / 15,
        "lasttoken": x[4],
    }
    np.testing.assert_allclose(encoder.encode(TEXTS[0]), np.concatenate([made[way] for way in ways]), rtol=1e-13)
    switches = {switch: way in ways for switch, way in OLD.items()}
    if len(ways) == 1:
        old = written(tmp_path / "old", switches, kinds=kinds)
        assert (loaded(old, dtype="float64").encode(TEXTS) == encoder.encode(TEXTS)).all()
    encoder.save_pretrained(tmp_path / "saved")
    again = loaded(tmp_path / "saved", dtype="float64")
    assert again.steps == encoder.steps and (again.encode(TEXTS) == encoder.encode(TEXTS)).all()


def test_alone_and_among_others_to_the_last_bit(folder):
    encoder = SentenceEncoder.from_pretrained(folder)
    texts = [text * n for n in (1, 3) for text in TEXTS]
    together = encoder.encode(texts)
    assert together.dtype == np.float32
    assert (together == np.stack([encoder.encode(text) for text in texts])).all()
    assert (together == encoder.encode(iter(texts), batch_size=1)).all()
    assert (together == np.stack(encoder.encode(texts, convert_to_numpy=False))).all()


def test_what_a_call_can_ask_for(folder, capsys):
    encoder = loaded(folder)
    whole = encoder.encode(TEXTS, show_progress_bar=True)
    assert f"{len(TEXTS)} texts" in capsys.readouterr().err
    short = encoder.encode(TEXTS, truncate_dim=3, normalize_embeddings=True)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(short, whole[:, :3] / np.linalg.norm(whole[:, :3], axis=1)[:, None], rtol=1e-5)
    assert encoder.encode([]).shape == (0, 6) and encoder.encode([], truncate_dim=2).shape == (0, 2)
    assert [x.shape for x in encoder.encode(TEXTS[:2], output_value="token_embeddings")] == [(5, D), (6, D)]
    everything = encoder.encode(TEXTS[0], output_value=None)
    assert (everything["sentence_embedding"] == whole[0]).all() and everything["input_ids"].shape == (5,)
    assert (encoder.encode(TEXTS, precision="ubinary") == np.packbits(whole > 0, axis=1)).all()
    assert encoder.tokenize(TEXTS)["input_ids"].shape == (len(TEXTS), 8)
    for wrong in (
        {"precision": "int4"},
        {"output_value": "x"},
        {"truncate_dim": 0},
        {"prompt_name": "no"},
        {"prompt": 3},
    ):
        with pytest.raises(InputError):
            encoder.encode(TEXTS, **wrong)
    with pytest.raises(InputError, match="input 2 is not a string but int"):
        encoder.encode(["a", 3])


def test_prompts_count_or_not(tmp_path):
    kinds = {"Transformer": "", "Pooling": "1_Pooling"}
    made = written(tmp_path / "st", {"pooling_mode": "mean", "include_prompt": False}, kinds=kinds)
    settings = {"prompts": {"query": "who is "}, "default_prompt_name": "query", "similarity_fn_name": "dot"}
    (made / "config_sentence_transformers.json").write_text(json.dumps(settings))
    encoder = loaded(made, dtype="float64")
    assert (encoder.similarity_fn_name, encoder.default_prompt_name) == ("dot", "query")
    wanted = hidden(encoder, "who is a b")[3:].mean(axis=0)  # [CLS] who is
    for vector in (encoder.encode("a b"), encoder.encode_query("a b"), encoder.encode("a b", prompt="who is ")):
        np.testing.assert_allclose(vector, wanted, rtol=1e-13)
    assert (encoder.encode("a b", prompt="") == encoder.encode_document("a b")).all()


def test_how_much_is_read_and_in_which_case(tmp_path):
    made = written(tmp_path / "st")
    (made / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 4, "do_lower_case": True}))
    encoder = loaded(made)
    assert encoder.max_seq_length == 4
    assert (encoder.encode("a b c good") == encoder.encode("A B bad")).all()
    encoder.save_pretrained(tmp_path / "saved")
    assert loaded(tmp_path / "saved").max_seq_length == 4
    with pytest.raises(InputError, match="at most 32"):
        encoder.max_seq_length = 33
    assert lowering([])("ΑΣ [MASK]") == "ασ [mask]"


def test_a_plain_model_and_a_folder_with_its_model_inside(tmp_path):
    plain = loaded(tiny_folder(tmp_path / "plain", DistilBertForMaskedLM), dtype="float64")
    np.testing.assert_allclose(plain.encode("a b"), hidden(plain, "a b").mean(axis=0), rtol=1e-13)
    kinds = {"Transformer": "0_Transformer", "Pooling": "1_Pooling"}
    made = written(tmp_path / "old", kinds=kinds)
    tiny_folder(made / "0_Transformer", DistilBertModel, seed=5)
    for file in ("config.json", "model.safetensors", "vocab.txt"):
        (made / file).unlink()
    assert loaded(made).encode(TEXTS).shape == (len(TEXTS), D)
    tiny_roberta(tmp_path / "roberta")
    assert loaded(tmp_path / "roberta").encode(["a film"]).shape == (1, 20)


def test_dense_on_tokens_and_residual():
    rng = np.random.default_rng(0)
    W, through = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    x = rng.standard_normal((5, 4))
    from nanodistil.sentences.steps import Reading

    on_tokens = Dense(W, None, "ReLU", "token_embeddings")(Reading(x, None))
    np.testing.assert_allclose(on_tokens.tokens, np.maximum(x @ W.T, 0))
    added = Dense(W, None, "Identity", residual=True, through=through)(Reading(x, x[0]))
    np.testing.assert_allclose(added.sentence, W @ x[0] + through @ x[0])
    assert np.allclose(np.linalg.norm(Normalize("token_embeddings")(Reading(x, None)).tokens, axis=1), 1)
    with pytest.raises(InputError, match="no way to pool"):
        Pooling(("median",))


def broken(folder, name):
    path = folder / "modules.json"
    rows, dense = json.loads(path.read_text()), folder / "2_Dense"
    if name == "no JSON":
        path.write_text("[")
    elif name == "no list":
        path.write_text("{}")
    elif name == "no type":
        path.write_text("[{}]")
    elif name == "code of others":
        path.write_text(json.dumps([rows[0] | {"type": "custom_st.Transformer"}]))
    elif name == "a path out":
        path.write_text(json.dumps([rows[0], rows[1] | {"path": "../x"}]))
    elif name == "an unknown module":
        path.write_text(json.dumps([*rows, rows[1] | {"type": "sentence_transformers.models.CNN"}]))
    elif name == "no pooling":
        path.write_text(json.dumps(rows[:1]))
    elif name == "a dense too early":
        path.write_text(json.dumps([rows[0], rows[2], rows[1]]))
    elif name == "no model first":
        path.write_text(json.dumps(rows[1:]))
    elif name == "another width":
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": ["mean", "cls"]}))
    elif name == "an unknown pooling":
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "median"}))
    elif name == "an odd switch":
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": "yes"}))
    elif name == "an unknown activation":
        (dense / "config.json").write_text(json.dumps(DENSE | {"activation_function": "os.system"}))
    elif name == "huge":
        (dense / "config.json").write_text(json.dumps(DENSE | {"in_features": 10**12}))
    elif name == "another shape":
        (dense / "config.json").write_text(json.dumps(DENSE | {"out_features": 7}))
    elif name == "not finite":
        arrays = {"linear.weight": np.full((6, D), np.nan, np.float32), "linear.bias": np.zeros(6, np.float32)}
        (dense / "model.safetensors").write_bytes(file_bytes(arrays))
    elif name == "no weights":
        (dense / "model.safetensors").unlink()
    elif name == "an unknown target":
        (dense / "config.json").write_text(json.dumps(DENSE | {"module_output_name": "scores"}))
    elif name == "of another class":
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"model_type": "CrossEncoder"}))
    elif name == "odd prompts":
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": 3}}))
    elif name == "no such default":
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"default_prompt_name": "x"}))
    elif name == "no such similarity":
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"similarity_fn_name": "x"}))
    elif name == "an odd length":
        (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": "long"}))
    elif name == "another task":
        (folder / "sentence_bert_config.json").write_text(json.dumps({"transformer_task": "fill-mask"}))


BROKEN = """no JSON; no list; no type; code of others; a path out; an unknown module; no pooling; a dense too early
no model first; another width; an unknown pooling; an odd switch; an unknown activation; huge; another shape; not finite
no weights; an unknown target; of another class; odd prompts; no such default; no such similarity; an odd length
another task""".replace("\n", "; ").split("; ")


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_folder_is_refused_in_one_line(tmp_path, name):
    folder = written(tmp_path / "st")
    assert loaded(folder).encode(TEXTS[0]).shape == (6,)
    broken(folder, name)
    with pytest.raises(NanoDistilError) as refused:
        loaded(folder)
    assert isinstance(refused.value, CheckpointError | InputError)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 600


def test_embed_ends_with_one_line_for_a_broken_folder(tmp_path, capsys):
    folder = written(tmp_path / "st")
    broken(folder, "no weights")
    assert main(["embed", "a b", "--model", str(folder), "--backend", "numpy"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("nanodistil: ") and err.count("\n") == 1 and "2_Dense" in err


def test_vectors_in_fewer_bits():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((200, 9)).astype(np.float32)
    bytes_, signed = quantize_embeddings(x, "uint8"), quantize_embeddings(x, "int8")
    assert bytes_.min() == 0 and bytes_.max() == 255 and (signed.astype(int) + 128 == bytes_).all()
    assert (quantize_embeddings(x, "binary").astype(int) + 128 == quantize_embeddings(x, "ubinary")).all()
    assert (quantize_embeddings(x[:3], "uint8", calibration_embeddings=x) == bytes_[:3]).all()
    assert (np.abs(quantize_embeddings(x, "float32") - x) == 0).all()
    with pytest.warns(UserWarning, match="ranges are taken from 3 vectors"):
        quantize_embeddings(x[:3], "int8")
    for wrong in ((x[:1], "int8"), (bytes_, "int8"), (x, "int4"), (x, "int8", x), (x[None], "int8")):
        with pytest.raises(InputError):
            quantize_embeddings(*wrong)


def test_similarities():
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((7, 5)), rng.standard_normal((4, 5))
    for name, one in {
        "cosine": lambda x, y: x @ y / np.linalg.norm(x) / np.linalg.norm(y),
        "dot": lambda x, y: x @ y,
        "euclidean": lambda x, y: -np.linalg.norm(x - y),
        "manhattan": lambda x, y: -np.abs(x - y).sum(),
    }.items():
        np.testing.assert_allclose(similarities(a, b, name), [[one(x, y) for y in b] for x in a], rtol=1e-12)
        np.testing.assert_allclose(
            pairwise(a[:4], b, name), [one(x, y) for x, y in zip(a, b, strict=False)], rtol=1e-12
        )
        assert similarities(a[0].astype(np.float32), b.astype(np.float32), name).dtype == np.float32
    for wrong in ((a, b[:, :3]), (a, b, "like"), (a[None], b)):
        with pytest.raises(InputError):
            similarities(*wrong)


def test_a_cross_encoder_scores_and_ranks(tmp_path):
    folder = tmp_path / "ce"
    tiny_folder(folder, DistilBertForSequenceClassification, num_labels=1)
    encoder = CrossEncoder.from_pretrained(folder)
    pairs = [("who was bad", text) for text in [*TEXTS, ""]]
    scores = encoder.predict(pairs)
    assert scores.shape == (8,) and scores.dtype == np.float32 and encoder.activation_fn == "Sigmoid"
    assert (scores == np.stack([encoder.predict(pair) for pair in pairs])).all()
    ids = encoder.tokenizer(*pairs[0])["input_ids"]
    logit = float(encoder.model([ids]).logits[0, 0])
    assert abs(scores[0] - 1 / (1 + np.exp(-logit))) < 1e-6
    raw = encoder.predict(pairs, activation_fn="Identity")
    assert (np.argsort(raw) == np.argsort(scores)).all() and raw[0] == np.float32(logit)
    ranked = encoder.rank("who was bad", TEXTS, top_k=3, return_documents=True)
    assert [one["corpus_id"] for one in ranked] == np.argsort(-scores[:-1], kind="stable")[:3].tolist()
    assert ranked[0]["text"] == TEXTS[ranked[0]["corpus_id"]] and encoder.predict([]).shape == (0,)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"})
    )
    assert CrossEncoder.from_pretrained(folder, backend="numpy").activation_fn == "Identity"
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"activation_fn": "x.y"}))
    with pytest.raises(CheckpointError, match=r"'x\.y' is no activation"):
        CrossEncoder.from_pretrained(folder, backend="numpy")
    for wrong in (["a"], [("a", 3)], "ab", [("a", "b", "c")]):
        with pytest.raises(InputError):
            encoder.predict(wrong)


def test_cross_and_sparse_encoders_are_written_and_served_as_they_were(tmp_path):
    tiny_folder(tmp_path / "ce", DistilBertForSequenceClassification, num_labels=1)
    made = CrossEncoder.from_pretrained(tmp_path / "ce", backend="numpy", activation_fn="Tanh", max_length=9)
    made.save_pretrained(tmp_path / "ce2")
    again = CrossEncoder.from_pretrained(tmp_path / "ce2", backend="numpy")
    pairs = [("who was bad", text) for text in TEXTS]
    assert (again.activation_fn, again.max_length) == ("Tanh", 9) and (
        again.predict(pairs) == made.predict(pairs)
    ).all()
    served = serve_loaded(spec(str(tmp_path / "ce2")), backend="numpy")
    scores = list(served.pipes["ranking"].each(pairs, truncation=True))
    assert served.ranks and (np.stack(scores) == made.predict(pairs)).all()
    (tmp_path / "ce2" / "config_sentence_transformers.json").unlink()  # as versions before 6 find it
    assert CrossEncoder.from_pretrained(tmp_path / "ce2", backend="numpy").activation_fn == "Tanh"

    tiny_folder(tmp_path / "mlm", DistilBertForMaskedLM)
    sparse = SparseEncoder.from_pretrained(
        tmp_path / "mlm", backend="numpy", max_active_dims=5, prompts={"p": "a "}, default_prompt_name="p"
    )
    sparse.pipe.pooling = SpladePooling("sum", "log1p_relu")
    sparse.save_pretrained(tmp_path / "mlm2")
    served = serve_loaded(spec(str(tmp_path / "mlm2")), backend="numpy")
    assert served.task == "sparse-embedding"
    for text, one in zip(TEXTS, served.pipes["sparse-embedding"].each(TEXTS, **served.usual), strict=True):
        wanted = sparse.encode(text)
        assert (one.indices == wanted.indices).all() and (one.values == wanted.values).all() and len(one.values) <= 5
    assert serve_loaded(spec(f"{tmp_path / 'mlm'}:sparse-embedding"), backend="numpy").task == "sparse-embedding"


def test_a_cross_encoder_of_several_labels(tmp_path):
    tiny_folder(tmp_path / "ce", DistilBertForSequenceClassification, num_labels=3)
    encoder = CrossEncoder.from_pretrained(tmp_path / "ce", backend="numpy", max_length=9)
    assert encoder.predict([("a", "b")] * 2).shape == (2, 3) and encoder.max_length == 9
    np.testing.assert_allclose(encoder.predict(("a", "b"), apply_softmax=True).sum(), 1, rtol=1e-6)
    with pytest.raises(InputError, match="a model of one label"):
        encoder.rank("a", ["b"])


@pytest.mark.parametrize("strategy", ["max", "sum"])
@pytest.mark.parametrize("function", ["relu", "log1p_relu"])
def test_a_sparse_encoder_finds_words(tmp_path, strategy, function):
    folder = tmp_path / "mlm"
    tiny_folder(folder, DistilBertForMaskedLM)
    kinds = {"MLMTransformer": "", "SpladePooling": "1_SpladePooling"}
    rows = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for kind, path in kinds.items()]
    (folder / "modules.json").write_text(json.dumps(rows))
    (folder / "1_SpladePooling").mkdir()
    config = {"pooling_strategy": strategy, "activation_function": function}
    (folder / "1_SpladePooling" / "config.json").write_text(json.dumps(config))
    encoder = SparseEncoder.from_pretrained(folder, backend="numpy", dtype="float64")
    vectors = encoder.encode(TEXTS)
    logits = encoder.model([encoder.tokenizer(TEXTS[0])["input_ids"]]).logits[0]
    x = np.log1p(np.maximum(logits, 0))
    x = np.log1p(x) if function == "log1p_relu" else x
    x = x.max(axis=0) if strategy == "max" else x.sum(axis=0)
    np.testing.assert_allclose(encoder.dense(vectors[0]), x, rtol=1e-12)
    assert (encoder.encode(TEXTS, convert_to_sparse_tensor=False) == encoder.dense(vectors)).all()
    few = encoder.encode(TEXTS[0], max_active_dims=3)
    assert (np.sort(np.argsort(-x)[:3]) == few.indices).all()
    words = encoder.decode(few)
    assert [word for word, _ in words] == encoder.tokenizer.convert_ids_to_tokens(np.argsort(-x)[:3].tolist())
    assert encoder.decode(x, top_k=3) == words and encoder.decode([few]) == [words]
    np.testing.assert_allclose(encoder.similarity(vectors[0], vectors)[0, 0], x @ x, rtol=1e-12)
    (folder / "1_SpladePooling" / "config.json").write_text(json.dumps(config | {"pooling_strategy": "median"}))
    with pytest.raises(CheckpointError, match="median"):
        SparseEncoder.from_pretrained(folder, backend="numpy")


def test_a_tensor_if_asked_for(folder):
    try:
        found = loaded(folder).encode(TEXTS[0], convert_to_tensor=True)
    except MissingExtraError:
        return
    assert tuple(found.shape) == (6,)


def test_embed_and_scikit_learn_honour_the_folder(folder, tmp_path, capsys, recwarn):
    vectors = loaded(folder).encode(TEXTS)
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(TEXTS))
    argv = ["embed", "--model", str(folder), "--backend", "numpy", "--input", str(texts)]
    assert main([*argv, "--output", str(tmp_path / "x.npy")]) == 0
    assert (np.load(tmp_path / "x.npy") == vectors).all() and capsys.readouterr().err.count("warning") == 0
    assert main([*argv, "--pooling", "mean", "--output", str(tmp_path / "y.npy")]) == 0
    assert np.load(tmp_path / "y.npy").shape == (len(TEXTS), D) and "SentenceEncoder" in capsys.readouterr().err
    pytest.importorskip("sklearn")
    from nanodistil.sklearn import DistilBertVectorizer

    vectorizer = DistilBertVectorizer(folder, backend="numpy")
    assert (vectorizer.fit_transform(TEXTS) == vectors).all() and len(vectorizer.get_feature_names_out()) == 6
    assert DistilBertVectorizer(folder, pooling="cls", backend="numpy").transform(TEXTS).shape == (7, D)


def test_a_server_honours_the_folder(tmp_path):
    folder = written(tmp_path / "st")
    settings = {"prompts": {"p": "who is "}, "default_prompt_name": "p"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 8}))
    served = serve_loaded(spec(str(folder)), backend="numpy")
    encoder, pipe = loaded(folder), served.pipes["feature-extraction"]
    assert served.pooling == "own"
    vectors = list(pipe.each(TEXTS[:3], pooling="own", normalize=True, return_tensors=True, truncation=True))
    assert (np.stack(vectors) == encoder.encode(TEXTS[:3], normalize_embeddings=True)).all()
    assert np.array(pipe("a b", pooling="mean")).shape == (D,)
    with pytest.raises(TooLongError, match="more than the 8 that are read"):
        pipe.encode("a b c " * 4, pooling="own")
    with pytest.warns(UserWarning, match="nanodistil.SentenceEncoder makes those"):
        plain = serve_loaded(spec(str(folder)), pooling="cls", backend="numpy")
    assert plain.pooling == "cls" and np.array(plain.pipes["feature-extraction"]("a b", pooling="cls")).shape == (D,)


def test_activations_are_finite_where_exp_is_not():
    x = np.array([-1000.0, -1.0, 0.0, 1.0, 1000.0])
    for name, function in ACTIVATIONS.items():
        with np.errstate(over="raise", invalid="raise"):
            assert np.isfinite(function(x)).all() and function(x).shape == x.shape, name
