"""The API's objects as typed, immutable values; decisions read these and nothing else."""
