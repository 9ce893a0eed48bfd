"""Which messages a query lets through, and which of its filters keeps one out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory_engine.models import RecallQuery, to_micros
from memory_engine.recall.catalogue import CatalogueView

Mask = NDArray[np.bool_]
#: The filter that is there unless abandoned branches are asked for.
BRANCHES = "branches"


@dataclass(frozen=True, kw_only=True, slots=True)
class Filters:
    """Which messages each filter of a query lets through."""

    masks: Mapping[str, Mask]
    #: Those that pass them all; shape (messages,).
    allowed: Mask

    @classmethod
    def of(cls, catalogue: CatalogueView, query: RecallQuery, with_metadata: Sequence[int] | None) -> "Filters":
        """The filters of a query over a scope.

        Args:
            catalogue: the scope's messages.
            query: what is asked.
            with_metadata: seqs of the messages that have the query's metadata; None when it asks for none.
        """
        masks = _by_time(catalogue, query) | _by_place(catalogue, query)
        if not query.all_branches and not catalogue.active.all():
            masks[BRANCHES] = catalogue.active
        if with_metadata is not None:
            masks["metadata"] = np.isin(catalogue.seq, with_metadata)
        allowed = np.ones(len(catalogue), bool)
        for mask in masks.values():
            allowed &= mask
        return cls(masks=masks, allowed=allowed)

    def refusing(self, at: int) -> list[str]:
        """The filters that keep the message at this position out."""
        return [name for name, mask in self.masks.items() if not mask[at]]


def _by_time(catalogue: CatalogueView, query: RecallQuery) -> dict[str, Mask]:
    masks = {}
    if query.after is not None:
        masks["after"] = catalogue.created_at >= to_micros(query.after)
    if query.before is not None:
        masks["before"] = catalogue.created_at < to_micros(query.before)
    if query.as_of is not None:
        masks["as_of"] = catalogue.created_at <= to_micros(query.as_of)
    return masks


def _by_place(catalogue: CatalogueView, query: RecallQuery) -> dict[str, Mask]:
    masks = {}
    if query.conversation_id is not None:
        masks["conversation_id"] = catalogue.conversation == catalogue.number("conversation", query.conversation_id)
    if query.exclude_conversation_ids:
        excluded = [catalogue.number("conversation", name) for name in query.exclude_conversation_ids]
        masks["exclude_conversation_ids"] = ~np.isin(catalogue.conversation, excluded)
    if query.roles:
        masks["roles"] = np.isin(catalogue.role, [catalogue.number("role", role) for role in query.roles])
    if query.agent is not None:
        masks["agent"] = catalogue.agent == catalogue.number("agent", query.agent)
    return masks
