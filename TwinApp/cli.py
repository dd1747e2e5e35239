"""The `digitaltwin` command: errors become sentences and exit codes."""

from __future__ import annotations

import sys

from TwinCore import JobCancelled, MissingPackage, TwinError


def main() -> None:
    """Entry point: exit 0 if it went well, 1 for an error that the user can mend, 130 if it was interrupted."""
    try:
        _commands()()
    except JobCancelled as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(130)
    except TwinError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)


def _commands():
    try:
        from .commands import app
    except ModuleNotFoundError as error:
        raise MissingPackage(str(error.name), "The digitaltwin command", "pip install 'digitaltwin[app]'") from error
    return app


if __name__ == "__main__":
    main()
