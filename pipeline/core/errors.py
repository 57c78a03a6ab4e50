"""Errors and warnings that a user's input can cause. Each has one sentence: what was wrong, where, and what would be right."""


class PipelineError(ValueError):
    """Base of all errors that end a stage with a sentence and no traceback."""


class ConfigError(PipelineError):
    """params.yaml is not what it should be."""


class ArtefactError(PipelineError):
    """A file between two stages is missing, corrupt, or cannot be written."""


class UnreadableError(ArtefactError):
    """A file cannot be read now: it is missing, or the system refuses; what it holds may be right."""


class DataError(PipelineError):
    """A dataset cannot be obtained or is not what it should be."""


class ModuleError(PipelineError):
    """A user's module, state or inputs cannot be measured as they are."""


class ExecutionError(PipelineError):
    """A worker process was lost."""


class TrackingError(PipelineError):
    """The tracking store or model registry cannot be used."""


def first_line(error: BaseException) -> str:
    """The first line of the message of another library's error; the name of its type if there is no message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class RoundingWarning(UserWarning):
    """Rounding may have moved a number by more than was asked for."""


class AlignmentWarning(UserWarning):
    """Deviations had too few steps to align with the directions whose growth is measured."""


class SurrogateWarning(UserWarning):
    """The derivative of a step is that of a surrogate, and not of the step's own values."""
