"""Stand-ins for the parts of Neuraxle that queued pipelines need, if it is not installed."""

from __future__ import annotations

import copy
from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from typing import TYPE_CHECKING, Any

from nbpar.compat.neuraxle.batches import Batch

if TYPE_CHECKING:
    from typing_extensions import Self


class StripAbsentValues:
    """As a default value: leave the last batch short."""


class DataContainer(Batch):
    """Ids, data inputs and expected outputs of some items, in the same order.

    Args:
        data_inputs: one for each item; `di` is the same.
        ids: names; by default the positions.
        expected_outputs: one for each item, or None for none; `eo` is the same.
    """

    def set_data_inputs(self, data_inputs: Any) -> Self:
        """Replace the data inputs."""
        self.data_inputs = data_inputs
        return self

    def set_expected_outputs(self, expected_outputs: Any) -> Self:
        """Replace the expected outputs."""
        self.expected_outputs = expected_outputs
        return self

    def set_ids(self, ids: Any) -> Self:
        """Replace the ids."""
        self.ids = ids
        return self

    def get_ids_summary(self) -> str | None:
        """Return the ids as one text."""
        return None if self.ids is None else ",".join(str(name) for name in self.ids if name is not None)


class ExecutionContext:
    """The context of steps; it has no content without Neuraxle."""

    def push(self, step: Any) -> Self:  # noqa: ARG002 (Neuraxle's)
        """Enter a step."""
        return self

    def synchroneous(self) -> Self:
        """Make it thread-safe."""
        return self

    thread_safe = process_safe = synchroneous

    def get_services(self) -> dict[Any, Any]:
        """Return nothing: services are Neuraxle's."""
        return {}


class BaseSaver:
    """Writes and reads a part of a step; nothing calls it without Neuraxle."""


class MetaStep:
    """A step that wraps another one."""

    def __init__(self, wrapped: Any = None) -> None:
        self.name = type(self).__name__
        self.savers: list[BaseSaver] = []
        self.is_initialized = False
        self.is_invalidated = False
        if wrapped is not None:
            self.wrapped = wrapped

    def get_step(self) -> Any:
        """Return the wrapped step."""
        return self.wrapped

    def set_step(self, step: Any) -> Self:
        """Replace the wrapped step."""
        self.wrapped = step
        return self

    def get_name(self) -> str:
        """Return its name."""
        return self.name

    def set_name(self, name: str) -> Self:
        """Set its name."""
        self.name = name
        return self

    def get_children(self) -> list[Any]:
        """Return the wrapped steps."""
        return [self.wrapped] if hasattr(self, "wrapped") else []

    def setup(self, context: Any = None) -> Self:
        """Prepare it."""
        self._setup(context)
        return self

    def teardown(self) -> Self:
        """Free its resources."""
        self._teardown()
        return self

    def _setup(self, context: Any = None) -> Any:  # noqa: ARG002 (Neuraxle's)
        self.is_initialized = True

    def _teardown(self) -> Any:
        self.is_initialized = False

    def _assert(self, condition: bool, message: str, context: Any = None) -> None:  # noqa: ARG002 (Neuraxle's)
        if not condition:
            raise AssertionError(message)

    def transform(self, data_inputs: Any) -> Any:
        """Apply the wrapped step."""
        return self.wrapped.transform(data_inputs)


class Joiner(MetaStep):
    """The last step of a queued pipeline."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size

    def transform(self, data_inputs: Any) -> Any:
        """Do nothing."""
        return data_inputs


class MiniBatchSequentialPipeline(MetaStep):
    """Named steps, the last of which is a joiner, and Neuraxle's order of calls around them."""

    transform_data_container: Callable[..., Any]
    fit_transform_data_container: Callable[..., Any]
    _will_process: Callable[..., tuple[Any, Any]]

    def __init__(self, steps: list[tuple[str, Any]], **_: Any) -> None:
        super().__init__()
        self._context: Any = None
        self.set_steps(steps)

    def set_steps(self, steps_as_tuple: list[tuple[str, Any]]) -> Self:
        """Replace the steps; duplicate names get a number."""
        self.steps_as_tuple: list[tuple[str, Any]] = []
        for name, step in steps_as_tuple:
            unique, number = name, 1
            while unique in dict(self.steps_as_tuple):
                unique, number = f"{name}{number}", number + 1
            self.steps_as_tuple.append((unique, step))
        self._refresh_steps()
        return self

    def _refresh_steps(self) -> None:
        self.steps = dict(self.steps_as_tuple)
        for name, step in self.steps_as_tuple:
            step.name = name

    def with_context(self, context: Any) -> Self:
        """Run in a context."""
        self._context = context
        return self

    # ---- the call order

    def handle_transform(self, data_container: Any, context: Any = None) -> Any:
        """Like `transform`, for a container with ids and expected outputs, of which it returns a new one."""
        data_container, context = self._will_process(data_container, self._in_context(context))
        data_container = self.transform_data_container(data_container, context)
        return self._did_process(self._did_transform(data_container, context), context)

    def handle_fit_transform(self, data_container: Any, context: Any = None) -> tuple[Self, Any]:
        """Like `fit_transform`, for a container."""
        data_container, context = self._will_process(data_container, self._in_context(context))
        _, data_container = self.fit_transform_data_container(data_container, context)
        return self, self._did_process(data_container, context)

    handle_fit: Callable[..., Self]

    def transform(self, data_inputs: Any) -> Any:
        """Return the outputs of the steps for a list or any other iterable."""
        return self.handle_transform(DataContainer(data_inputs)).data_inputs

    def fit(self, data_inputs: Any, expected_outputs: Any = None) -> Self:
        """Fit the steps, batch by batch, in this thread."""
        return self.handle_fit(DataContainer(data_inputs, None, expected_outputs))

    def fit_transform(self, data_inputs: Any, expected_outputs: Any = None) -> tuple[Self, Any]:
        """Fit the steps in this thread, if any can be fitted; return self and the outputs."""
        _, container = self.handle_fit_transform(DataContainer(data_inputs, None, expected_outputs))
        return self, container.data_inputs

    def _in_context(self, context: Any) -> Any:
        return next((one for one in (context, self._context) if one is not None), ExecutionContext())

    def _did_transform(self, data_container: Any, context: Any) -> Any:  # noqa: ARG002 (Neuraxle's)
        return data_container

    def _did_process(self, data_container: Any, context: Any) -> Any:  # noqa: ARG002 (Neuraxle's)
        return data_container

    # ---- its steps

    @property
    def joiner(self) -> Any:
        """The last step."""
        return self.steps_as_tuple[-1][1]

    @property
    def body(self) -> list[Any]:
        """All steps except the joiner."""
        return [step for _, step in self.steps_as_tuple[:-1]]

    @property
    def named_body(self) -> Any:
        """The same steps, in a pipeline."""
        return self[:-1]

    def get_children(self) -> list[Any]:
        """Return all steps."""
        return list(self.values())

    def items(self) -> ItemsView[str, Any]:
        """Names and steps."""
        return self.steps.items()

    def keys(self) -> KeysView[str]:
        """The steps' names."""
        return self.steps.keys()

    def values(self) -> ValuesView[Any]:
        """The steps."""
        return self.steps.values()

    def __getitem__(self, key: int | str | slice) -> Any:
        if isinstance(key, slice):
            part = copy.copy(self)
            part.steps_as_tuple = self.steps_as_tuple[key]
            part.steps = dict(part.steps_as_tuple)
            return part
        return self.steps[key] if isinstance(key, str) else self.steps_as_tuple[key][1]

    def __contains__(self, item: object) -> bool:
        return item in self.steps or item in self.steps.values()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self.steps_as_tuple)

    def __len__(self) -> int:
        return len(self.steps_as_tuple)
