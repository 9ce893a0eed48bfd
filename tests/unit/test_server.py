"""What the service does to its process before it serves."""

import gc

from api.server import spare_what_stays


def test_the_collector_of_garbage_passes_over_what_was_there_at_the_start() -> None:
    try:
        spare_what_stays()
        came_later = ["kept"]
        assert not any(each is gc for each in gc.get_objects())
        assert any(each is came_later for each in gc.get_objects())
    finally:
        gc.unfreeze()
