"""How a run looks.  Views know snapshots and nothing else."""
