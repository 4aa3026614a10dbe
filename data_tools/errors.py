"""Errors a user can mend; each message names the fix.

::

    CodeQAError
    ├── SourceError            a repository, folder or documentation site cannot be read
    ├── QuestionError          a question that cannot be searched for
    ├── QuestionSetError       a file of questions that cannot be measured with
    ├── IndexMissingError      no index where one was expected
    ├── IndexDamagedError      an index file is truncated or altered
    ├── IndexVersionError      an index written in another format
    ├── EmbedderMismatchError  an index made with another embedding model
    ├── EmbedderError          an embedding model cannot be loaded or has the wrong weights
    ├── StorageError           the disk is full or not writable
    ├── HistoryError           the file of conversations is damaged, or no such file
    ├── LanguageModelError     a model server or folder does not answer
    ├── ConfigError            a YAML file with an unknown key or a wrong value
    ├── DatasetError           a dataset that is missing, damaged, or not fit for its use
    ├── TrainingError          a run that cannot go on: too large a batch, a loss that is no number
    ├── ModelError             a model, tokenizer or adapter that cannot be used, or does not fit
    ├── TrackingError          where runs and models are recorded cannot be read or written
    ├── WorseModelError        a tuned model that does less well than the one it was made from
    ├── BusyError              more is asked for at once than can be done
    ├── TokenError             the token that a server asks for is missing or no secret
    └── PortInUseError         the page cannot be served at the address asked for

The command line prints the message on one line and exits with 1. Wrong arguments from
Python raise ``ValueError``.
"""

LONGEST_REASON = 200  # characters of what another library says


def reason_of(error: BaseException) -> str:
    """Say in one printable line why another library gave up: it may quote a stranger's file."""
    if type(error).__name__ == "UnpicklingError":  # its advice is to trust the file
        return "it holds a pickle, and none is loaded"
    line = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return "".join(each if each.isprintable() else "�" for each in line)[:LONGEST_REASON]


class CodeQAError(Exception):
    """Base of every error that a user of codeqa can mend."""


class SourceError(CodeQAError):
    """A repository, folder or documentation site cannot be read."""


class QuestionError(CodeQAError):
    """A question that cannot be searched for: empty, too long, or not Unicode text."""


class QuestionSetError(CodeQAError):
    """A file of questions cannot be measured with: a bad line, or a path the index lacks."""


class IndexMissingError(CodeQAError):
    """There is no index where one was expected."""


class IndexDamagedError(CodeQAError):
    """A file of the index is missing, truncated or altered."""


class IndexVersionError(CodeQAError):
    """The index was written in a format that this version does not read."""


class EmbedderMismatchError(CodeQAError):
    """The index was made with another embedding model than the one asked for."""


class EmbedderError(CodeQAError):
    """An embedding model cannot be loaded, or its weights are not the expected ones."""


class StorageError(CodeQAError):
    """Files cannot be written: the disk is full or the folder is not writable."""


class HistoryError(CodeQAError):
    """The file of conversations is damaged, is none, or was written by a newer version."""


class LanguageModelError(CodeQAError):
    """A language model server or folder does not answer as it should."""


class ConfigError(CodeQAError):
    """A YAML file holds an unknown key or a wrong value."""


class DatasetError(CodeQAError):
    """A dataset is missing or damaged, or was made for another tokenizer or use."""


class TrainingError(CodeQAError):
    """A run cannot go on: a batch that does not fit, a loss that is no number."""


class ModelError(CodeQAError):
    """A model, tokenizer or adapter cannot be loaded, or does not fit what it is used with."""


class TrackingError(CodeQAError):
    """Where runs and models are recorded, MLflow or another service, cannot be read or written."""


class WorseModelError(CodeQAError):
    """A tuned model is not better than the one it was made from, so it is not written."""


class BusyError(CodeQAError):
    """More is asked for at once than can be done; it says when to ask again.

    :ivar retry_after_s: how long to wait, in seconds.
    """

    def __init__(self, message: str, *, retry_after_s: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TokenError(CodeQAError):
    """The token that a server asks for is missing, too short, or cannot be read."""


class PortInUseError(CodeQAError):
    """The page cannot be served: its port is taken, or its address is not this machine's."""
