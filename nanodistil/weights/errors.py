"""The one exception hierarchy: everything nanodistil raises on purpose is a NanoDistilError.

It lives here, in the lowest room, because a broken file is noticed here and no room below `nanodistil` may import it;
users meet it as `nanodistil.NanoDistilError`. Each class also derives from the builtin that transformers raises in the
same place, so code written for either keeps working. A message is one line that says what is wrong and what to do.

    NanoDistilError
      InputError           (ValueError)   a text, id, mask or argument that cannot be used
      CheckpointError      (ValueError)   a file of a model that is broken, or does not fit the others
      ModelNotFoundError   (OSError)      no such folder, not in the cache, and not to be had from the hub
      MissingExtraError    (ImportError)  an optional dependency is needed: names the extra that brings it
      DeviceError          (RuntimeError) a GPU was asked for, and there is none that can be used
"""


class NanoDistilError(Exception):
    """Base of all errors raised on purpose."""


class InputError(NanoDistilError, ValueError):
    """A text, id, mask or argument that cannot be used."""


class CheckpointError(NanoDistilError, ValueError):
    """A file of a model that is broken, or does not fit the others."""


class ModelNotFoundError(NanoDistilError, OSError):
    """No such folder, not in the cache, and not to be had from the hub."""


class MissingExtraError(NanoDistilError, ImportError):
    """An optional dependency is needed; the message names the extra that brings it."""


class DeviceError(NanoDistilError, RuntimeError):
    """A GPU was asked for, and there is none that can be used."""
