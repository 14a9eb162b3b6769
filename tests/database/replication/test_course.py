"""How far a replica is behind, from where the primary was and when."""

from __future__ import annotations

from arcweb.postgres.lag import Course


def test_a_replica_that_has_it_all_is_not_behind_however_long_nothing_is_written() -> None:
    course = Course()
    course.seen(100, 1.0)
    course.seen(100, 900.0)
    assert course.age(100, 900.0) == 0
    assert course.age(250, 900.0) == 0, "it was asked a moment after the primary"


def test_what_was_written_before_the_first_look_is_of_unknown_age() -> None:
    course = Course()
    course.seen(100, 1.0)
    assert course.age(99, 5.0) is None
    assert course.age(100, 6.0) == 0


def test_the_age_is_that_of_the_first_place_that_it_lacks() -> None:
    course = Course()
    for moment, place in ((1.0, 100), (2.0, 110), (3.0, 120), (4.0, 120), (5.0, 130)):
        course.seen(place, moment)
    assert course.age(100, 5.0) == 4.0, "110 was written after 1.0 at the earliest"
    assert course.age(115, 5.0) == 3.0
    assert course.age(120, 5.0) == 1.0
    assert course.age(130, 5.0) == 0
