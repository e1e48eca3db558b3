"""The pickle inside a pytorch_model.bin, read as a description and never run.

A pickle is a program for a small stack machine. Most of its instructions build numbers, strings, tuples and dicts;
three make it dangerous: GLOBAL fetches any function of any installed module by name, REDUCE calls it, BUILD sets
attributes. That is how a downloaded model can run commands. Allowing only some names, as torch's `weights_only` does,
has been walked around twice: the machine can still call, only the list of what is short.

Here the machine cannot. This is a new one with the two dozen instructions torch.save writes, and it has no way to
import, to fetch an attribute or to call. GLOBAL yields a string; REDUCE compares it with those of KNOWN and builds a
tuple; BUILD checks and drops its argument. The outcome is made of dicts, lists, tuples, strings, numbers and

    torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)    -> Tensor
    a persistent id ("storage", torch.FloatStorage, "17", "cpu", 589824)                      -> Storage
    whatever else has a name, called or not, with whatever arguments                          -> Opaque, its name

A training checkpoint holds, beside its weights, objects of classes that nobody here knows; they stay opaque, and
`unknown` lists their names. What is read of a file may hold none: that is torch_file.py's to see to, and `read_pickle`
refuses all. Nothing grows beyond the input: an instruction makes one small object, no instruction copies a container,
and their number is limited. There is no recursion, so no depth to exhaust. Objects may contain themselves.
"""

from typing import Any, NamedTuple, NoReturn

from .errors import CheckpointError

LARGEST = 4 << 20  # bytes of one pickle; a DistilBERT's has 20 kB
MOST = 100_000  # instructions; a DistilBERT's has 3,000
MOST_DIMENSIONS = 8

STORAGES = {
    "torch.DoubleStorage": "F64",
    "torch.FloatStorage": "F32",
    "torch.HalfStorage": "F16",
    "torch.BFloat16Storage": "BF16",
    "torch.LongStorage": "I64",
    "torch.IntStorage": "I32",
    "torch.ShortStorage": "I16",
    "torch.CharStorage": "I8",
    "torch.ByteStorage": "U8",
    "torch.BoolStorage": "BOOL",
}
ORDERED_DICT = "collections.OrderedDict"
TENSOR = "torch._utils._rebuild_tensor_v2"
PARAMETER = "torch._utils._rebuild_parameter"
KNOWN = {ORDERED_DICT, TENSOR, PARAMETER, *STORAGES}


NOT_A_NAME = None  # the key under which a dict keeps the type of a key that is no string


class Opaque(str):
    """What is not looked into: the name of the class or function that would have made it."""


class Global(str):
    """One of KNOWN, as GLOBAL left it on the stack. Of a type of its own, as a plain string must not pass for one."""


class Storage(NamedTuple):
    """A piece of memory in the file."""

    dtype: str  # as safetensors writes it: "F32"
    key: str  # its name in the file
    numel: int


class Tensor(NamedTuple):
    """A view of a storage; offset and strides count numbers. It lies within the storage: that has been checked."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Pickled(NamedTuple):
    """What a pickle describes."""

    value: Any
    used: int  # bytes of the pickle
    unknown: list[Opaque]  # names in it that are none of KNOWN; if there are any, there may be Opaques in the value
    storages: list[Storage]


def read_checkpoint(where: str, data: bytes) -> Pickled:
    """What a pickle describes, with all it holds of unknown classes left opaque. where: begins every message.

    Raises CheckpointError for whatever torch.save would not have written.
    """
    return _Machine(where, data).run()


def read_pickle(where: str, data: bytes) -> tuple[Any, int]:
    """The object a pickle describes, and how many bytes of `data` it took. where: begins every message.

    Raises CheckpointError for whatever torch.save would not have written, and for any unknown name.

    >>> read_pickle("x", b"\\x80\\x02}q\\x00X\\x05\\x00\\x00\\x00epochK\\x03s.")
    ({'epoch': 3}, 19)
    >>> read_pickle("x", b"cos\\nsystem\\n(X\\x02\\x00\\x00\\x00lstR.")
    Traceback (most recent call last):
    nanodistil.weights.errors.CheckpointError: x: names os.system, which no weights file needs; refused
    """
    read = read_checkpoint(where, data)
    if read.unknown:
        raise refusal(where, read.unknown[0])
    return read.value, read.used


def refusal(where: str, name: str) -> CheckpointError:
    """The error for a name that may not be there."""
    shown = name if len(name) <= 200 else f"{name[:200]}..."
    shown = shown if shown.isprintable() else repr(shown)
    return CheckpointError(f"{where}: names {shown}, which no weights file needs; refused")


class _Machine:
    """Stack, marks, memo: as in Python's pickle.py, where each instruction is documented."""

    def __init__(self, where: str, data: bytes) -> None:
        self.where, self.data, self.at = where, data, 0
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # what lies under each open MARK
        self.memo: dict[int, Any] = {}
        self.unknown: list[Opaque] = []
        self.storages: list[Storage] = []

    def run(self) -> Pickled:
        for _ in range(MOST):
            code = self.take(1)
            if code == b".":
                if len(self.stack) != 1 or self.below:
                    self.refuse("ends with its work half done")
                return Pickled(self.stack[0], self.at, self.unknown, self.storages)
            self.step(code)
        self.refuse(f"has more than {MOST} instructions")

    def step(self, code: bytes) -> None:
        """One instruction. The order is that of how often they occur."""
        push = self.stack.append
        match code:
            case b"q":  # BINPUT
                self.memo[self.number(1)] = self.top()
            case b"r":  # LONG_BINPUT
                self.memo[self.number(4)] = self.top()
            case b"h":  # BINGET
                push(self.recall(self.number(1)))
            case b"j":  # LONG_BINGET
                push(self.recall(self.number(4)))
            case b"K":  # BININT1
                push(self.number(1))
            case b"M":  # BININT2
                push(self.number(2))
            case b"J":  # BININT
                push(int.from_bytes(self.take(4), "little", signed=True))
            case b"\x8a":  # LONG1
                push(int.from_bytes(self.take(self.number(1)), "little", signed=True))
            case b"G":  # BINFLOAT: no array depends on one (a checkpoint may hold a learning rate)
                self.take(8)
                push(0.0)
            case b"X":  # BINUNICODE
                push(self.text(self.take(self.number(4))))
            case b"(":  # MARK
                self.below.append(self.stack)
                self.stack = []
            case b"t":  # TUPLE
                items = self.since_mark()
                self.stack.append(tuple(items))
            case b")":  # EMPTY_TUPLE
                push(())
            case b"\x85" | b"\x86" | b"\x87":  # TUPLE1, TUPLE2, TUPLE3
                items = [self.pop() for _ in range(code[0] - 0x84)]
                push(tuple(reversed(items)))
            case b"N":  # NONE
                push(None)
            case b"\x88":  # NEWTRUE
                push(True)
            case b"\x89":  # NEWFALSE
                push(False)
            case b"}":  # EMPTY_DICT
                push({})
            case b"]":  # EMPTY_LIST
                push([])
            case b"s":  # SETITEM
                value, key = self.pop(), self.pop()
                self.set_items([key, value])
            case b"u":  # SETITEMS
                self.set_items(self.since_mark())
            case b"a":  # APPEND
                value = self.pop()
                self.extend([value])
            case b"e":  # APPENDS
                self.extend(self.since_mark())
            case b"c":  # GLOBAL
                push(self.known(f"{self.line()}.{self.line()}"))
            case b"R":  # REDUCE
                arguments, function = self.pop(), self.pop()
                push(self.reduce(function, arguments))
            case b"\x81":  # NEWOBJ: an object of a class, of which only strange ones are made so
                self.pop()
                if type(made := self.pop()) is not Opaque:
                    self.refuse("has the pickle instruction NEWOBJ, which torch.save does not write for weights")
                push(made)
            case b"Q":  # BINPERSID
                push(self.storage(self.pop()))
            case b"b":  # BUILD: state_dict() hangs versions on its OrderedDict, which no array depends on
                state = self.pop()
                if type(self.top()) is not Opaque and (type(state) is not dict or type(self.top()) is not dict):
                    self.refuse("sets attributes of something that is no OrderedDict")
            case b"\x80":  # PROTO
                if self.number(1) != 2:
                    self.refuse(f"is of pickle protocol {self.data[self.at - 1]}, torch.save writes 2")
            case _:
                self.refuse(f"has the pickle instruction {_name(code)}, which torch.save does not write")

    # What the three dangerous instructions do here

    def known(self, name: str) -> Global | Opaque:
        if name in KNOWN:
            return Global(name)
        self.unknown.append(Opaque(name[:1000]))
        return self.unknown[-1]

    def reduce(self, function: Any, arguments: Any) -> Any:
        if type(function) is Opaque:
            return function
        if type(function) is not Global or type(arguments) is not tuple:
            self.refuse("calls something that is no function")
        if function == ORDERED_DICT and arguments == ():
            return {}
        if function == TENSOR and len(arguments) == 6:
            storage, offset, shape, strides, grad, hooks = arguments
            if type(storage) is Opaque:
                return storage
            if type(grad) is bool and type(hooks) is dict and not hooks:
                return self.tensor(storage, offset, shape, strides)
        if function == PARAMETER and len(arguments) == 3:
            tensor, grad, hooks = arguments
            if type(tensor) in (Tensor, Opaque) and type(grad) is bool and type(hooks) is dict and not hooks:
                return tensor
        self.refuse(f"calls {function} with arguments torch.save does not write")

    def storage(self, pid: Any) -> Storage | Opaque:
        if type(pid) is tuple and len(pid) == 4 and pid[0] == "module" and type(pid[1]) is Opaque:
            return pid[1]  # a class, with its source: so a whole model is pickled in the old format
        # A sixth item, None, stands there too.
        if type(pid) is not tuple or len(pid) not in (5, 6) or pid[5:] not in ((), (None,)):
            self.refuse("has a persistent id that is no storage")
        word, kind, key, _location, numel = pid[:5]
        if type(kind) is Opaque:
            return kind
        types = [type(item) for item in pid[:5]]
        if types != [str, Global, str, str, int] or word != "storage" or kind not in STORAGES or numel < 0:
            self.refuse("has a persistent id that is no storage")
        self.storages.append(Storage(STORAGES[kind], key, numel))
        return self.storages[-1]

    def tensor(self, storage: Any, offset: Any, shape: Any, strides: Any) -> Tensor:
        """Checked here once and for all, in Python's integers, which do not overflow."""
        if type(storage) is not Storage or type(shape) is not tuple or type(strides) is not tuple:
            self.refuse(f"calls {TENSOR} with arguments torch.save does not write")
        if len(shape) != len(strides) or len(shape) > MOST_DIMENSIONS:
            self.refuse(f"has an array of {len(shape)} dimensions and {len(strides)} strides")
        if any(type(n) is not int or n < 0 for n in (offset, *shape, *strides)):
            self.refuse("has an array whose offset, shape or strides are no natural numbers")
        numbers, last = 1, offset
        for n, stride in zip(shape, strides, strict=True):
            numbers *= n
            last += (n - 1) * stride
        if numbers and last >= storage.numel:
            self.refuse(f"has an array that reaches beyond its storage of {storage.numel} numbers")
        if numbers > storage.numel:  # an expanded tensor: legal in torch, and one number could claim to be a billion
            self.refuse(f"has an array of more numbers than the {storage.numel} its storage holds")
        return Tensor(storage, offset, shape, strides)

    # Containers

    def set_items(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is Opaque:
            return
        if type(target) is not dict or len(items) % 2:
            self.refuse("sets items of something that is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is Global:
                self.refuse("has a function as the name of an array")
            if type(key) is not str:  # as of an optimiser's state; not hashed: a deep tuple would end the process
                target[NOT_A_NAME] = type(key).__name__
                continue
            if key in target:
                self.refuse("has a name twice")
            target[key] = value

    def extend(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is Opaque:
            return
        if type(target) is not list:
            self.refuse("appends to something that is no list")
        target += items

    # Bytes and stack

    def take(self, count: int) -> bytes:
        taken = self.data[self.at : self.at + count]
        if len(taken) < count:
            self.refuse("ends in the middle")
        self.at += count
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def line(self) -> str:
        end = self.data.find(b"\n", self.at)
        raw = self.take((end if end >= 0 else len(self.data)) + 1 - self.at)
        return self.text(raw[:-1])

    def text(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self.refuse("has a string that is not UTF-8")

    def top(self) -> Any:
        if not self.stack:
            self.refuse("takes from an empty stack")
        return self.stack[-1]

    def pop(self) -> Any:
        if not self.stack:
            self.refuse("takes from an empty stack")
        return self.stack.pop()

    def since_mark(self) -> list[Any]:
        if not self.below:
            self.refuse("takes from an empty stack")
        items, self.stack = self.stack, self.below.pop()
        return items

    def recall(self, index: int) -> Any:
        if index not in self.memo:
            self.refuse("recalls what it has not memorised")
        return self.memo[index]

    def refuse(self, why: str) -> NoReturn:
        if self.unknown:  # which says more
            raise refusal(self.where, self.unknown[0])
        raise CheckpointError(f"{self.where}: {why}")


def _name(code: bytes) -> str:
    """An instruction's name, for a message; imported here, as it is needed only for files that are refused."""
    from pickletools import opcodes

    return next((op.name for op in opcodes if op.code == code.decode("latin-1")), f"{code[0]:#04x}")
