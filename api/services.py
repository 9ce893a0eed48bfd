"""The parts that the routes speak to."""

from dataclasses import asdict, dataclass
from typing import Any

from api.keys import ApiKeys
from api.limits import Meter
from assistant import CustomAssistant, Settings, doctor
from assistant.lanes import Lanes
from memory_engine import MemoryEngine
from memory_engine.ports import Progress, no_progress


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """The memory and the assistant over it, for one run of the service."""

    settings: Settings
    engine: MemoryEngine
    assistant: CustomAssistant
    #: Names this run to the command line, so that it does not speak to another service.
    run_token: str
    keys: ApiKeys
    meter: Meter

    @property
    def lanes(self) -> Lanes:
        """The lanes of the assistant, shared by requests and turns."""
        return self.assistant.lanes

    def examined(self, *, repair: bool, progress: Progress = no_progress) -> list[dict[str, Any]]:
        """The doctor's findings as JSON values."""
        findings = self.engine.examine(repair=repair, progress=progress)
        findings += doctor.examine(self.engine, repair=repair, progress=progress)
        return [{**asdict(finding), "healthy": finding.healthy} for finding in findings]

    def close(self) -> None:
        """Close everything, the memory last."""
        self.assistant.close()
        self.engine.close()
