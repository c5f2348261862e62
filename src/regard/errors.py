"""The errors a user can meet, as one family.

    RegardError                   anything this package raises on purpose
    |-- ConfigError               an option or a config value is wrong        exit 2, HTTP 400
    |-- CheckpointError           a model folder cannot be loaded             exit 2
    |-- InputError                a file, URL, message or prompt is wrong     exit 2, HTTP 400
    |-- CapacityError             the request does not fit this machine       exit 1, HTTP 413
    |   `-- BusyError             it would if less were going on              exit 1, HTTP 429
    |-- MissingDependencyError    an optional package is not installed        exit 1
    |-- ServerError               a server that we asked failed or is away    exit 1, HTTP 502
    `-- EngineError               our own mistake while running a request     exit 1, HTTP 500

Every message is one sentence in this order: what is wrong, the value, the limit, what to do.
The command line prints it on one line; the server puts it into the error body.
"""


class RegardError(Exception):
    """Base of all errors raised on purpose; `exit_status` is what the command line returns."""

    exit_status = 1


class ConfigError(RegardError):
    """An option or a configuration value is wrong."""

    exit_status = 2


class CheckpointError(RegardError):
    """A model folder is incomplete, damaged or of another family."""

    exit_status = 2


class InputError(RegardError):
    """A file, URL, message or prompt given by the user cannot be used."""

    exit_status = 2


class CapacityError(RegardError):
    """The request is valid but does not fit this machine or the model's context."""


class BusyError(CapacityError):
    """The request would fit if less were going on; ask again later."""


class MissingDependencyError(RegardError):
    """An optional package is needed; the message names the extra that brings it."""


class ServerError(RegardError):
    """A server that was asked cannot be reached, or failed."""


class EngineError(RegardError):
    """A fault of ours while running a request."""
