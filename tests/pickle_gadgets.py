"""Pickles that would run something: the known tricks, as instructions that leave one object on the stack.

Each is harmless even where it works (a command that does nothing, a string that is printed), and valid for Python's own
unpickler up to the point where it does its deed. `GADGETS` maps a name to the instructions and to what the message that
refuses them has to say.
"""

import struct

from weight_formats import integer, numbers, tensor, text


def name(module, function):
    return f"c{module}\n{function}\n".encode()


def call(module, function, *arguments):
    return name(module, function) + b"(" + b"".join(arguments) + b"tR"


def short(value):
    """SHORT_BINUNICODE, of protocol 4."""
    return b"\x8c" + bytes([len(value.encode())]) + value.encode()


def stack_global(module, function):
    return short(module) + short(function) + b"\x93"


TRUE, CODE = text("true"), text("print('executed')")
DICT, LIST = b"}", b"]"
ORDERED = name("collections", "OrderedDict")
TENSOR = name("torch._utils", "_rebuild_tensor_v2")
GOOD = tensor("Float", "0", 12, 0, (12,), (1,))
STORAGE = b"(" + text("storage") + name("torch", "FloatStorage") + text("0") + text("cpu") + integer(12) + b"tQ"
HOOKS = ORDERED + b")R"

# module, name, arguments: called by GLOBAL and REDUCE
CALLS = [
    ("os", "system", TRUE),
    ("posix", "system", TRUE),
    ("nt", "system", TRUE),
    ("os", "popen", TRUE),
    ("os", "execv", text("/bin/true"), LIST),
    ("os", "spawnlp", integer(0), TRUE, TRUE),
    ("os", "remove", text("/nowhere/at/all")),
    ("os", "putenv", text("A"), text("B")),
    ("subprocess", "Popen", TRUE),
    ("subprocess", "check_output", TRUE),
    ("subprocess", "run", TRUE),
    ("subprocess", "getoutput", TRUE),
    ("_posixsubprocess", "fork_exec", TRUE),
    ("builtins", "eval", CODE),
    ("builtins", "exec", CODE),
    ("builtins", "compile", CODE, text("x"), text("exec")),
    ("builtins", "getattr", TRUE, text("__class__")),
    ("builtins", "setattr", TRUE, text("a"), TRUE),
    ("builtins", "__import__", text("antigravity")),
    ("builtins", "open", text("/etc/hostname")),
    ("builtins", "map", TRUE, LIST),
    ("builtins", "type", text("A"), b")", DICT),
    ("__builtin__", "eval", CODE),
    ("runpy", "run_path", text("/nowhere.py")),
    ("runpy", "_run_code", CODE, DICT),
    ("importlib", "import_module", text("antigravity")),
    ("importlib.machinery", "SourceFileLoader", text("x"), text("/nowhere.py")),
    ("operator", "attrgetter", text("__class__.__bases__")),
    ("operator", "methodcaller", text("system"), TRUE),
    ("functools", "partial", name("os", "system"), TRUE),
    ("functools", "reduce", name("os", "system"), LIST),
    ("codecs", "decode", text("x"), text("zlib")),
    ("_codecs", "encode", text("x"), text("latin1")),
    ("copyreg", "_reconstructor", name("builtins", "object"), name("builtins", "object"), b"N"),
    ("copyreg", "add_extension", text("os"), text("system"), integer(1)),
    ("copy_reg", "_reconstructor", name("__builtin__", "object"), name("__builtin__", "object"), b"N"),
    ("torch", "load", text("/nowhere")),
    ("torch.serialization", "load", text("/nowhere")),
    ("torch.storage", "_load_from_bytes", TRUE),
    ("torch.hub", "load", text("x"), text("y")),
    ("torch.jit", "script", TRUE),
    ("torch._utils", "_rebuild_wrapper_subclass", TRUE),
    ("torch._tensor", "_rebuild_from_type_v2", name("os", "system"), TRUE, b")", DICT),
    ("torch._dynamo.guards.GuardBuilder", "get", CODE),
    ("torch.utils.collect_env", "run", TRUE),
    ("numpy", "load", text("/nowhere")),
    ("numpy.testing._private.utils", "runstring", CODE, DICT),
    ("numpy.core.multiarray", "_reconstruct", TRUE),
    ("types", "FunctionType", TRUE, DICT),
    ("types", "CodeType", *[integer(0)] * 6),
    ("marshal", "loads", TRUE),
    ("pickle", "loads", TRUE),
    ("_pickle", "loads", TRUE),
    ("cloudpickle.cloudpickle", "_make_function", TRUE),
    ("joblib", "load", text("/nowhere")),
    ("shelve", "open", text("/nowhere")),
    ("pty", "spawn", TRUE),
    ("socket", "create_connection", LIST),
    ("socket", "gethostbyname", text("example.invalid")),
    ("urllib.request", "urlopen", text("file:///nowhere")),
    ("webbrowser", "open", text("file:///nowhere")),
    ("shutil", "rmtree", text("/nowhere/at/all")),
    ("pathlib", "Path", text("/")),
    ("pathlib", "PosixPath.write_text", text("/nowhere")),
    ("ctypes", "CDLL", text("libnowhere.so")),
    ("platform", "popen", TRUE),
    ("commands", "getoutput", TRUE),
    ("timeit", "timeit", CODE),
    ("cProfile", "run", CODE),
    ("bdb", "Bdb.run", CODE),
    ("pdb", "run", CODE),
    ("code", "interact", TRUE),
    ("trace", "Trace.run", CODE),
    ("profile", "run", CODE),
    ("doctest", "debug_script", CODE),
    ("ensurepip", "_run_pip", LIST),
    ("pip", "main", LIST),
    ("pydoc", "pipepager", CODE, TRUE),
    ("asyncio", "create_subprocess_shell", TRUE),
    ("multiprocessing.util", "spawnv_passfds", TRUE),
    ("logging.config", "dictConfig", DICT),
    ("sys", "setrecursionlimit", integer(1)),
    ("builtins", "bytearray", integer(2**40)),  # memory, not code
    ("collections", "Counter", TRUE),
    ("collections", "defaultdict", name("os", "getpid")),
    ("collections", "OrderedDict.fromkeys", LIST),
    ("nanodistil.weights.torch_pickle", "_Machine", TRUE, TRUE),
]

GADGETS = {
    f"{module}.{function}": (call(module, function, *arguments), f"names {module}.{function}")
    for module, function, *arguments in CALLS
} | {
    "nested pickle": (call("pickle", "loads", b"C" + bytes([9]) + b"cos\nsystem"), "names pickle.loads"),
    "the name in the message": (name("os\r\x1b[2J", "system" * 99) + b")R", r"names 'os\r\x1b[2J.system"),
    "INST": (b"(" + TRUE + b"ios\nsystem\n", "INST"),
    "OBJ": (b"(" + name("os", "system") + TRUE + b"o", "names os.system"),
    "OBJ of an allowed name": (b"(" + ORDERED + b"o", "OBJ"),
    "NEWOBJ": (ORDERED + b")\x81", "NEWOBJ"),
    "NEWOBJ_EX": (ORDERED + b")}\x92", "NEWOBJ_EX"),
    "EXT1": (b"\x82\x01", "EXT1"),
    "EXT2": (b"\x83\x01\x00", "EXT2"),
    "EXT4": (b"\x84\x01\x00\x00\x00", "EXT4"),
    "STACK_GLOBAL": (stack_global("os", "system") + TRUE + b"\x85R", "SHORT_BINUNICODE"),
    "STACK_GLOBAL of long strings": (text("os") + text("system") + b"\x93" + TRUE + b"\x85R", "STACK_GLOBAL"),
    "STACK_GLOBAL, dotted": (
        text("builtins") + text("print.__self__.eval") + b"\x93" + CODE + b"\x85R",
        "STACK_GLOBAL",
    ),
    "STACK_GLOBAL from the memo": (text("os") + b"q\x63" + b"0h\x63" + text("system") + b"\x93", "POP"),
    "GLOBAL, dotted": (
        name("collections", "OrderedDict.__init__.__globals__") + b")R",
        "names collections.OrderedDict.",
    ),
    "GLOBAL, split elsewhere": (name("collections.OrderedDict", "__class__") + b")R", "names collections.OrderedDict."),
    "GLOBAL, a name in pieces": (
        name("torch._utils._rebuild_tensor_v2.__globals__", "x"),
        "names torch._utils._rebuild",
    ),
    "GLOBAL without its end": (b"cos\nsystem", ": "),
    "PERSID": (b"Pstorage\n", "PERSID"),
    "BUILD with __setstate__": (HOOKS + b"}" + text("__setstate__") + name("os", "system") + b"sb", "names os.system"),
    "BUILD of a function": (ORDERED + b"}" + text("__dict__") + b"}sb", "sets attributes of something"),
    "BUILD of a tensor": (GOOD + b"}" + text("__class__") + TRUE + b"sb", "sets attributes of something"),
    "BUILD with slots": (HOOKS + b"N}" + text("x") + TRUE + b"s\x86b", "sets attributes of something"),
    "a string called": (text("os.system") + TRUE + b"\x85R", "calls something that is no function"),
    "the string of an allowed name called": (
        text("collections.OrderedDict") + b")R",
        "calls something that is no function",
    ),
    "a tensor called": (GOOD + b")R", "calls something that is no function"),
    "a storage called": (name("torch", "FloatStorage") + integer(99) + b"\x85R", "calls torch.FloatStorage"),
    "arguments that are no tuple": (ORDERED + b"]R", "calls something that is no function"),
    "OrderedDict of pairs": (ORDERED + b"](" + TRUE + TRUE + b"\x86e\x85R", "calls collections.OrderedDict"),
    "tensor of nothing": (TENSOR + b")R", "calls torch._utils._rebuild_tensor_v2"),
    "tensor of a string": (TENSOR + b"(" + TRUE + integer(0) + b"))\x89" + HOOKS + b"tR", "calls torch._utils."),
    "tensor of a shape of strings": (
        TENSOR + b"(" + STORAGE + integer(0) + b"(" + TRUE + b"t" + numbers([1]) + b"\x89" + HOOKS + b"tR",
        "no natural numbers",
    ),
    "tensor with hooks": (
        TENSOR + b"(" + STORAGE + integer(0) + b"))\x89}" + text("x") + TRUE + b"stR",
        "calls torch._utils.",
    ),
    "tensor of a list": (TENSOR + b"(" + STORAGE + integer(0) + b"]]\x89" + HOOKS + b"tR", "calls torch._utils."),
    "tensor of True": (TENSOR + b"(" + STORAGE + b"\x88))\x89" + HOOKS + b"tR", "no natural numbers"),
    "tensor with a seventh argument": (
        TENSOR + b"(" + STORAGE + integer(0) + b"))\x89" + HOOKS + b"}tR",
        "calls torch._utils.",
    ),
    "parameter of a string": (
        name("torch._utils", "_rebuild_parameter") + TRUE + b"\x88" + HOOKS + b"\x87R",
        "calls torch._utils.",
    ),
    "persistent id of a string": (TRUE + b"Q", "no storage"),
    "persistent id of another kind": (
        b"(" + text("module") + ORDERED + text("0") + text("cpu") + integer(1) + b"tQ",
        "no storage",
    ),
    "storage of a class": (
        b"(" + text("storage") + ORDERED + text("0") + text("cpu") + integer(1) + b"tQ",
        "no storage",
    ),
    "storage with a path": (
        b"(" + text("storage") + name("torch", "FloatStorage") + integer(0) + text("cpu") + integer(1) + b"tQ",
        "no storage",
    ),
    "a negative storage": (
        b"(" + text("storage") + name("torch", "FloatStorage") + text("0") + text("cpu") + integer(-1) + b"tQ",
        "no storage",
    ),
    "a view of a storage": (
        b"(" + text("storage") + name("torch", "FloatStorage") + text("0") + text("cpu") + integer(12) + TRUE + b"tQ",
        "no storage",
    ),
    "protocol 4": (b"\x80\x04" + stack_global("os", "system"), "pickle protocol 4"),
    "FRAME": (b"\x95" + struct.pack("<Q", 2**63) + b"N", "FRAME"),
    "BINBYTES8": (b"\x8e" + struct.pack("<Q", 2**63) + b"N", "BINBYTES8"),
    "BYTEARRAY8": (b"\x96" + struct.pack("<Q", 2**40) + b"N", "BYTEARRAY8"),
    "LONG4": (b"\x8b" + struct.pack("<i", 2**31 - 1), "LONG4"),
    "LONG, in quadratic time": (b"L" + b"9" * 100_000 + b"L\n", "LONG"),
    "STRING": (b"S'x'\n", "STRING"),
    "a string longer than the file": (b"X\xff\xff\xff\xff", "ends in the middle"),
    "recalls what is not there": (b"h\x77", "recalls what it has not memorised"),
    "a function as a name": (b"}" + ORDERED + TRUE + b"s", "as the name of an array"),
    "a name twice": (b"}(" + TRUE + b"N" + TRUE + b"Nu", "a name twice"),
    "items of an odd number": (b"}(" + TRUE + b"u", "sets items of something"),
    "items of a tuple": (b")" + TRUE + TRUE + b"s", "sets items of something"),
    "appends to a dict": (b"}" + TRUE + b"a", "appends to something"),
    "takes from below a mark": (b"(" * 99 + b"\x85", "empty stack"),
    "two million laughs": (b"Nq\x63" + b"h\x63h\x63\x86q\x63" * 60 + b"Q", "no storage"),
    "a dict in itself": (b"}q\x63" + TRUE + b"h\x63sh\x63R", "calls something"),
    "a very deep tuple": (b")" + b"\x85" * 50_000 + b"Q", "no storage"),
    "too many instructions": (b"(" * 100_001, "more than 100000 instructions"),
    "an unknown instruction": (b"\xff", "0xff"),
}  # fmt: skip
