//! A researcher's own model: the released structure with other sizes, trained for a few steps.

use burn::{
    optim::{AdamWConfig, GradientsParams},
    tensor::Device,
};
use unimoe_model::{ModelInput, UniMoeConfig, codec_cross_entropy};

fn main() -> Result<(), unimoe_model::InputError> {
    let device = Device::flex().autodiff();
    let mut config = UniMoeConfig::tiny();
    config.moe.n_routed = 4;
    config.moe.top_p = 0.5;
    let mut model = config.init(&device);
    let mut optimizer = AdamWConfig::new().init();

    // One row: a word, then twenty frames of the same code, which the model learns to repeat.
    let frames = 20;
    let input = ModelInput {
        batch: 1,
        ids: std::iter::once(72)
            .chain(std::iter::repeat_n(config.codec.placeholder, frames))
            .collect(),
        real: vec![true; 1 + frames],
        codes: vec![7; frames * config.codec.n_channels],
        ..ModelInput::default()
    };
    let labels = vec![7; (1 + frames) * config.codec.n_channels];
    for step in 0..10 {
        let output = model.forward(&input)?;
        let balance = (output.routings.iter())
            .map(|routing| routing.balance_loss(None))
            .reduce(|sum, layer| sum + layer);
        let loss = codec_cross_entropy(model.codec_logits(output.hidden), &labels).total;
        println!("step {step}: {:.4}", loss.clone().into_scalar::<f32>());
        let total = balance.map_or(loss.clone(), |balance| loss + balance * 0.025);
        let gradients = GradientsParams::from_grads(total.backward(), &model);
        model = optimizer.step(1e-2, model, gradients);
    }
    Ok(())
}
