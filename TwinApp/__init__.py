"""TwinApp: the twin without Slicer's desktop: the `digitaltwin` command, case files, report."""
