"""nearby.py and sentence_modules.py: what a wrong name may have meant, what a folder has instead of a model."""

import json

import pytest
from tiny_folders import tiny_folder

from nanodistil import DistilBertForMaskedLM, DistilBertModel, DistilBertTokenizer, cli
from nanodistil.weights.errors import InputError, MissingExtraError, ModelNotFoundError
from nanodistil.weights.hub import resolve


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def said(name, **how):
    with pytest.raises((ModelNotFoundError, MissingExtraError)) as error:
        resolve(name, **how)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_names_that_are_near(here, tmp_path):
    for name in ("ft-1", "ft_2", "sst2", "runs/best", ".ft1"):
        (here / name).mkdir(parents=True)
    (here / "ft1.txt").touch()
    (tmp_path / "cache" / "models--me--sentiment").mkdir(parents=True)
    assert said("ft1").startswith("no folder 'ft1' here (near: ft-1, ft_2); ft1 cannot be downloaded: HF_HUB_OFFLINE")
    assert said("./ft1") == "no folder ./ft1 (near: ./ft-1, ./ft_2)"
    assert said(here / "ft1").endswith(f"(near: {here}/ft-1, {here}/ft_2)")
    assert said("runs/bst").startswith("no folder 'runs/bst' here (near: runs/best); ")
    assert said("rums/best").startswith("no folder 'rums/best' here (near: runs); ")
    assert said("nanodistil-mimi").startswith("no folder 'nanodistil-mimi' here (near: nanodistil-mini")
    assert "(near: me/sentiment)" in said("me/sentimnt")
    assert said("nothing-like-it").startswith("no folder 'nothing-like-it' here; ")
    assert said("a b").startswith("no folder 'a b' here; 'a b' is neither a folder nor a possible id")
    assert "here" not in said("distilbert/distilbert-base-uncased")  # the default, which nobody takes for a folder
    assert said("ft1", local_files_only=True).startswith("no folder 'ft1' here (near: ft-1, ft_2); ")
    for odd in ("x\0", "x" * 5000, "~nobody-here/x", "a\nb"):
        assert len(said(odd)) < 1000


@pytest.mark.parametrize("arguments", [
    ["classify", "x", "--model", "ft1"], ["tokenize", "x", "--model", "ft1"], ["bench", "--model", "ft1"],
    ["extract-student", "ft1", "out"], ["export", "ft1", "out"],
])  # fmt: skip
def test_every_verb_says_so(here, capsys, arguments):
    (here / "ft-1").mkdir()
    assert cli.main(arguments) == 2
    assert "no folder 'ft1' here (near: ft-1); " in capsys.readouterr().err


def touch(folder, *names):
    for name in names:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


def test_a_training_checkpoint_is_a_model(here):
    """What Trainer puts beside it is in nobody's way; and the folder of the run says where its checkpoints are."""
    tiny_folder(here / "run" / "checkpoint-500", DistilBertForMaskedLM)
    more = ["optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "training_args.bin", "scaler.pt"]
    touch(here / "run" / "checkpoint-500", *more, "global_step500/mp_rank_00_model_states.pt", "zero_to_fp32.py")
    assert DistilBertForMaskedLM.from_pretrained("run/checkpoint-500", backend="numpy")
    tiny_folder(here / "run" / "checkpoint-1500", DistilBertForMaskedLM)
    assert said("run").endswith("; it has 2 training checkpoints, the newest is run/checkpoint-1500")


INSTEAD = {
    "in pieces: put it together with `accelerate merge-weights`": ["pytorch_model_fsdp_0/.metadata"],
    "put it together with its zero_to_fp32.py": ["zero_to_fp32.py", "optimizer.pt"],
    "DeepSpeed checkpoint": ["global_step12/x.pt"],
    "; if model.pt is its weights, name it pytorch_model.bin": ["config.json", "model.pt", "optimizer.pt"],
    "; if last.ckpt is its weights, name it pytorch_model.bin": ["config.json", "last.ckpt"],
    "; if consolidated.safetensors is its weights, name it model.safetensors": ["consolidated.safetensors"],
}


@pytest.mark.parametrize("says", INSTEAD)
def test_what_a_folder_has_instead(here, says):
    touch(here / "run", *INSTEAD[says])
    message = said("run")
    assert message.startswith("the folder run lacks") and says in message


def test_a_sentence_transformers_folder_with_its_model_inside(here):
    tiny_folder(here / "st" / "0_Transformer", DistilBertModel)
    (here / "st" / "modules.json").write_text("[]")
    assert said("st").endswith("; it is of sentence-transformers, its model lies in st/0_Transformer")


TRANSFORMER = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}
POOLING = {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
DENSE = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
NORMALIZE = {"idx": 3, "name": "3", "path": "3_Normalize", "type": "sentence_transformers.models.Normalize"}
MEAN = {"word_embedding_dimension": 20, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
CLS = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
VECTORS = [
    ([TRANSFORMER, POOLING], MEAN, None),
    ([TRANSFORMER, POOLING], {"pooling_mode": "mean"}, None),
    ([TRANSFORMER], MEAN, None),
    ([TRANSFORMER, POOLING], CLS, "come by pooling cls;"),
    ([TRANSFORMER, POOLING], {"pooling_mode": "lasttoken"}, "come by pooling lasttoken;"),
    ([TRANSFORMER, POOLING], MEAN | CLS | {"pooling_mode_mean_tokens": True}, r"pooling cls\+mean"),
    ([TRANSFORMER, POOLING], {}, "pooling of an unknown kind"),
    ([TRANSFORMER, POOLING, NORMALIZE], MEAN, "come by pooling mean, Normalize;"),
    ([TRANSFORMER, POOLING, DENSE, NORMALIZE], MEAN, "come by pooling mean, Dense, Normalize;"),
    ([TRANSFORMER, POOLING | {"path": "../x"}], MEAN, "pooling of an unknown kind"),
    ({"a": 1}, MEAN, "cannot be read"),
    ([1], MEAN, "cannot be read"),
    ([{"type": "x" * 9999}], MEAN, "come by"),
]


@pytest.mark.parametrize(("modules", "pooling", "says"), VECTORS)
def test_vectors_that_are_no_plain_means_are_told(here, modules, pooling, says, recwarn):
    tiny_folder(here / "st", DistilBertModel)
    (here / "st" / "modules.json").write_text(json.dumps(modules))
    (here / "st" / "1_Pooling").mkdir()
    (here / "st" / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    recwarn.clear()
    if says is None:
        DistilBertModel.from_pretrained("st", backend="numpy")
        assert not recwarn
        return
    with pytest.warns(UserWarning, match=says) as warned:
        DistilBertModel.from_pretrained("st", backend="numpy")
    assert len(warned) == 1 and len(str(warned[0].message)) < 1000
    assert DistilBertTokenizer.from_pretrained("st")


def test_an_address_is_answered_with_the_id_in_it() -> None:
    for tail in ("", "/tree/main", "/"):
        with pytest.raises(ModelNotFoundError, match=r"is an address: give the model's id, such as acme/tiny$"):
            resolve(f"https://huggingface.co/acme/tiny{tail}")
    with pytest.raises(ModelNotFoundError, match=r"is an address: give the model's id$"):
        resolve("http://example.org")


@pytest.mark.parametrize("name", [None, b"folder", 3, ["folder"]])
def test_what_names_no_model_is_not_asked_for(name: object) -> None:
    with pytest.raises(InputError, match="a model is named by a folder or an id, not by"):
        resolve(name)  # type: ignore[arg-type]
