"""Assigning rows of the display to workers."""

from fake_runs import FakeRun

from nbpar.views.seats import DETAILED, Seats, shown


def _rows(run, seats):
    return [seat.lane.worker for seat in seats.take(run.snapshot().lanes)]


def test_who_comes_takes_the_row_that_has_been_free_for_longest():
    run, seats = FakeRun(None, workers=3), Seats()
    before = _rows(run, seats)

    for worker in ("2", "0"):
        run.now += 1
        run.lose(worker)
    run.now += 1
    run.join("3")

    assert before == ["0", "1", "2"]
    assert _rows(run, seats) == ["0", "1", "3"]
    assert [seats.before(place) for place in range(3)] == ["", "", "2"]


def test_rows_are_the_same_whether_one_looks_often_or_at_the_end():
    run, often = FakeRun(None, workers=3), Seats()
    for number in range(3, 30):
        run.now += 1
        run.lose(str(number - 3 if number % 2 else number - 2))
        run.now += 1
        run.join(str(number))
        _rows(run, often)

    assert _rows(run, often) == _rows(run, Seats())


def test_a_row_counts_what_all_its_workers_have_done():
    run, seats = FakeRun(None, workers=1), Seats()
    for number in range(1, 4):
        run.work(str(number - 1), 10)
        seats.take(run.snapshot().lanes)
        run.lose(str(number - 1))
        run.join(str(number))

    [row] = seats.take(run.snapshot().lanes)

    assert (row.lane.worker, row.done) == ("3", 30)


def test_one_more_worker_is_one_more_row():
    run, seats = FakeRun(None), Seats()
    _rows(run, seats)

    run.join("2")

    assert _rows(run, seats) == ["0", "1", "2"]


def test_who_comes_again_has_its_row_again_unless_it_is_taken():
    run, seats = FakeRun(None), Seats()
    _rows(run, seats)

    run.now += 1
    for worker in ("0", "1"):
        run.lose(worker)
    run.join("2")
    _rows(run, seats)
    run.join("0")
    run.join("1")

    assert sorted(_rows(run, seats)) == ["0", "1", "2"]
    assert len({seats[worker] for worker in "012"}) == 3


def test_workers_that_are_gone_take_the_text_of_no_other():
    run, seats = FakeRun(None, workers=40), Seats()
    for worker in range(2, 40):
        run.now += 1
        run.lose(str(worker))

    rows = shown(seats.take(run.snapshot().lanes))

    assert len(rows) == DETAILED
    assert [seat.lane.worker for seat in rows] == ["0", "1", *map(str, range(26, 40))]
