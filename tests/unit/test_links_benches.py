"""The benches of links work; how good and how fast links are, they say themselves when run by hand."""

from bench import graph, growth, links
from bench.datasets import Haystack
from memory_engine import MemoryEngine


def test_the_bench_of_links_measures(engine: MemoryEngine) -> None:
    said = [
        ("a", "Ana and the zeppelin hangar in Friedrichshafen."),
        ("b", "Who rents the zeppelin hangar in Friedrichshafen, Ana?"),
    ]
    conversations = {
        name: [{"role": "user", "name": "Ana", "content": text, "created_at": "2026-05-01T10:00:00Z"}]
        for name, text in said
    }
    haystack = Haystack(name="one", conversations=conversations, questions=())
    assert "Ana" not in str(links.masked(haystack)).replace("'name'", "")
    found = links.linked(engine, [haystack])
    assert links.precision(found, 10) == 1.0
    assert links.precision([], 10) == 0.0


def test_the_bench_of_walks_measures(engine: MemoryEngine) -> None:
    graph.fill(engine, 40)
    assert engine.stats().links > 40
    assert graph.table(engine, 40, 2).count("\n") == 4


def test_the_bench_of_growth_measures(engine: MemoryEngine) -> None:
    said = [
        {"role": "user", "content": f"The {word} number {n}.", "created_at": "2026-05-01T10:00:00Z"}
        for n in range(50)
        for word in ("ferry", "mill")
    ]
    rows = list(growth.measure(engine, [Haystack(name="one", conversations={"a": said}, questions=())], 200, 100))
    assert len(rows) == 4
    assert rows[-1].startswith("| 200 |")
