"""The bundled tokenizer keeps nothing of what it was given."""

from pathlib import Path

from memory_engine.tokens import bundled_tokenizer


def resident_megabytes() -> float:
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


def test_texts_do_not_stay_in_memory() -> None:
    texts = [f"{number:06} {'what is said of the harbour ' * 5}" for number in range(10_000)]
    before = resident_megabytes()
    for text in texts:
        bundled_tokenizer().encode_batch_fast([text], add_special_tokens=False)
    assert resident_megabytes() - before < 20, "ten thousand texts, 5 KB each where they are kept"
