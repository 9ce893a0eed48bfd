"""Recall over every user of a namespace, for who may see them all: asked scope by scope, merged by score."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from memory_engine.errors import ConversationNotFound
from memory_engine.joining import Parts
from memory_engine.models import NOTHING, RecallHit, RecallQuery, Recollection, Scope, ScopeKey, Summary
from memory_engine.storage import scopes, summaries, threads

#: Hits whose segments' summaries come beside them.
SUPPORTED = 3


class NamespaceRecall:
    """Asks all scopes of a namespace. Scores are comparable across scopes, because they are not normalised."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def search(self, namespace: str, query: RecallQuery) -> Recollection:
        """The hits of all users, best first, each with its user; how many were left at each stage, in all.

        Raises:
            ConversationNotFound: a filter names a conversation that the namespace does not have.
        """
        found = [self._asked(user, key, own) for user, key, own in self._questions(namespace, query)]
        hits = sorted((hit for part in found for hit in part.hits), key=lambda hit: -hit.score)[: query.k]
        funnel = Counter(NOTHING.funnel)
        for part in found:
            funnel.update(part.funnel)
        notice = next((part.notice for part in found if part.notice), None)
        return Recollection(hits=tuple(hits), funnel={**funnel, "returned": len(hits)}, notice=notice)

    def support(self, namespace: str, hits: Sequence[RecallHit]) -> list[Summary]:
        """The summaries of the segments in which the first hits stand, in the order of the hits."""
        found: dict[str, Summary] = {}
        with self._parts.database.read() as db:
            for hit in hits[:SUPPORTED]:
                key = scopes.find_scope(db, Scope(namespace=namespace, user=hit.user))
                assert key is not None  # the hit is in it
                found |= {s.summary_id: s for s in summaries.of_segments_with(db, key, [hit.seq])}
        return list(found.values())

    def _asked(self, user: str | None, key: ScopeKey, query: RecallQuery) -> Recollection:
        found = self._parts.serving().recaller.recall(key, query)
        return replace(found, hits=tuple(replace(hit, user=user) for hit in found.hits))

    def _questions(self, namespace: str, query: RecallQuery) -> list[tuple[str | None, ScopeKey, RecallQuery]]:
        """What each scope is asked: of the conversations that are named, it knows only its own."""
        with self._parts.database.read() as db:
            users = scopes.of_namespace(db, namespace)
            owners = (
                {name: threads.owner_of(db, users[0][1].namespace_id, name) for name in query.named} if users else {}
            )
        for name in query.named:
            if owners.get(name) is None:
                raise ConversationNotFound.of(name)
        questions = []
        for user, key in users:
            if query.conversation_id is None or owners[query.conversation_id] == key:
                excluded = tuple(name for name in query.exclude_conversation_ids if owners[name] == key)
                questions.append((user, key, replace(query, exclude_conversation_ids=excluded)))
        return questions
