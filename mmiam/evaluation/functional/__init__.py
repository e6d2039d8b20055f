"""The mathematics of the evaluation: functions of arrays and plain records."""
