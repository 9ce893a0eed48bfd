"""What a check found."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    #: How many things are wrong; 0 is healthy.
    problems: int
    #: What is so, in plain words.
    detail: str
    #: How many of them were mended.
    repaired: int = 0
    #: What a person can do about it.
    advice: str = ""

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong any more."""
        return self.repaired >= self.problems


REPAIR = "`memory-engine doctor --repair` mends it."
