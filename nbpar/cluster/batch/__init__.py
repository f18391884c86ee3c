"""Engines as jobs of a batch system: Slurm, PBS, LSF, SGE."""
