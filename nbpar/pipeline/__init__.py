"""Stages that overlap, each a streaming run on the workers of a pool."""

from nbpar.pipeline.pipeline import Pipeline, Union
from nbpar.pipeline.stage import Stage

__all__ = ["Pipeline", "Stage", "Union"]
