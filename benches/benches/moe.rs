//! One mixture of width 2048 with 8 experts of 2752: `moe_topk_512`, `moe_topk_2` (also `_bf16`), `moe_padded_512`.
#![allow(missing_docs)]

use benches::{case, cast, criterion, device, noise, wait};
use burn::{module::Initializer, tensor::DType};
use criterion::{Criterion, criterion_group, criterion_main};
use moe_router::{DynamicCapacityMoeConfig, Gating, RoutingContext};

const D_MODEL: usize = 2048;

fn moe(criterion: &mut Criterion) {
    let device = device();
    let mut case = |name: &str, gating: Gating, n_null, tokens, dtype| {
        case(criterion, name, || {
            // Weights as the other side draws them, so that Top-P finds the same spread of probabilities.
            let layer = DynamicCapacityMoeConfig::new(D_MODEL, 8, 2752)
                .with_n_null(n_null)
                .with_gating(gating.clone())
                .with_initializer(Initializer::Normal {
                    mean: 0.0,
                    std: 0.02,
                })
                .init(&device);
            let layer = cast(layer, dtype);
            let x = noise([1, tokens, D_MODEL], 1.0, &device).cast(dtype);
            move || wait(layer.forward(x.clone(), RoutingContext::new()).hidden)
        });
    };
    for (suffix, dtype) in [("", DType::F32), ("_bf16", DType::BF16)] {
        for tokens in [512, 2] {
            let name = format!("moe_topk_{tokens}{suffix}");
            case(&name, Gating::TopK { k: 4 }, 0, tokens, dtype);
        }
    }
    // Ours groups the tokens by expert; what it is measured against pads every expert to the busiest one.
    let top_p = Gating::TopP { p: 0.7 };
    case("moe_padded_512", top_p, 1, 512, DType::F32);
}

criterion_group! { name = cases; config = criterion(); targets = moe }
criterion_main!(cases);
