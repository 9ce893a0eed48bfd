"""all-MiniLM-L6-v2 by Chroma's ONNX function: 384 dimensions, English, some 250 short texts a second.

The model (80 MB) is read from a folder that may be given; without one it stands in Chroma's cache, where Chroma
downloads it on first use and checks its hash.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from memory_engine.errors import EmbedderUnavailable
from memory_engine.models import Space
from memory_engine.ports import Vectors

if TYPE_CHECKING:
    from chromadb.utils.embedding_functions.onnx_mini_lm_l6_v2 import ONNXMiniLM_L6_V2

_DIMENSION = 384
_FILES = ("model.onnx", "tokenizer.json")


class MiniLMEmbedder:
    """Vectors of a small sentence transformer, run in this process."""

    is_local = True

    def __init__(self, function: "ONNXMiniLM_L6_V2") -> None:
        """Take Chroma's function, its model in place."""
        self._function = function
        self.space = Space(model="all-MiniLM-L6-v2", dimension=_DIMENSION)

    @classmethod
    def load(cls, path: Path | None = None) -> "MiniLMEmbedder":
        """The embedder over the model in `path`, or in Chroma's cache, downloaded if it is not there.

        Raises:
            EmbedderUnavailable: the folder lacks the model, or it cannot be downloaded or run.
        """
        # The ONNX runtime reports its use to its maker unless this stands before it is imported.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # noqa: TID251  (told, not read)
        from chromadb.utils.embedding_functions.onnx_mini_lm_l6_v2 import ONNXMiniLM_L6_V2

        function = ONNXMiniLM_L6_V2(preferred_providers=["CPUExecutionProvider"])
        folder = (path or function.DOWNLOAD_PATH) / function.EXTRACTED_FOLDER_NAME
        missing = [name for name in _FILES if not (folder / name).is_file()]
        if path is not None:
            if missing:
                raise EmbedderUnavailable(f"The minilm embedder needs {' and '.join(missing)} in {folder}.")
            function.DOWNLOAD_PATH = path
            # Chroma looks for every file of its archive, and would download what it does not use.
            function._download_model_if_not_exists = lambda: None  # type: ignore[method-assign]
        try:
            function(["ready"])
            function.tokenizer.no_padding()  # to 256 tokens each, which takes ten times as long
        except Exception as exc:  # whatever httpx, the ONNX runtime or the tokenizer raise
            what = "cannot be downloaded" if missing else "cannot be run"
            advice = "put its files into a folder and name it in MEMORY_ENGINE_MINILM_PATH, or use another embedder"
            raise EmbedderUnavailable(f"The minilm model {what} ({exc}): {advice}.") from exc
        return cls(function)

    def chunks(self, text: str) -> list[str]:
        """The text in pieces of at most 256 tokens, which is as far as the model reads."""
        first = self._function.tokenizer.encode(text)
        ends = [max(end for _, end in part.offsets) for part in (first, *first.overflowing)]
        starts = [0, *ends[:-1]]
        return [text[start:end] for start, end in zip(starts, [*ends[:-1], len(text)], strict=True)]

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts: shape (len(texts), 384), rows of length 1; an empty text gives zeros.

        Raises:
            EmbedderUnavailable: the model does not run.
        """
        vectors = np.zeros((len(texts), _DIMENSION), np.float32)
        try:
            for row, text in enumerate(texts):
                if text.strip():
                    vectors[row] = self._function([text])[
                        0
                    ]  # one by one, because texts of several lengths need padding
        except Exception as exc:
            raise EmbedderUnavailable(f"The minilm model does not run: {exc}") from exc
        return vectors
