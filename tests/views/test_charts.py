"""Pictures of times and of runs have text alternatives."""

from xml.etree import ElementTree as ET

import nbpar
from nbpar.views.charts import bars, lanes


def rectangles(picture):
    return [
        float(shape.get("width"))
        for shape in ET.fromstring(picture._repr_svg_()).iter()
        if shape.tag.endswith("rect")
    ]


def test_bars_are_as_long_as_the_times():
    picture = bars({"a loop": 2.0, "4 <workers>": 0.5}, title="A race")

    first, second = rectangles(picture)
    assert first == 4 * second
    assert repr(picture).splitlines() == [
        "A race",
        "a loop: 2.00 s",
        "4 <workers>: 0.50 s, 4.0 times as fast",
    ]


def test_what_takes_longer_is_called_slow():
    assert "10.0 times as slow" in repr(bars({"near": 0.01, "far": 0.1}))


def test_lanes_have_a_block_for_each_piece_of_work():
    with nbpar.Pool(backend="serial", progress="none") as pool:
        pool.map(abs, range(10), chunksize=10)

    picture = lanes(nbpar.last_run.snapshot)

    assert len(rectangles(picture)) == 1
    assert repr(picture).splitlines()[-1].endswith(": 10 items")
