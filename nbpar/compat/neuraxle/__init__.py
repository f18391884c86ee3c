"""`neuraxle.distributed.streaming` on nbpar's workers: queued pipelines and feature unions.

Steps are any objects with `transform`; Neuraxle's own work when Neuraxle is installed.  An
exception or a worker's death ends `transform` instead of hanging it, nothing keeps running
afterwards, and the last batch is not filled up with None unless a value is given.
"""

from nbpar.compat.neuraxle.batches import DataContainer, StripAbsentValues
from nbpar.compat.neuraxle.errors import MinibatchError
from nbpar.compat.neuraxle.queued import ParallelQueuedFeatureUnion, SequentialQueuedPipeline
from nbpar.compat.neuraxle.workers import ParallelWorkersWrapper, QueuedMinibatchTask, WorkersJoiner

__all__ = [
    "DataContainer",
    "MinibatchError",
    "ParallelQueuedFeatureUnion",
    "ParallelWorkersWrapper",
    "QueuedMinibatchTask",
    "SequentialQueuedPipeline",
    "StripAbsentValues",
    "WorkersJoiner",
]
