"""The errors a user can cause, and the exit status of each.

    ProteinLMError              1  bad input; the message says what was wrong and what to do
    |-- DataError               1  a benchmark file that cannot be trusted
    |-- MissingDependencyError  1  an optional package is not installed
    `-- UsageError              2  a command line that cannot be run

Anything else that escapes is a bug and shows its traceback.
"""


class ProteinLMError(Exception):
    """Bad input. The command line prints the message without a traceback."""

    exit_status = 1


class DataError(ProteinLMError):
    """A benchmark file is missing, unreadable, or has defects."""


class MissingDependencyError(ProteinLMError):
    """An optional package is needed; the message holds the command that installs it."""


class UsageError(ProteinLMError):
    """The command line asks for something that cannot be run."""

    exit_status = 2
