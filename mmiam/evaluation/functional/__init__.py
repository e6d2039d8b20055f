"""The mathematics of the evaluation, as functions of arrays and plain records."""
