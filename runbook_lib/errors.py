"""The exception tree. It imports nothing, so that every module may use it.

RunbookError                 base; `exit_code` is what the command returns
├── Refused                  2: bad input, wrong environment, no access; nothing was written
│   ├── ParametersError         a mistake in a parameters file
│   └── MappingError            a mistake in a mapping file
├── Interrupted              3: stopped half-way; the journal knows where; the same run id resumes
└── Failed                   1: the migration cannot be completed (a lost table, a `stop` policy, an item nobody can write)
    └── Stopped                 the mapping says `stop` at what was found; resuming cannot help
"""


class RunbookError(Exception):
    """A condition the user can act on: its text is one sentence saying what is wrong, where, and the mend."""

    exit_code = 1

    def _render_traceback_(self):
        # IPython calls this instead of printing frames: an analyst needs the sentence, not our call stack.
        return [f"{type(self).__name__}: {self}"]


class Refused(RunbookError):
    """Nothing was written: the input, the environment or the access is not what the work needs."""

    exit_code = 2


class ParametersError(Refused):
    """A parameters file or a parameter is wrong."""


class MappingError(Refused):
    """A mapping file is wrong."""


class Interrupted(RunbookError):
    """The work stopped half-way and can be resumed with the same run id."""

    exit_code = 3


class Failed(RunbookError):
    """The work cannot be completed; `limits.on_failure` says what happens to what is already there."""

    exit_code = 1


class Stopped(Failed):
    """The mapping says `stop` at what was found: the source or the mapping has to be corrected first."""
