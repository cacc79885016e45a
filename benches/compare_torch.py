"""PyTorch's side of `compare`: times the named cases on the CPU, one JSON line each.

The shapes are those of the Rust benchmarks beside this file; weights and inputs are random, numbers are float32, or bfloat16 in
cases named `..._bf16`.
Needs torch and transformers 4.53.1. Run by `compare`, or by hand:

    python compare_torch.py --threads 2 --runs 5 moe_topk_512
"""

import argparse
import json
import statistics
import sys
import time

import torch
from torch import nn

WIDTH, INNER, EXPERTS, TOP_K, TOP_P = 2048, 2752, 8, 4, 0.7
SECONDS, SAMPLE_RATE, HOP, CODEBOOKS, CODES = 10, 16_000, 320, 12, 1024
BATCH, CACHED, LAYERS = 2, 500, 4


def dac():
    """The 16 kHz DAC of Hugging Face's library, untrained."""
    from transformers import DacConfig, DacModel

    return DacModel(
        DacConfig(
            sampling_rate=SAMPLE_RATE,
            encoder_hidden_size=64,
            decoder_hidden_size=1536,
            downsampling_ratios=[2, 4, 5, 8],
            upsampling_ratios=[8, 5, 4, 2],
            n_codebooks=CODEBOOKS,
            codebook_size=CODES,
            codebook_dim=8,
        )
    ).eval()


def qwen_config(**more):
    """A Qwen3-MoE of the released width: the nearest architecture that the library ships."""
    from transformers.models.qwen3_moe.configuration_qwen3_moe import Qwen3MoeConfig

    return Qwen3MoeConfig(
        hidden_size=WIDTH,
        moe_intermediate_size=INNER,
        num_experts=EXPERTS,
        num_experts_per_tok=TOP_K,
        norm_topk_prob=True,
        **more,
    )


def dac_encode_10s():
    model = dac()
    sound = 0.1 * torch.randn(1, 1, SECONDS * SAMPLE_RATE)
    return lambda: model.encode(sound)


def dac_decode_10s():
    model = dac()
    codes = torch.randint(CODES, (1, CODEBOOKS, SECONDS * SAMPLE_RATE // HOP))
    return lambda: model.decode(audio_codes=codes)


def top_k_layer(tokens):
    from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeSparseMoeBlock

    layer = Qwen3MoeSparseMoeBlock(qwen_config()).eval()
    x = torch.randn(1, tokens, WIDTH)
    return lambda: layer(x)


def moe_topk_512():
    return top_k_layer(512)


def moe_topk_2():
    return top_k_layer(2)


class PaddedTopP(nn.Module):
    """Top-P over the experts and one null expert, each expert computing as many rows as the busiest one.

    This is how the published Python dispatches; rows beyond an expert's own tokens are computed for nothing.
    """

    def __init__(self):
        super().__init__()
        draw = lambda *shape: nn.Parameter(0.02 * torch.randn(*shape))
        self.router = draw(EXPERTS + 1, WIDTH)
        self.gate, self.up = draw(EXPERTS, INNER, WIDTH), draw(EXPERTS, INNER, WIDTH)
        self.down = draw(EXPERTS, WIDTH, INNER)

    def forward(self, x):
        probabilities = nn.functional.linear(x, self.router).softmax(-1)
        descending, ids = probabilities.sort(-1, descending=True)
        mass_before = descending.cumsum(-1) - descending
        chosen = torch.zeros_like(probabilities, dtype=torch.bool).scatter(-1, ids, mass_before < TOP_P)
        chosen = chosen[:, :EXPERTS]
        share = probabilities[:, :EXPERTS] * chosen

        busiest = int(chosen.sum(0).max())
        rows = chosen.float().topk(busiest, dim=0).indices  # [busiest, experts]
        outputs = []
        for expert in range(EXPERTS):
            own = x[rows[:, expert]]
            inner = nn.functional.silu(own @ self.gate[expert].T) * (own @ self.up[expert].T)
            outputs.append(inner @ self.down[expert].T)
        places = rows.unsqueeze(-1).expand(-1, -1, WIDTH)
        spread = torch.zeros(x.shape[0], EXPERTS, WIDTH).scatter(0, places, torch.stack(outputs, 1))
        return torch.einsum("te,ted->td", share, spread)


def moe_padded_512():
    layer = PaddedTopP().eval()
    x = torch.randn(512, WIDTH)
    return lambda: layer(x)


def decode_step_4_layers():
    from transformers import DynamicCache
    from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeModel

    model = Qwen3MoeModel(
        qwen_config(
            num_hidden_layers=LAYERS,
            num_attention_heads=16,
            num_key_value_heads=2,
            head_dim=128,
            vocab_size=1027,
            decoder_sparse_step=1,
            mlp_only_layers=[],
        )
    ).eval()
    cache = DynamicCache()
    model(inputs_embeds=torch.randn(BATCH, CACHED, WIDTH), past_key_values=cache, use_cache=True)
    token, position = torch.randn(BATCH, 1, WIDTH), torch.tensor([CACHED])

    def step():
        cache.crop(CACHED)
        model(inputs_embeds=token, past_key_values=cache, use_cache=True, cache_position=position)

    return step


def vit_4_blocks():
    from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

    config = Qwen2_5_VLVisionConfig(
        depth=4,
        hidden_size=1280,
        intermediate_size=3420,
        num_heads=16,
        out_hidden_size=2048,
        fullatt_block_indexes=[3],
    )
    config._attn_implementation = "sdpa"
    model = Qwen2_5_VisionTransformerPretrainedModel(config).eval()
    grid = torch.tensor([[4, 16, 16]])
    patches = torch.randn(4 * 16 * 16, 3 * 2 * 14 * 14)
    return lambda: model(patches, grid_thw=grid)


def preprocess(resize):
    """Frames of 1280 x 720 pixels to patches, at the size that the published budget gives to 64 of them."""
    frames, height, width, patch, merge, depth = 64, 84, 140, 14, 2, 2
    pixels = torch.randint(256, (frames, 3, 720, 1280), dtype=torch.uint8)
    mean = 255 * torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
    std = 255 * torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
    side = patch * merge

    def run():
        x = (resize(pixels, (height, width)).float() - mean) / std
        x = x.view(frames // depth, depth, 3, height // side, merge, patch, width // side, merge, patch)
        return x.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(-1, 3 * depth * patch * patch)

    return run


def preprocess_64_frames():
    """As torchvision's functional resize does with a tensor of bytes."""
    bicubic = lambda x, size: nn.functional.interpolate(x.float(), size, mode="bicubic", antialias=True)
    return preprocess(lambda x, size: bicubic(x, size).round().clamp(0, 255))


def preprocess_64_frames_integer():
    return preprocess(lambda x, size: nn.functional.interpolate(x, size, mode="bicubic", antialias=True))


class Block(nn.Module):
    """A decoder layer with one dense SwiGLU block."""

    def __init__(self, width, inner, heads):
        super().__init__()
        linear = lambda wide, out: nn.Linear(wide, out, bias=False)
        self.heads = heads
        self.attention_norm, self.block_norm = nn.RMSNorm(width), nn.RMSNorm(width)
        self.queries_keys_values, self.merge = linear(width, 3 * width), linear(width, width)
        self.gate, self.up, self.down = linear(width, inner), linear(width, inner), linear(inner, width)

    def forward(self, x):
        rows, length, width = x.shape
        parts = self.queries_keys_values(self.attention_norm(x)).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        attended = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.merge(attended.transpose(1, 2).flatten(2))
        inner = self.block_norm(x)
        return x + self.down(nn.functional.silu(self.gate(inner)) * self.up(inner))


def train_step_small():
    """Without rotary positions and biases, which the other side has."""
    width, inner, heads, layers, codes, rows, length = 256, 512, 4, 4, 1027, 8, 256
    blocks = [Block(width, inner, heads) for _ in range(layers)]
    model = nn.Sequential(nn.Embedding(codes, width), *blocks, nn.RMSNorm(width), nn.Linear(width, codes, bias=False))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    ids = torch.randint(codes, (rows, length + 1))

    def step():
        optimizer.zero_grad()
        logits = model(ids[:, :-1])
        nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


CASES = [dac_encode_10s, dac_decode_10s, moe_topk_512, moe_topk_2, moe_padded_512, decode_step_4_layers, vit_4_blocks]
CASES += [preprocess_64_frames, preprocess_64_frames_integer, train_step_small]
# The cases that need gradients.
TRAINING = [train_step_small]
# The cases that are measured in bfloat16 too, as `NAME_bf16`.
BRAIN_FLOATS = [moe_topk_512, moe_topk_2, decode_step_4_layers]


def measure(build, dtype, runs):
    """Median seconds of `runs` calls after one that isn't counted."""
    torch.set_default_dtype(dtype)
    with torch.inference_mode(build not in TRAINING):
        call = build()
        call()
        times = []
        for _ in range(runs):
            begin = time.perf_counter()
            call()
            times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main():
    by_name = {case.__name__: (case, torch.float32) for case in CASES}
    by_name |= {f"{case.__name__}_bf16": (case, torch.bfloat16) for case in BRAIN_FLOATS}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(by_name)}; default: all")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    unknown = [name for name in arguments.cases if name not in by_name]
    if unknown:
        sys.exit(f"unknown case: {', '.join(unknown)}")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    for name in arguments.cases or by_name:
        print(json.dumps({"case": name, "seconds": measure(*by_name[name], arguments.runs)}), flush=True)


if __name__ == "__main__":
    main()
