"""The lanes bench in short: it serves, its clients recall, write and ask /health, and the table has its rows."""

from pathlib import Path

from bench import lanes
from bench.datasets import Haystack


def test_lanes_bench_prints_a_row_for_each_number_of_clients(tmp_path: Path) -> None:
    said = [{"role": "user", "content": f"The ferry to island {number} leaves at nine."} for number in range(5)]
    store = lanes.fill(tmp_path / "store", [Haystack(name="tiny", conversations={"c": said}, questions=())], 10)
    code = Path(lanes.__file__).parents[1]
    plan = lanes.Plan(seconds=1, pairs=1, clients=3)
    rows = lanes.compare(tmp_path, store, [code], ["When does the ferry leave?", "Which island?"], plan).splitlines()
    assert [row.split("|")[2].strip() for row in rows[2:]] == ["1", "3"]
    assert all(len(row.split("|")) == len(rows[0].split("|")) for row in rows)
