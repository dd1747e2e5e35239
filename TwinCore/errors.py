"""The errors a user of the twin can meet: each says what is wrong and what would be right."""

from __future__ import annotations


class TwinError(Exception):
    """Base of every error that is meant to be read by a user; its text is shown as it is, without a traceback."""


class InvalidInput(TwinError):
    """The user's data cannot be used: the message names the input, what is wrong with it and what would be right."""


class MissingInput(TwinError):
    """Something that the run needs is not there: the message names the role, segment or file to supply."""


class MissingPackage(TwinError):
    """A Python package is not installed.

    Parameters
    ----------
    package : str
        Name of the distribution, as pip knows it.
    needed_for : str
        What the user wanted that needs it.
    install : str
        The command that installs it.
    """

    def __init__(self, package: str, needed_for: str, install: str):
        super().__init__(
            f"{needed_for} needs the Python package {package!r}, which is not installed. To install it: {install}"
        )
        self.package = package


class JobCancelled(TwinError):
    """The user cancelled the job; nothing was written."""


class NotResolved(TwinError):
    """The grid is too coarse for the model.

    Parameters
    ----------
    message : str
        What is not resolved.
    spacing_mm : float
        The spacing that would do, in mm.
    """

    def __init__(self, message: str, spacing_mm: float):
        super().__init__(f"{message} A spacing of {spacing_mm:.3g} mm or finer would do.")
        self.spacing_mm = spacing_mm
