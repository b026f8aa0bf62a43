"""The exceptions of `jobs`. Each carries one line that says what and where, and a hint that says the fix.

UserError (detector.errors; exit code 1)
├── ConfigError (detector.config)   a key or value of a training config
├── RecipeError                     a recipe that is unknown or cannot be read
├── ResourceError                   resources that cannot be had or do not fit together
├── RunError                        a run that cannot be found, read or written
├── CheckError                      something a submission needs is missing
└── SchedulerError                  Slurm or the local queue said no
"""

from detector.errors import UserError


class RecipeError(UserError):
    """A recipe that is unknown or cannot be read."""


class ResourceError(UserError):
    """Resources that cannot be had, or that do not fit together."""


class RunError(UserError):
    """A run, or the runs folder, that cannot be found, read or written."""


class CheckError(UserError):
    """Something that a submission needs is missing on this machine."""


class SchedulerError(UserError):
    """Slurm or the local queue refused."""
