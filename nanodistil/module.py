"""What code written for PyTorch asks of a model that answers: model.eval(), model.to("cpu"), next(model.parameters()).

Harmless as far as it is true. A model here always is what `eval()` makes of one in PyTorch, and computes where and in
what it was loaded, so all that asks for just that is answered and changes nothing. What asks for something else,
another device or dtype, dropout, gradients, is refused with a line that says how to come by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self

from nanodistil import parameters
from nanodistil.backend import BACKENDS, named
from nanodistil.devices import Device, check_device, device_of, dtype_name
from nanodistil.parameters import Linear, Parameter
from nanodistil.weights.errors import InputError, excerpt


class Module:
    """The methods, on top of `backend`, `dtype` and what a class knows of its weights."""

    base_model_prefix = "distilbert"
    main_input_name = "input_ids"
    name_or_path = ""  # where it was loaded from

    backend: str
    dtype: str
    training = False

    @property
    def device(self) -> Device:
        """Where it computes: "cpu", or "cuda:0"."""
        return device_of(self.backend)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The same as a call."""
        return self(*args, **kwargs)  # type: ignore[operator]

    def can_generate(self) -> bool:
        """False: it fills in and classifies."""
        return False

    def eval(self) -> Self:
        """Itself: it has no dropout, here or ever."""
        return self

    def train(self, mode: bool = True) -> Self:
        """For False itself. Raises InputError for True, which would have to bring dropout and gradients."""
        if mode:
            raise InputError(
                "a model here answers, without dropout or gradients; nanodistil.training.finetune trains one"
            )
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Itself, if device and dtype are those it has. Raises DeviceError or InputError for others."""
        known = {"device", "dtype", "non_blocking", "copy", "memory_format"}
        if unknown := [name for name in kwargs if name not in known]:
            raise InputError(f"to() takes a device and a dtype, not {excerpt(unknown[0])}")
        for value in (*args, kwargs.get("device"), kwargs.get("dtype")):
            if value is None or isinstance(value, bool):
                continue
            text = str(value)
            is_device = isinstance(value, int) or text.partition(":")[0] in ("cpu", "cuda", "mps", "xpu", "meta")
            if is_device or type(value).__name__ == "device":
                check_device(value, self.backend)
                continue
            name = dtype_name(value)
            name = name if isinstance(name, str) else getattr(name, "__name__", text)
            if name != self.dtype:
                ways = [f"dtype={excerpt(name)}"] if name in named(self.backend)[0].dtypes else []
                ways += [f"backend={excerpt(b)}, dtype={excerpt(name)}" for b in BACKENDS if name in BACKENDS[b].dtypes]
                remedy = f"load it with {ways[0]}" if ways else "no backend computes in that"
                raise InputError(f"this model computes in {self.dtype}, not {name[:40]}: {remedy}")
        return self

    def cpu(self) -> Self:
        """Itself, as to("cpu")."""
        return self.to("cpu")

    def cuda(self, device: Any = None) -> Self:
        """As to("cuda")."""
        return self.to("cuda" if device is None else device)

    def float(self) -> Self:
        """As to("float32")."""
        return self.to("float32")

    def half(self) -> Self:
        """As to("float16")."""
        return self.to("float16")

    def bfloat16(self) -> Self:
        """As to("bfloat16")."""
        return self.to("bfloat16")

    def double(self) -> Self:
        """As to("float64")."""
        return self.to("float64")

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """For False, itself. Raises InputError for True."""
        parameters.refuse_gradients(requires_grad)
        return self

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every array of weights, by the names of weights/names.py."""
        raise NotImplementedError

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """How many numbers its weights are, shared ones counted once.

        only_trainable: none is, in the sense of parameters(). exclude_embeddings: without the tables of vectors.
        """
        counted = 0
        for name, shape in self._shapes().items():
            if not (exclude_embeddings and name.endswith("_embeddings.weight")):
                size = 1
                for n in shape:
                    size *= n
                counted += size
        return 0 if only_trainable else counted


class Readable(Module):
    """A Module whose weights can be read."""

    head: ClassVar[Any]

    def state_dict(self) -> dict[str, Any]:
        """All weights under transformers' names."""
        raise NotImplementedError

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """The weights under transformers' names, shared ones once: copies to read, see parameters.py.

        Raises InputError if the dtype is one that rounded them.
        """
        for name, array in self.state_dict().items():
            yield name, Parameter.of(array)

    def parameters(self) -> Iterator[Parameter]:
        """The same without the names."""
        for _, parameter in self.named_parameters():
            yield parameter

    def get_output_embeddings(self) -> Linear | None:
        """From a hidden state to a score for every word: `.weight` (V, D), `.bias` (V,); None without such a head."""
        names = self._shapes()
        for weight in self.head.tied:
            bias = weight.removesuffix("weight") + "bias"
            own = weight if weight in names else "embeddings.word_embeddings.weight"
            return Linear(self._parameter(own), self._parameter(bias) if bias in names else None)
        return None

    def _filed(self, name: str) -> str:
        """transformers' name for one of weights/names.py."""
        raise NotImplementedError

    def _parameter(self, name: str) -> Parameter:
        """The one of this name in weights/names.py."""
        filed = self._filed(name)
        return next(parameter for theirs, parameter in self.named_parameters() if theirs == filed)
