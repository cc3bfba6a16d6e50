"""Writes a small GGUF file that converts quickly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_small_gguf(
    path: Path,
    kind: str = "llama",
    *,
    without: tuple[str, ...] = (),
    header: Mapping[str, Any] | None = None,
    besides: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Write a model of one layer with random weights as GGUF, and return its weights.

    ``without`` are the beginnings of the names of weights that it lacks; ``header`` is what else its header says;
    ``besides`` are names of weights that no such model has.
    """
    import gguf
    import numpy as np
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    width, inner, heads = 32, 64, 2
    tokens = ["<unk>", "<s>", "</s>", *bytes_to_unicode().values(), "ab"]
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, kind)
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * (len(tokens) - 3))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    shapes = {
        "token_embd.weight": (len(tokens), width),
        "output.weight": (len(tokens), width),
        "output_norm.weight": (width,),
        "blk.0.attn_norm.weight": (width,),
        "blk.0.attn_q.weight": (width, width),
        "blk.0.attn_k.weight": (width, width),
        "blk.0.attn_v.weight": (width, width),
        "blk.0.attn_output.weight": (width, width),
        "blk.0.ffn_norm.weight": (width,),
        "blk.0.ffn_gate.weight": (inner, width),
        "blk.0.ffn_up.weight": (inner, width),
        "blk.0.ffn_down.weight": (width, inner),
    }
    weights = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    weights = {name: weight for name, weight in weights.items() if not name.startswith(without or ("-",))}
    weights |= {name: np.ones(width, np.float32) for name in besides}
    for key, value in (header or {}).items():
        (writer.add_string if isinstance(value, str) else writer.add_uint16)(key, value)
    for name, weight in weights.items():
        writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights
