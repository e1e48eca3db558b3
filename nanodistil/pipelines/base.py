"""What every pipeline is: a call, a stream, batches, the order of the answers. A task says what happens to one input.

    input -> prepare -> rows of ids -> compute, many rows in one batch -> finish -> answer

    settings(...)                       a call's arguments, checked
    prepare(input, settings, name)      its rows (a long context has its windows, a text to sort its labels), and
                                        what `finish` wants to know; name is for messages, "the input" or "input 3"
    compute(inputs, wanted)             rows that were put together, the arguments of a model's call -> B results
    finish(prepared, results, settings) the answer, of the results of the input's own rows

`compute` knows no settings, and a row's result depends on that row alone. So rows of many callers may share a batch,
whatever each asks for: a server runs `prepare` for each, `results` for the rows of all, `finish` for each. All that a
model says of a row may be too much to keep, 122 KB of scores for each [MASK], a vector for each token; then the row
says what is wanted of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from nanodistil.pipelines.batching import Row as Row
from nanodistil.pipelines.batching import in_batches, inputs_of, pace_of, windows
from nanodistil.pipelines.inputs import many
from nanodistil.pipelines.pairing import check_pair
from nanodistil.pipelines.preset import settings_of
from nanodistil.pretrained import Pretrained
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.weights.errors import InputError

Model = TypeVar("Model", bound=Pretrained)
Settings = TypeVar("Settings")


class Prepared(NamedTuple):
    """One input, ready for the model."""

    rows: list[Row]
    rest: Any = None  # what `finish` wants to know


class Pipeline(ABC, Generic[Model, Settings]):
    """A model and its tokenizer, put to one task."""

    one_input: ClassVar[type | tuple[type, ...]] = str  # what an input is that is given alone
    called: ClassVar[str] = "a text"  # an input, in messages
    one_of_a_list_is_alone: ClassVar[bool] = False  # a list of one input is answered as that input would be

    def __init__(self, model: Model, tokenizer: Tokenizer) -> None:
        """Raises CheckpointError if the tokenizer's vocabulary and the model's embedding rows do not fit."""
        check_pair(model, tokenizer)
        self.model = model
        self.tokenizer = tokenizer
        self.made()

    def made(self) -> None:
        """What a task checks or looks up once model and tokenizer are there. Raises CheckpointError."""

    @abstractmethod
    def settings(self, *arguments: Any, **options: Any) -> Settings:
        """A call's arguments, checked. Raises InputError."""

    @abstractmethod
    def prepare(self, one: Any, settings: Settings, name: str = "the input") -> Prepared:
        """An input's rows. Raises InputError, which calls it by its name."""

    @abstractmethod
    def compute(self, inputs: dict[str, Any], wanted: list[Any]) -> Iterable[Any]:
        """The results of B rows. inputs: of the model's call, (B, T) each, see batching.inputs_of."""

    @abstractmethod
    def finish(self, prepared: Prepared, results: list[Any], settings: Settings) -> Any:
        """The answer to an input, of the results of its rows."""

    def each(self, inputs: Iterable[Any], first: int = 0, **options: Any) -> Iterator[Any]:
        """The answers one by one, in order, as they are ready, also if there is one; arguments as in a call.

        first: how many inputs came before these, for the messages of errors. An input that cannot be answered raises
        its error after the answers to those before it.
        """
        return self.answers(inputs, settings_of(self, options), first)

    def answer(self, inputs: Any, settings: Settings) -> Any:
        """What a call returns: the answer to one input, a list of those to many, an iterator for a stream."""
        if isinstance(inputs, self.one_input):
            return next(self.answers([inputs], settings))
        inputs = many(inputs, self.called)
        answers = self.answers(inputs, settings)
        if not isinstance(inputs, list):
            return answers
        found = list(answers)
        return found[0] if self.one_of_a_list_is_alone and len(found) == 1 else found

    def answers(self, inputs: Iterable[Any], settings: Settings, first: int = 0) -> Iterator[Any]:
        """The answers to the inputs, in order; first: how many came before.

        An input for which `prepare` raises InputError ends it, after those before it have had their answers.
        """
        numbered = first > 0 or (isinstance(inputs, list) and len(inputs) > 1)
        for window in windows(inputs, pace_of(self.model).window):
            ready: list[Prepared] = []
            problem: InputError | None = None
            numbered = numbered or len(window) > 1
            try:
                for i, one in enumerate(window, start=first + 1):
                    ready.append(self.prepare(one, settings, f"input {i}" if numbered else "the input"))
            except InputError as error:
                problem = error
            results = iter(self.results([row for one in ready for row in one.rows]))
            for one in ready:
                yield self.finish(one, list(islice(results, len(one.rows))), settings)
            if problem:
                raise problem
            first, numbered = first + len(window), True

    def results(self, rows: list[Row]) -> list[Any]:
        """What the model says of each row, whoever asks: the same whatever other rows there are."""
        return in_batches(rows, self.together, pace_of(self.model))

    def together(self, rows: list[Row]) -> Iterable[Any]:
        """The same of the rows of one batch."""
        return self.compute(inputs_of(rows, self.model.config.pad_token_id), [row.wanted for row in rows])
