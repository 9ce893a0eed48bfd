"""Do links join what belongs together? LoCoMo's ten conversations in one namespace, the speakers' names masked.

Run it by hand: `python -m bench.links --data ../shared/data`. Every session is a conversation of its own; two sessions
belong together when the same two people talk. Printed: the share of such links among the strongest, by how many are
looked at, and CPU seconds for all of it.
"""

import argparse
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from api.server import use_one_thread
from bench.datasets import Haystack, locomo
from memory_engine import Link, MemoryEngine, Page, Scope

DEPTHS = (50, 100, 200, 400)


def masked(haystack: Haystack) -> dict[str, list[dict[str, str]]]:
    """Its conversations, by ids of its own, without the names of who speaks in them."""
    names = {str(message["name"]) for messages in haystack.conversations.values() for message in messages}
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(names)))})\b", re.IGNORECASE)
    return {
        f"{haystack.name}/{name}": [
            {
                "role": "user",
                "content": pattern.sub("someone", message["content"]),
                "created_at": message["created_at"],
            }
            for message in messages
            if message["content"].strip()
        ]
        for name, messages in haystack.conversations.items()
    }


def linked(engine: MemoryEngine, haystacks: Sequence[Haystack]) -> list[Link]:
    """Every link between sessions, strongest first."""
    for haystack in haystacks:
        for name, messages in masked(haystack).items():
            engine.remember(name, messages)
    engine.consolidate()
    found: dict[str, Link] = {}
    rows, _ = engine.history.conversations(Page(limit=100_000))
    for row in rows:
        found.update((link.link_id, link) for link in engine.links.of(Scope(), row.conversation_id))
    return sorted(found.values(), key=lambda link: (-link.weight, link.link_id))


def precision(found: Sequence[Link], depth: int) -> float:
    """The share of the strongest so many links that join sessions of the same two people."""
    looked_at = found[:depth]
    same = [link.source.split("/")[0] == link.target.split("/")[0] for link in looked_at]
    return sum(same) / max(len(same), 1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of the data sets")
    options = parser.parse_args()
    use_one_thread()
    haystacks = locomo(options.data / "locomo")
    with tempfile.TemporaryDirectory() as folder, MemoryEngine.open(folder) as engine:
        started = time.process_time()
        found = linked(engine, haystacks)
        spent = time.process_time() - started
        print("| strongest links | of the same two people |\n|---|---|")
        for depth in DEPTHS:
            print(f"| {min(depth, len(found))} | {precision(found, depth):.3f} |")
        kinds = sorted({link.kind for link in found})
        for kind in kinds:
            mine = [link for link in found if link.kind == kind]
            print(f"| all {len(mine)} of kind {kind} | {precision(mine, len(mine)):.3f} |")
        print(f"\n{spent:.1f} s CPU to remember, consolidate and link {engine.stats().messages:,} messages")


if __name__ == "__main__":
    main()
