"""`neuraxle.distributed.streaming` on nbpar's workers: queued pipelines and feature unions.

Steps are any objects with `transform`; Neuraxle's own work if Neuraxle is installed, and the
pipelines are then Neuraxle's.  An exception or a worker's death ends `transform` instead of hanging
it, nothing keeps running afterwards, and the last batch is filled up with None only on request.
"""

from nbpar.compat.neuraxle.bases import bases
from nbpar.compat.neuraxle.joiner import WorkersJoiner
from nbpar.compat.neuraxle.queued import (
    BaseQueuedPipeline,
    ParallelQueuedFeatureUnion,
    SequentialQueuedPipeline,
)
from nbpar.compat.neuraxle.tasks import (
    MinibatchError,
    QueuedMinibatchTask,
    _ProducerConsumerMixin,
    _ProducerConsumerStepSaver,
    _QueueDestroyedError,
    pickle_exception_into_task,
)
from nbpar.compat.neuraxle.workers import ParallelWorkersWrapper, worker_function

DataContainer = bases.DataContainer
StripAbsentValues = bases.StripAbsentValues

__all__ = [
    "BaseQueuedPipeline",
    "DataContainer",
    "MinibatchError",
    "ParallelQueuedFeatureUnion",
    "ParallelWorkersWrapper",
    "QueuedMinibatchTask",
    "SequentialQueuedPipeline",
    "StripAbsentValues",
    "WorkersJoiner",
    "_ProducerConsumerMixin",
    "_ProducerConsumerStepSaver",
    "_QueueDestroyedError",
    "pickle_exception_into_task",
    "worker_function",
]
