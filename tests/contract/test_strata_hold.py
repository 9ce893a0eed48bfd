"""Whatever is said, edited, quarantined, erased and consolidated in whatever order: all that is derived holds."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from memory_engine import MemoryEngine, Page, Scope
from memory_engine.errors import NotFound
from memory_engine.models import NoteSources

TEXTS = st.sampled_from(
    [
        "We deploy on Fridays. The hangar in Friedrichshafen is rented.",
        "We deploy on Tuesdays now.",
        "I live in Lyon. When does the zeppelin land?",
        "I moved to Porto; when does the zeppelin land?",
        "As we agreed on 2 May, the hangar in Friedrichshafen stays ours.",
        "Comme convenu, le hangar reste à nous. Je préfère le train.",
        "The zeppelin pilot asked for the hangar keys in Friedrichshafen.",
        "ok",
        "🙂",
    ]
)
CONVERSATIONS = st.sampled_from(["a", "b", "c"])
NOTES = st.sampled_from(["style", "plans"])
HERE = Scope()


class Strata(RuleBasedStateMachine):
    """One memory, and what was said in it as a plain dictionary."""

    messages: Bundle[str] = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.engine = MemoryEngine.open(self.folder)
        self.engine._parts.stop_background()  # the test decides when the background works
        self.said: dict[str, tuple[str, str]] = {}
        #: Quarantined messages, and conversations.
        self.held: set[str] = set()
        #: Versions of notes: the note's name and version, and the messages that it was made of.
        self.noted: dict[tuple[str, int], set[str]] = {}
        self.day = 0

    @rule(target=messages, conversation=CONVERSATIONS, text=TEXTS)
    def remember(self, conversation: str, text: str) -> str:
        self.day = self.day % 28 + 1
        message = {"role": "user", "content": text, "created_at": f"2026-05-{self.day:02}T10:00:00Z"}
        name = self.engine.remember(conversation, [message]).message_ids[0]
        self.said[name] = (conversation, text)
        return name

    @rule(name=messages, text=TEXTS)
    def edit(self, name: str, text: str) -> None:
        if name in self.said:
            self.engine.edit(name, {"content": text})
            self.said[name] = (self.said[name][0], text)

    @rule(name=messages)
    def quarantine(self, name: str) -> None:
        if name in self.said:
            self.engine.quarantine.hold_message(name)
            self.held.add(name)

    @rule(name=messages)
    def take_back(self, name: str) -> None:
        if name in self.said:
            self.engine.quarantine.release_message(name)
            self.held.discard(name)

    @rule(conversation=CONVERSATIONS)
    def quarantine_conversation(self, conversation: str) -> None:
        if any(where == conversation for where, _ in self.said.values()):
            self.engine.quarantine.hold_conversation(conversation)
            self.held.add(conversation)

    @rule(conversation=CONVERSATIONS)
    def take_back_conversation(self, conversation: str) -> None:
        if conversation in self.held:
            self.engine.quarantine.release_conversation(conversation)
            self.held.discard(conversation)

    @rule(name=NOTES, sources=st.lists(messages, max_size=2))
    def note(self, name: str, sources: list[str]) -> None:
        made_of = {each for each in sources if each in self.said}
        version = 1 + max((number for noted, number in self.noted if noted == name), default=0)
        note = self.engine.notes.put(HERE, name, f"version {version}", sources=NoteSources(message_ids=sorted(made_of)))
        assert note.version == version
        self.noted[name, version] = made_of

    def in_recall(self, name: str) -> tuple[str, str]:
        """Where a message was said, and what it says; it must not be quarantined."""
        conversation, text = self.said[name]
        assert not self.held.intersection((name, conversation))
        return conversation, text

    @rule(name=consumes(messages))
    def erase_message(self, name: str) -> None:
        if self.said.pop(name, None) is not None:
            self.engine.erase(message_ids=[name])

    @rule(conversation=CONVERSATIONS)
    def erase_conversation(self, conversation: str) -> None:
        try:
            self.engine.erase(conversation_id=conversation)
        except NotFound:  # it was never there, or was erased
            assert not any(where == conversation for where, _ in self.said.values())
        self.said = {name: kept for name, kept in self.said.items() if kept[0] != conversation}
        self.held.discard(conversation)

    @invariant()
    def notes_rest_on_what_is_there_and_in_recall(self) -> None:
        self.noted = {which: made_of for which, made_of in self.noted.items() if made_of <= self.said.keys()}
        in_force = dict[str, int]()
        for (name, version), made_of in self.noted.items():
            if not any(self.held.intersection((each, self.said[each][0])) for each in made_of):
                in_force[name] = max(version, in_force.get(name, 0))
        assert {note.name: note.version for note in self.engine.notes.of(HERE)} == in_force

    @rule()
    def consolidate(self) -> None:
        self.engine.consolidate()

    @invariant()
    def all_that_is_derived_leads_to_what_is_there(self) -> None:
        rows, _ = self.engine.history.conversations(Page(limit=10))
        for row in rows:
            for summary in self.engine.history.summaries(row.conversation_id):
                for sentence in summary.sentences:
                    (cited,) = sentence.citations
                    assert self.in_recall(cited.message_id)[1][cited.start : cited.end] == sentence.text
            for link in self.engine.links.of(HERE, row.conversation_id):
                for pair in link.evidence:
                    assert self.in_recall(pair.source.message_id) == (link.source, pair.source.text)
                    assert self.in_recall(pair.target.message_id) == (link.target, pair.target.text)
        for pattern in self.engine.patterns.of(HERE, everything=True):
            assert pattern.evidence
            for each in pattern.evidence:
                assert each.text in self.in_recall(each.message.message_id)[1]

    @invariant()
    def what_is_recalled_is_what_was_said(self) -> None:
        for hit in self.engine.recall("zeppelin hangar Friedrichshafen deploy Lyon Porto"):
            assert self.in_recall(hit.message_id) == (hit.conversation_id, hit.text)

    def teardown(self) -> None:
        self.engine.consolidate()
        self.all_that_is_derived_leads_to_what_is_there()
        assert all(finding.healthy for finding in self.engine.examine(repair=True))
        self.engine.close()
        shutil.rmtree(self.folder)


TestStrata = Strata.TestCase
TestStrata.settings = settings(
    max_examples=10, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
