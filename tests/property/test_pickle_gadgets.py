"""The known ways to make a pickle run something, in files otherwise good: refused by name, nothing executed."""

import contextlib
import gc
import pickle
import pickletools
import tracemalloc
import warnings

import pytest
from audit import watching
from pickle_gadgets import GADGETS
from weight_files import TINY, as_filed, tiny_arrays
from weight_formats import raw_storages, text, torch_pickle, torch_stream, torch_zip

from nanodistil.heads import HEADS as TABLE
from nanodistil.weights.errors import CheckpointError
from nanodistil.weights.loading import load
from nanodistil.weights.torch_pickle import read_pickle

ARRAYS = as_filed(tiny_arrays())
STORAGES = raw_storages(ARRAYS)
CONTAINERS = {
    "the pickle of a zip": lambda gadget: torch_zip(b"\x80\x02" + gadget + b".", STORAGES),
    "among the arrays of a zip": lambda gadget: torch_zip(torch_pickle(ARRAYS, more=text("x") + gadget), STORAGES),
    "among the arrays of a stream": lambda gadget: torch_stream(
        ARRAYS, torch_pickle(ARRAYS, old=True, more=text("x") + gadget)
    ),
    "a bare pickle": lambda gadget: b"\x80\x02" + gadget + b".",
}
MEMORY = 64 << 20  # bytes beyond the file's own size


@pytest.fixture(scope="module", autouse=True)
def ready(tmp_path_factory):
    """A good file first, so that everything a load imports, once, is imported."""
    folder = tmp_path_factory.mktemp("good")
    for container in list(CONTAINERS.values())[1:3]:
        (folder / "pytorch_model.bin").write_bytes(container(b"N"))
        with pytest.warns(UserWarning, match="no use for: x"):
            load(folder, TINY, TABLE["masked_lm"])
    assert pickletools.opcodes


@pytest.mark.parametrize("gadget", GADGETS)
def test_refused_by_name(tmp_path, gadget):
    instructions, says = GADGETS[gadget]
    for place, container in CONTAINERS.items():
        (tmp_path / "pytorch_model.bin").write_bytes(container(instructions))
        with watching(tmp_path) as seen, pytest.raises(CheckpointError) as error:
            load(tmp_path, TINY, TABLE["masked_lm"])
        assert not seen, place
        message = str(error.value)
        assert "\n" not in message and message.isprintable() and len(message) < 500, place
        assert says in message, place


@pytest.mark.parametrize("gadget", GADGETS)
def test_beside_a_state_dict_nothing_runs_either(tmp_path, gadget):
    """In a training checkpoint unknown classes are passed over: loaded or refused, nothing is imported or called."""
    state = torch_pickle(ARRAYS)[2:-1]
    pickle = b"\x80\x02}(" + text("x") + GADGETS[gadget][0] + text("state_dict") + state + b"u."
    (tmp_path / "pytorch_model.bin").write_bytes(torch_zip(pickle, STORAGES))
    with watching(tmp_path) as seen, warnings.catch_warnings(), contextlib.suppress(CheckpointError):
        warnings.simplefilter("ignore")
        load(tmp_path, TINY, TABLE["masked_lm"])
    assert not seen


def test_there_are_enough_of_them():
    assert len(GADGETS) >= 50 and len({instructions for instructions, _ in GADGETS.values()}) == len(GADGETS)


@pytest.mark.parametrize("gadget", ["os.system", "builtins.eval", "subprocess.getoutput", "functools.partial"])
def test_the_hook_sees_what_pickle_would_do(tmp_path, gadget):
    """Python's own unpickler runs them: the gadgets are real, and the proof can fail."""
    with watching(tmp_path) as seen:
        pickle.loads(b"\x80\x02" + GADGETS[gadget][0] + b".")
    events = {event for event, _ in seen}
    assert "pickle.find_class" in events
    assert gadget == "functools.partial" or events & {"os.system", "exec", "subprocess.Popen"}


HUNGRY = {
    "dicts": b"}" * 90_000,
    "marks": b"(" * 90_000,
    "memo": b"N" + b"".join(b"r" + i.to_bytes(4, "little") for i in range(2**32 - 90_000, 2**32)),
    "dicts in the memo": b"".join(b"}r" + i.to_bytes(4, "little") for i in range(45_000)),
    "a string of wide characters": b"X" + (4_000_000).to_bytes(4, "little") + b"a" * 3_999_996 + "\U0001f600".encode(),
    "long names": b"cx\n" + b"y" * 4_000_000 + b"\n",
    "long integers": (b"\x8a\xff" + b"\x7f" * 255) * 15_000,
    "tuples of themselves": b")" + b"q\1h\1\x86" * 22_000,
}


@pytest.mark.parametrize("hungry", HUNGRY)
def test_memory(hungry):
    gc.collect()
    tracemalloc.start()
    with pytest.raises(CheckpointError):
        read_pickle("x", HUNGRY[hungry])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEMORY
