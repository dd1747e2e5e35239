"""Networks as data: a list of operations and a table of weights, run by whichever engine is installed."""
