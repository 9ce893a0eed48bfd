"""A stand-in for the minilm model: a real ONNX graph and a real tokenizer, with random vectors for words."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

WORDS = "the a i my where did move moved to lyon in march dog cat likes rain bakery of what is name".split()  # noqa: SIM905


def write(folder: Path) -> Path:
    """Write the model's two files under `folder` as Chroma's archive lays them out, and return the folder."""
    (folder / "onnx").mkdir(parents=True)
    _write_tokenizer(folder / "onnx" / "tokenizer.json")
    _write_model(folder / "onnx" / "model.onnx")
    return folder


def _write_tokenizer(path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(path))


def _write_model(path: Path) -> None:
    table = np.random.default_rng(5).standard_normal((len(WORDS) + 4, 384)).astype(np.float32)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "sequence", 384])
    look_up = helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])
    graph = helper.make_graph([look_up], "tiny", inputs, [output], [numpy_helper.from_array(table, "table")])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
