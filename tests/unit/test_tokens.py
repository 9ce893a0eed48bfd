"""The bundled tokenizer keeps nothing of what it was given."""

import os

from bench.soak import resident_bytes
from memory_engine.tokens import bundled_tokenizer


def test_texts_do_not_stay_in_memory() -> None:
    texts = [f"{number:06} {'what is said of the harbour ' * 5}" for number in range(10_000)]
    before = resident_bytes(os.getpid())
    for text in texts:
        bundled_tokenizer().encode_batch_fast([text], add_special_tokens=False)
    assert resident_bytes(os.getpid()) - before < 20_000_000, "ten thousand texts, 5 KB each where they are kept"
