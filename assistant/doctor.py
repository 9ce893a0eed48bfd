"""Checks of what the assistant keeps beside the memory: prompts, and the logs of tools and models."""

from assistant.storage.invariants import RULES
from memory_engine import MemoryEngine
from memory_engine.doctor import Finding, rules
from memory_engine.models import to_micros
from memory_engine.ports import Progress, no_progress


def examine(engine: MemoryEngine, *, repair: bool, progress: Progress = no_progress) -> list[Finding]:
    """Run every check, mending what is wrong when asked to.

    Raises:
        StoreError: the store does not answer; what was mended stays so.
    """
    now = to_micros(engine.clock.now())
    return rules.examine(engine.database, RULES, now=now, repair=repair, progress=progress)
