//! What a codec learns, and from what.
#![allow(clippy::unwrap_used)]

use std::{fs, ops::ControlFlow, path::Path};

use burn::{
    module::{Module, ModuleVisitor, Param, ParamId},
    tensor::{Device, Tensor, TensorData},
};
use dac_codec::{AudioClip, DacCodec, DacConfig};
use unimoe_train::{
    AdversarialConfig, CodecLearner, CodecTrainingConfig, DataError, Dataset, DiscriminatorConfig,
    EnvelopeObjective, Learner, Manifest, Policy, Sound, SoundSet, SoundSetOptions, StepContext,
    StepOutcome, TrainError, discriminator_loss,
};

const SAMPLE_RATE: usize = 8000;

fn sizes(n_codebooks: usize) -> DacConfig {
    DacConfig::new()
        .with_sample_rate(SAMPLE_RATE)
        .with_encoder_dim(8)
        .with_encoder_rates(vec![2, 4, 5])
        .with_latent_dim(32)
        .with_decoder_dim(64)
        .with_decoder_rates(vec![5, 4, 2])
        .with_n_codebooks(n_codebooks)
        .with_codebook_size(64)
        .with_codebook_dim(4)
}

fn config() -> CodecTrainingConfig {
    let mut config = CodecTrainingConfig {
        adversarial: None,
        ..CodecTrainingConfig::default()
    };
    config.run.steps = 1000;
    config.optimizer.learning_rate = 2e-3;
    let objective = &mut config.objective;
    objective.crop_seconds = 0.1;
    objective.mel_windows = vec![64, 256];
    objective.n_mels = vec![8, 24];
    objective.stft_windows = vec![256];
    config
}

fn adversarial(start: u64) -> AdversarialConfig {
    AdversarialConfig {
        start,
        discriminators: DiscriminatorConfig::tiny(),
        ..AdversarialConfig::default()
    }
}

/// A voiced sound of one second, its pitch rising and falling.
fn voice(id: &str, pitch: f64) -> Sound {
    let samples = (0..SAMPLE_RATE).map(|k| {
        let t = k as f64 / SAMPLE_RATE as f64;
        let phase = std::f64::consts::TAU * (pitch * t + 2.0 * (3.0 * t).sin());
        let tones = phase.sin() + 0.5 * (2.0 * phase).sin() + 0.3 * (5.0 * phase).sin();
        (0.3 * tones * (0.6 + 0.4 * (25.0 * t).sin())) as f32
    });
    Sound {
        id: id.into(),
        domain: "speech".into(),
        samples: samples.collect::<Vec<_>>().into(),
    }
}

fn learner(config: &CodecTrainingConfig, seed: u64) -> CodecLearner {
    let device = Device::flex().autodiff();
    let codec = DacCodec::random(&sizes(4), seed, &device).unwrap();
    CodecLearner::new(codec, config).unwrap()
}

fn step(learner: &mut CodecLearner, sound: &Sound, step: u64) -> Result<StepOutcome, TrainError> {
    let context = StepContext {
        step,
        seed: 1000 + step,
    };
    learner.learn(vec![vec![sound.clone(); 4]], context)
}

fn distance(learner: &mut CodecLearner, sound: &Sound) -> f64 {
    let batches: [Result<Vec<Sound>, TrainError>; 1] = [Ok(vec![sound.clone()])];
    learner.validate(&mut batches.into_iter()).unwrap().loss
}

fn weights<M: Module>(module: &M) -> Vec<f32> {
    struct Collect(Vec<f32>);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().into_data().iter::<f32>());
        }
    }
    let mut collect = Collect(Vec::new());
    module.visit(&mut collect);
    collect.0
}

/// A parameter that may depend on others.
fn leaf<const D: usize>(value: Tensor<D>) -> Param<Tensor<D>> {
    Param::initialized(ParamId::new(), value)
}

/// The slope of `loss` along its own gradient, which is the gradient's norm, and the same from differences.
fn slopes<const D: usize>(weight: Tensor<D>, loss: impl Fn(Tensor<D>) -> Tensor<1>) -> (f32, f32) {
    let weight = weight.detach().require_grad();
    let gradient = weight.grad(&loss(weight.clone()).backward()).unwrap();
    let norm = gradient.clone().square().sum().sqrt().into_scalar::<f32>();
    let along = Tensor::from_inner(gradient / norm);
    let moved = |by: f32| {
        let weight = weight.clone().detach() + along.clone() * by;
        loss(weight).into_scalar::<f32>()
    };
    (norm, (moved(4e-3) - moved(-4e-3)) / 8e-3)
}

#[test]
fn gradients_of_encoder_quantizer_and_decoder_equal_finite_differences() {
    let device = Device::flex().autodiff();
    let codec = DacCodec::random(&sizes(1), 3, &device).unwrap();
    let samples = voice("", 150.0).samples[..800].to_vec();
    let audio = Tensor::<3>::from_data(TensorData::new(samples, [1, 1, 800]), &device);
    let base = codec.encode(audio.clone(), None).unwrap();
    let books = &codec.quantizer.quantizers;
    let entry = books[0].lookup(base.codes.squeeze_dim::<2>(1));
    let jump = (entry.clone() - base.latents).detach();
    let entry = entry.detach();

    let weigh = |y: Tensor<3>| {
        let [_, _, length] = y.dims();
        (y * audio.clone().narrow(2, 0, length)).sum()
    };
    let sound = |codec: &DacCodec| weigh(codec.forward_rows(audio.clone(), &[1]).unwrap().audio);
    // What straight through means: the distance from projection to entry counts as a constant.
    let straight = |codec: &DacCodec| {
        let projected = codec.encode(audio.clone(), None).unwrap().latents + jump.clone();
        let z = codec.quantizer.quantizers[0].out_proj.forward(projected);
        weigh(codec.decode(z).unwrap())
    };
    let close = |(gradient, difference): (f32, f32), what: &str| {
        assert!(gradient > 1e-3, "{what}: {gradient}");
        let error = (gradient - difference).abs();
        assert!(error < 0.02 * gradient, "{what}: {gradient} {difference}");
    };

    let decoder = slopes(codec.decoder.conv_out.weight.val(), |weight| {
        let mut codec = codec.clone();
        codec.decoder.conv_out.weight = leaf(weight);
        sound(&codec)
    });
    close(decoder, "decoder");
    let quantizer = slopes(books[0].out_proj.weight.val(), |weight| {
        let mut codec = codec.clone();
        codec.quantizer.quantizers[0].out_proj.weight = leaf(weight);
        sound(&codec)
    });
    close(quantizer, "quantizer");
    let codebook = slopes(books[0].codebook.val(), |entries| {
        let mut codec = codec.clone();
        codec.quantizer.quantizers[0].codebook = leaf(entries);
        let encoded = codec.forward_rows(audio.clone(), &[1]).unwrap().encoded;
        encoded.codebook_loss
    });
    close(codebook, "codebook");

    let first = codec.encoder.conv_in.weight.val();
    let with = |weight: Tensor<3>| {
        let mut codec = codec.clone();
        codec.encoder.conv_in.weight = leaf(weight);
        codec
    };
    let (gradient, _) = slopes(first.clone(), |weight| sound(&with(weight)));
    let (same, difference) = slopes(first.clone(), |weight| straight(&with(weight)));
    assert!(
        (gradient - same).abs() < 1e-3 * gradient,
        "{gradient} {same}"
    );
    close((gradient, difference), "encoder");
    let (gradient, _) = slopes(first.clone(), |weight| {
        let codec = with(weight);
        let encoded = codec.forward_rows(audio.clone(), &[1]).unwrap().encoded;
        encoded.commitment_loss
    });
    // Moved so far, a projection may come closer to another entry: it is held to the one that it had.
    let (same, difference) = slopes(first, |weight| {
        let latents = with(weight).encode(audio.clone(), None).unwrap().latents;
        (latents - entry.clone()).square().mean()
    });
    assert!(
        (gradient - same).abs() < 1e-3 * gradient,
        "{gradient} {same}"
    );
    close((gradient, difference), "commitment");
}

#[test]
fn a_second_of_sound_is_learnt_and_every_prefix_of_the_codebooks_is_usable() {
    let sound = voice("a", 150.0);
    let mut learner = learner(&config(), 1);
    let before = distance(&mut learner, &sound);
    for number in 0..60 {
        step(&mut learner, &sound, number).unwrap();
    }
    let after = distance(&mut learner, &sound);
    assert!(after < 0.5 * before, "{before} {after}");

    let codec = learner.trained();
    let device = Device::flex();
    let shape = [1, 1, sound.samples.len()];
    let audio = Tensor::<3>::from_data(TensorData::new(sound.samples.to_vec(), shape), &device);
    let errors: Vec<f32> = (1..=4)
        .map(|n| {
            let y = codec.forward(audio.clone(), Some(n)).unwrap().audio;
            let [_, _, length] = y.dims();
            let x = audio.clone().narrow(2, 0, length);
            let mel = unimoe_train::MultiScaleMelLossConfig::new(SAMPLE_RATE)
                .with_windows(vec![64, 256])
                .with_n_mels(vec![8, 24])
                .init(&device)
                .unwrap();
            let distance = mel.forward(y.squeeze_dim::<2>(1), x.squeeze_dim::<2>(1));
            distance.into_scalar::<f32>()
        })
        .collect();
    // So short a time teaches the first codebook most; what matters is that no number of them is unusable.
    let best = errors.iter().copied().fold(f32::INFINITY, f32::min);
    assert!(errors.iter().all(|&error| error < 1.1 * best), "{errors:?}");
}

#[test]
fn the_first_channels_become_the_envelope_where_they_are_told_to() {
    let mut config = config();
    config.objective.quantized = false;
    config.objective.latent_noise = 0.1;
    config.objective.envelope = Some(EnvelopeObjective {
        channels: 6,
        ..EnvelopeObjective::default()
    });
    let sound = voice("a", 150.0);
    let mut learner = learner(&config, 1);
    let mut term = |number| step(&mut learner, &sound, number).unwrap().terms["envelope"];
    let before = term(0);
    let after = (1..60).map(&mut term).last().unwrap();
    assert!(after < 0.1 * before, "{before} {after}");
    // The first one is the loudness: half the sound is less of it, in every frame.
    let codec = learner.trained();
    let latents = |gain: f32| {
        let samples: Vec<f32> = sound.samples.iter().map(|x| x * gain).collect();
        let shape = [1, 1, samples.len()];
        let audio = Tensor::<3>::from_data(TensorData::new(samples, shape), &Device::flex());
        codec.encoder.forward(audio).narrow(1, 0, 1)
    };
    let quieter = latents(1.0) - latents(0.5);
    assert!(quieter.min().into_scalar::<f32>() > 0.0);
}

#[test]
fn a_run_repeats_and_goes_on_from_what_was_saved() {
    let config = CodecTrainingConfig {
        adversarial: Some(adversarial(2)),
        ..config()
    };
    let sound = voice("a", 150.0);
    let whole = |learner: &mut CodecLearner, steps: std::ops::Range<u64>| -> Vec<StepOutcome> {
        steps.map(|n| step(learner, &sound, n).unwrap()).collect()
    };
    let mut first = learner(&config, 1);
    let expected = whole(&mut first, 0..4);
    let mut again = learner(&config, 1);
    assert_eq!(whole(&mut again, 0..4), expected);

    // The game begins at its step.
    let has_game = |outcome: &StepOutcome| outcome.terms.contains_key("generator");
    assert_eq!(
        expected.iter().map(has_game).collect::<Vec<_>>(),
        [false, false, true, true]
    );

    let folder = tempfile::tempdir().unwrap();
    let settings = serde_json::json!({});
    let mut halfway = learner(&config, 1);
    let begun = whole(&mut halfway, 0..3);
    let mut checkpoints =
        unimoe_train::Checkpoints::open(folder.path(), Default::default(), &settings).unwrap();
    checkpoints
        .save(3, None, |writer| halfway.save(writer))
        .unwrap();
    // Another seed: all that matters is in the checkpoint.
    let mut resumed = learner(&config, 2);
    resumed
        .load(&checkpoints.latest().unwrap().unwrap())
        .unwrap();
    let rest = whole(&mut resumed, 3..4);
    assert_eq!([begun, rest].concat(), expected);
    assert_eq!(weights(&resumed.trained()), weights(&first.trained()));
}

#[test]
fn discriminators_learn_to_tell_and_the_codec_learns_from_them() {
    let config = CodecTrainingConfig {
        adversarial: Some(AdversarialConfig {
            optimizer: unimoe_train::OptimizerConfig {
                learning_rate: 2e-3,
                ..AdversarialConfig::default().optimizer
            },
            ..adversarial(0)
        }),
        ..config()
    };
    let sound = voice("a", 150.0);
    let mut learner = learner(&config, 1);
    let judged: Vec<f64> = (0..16)
        .map(|n| step(&mut learner, &sound, n).unwrap().terms["discriminators"])
        .collect();
    assert!(judged[15] < 0.8 * judged[0], "{judged:?}");

    // With no weight but the game's, the codec moves all the same.
    let mut config = config;
    for weight in [
        &mut config.objective.mel,
        &mut config.objective.stft,
        &mut config.objective.commitment,
        &mut config.objective.codebook,
    ] {
        *weight = 0.0;
    }
    let mut alone = self::learner(&config, 1);
    let before = weights(&alone.trained().decoder);
    step(&mut alone, &sound, 0).unwrap();
    assert_ne!(weights(&alone.trained().decoder), before);
}

#[test]
fn judges_are_drawn_from_their_seed() {
    let device = Device::flex();
    let draw = |seed| DiscriminatorConfig::tiny().init(seed, &device).unwrap();
    assert_eq!(weights(&draw(1)), weights(&draw(1)));
    assert_ne!(weights(&draw(1)), weights(&draw(2)));
    // Three periods and two windows; three layers each, or five in each of two bands.
    let samples = voice("", 150.0).samples.to_vec();
    let audio = Tensor::<1>::from_data(TensorData::new(samples, [8000]), &device);
    let judgements = draw(1).forward(audio.reshape([2, 4000]));
    let layers: Vec<usize> = judgements.iter().map(|j| j.features.len()).collect();
    assert_eq!(layers, [3, 3, 3, 10, 10]);
    assert!(judgements.iter().all(|j| j.score.dims()[0] == 2));
    let loss = discriminator_loss(&judgements, &judgements).into_scalar::<f32>();
    // (s - 1)^2 + s^2 is 0.5 at least, for each of the five.
    assert!((2.5..50.0).contains(&loss), "{loss}");
}

#[test]
fn a_sound_that_is_no_number_is_named_and_changes_nothing() {
    let config = CodecTrainingConfig {
        adversarial: Some(adversarial(0)),
        ..config()
    };
    let sound = voice("good", 150.0);
    let broken = Sound {
        id: "broken".into(),
        domain: "speech".into(),
        samples: vec![f32::NAN; 8000].into(),
    };
    let (mut learner, mut undisturbed) = (learner(&config, 1), learner(&config, 1));
    let before = weights(&learner.trained());
    // The first of the two batches is good, so that its gradients are there when the second fails.
    let context = StepContext { step: 0, seed: 1 };
    let error = learner.learn(vec![vec![sound.clone()], vec![broken]], context);
    let error = error.unwrap_err();
    assert!(
        matches!(&error, TrainError::LossNotFinite { step: 1, clips, .. } if clips == &["broken"]),
        "{error}"
    );
    assert_eq!(weights(&learner.trained()), before);
    assert_eq!(
        step(&mut learner, &sound, 0).unwrap(),
        step(&mut undisturbed, &sound, 0).unwrap()
    );
}

#[test]
fn a_crop_too_short_for_the_windows_is_refused() {
    let mut config = config();
    config.objective.crop_seconds = 0.01;
    let codec = DacCodec::random(&sizes(1), 0, &Device::flex().autodiff()).unwrap();
    let error = CodecLearner::new(codec, &config).unwrap_err().to_string();
    assert_eq!(
        error,
        "codec training: crop_seconds is 80 samples, expected more than half of the longest window, 256 samples"
    );
}

#[test]
fn an_envelope_of_more_channels_than_latents_is_refused() {
    let mut config = config();
    config.objective.envelope = Some(EnvelopeObjective {
        channels: 33,
        ..EnvelopeObjective::default()
    });
    let codec = DacCodec::random(&sizes(1), 0, &Device::flex().autodiff()).unwrap();
    let error = CodecLearner::new(codec, &config).unwrap_err().to_string();
    assert_eq!(
        error,
        "codec training: envelope.channels is 33, expected at most the codec's 32 latent channels"
    );
}

fn manifest(folder: &Path, names: &[&str], policy: Policy) -> Result<Manifest, DataError> {
    let lines = names.iter().map(|name| {
        format!("{{\"id\": \"{name}\", \"task\": \"speech\", \"text\": \"x\", \"audio\": \"{name}.wav\"}}\n")
    });
    let path = folder.join("clips.jsonl");
    fs::write(&path, lines.collect::<String>()).unwrap();
    Manifest::load(&[path], policy)
}

#[test]
fn sounds_are_the_same_from_memory_and_from_disk_and_broken_ones_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (name, pitch) in [("a", 100.0), ("b", 200.0)] {
        let clip = AudioClip {
            samples: voice(name, pitch).samples.to_vec(),
            sample_rate: 8000,
        };
        clip.write_wav(folder.join(format!("{name}.wav"))).unwrap();
    }
    fs::write(folder.join("c.wav"), b"RIFF no sound").unwrap();
    let open = |names: &[&str], policy, memory| {
        let options = SoundSetOptions {
            policy,
            memory,
            ..SoundSetOptions::default()
        };
        let manifest = manifest(folder, names, policy)?;
        SoundSet::open(manifest, 16_000, &options, &mut |_| {
            ControlFlow::Continue(())
        })
    };
    let kept = open(&["a", "b"], Policy::Fail, 1 << 30).unwrap();
    let read = open(&["a", "b"], Policy::Fail, 0).unwrap();
    assert_eq!(kept.fingerprint(), read.fingerprint());
    assert_eq!(kept.length(0), 16_000);
    for index in 0..2 {
        assert_eq!(
            kept.get(index).unwrap().samples,
            read.get(index).unwrap().samples
        );
        assert_eq!(kept.domain(index), "speech");
    }
    let error = open(&["a", "c", "b"], Policy::Fail, 0)
        .unwrap_err()
        .to_string();
    assert!(error.contains("line 2, `c`"), "{error}");
    let without = open(&["a", "c", "b"], Policy::Skip, 0).unwrap();
    assert_eq!((without.len(), without.skipped().0.len()), (2, 1));
    assert_eq!(without.fingerprint(), kept.fingerprint());
    let manifest = manifest(folder, &["a"], Policy::Fail).unwrap();
    let options = SoundSetOptions::default();
    let stopped = SoundSet::open(manifest, 16_000, &options, &mut |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(DataError::Interrupted)));
}
