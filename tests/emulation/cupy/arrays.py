"""cupy.ndarray over a NumPy array that nobody else sees.

A wrapper and no subclass of numpy.ndarray: NumPy's functions must not work on it, as they would not on the real one,
but for those that CuPy takes over by __array_function__, of which here are the few that are used.
"""

import ctypes
import numbers
import operator

import numpy as np

from .graphs import at_once, entered, no_capture
from .memory import Block, pool

BFLOAT16 = "bfloat16"


class Pointer:
    """ndarray.data: where an array begins."""

    def __init__(self, array):
        self.array, self.ptr = array, array._host.ctypes.data

    def copy_from_host_async(self, mem, size, stream=None):
        self.copy(int(getattr(mem, "value", mem)), size, stream)

    def copy_from_device_async(self, src, size, stream=None):
        if size > src.array.nbytes:
            raise ValueError(f"{size} bytes of {src.array.nbytes}")
        self.copy(src.ptr, size, stream, src.array._block)

    def copy(self, address, size, stream, *alive):
        """Whenever its turn comes; what is on the host has to be there still, and as it was."""
        no_capture("a copy", stream)
        if size > self.array.nbytes:
            raise ValueError(f"{size} bytes into {self.array.nbytes}")
        alive += (self.array._block.pages,)
        (stream or entered.current).submit(lambda: alive and ctypes.memmove(self.ptr, address, size))


class Flags:
    def __init__(self, flags):
        self.c_contiguous, self.f_contiguous, self.owndata = flags.c_contiguous, flags.f_contiguous, flags.owndata


def no_mixing(x):
    raise TypeError(f"Unsupported type {type(x)}: an array of the device meets something of the host")


def host(x):
    """What a scalar or a device array is to NumPy; anything else is refused."""
    if isinstance(x, ndarray):
        return x._host
    if isinstance(x, numbers.Number | np.generic):
        return x
    return no_mixing(x)


def index(key):
    """A key as NumPy wants it: slices and integers as they are, device arrays of integers."""
    if isinstance(key, tuple):
        return tuple(index(k) for k in key)
    if isinstance(key, ndarray):
        if key.dtype.kind not in "iu":
            raise TypeError("the stand-in indexes by integers only")
        return key._host
    if key is None or key is Ellipsis or isinstance(key, slice | int | np.integer):
        return key
    return no_mixing(key)


class ndarray:
    __slots__ = ("__weakref__", "_block", "_host")
    __array_ufunc__ = None  # NumPy's operators leave the matter to ours, NumPy's functions raise TypeError
    __hash__ = None

    def __new__(cls, shape, dtype=float, memptr=None, strides=None, order="C"):
        if memptr is not None or strides is not None or order != "C":
            raise TypeError("the stand-in makes fresh arrays in C order only")
        return fresh(shape, dtype, cls)

    def __init__(self, *args, **kwargs):
        pass

    def __array_finalize__(self, parent):
        """For subclasses, as NumPy's."""

    def __reduce__(self):
        return asarray, (self.get(),)

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()` explicitly")

    def __array_function__(self, function, types, args, kwargs):
        """NumPy's function of an array of the device is CuPy's of the same name."""
        ours = {"concatenate": concatenate, "empty_like": empty_like, "zeros_like": zeros_like}.get(function.__name__)
        return ours(*args, **kwargs) if ours else NotImplemented

    dtype = property(lambda self: self._host.dtype)
    shape = property(lambda self: self._host.shape)
    strides = property(lambda self: self._host.strides)
    itemsize = property(lambda self: self._host.itemsize)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    data = property(Pointer)
    flags = property(lambda self: Flags(self._host.flags))
    T = property(lambda self: view_of(self, self._host.T))

    def __len__(self):
        return len(self._host)

    def __repr__(self):
        return repr(self.get())

    def __bool__(self):
        return bool(self.get())

    def __int__(self):
        return int(self.get())

    def __float__(self):
        return float(self.get())

    def item(self):
        return self.get().item()

    def get(self, stream=None, order="C", out=None, blocking=True):
        at_once("a copy to the host")
        if out is None:
            return self._host.copy(order)
        if type(out) is not np.ndarray:
            no_mixing(out)
        if (out.dtype, out.shape) != (self.dtype, self.shape):
            raise ValueError(f"out is {out.dtype} {out.shape}, the array {self.dtype} {self.shape}")
        out[...] = self._host
        return out

    def set(self, arr, stream=None):
        at_once("a copy from the host")
        if type(arr) is not np.ndarray:
            no_mixing(arr)
        if (arr.dtype, arr.shape) != (self.dtype, self.shape):
            raise TypeError(f"set wants {self.dtype} {self.shape}, got {arr.dtype} {arr.shape}")
        self._host[...] = arr

    def fill(self, value):
        at_once("fill")
        self._host.fill(host(value) if not isinstance(value, ndarray) else value.item())

    def __getitem__(self, key):
        if any(isinstance(k, ndarray) for k in (key if isinstance(key, tuple) else (key,))):
            at_once("indexing by an array")
        part = self._host[index(key)]
        if isinstance(part, np.ndarray) and part.base is not None and np.may_share_memory(part, self._host):
            return view_of(self, part)
        if not isinstance(part, np.ndarray):  # one element: of CuPy it is an array still
            at = key if isinstance(key, tuple) else (key,)
            return view_of(self, self._host[(*index(at), ...)])
        return device(part)

    def __setitem__(self, key, value):
        at_once("an assignment")
        self._host[index(key)] = host(value)

    def reshape(self, *shape):
        new = self._host.reshape(*shape)
        return view_of(self, new) if np.shares_memory(new, self._host) or not new.size else self.copy().reshape(*shape)

    def ravel(self):
        return self.reshape(-1)

    def view(self, dtype=None, type=None):
        array = self._host if dtype is None else self._host.view(dtype)
        return view_of(self, array, type)

    def astype(self, dtype, copy=True):
        if not copy and self.dtype == np.dtype(dtype):
            return self
        at_once("a conversion")
        return device(self._host.astype(dtype))

    def copy(self, order="C"):
        at_once("a copy")
        return device(self._host.copy(order))

    def sum(self, axis=None):
        at_once("a sum")
        return device(self._host.sum(axis))

    def transpose(self, *axes):
        return view_of(self, self._host.transpose(*axes))

    def __matmul__(self, other):
        return matmul(self, other)


def view_of(parent, array, cls=None):
    new = object.__new__(cls or type(parent))
    new._host, new._block = array, parent._block
    new.__array_finalize__(parent)
    return new


def fresh(shape, dtype, cls=ndarray):
    dtype = np.dtype(dtype)
    shape = (shape,) if isinstance(shape, int | np.integer) else tuple(int(n) for n in shape)
    block = Block(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
    new = object.__new__(cls)
    new._block, new._host = block, block.pages.bytes.view(dtype).reshape(shape)
    new.__array_finalize__(None)
    return new


def device(array):
    """A NumPy array on the device: a copy between guards. Whoever made it of others' numbers said `at_once` before."""
    no_capture("an operation on arrays")
    new = fresh(array.shape, array.dtype)
    new._host[...] = array
    return new


def binary(name, operation):
    def forwards(self, other):
        at_once("arithmetic")
        return device(np.asarray(operation(self._host, host(other))))

    def backwards(self, other):
        at_once("arithmetic")
        return device(np.asarray(operation(host(other), self._host)))

    def in_place(self, other):
        at_once("arithmetic in place")
        np.copyto(self._host, operation(self._host, host(other)), casting="same_kind")
        return self

    setattr(ndarray, f"__{name}__", forwards)
    if name in ("add", "sub", "mul", "truediv"):
        setattr(ndarray, f"__r{name}__", backwards)
        setattr(ndarray, f"__i{name}__", in_place)


for name in ("add", "sub", "mul", "truediv", "eq", "ne", "lt", "le", "gt", "ge"):
    binary(name, getattr(operator, name))
ndarray.__neg__ = lambda self: ndarray.__mul__(self, -1)


def empty(shape, dtype=float, order="C"):
    if order != "C":
        raise TypeError("the stand-in makes arrays in C order only")
    return fresh(shape, dtype)


def zeros(shape, dtype=float, order="C"):
    at_once("zeros")
    new = empty(shape, dtype, order)
    new._host[...] = 0
    return new


def empty_like(a, dtype=None, shape=None):
    return empty(a.shape if shape is None else shape, a.dtype if dtype is None else dtype)


def zeros_like(a, dtype=None, shape=None):
    return zeros(a.shape if shape is None else shape, a.dtype if dtype is None else dtype)


def array(obj, dtype=None, copy=True):
    at_once("a copy")
    return device(np.array(obj._host if isinstance(obj, ndarray) else obj, dtype))


def asarray(a, dtype=None):
    if isinstance(a, ndarray) and (dtype is None or a.dtype == np.dtype(dtype)):
        return a
    return array(a, dtype)


def ascontiguousarray(a, dtype=None):
    a = asarray(a, dtype)
    return a if a.flags.c_contiguous else a.copy()


def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    if isinstance(a, ndarray):
        return a.get(stream, order, out, blocking)
    return np.asarray(a, order=order)


def arange(start, stop=None, step=1, dtype=None):
    return device(np.arange(start, step=step, dtype=dtype) if stop is None else np.arange(start, stop, step, dtype))


def concatenate(tup, axis=0):
    if not all(isinstance(a, ndarray) for a in tup):
        no_mixing(next(a for a in tup if not isinstance(a, ndarray)))
    at_once("concatenate")
    return device(np.concatenate([a._host for a in tup], axis))


def matmul(a, b, out=None):
    """Products in float32 where the factors are shorter, as cuBLAS takes them, and rounded once."""
    if not isinstance(a, ndarray) or not isinstance(b, ndarray):
        no_mixing(b if isinstance(a, ndarray) else a)
    at_once("matmul")
    dtype = np.result_type(a.dtype, b.dtype)
    wide = np.float32 if dtype == np.float16 or dtype.name == BFLOAT16 else dtype
    product = (a._host.astype(wide) @ b._host.astype(wide)).astype(dtype)
    if out is None:
        return device(np.asarray(product))
    np.copyto(out._host, product, casting="same_kind")
    return out


def sort(a, axis=-1, kind=None):
    at_once("sort")
    return device(np.sort(host(a), axis))


def get_default_memory_pool():
    return pool


class PinnedMemoryPool:
    def free_all_blocks(self):
        """Nothing is kept."""


def get_default_pinned_memory_pool():
    return PinnedMemoryPool()
