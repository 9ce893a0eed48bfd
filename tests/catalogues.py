"""What a catalogue holds, in a form that can be compared."""

import numpy as np

from memory_engine.recall.catalogue import CatalogueView

_COLUMNS = (
    "seq",
    "version",
    "conversation",
    "standing",
    "role",
    "name",
    "agent",
    "created_at",
    "words",
    "asks",
    "session",
)


def shown(view: CatalogueView) -> dict[str, object]:
    everywhere = np.arange(len(view))
    return {
        **{name: getattr(view, name).tolist() for name in _COLUMNS},
        "previous": view.preceding(everywhere).tolist(),
        "next": view.following(everywhere).tolist(),
        "labels": view.labels,
        "conversations": list(view.conversations),
        "extents": [view.extents[number] for number in range(len(view.extents))],
    }
