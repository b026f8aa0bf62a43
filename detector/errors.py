"""The root of the exception trees of all three rooms. Imports nothing, so that the command line starts fast."""


class UserError(Exception):
    """Something that the user can put right.

    Args:
        problem: what is wrong and where, one line.
        hint: what to do about it, `""` where there is nothing to add.
    """

    exit_code = 1

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem)
        self.hint = hint
