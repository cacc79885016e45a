//! Logs that look like those of a curriculum of 8 routed experts and 12 layers.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unimoe_train::{Event, LayerLoad, RoutingSummary, RunLog};

pub const DOMAINS: [&str; 4] = ["music", "speech-en", "speech-zh", "video_music"];

const LAYERS: usize = 12;
const EVERY: u64 = 100;

/// Where the loss of each domain starts and ends, for a whole curriculum.
const LOSSES: [(f64, f64); 4] = [(72.0, 58.0), (61.0, 41.0), (63.0, 39.0), (78.0, 62.0)];

struct Stage<'a> {
    name: &'a str,
    steps: u64,
    domains: &'a [usize],
    /// Where on the way from the first to the last loss the stage begins and ends.
    way: (f64, f64),
    rate: f64,
    routed: bool,
    noise: f64,
}

pub fn joint(name: &str, seed: u64) -> RunLog {
    run(
        &Stage {
            name,
            steps: 1500,
            domains: &[0, 1, 2, 3],
            way: (0.5, 1.0),
            rate: 1e-5,
            routed: true,
            noise: 2.5,
        },
        seed,
    )
}

pub fn curriculum() -> Vec<RunLog> {
    let mut runs: Vec<RunLog> = DOMAINS
        .iter()
        .enumerate()
        .map(|(index, domain)| {
            let stage = Stage {
                name: &format!("specialist-{domain}"),
                steps: 900,
                domains: &[index],
                way: (0.0, 0.45),
                rate: 1e-4,
                routed: false,
                noise: 1.2,
            };
            run(&stage, index as u64)
        })
        .collect();
    let warmup = Stage {
        name: "warmup",
        steps: 700,
        domains: &[0, 1, 2, 3],
        way: (0.3, 0.7),
        rate: 3e-5,
        routed: true,
        noise: 1.0,
    };
    runs.push(run(&warmup, 11));
    runs.push(joint("joint", 12));
    runs
}

fn run(stage: &Stage<'_>, seed: u64) -> RunLog {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut events = vec![Event::Begin {
        stage: stage.name.to_string(),
        steps: stage.steps,
        done: 0,
        parameters: 93_000_000,
        trained: if stage.name == "warmup" {
            4_100_000
        } else {
            93_000_000
        },
        seed,
    }];
    for step in 1..=stage.steps {
        let done = step as f64 / stage.steps as f64;
        let along = stage.way.0 + (stage.way.1 - stage.way.0) * (1.0 - (-4.0 * done).exp());
        let losses = |noise: f64, rng: &mut ChaCha8Rng| -> BTreeMap<String, f64> {
            let named = stage.domains.iter().map(|&index| {
                let (first, last) = LOSSES[index];
                let wobble = rng.random_range(-noise..noise);
                (
                    DOMAINS[index].to_string(),
                    first + (last - first) * along + wobble,
                )
            });
            named.collect()
        };
        let domains = losses(stage.noise, &mut rng);
        let loss = domains.values().sum::<f64>() / domains.len() as f64;
        let warm = (step as f64 / 60.0).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        events.push(Event::Step {
            step,
            epoch: 1 + step / 400,
            loss: loss + 0.02,
            domains,
            channels: (0..12)
                .map(|c| loss / 12.0 + f64::from(c - 6) * 0.15)
                .collect(),
            terms: BTreeMap::from([
                ("balance".to_string(), 1.0 + 0.4 * (-3.0 * done).exp()),
                ("z".to_string(), 3.0 - done),
            ]),
            gradient_norm: (2.0 + 30.0 * (-20.0 * done).exp()) * rng.random_range(0.7..1.5),
            learning_rate: stage.rate * warm * cosine,
            tokens: 5_000 + rng.random_range(0..900),
            seconds: rng.random_range(0.9..1.2),
            waited: if step % 211 == 0 { 0.4 } else { 0.004 },
        });
        if step % EVERY == 0 {
            let domains = losses(0.2, &mut rng);
            let routing = match stage.routed {
                true => stage
                    .domains
                    .iter()
                    .map(|&d| (DOMAINS[d].to_string(), routing(d, done)))
                    .collect(),
                false => BTreeMap::new(),
            };
            events.push(Event::Validation {
                step,
                loss: domains.values().sum::<f64>() / domains.len() as f64,
                domains,
                routing,
            });
            if stage.domains.len() > 1 {
                events.push(conflict(stage, step, done));
            }
            events.push(Event::Checkpoint {
                step,
                path: format!("checkpoints/step-{step}").into(),
                best: true,
            });
        }
    }
    events.push(Event::End {
        step: stage.steps,
        reason: "finished".to_string(),
        message: String::new(),
    });
    RunLog {
        name: stage.name.to_string(),
        events,
    }
}

/// Two experts of its own for each domain, a null expert that speech likes in deep layers.
fn routing(domain: usize, done: f64) -> RoutingSummary {
    let layers = (0..LAYERS).map(|layer| {
        let depth = layer as f64 / (LAYERS - 1) as f64;
        let own = 0.2 + 0.6 * done * (0.4 + 0.6 * depth);
        let speech = domain == 1 || domain == 2;
        let mut load: Vec<f64> = (0..8)
            .map(|expert| match expert / 2 == domain {
                true => own + 0.1 * f64::from(expert as u8 % 2),
                false => {
                    0.28 - 0.2 * done * depth - if expert == 6 && layer == 3 { 0.3 } else { 0.0 }
                }
            })
            .map(|share: f64| share.max(0.0))
            .collect();
        load.push(if speech {
            0.1 + 0.7 * depth * depth
        } else {
            0.15
        });
        let middle = 2.5 + 2.0 * (std::f64::consts::PI * depth).sin();
        let bell = |count: usize| (-(count as f64 - middle).powi(2) / 2.0).exp();
        let total: f64 = (1..10).map(bell).sum();
        LayerLoad {
            load,
            routed: 8,
            experts_per_token: (0..10)
                .map(|count| if count == 0 { 0.0 } else { bell(count) / total })
                .collect(),
            entropy: 2.1 - 0.8 * done * depth - 0.05 * domain as f64,
        }
    });
    RoutingSummary {
        layers: layers.collect(),
    }
}

fn conflict(stage: &Stage<'_>, step: u64, done: f64) -> Event {
    let speech = |domain: usize| domain == 1 || domain == 2;
    let cosine = |a: usize, b: usize| match (a == b, speech(a) == speech(b)) {
        (true, _) => 1.0,
        (_, true) => 0.2 + 0.3 * done,
        (_, false) => -0.3 + 0.25 * done,
    };
    let domains = stage.domains.iter();
    Event::GradientConflict {
        step,
        domains: domains.clone().map(|&d| DOMAINS[d].to_string()).collect(),
        cosines: domains
            .map(|&a| stage.domains.iter().map(|&b| cosine(a, b)).collect())
            .collect(),
    }
}
