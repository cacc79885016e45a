//! What one sees of training: the stage, the loss of each domain, tokens per second, the time left.

use std::{
    collections::{BTreeMap, VecDeque},
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use unimoe_train::{Event, EventError, Observer};

/// Time between two lines where nobody sees a bar.
const EVERY: Duration = Duration::from_secs(10);

/// Steps whose mean is shown.
const WINDOW: usize = 20;

/// A bar where standard error is a terminal, else a line now and then.
pub struct TrainingProgress {
    mode: Mode,
    bar: ProgressBar,
    stage: String,
    steps: u64,
    recent: VecDeque<Step>,
    told: Option<Instant>,
    /// Number of the sounds whose codes are being computed.
    preparing: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Quiet,
    Lines,
    Bar,
}

/// What a line needs of a step.
struct Step {
    domains: BTreeMap<String, f64>,
    tokens: u64,
    seconds: f64,
}

impl TrainingProgress {
    /// `quiet` shows nothing.
    pub fn new(quiet: bool) -> Self {
        let mode = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Mode::Quiet,
            (false, true) => Mode::Bar,
            (false, false) => Mode::Lines,
        };
        Self {
            mode,
            bar: ProgressBar::hidden(),
            stage: String::new(),
            steps: 0,
            recent: VecDeque::new(),
            told: None,
            preparing: None,
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn begin_bar(&mut self, length: u64, position: u64) {
        self.bar.finish_and_clear();
        if self.mode == Mode::Bar {
            // A bar without style beats no work.
            let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            self.bar = ProgressBar::new(length).with_style(style);
            self.bar.set_position(position);
        }
        self.told = None;
    }

    /// A line that stays.
    fn say(&self, text: &str) {
        if self.mode != Mode::Quiet {
            self.bar.suspend(|| eprintln!("{text}"));
        }
    }

    /// What changes all the time: into the bar, or a line if the last one is some time ago.
    fn tell(&mut self, position: u64, text: &str) {
        match self.mode {
            Mode::Quiet => {}
            Mode::Bar => {
                self.bar.set_position(position);
                self.bar.set_message(text.to_string());
            }
            Mode::Lines if self.told.is_none_or(|told| told.elapsed() >= EVERY) => {
                eprintln!("{text}");
                self.told = Some(Instant::now());
            }
            Mode::Lines => {}
        }
    }

    fn line(&self, step: u64) -> String {
        let mut losses: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
        let (mut tokens, mut seconds) = (0, 0.0);
        for past in &self.recent {
            tokens += past.tokens;
            seconds += past.seconds;
            for (domain, loss) in &past.domains {
                let (sum, count) = losses.entry(domain).or_default();
                *sum += loss;
                *count += 1;
            }
        }
        let losses: Vec<String> = (losses.iter())
            .map(|(domain, (sum, count))| format!("{domain} {:.3}", sum / *count as f64))
            .collect();
        let per_step = seconds / self.recent.len().max(1) as f64;
        let left = per_step * self.steps.saturating_sub(step) as f64;
        format!(
            "{} {step}/{}: {}; {:.0} tokens/s, {} left",
            self.stage,
            self.steps,
            losses.join(", "),
            tokens as f64 / seconds.max(1e-9),
            time(left),
        )
    }
}

impl Observer for TrainingProgress {
    fn notice(&mut self, event: &Event) -> Result<(), EventError> {
        match event {
            Event::Prepare {
                done,
                total,
                seconds,
            } => {
                if self.preparing != Some(*total) {
                    self.begin_bar(*total, *done);
                    self.preparing = Some(*total);
                    self.told = Some(Instant::now());
                }
                if done < total {
                    let text = format!("codes of {done}/{total} sounds, {seconds:.0} s encoded");
                    self.tell(*done, &text);
                }
            }
            Event::Data {
                training,
                validation,
                skipped,
            } => {
                let counts: Vec<String> = (training.iter())
                    .map(|(domain, clips)| {
                        let held_out = validation.get(domain).copied().unwrap_or(0);
                        format!("{domain} {clips} (and {held_out} to measure on)")
                    })
                    .collect();
                let left_out = match skipped {
                    0 => String::new(),
                    count => format!("; {count} unusable clips left out"),
                };
                self.say(&format!("clips: {}{left_out}", counts.join(", ")));
            }
            Event::Begin {
                stage,
                steps,
                done,
                parameters,
                trained,
                ..
            } => {
                self.preparing = None;
                (self.stage, self.steps) = (stage.clone(), *steps);
                self.recent.clear();
                self.begin_bar(*steps, *done);
                let resumed = match done {
                    0 => String::new(),
                    done => format!(", going on after step {done}"),
                };
                self.say(&format!(
                    "{stage}: {steps} steps, {trained} of {parameters} parameters{resumed}"
                ));
            }
            Event::Step {
                step,
                domains,
                tokens,
                seconds,
                ..
            } => {
                self.recent.push_back(Step {
                    domains: domains.clone(),
                    tokens: *tokens,
                    seconds: *seconds,
                });
                if self.recent.len() > WINDOW {
                    self.recent.pop_front();
                }
                let line = self.line(*step);
                self.tell(*step, &line);
            }
            Event::Validation { step, domains, .. } => {
                let losses: Vec<String> = (domains.iter())
                    .map(|(domain, loss)| format!("{domain} {loss:.3}"))
                    .collect();
                self.say(&format!(
                    "{} {step}: measured {}",
                    self.stage,
                    losses.join(", ")
                ));
            }
            Event::End {
                step,
                reason,
                message,
            } => {
                self.bar.finish_and_clear();
                let message = match message.as_str() {
                    "" => String::new(),
                    message => format!(": {message}"),
                };
                self.say(&format!(
                    "{} {reason} after step {step}{message}",
                    self.stage
                ));
            }
            _ => {}
        }
        Ok(())
    }
}

/// A length of time in the two units that matter.
fn time(seconds: f64) -> String {
    let seconds = seconds.min(1e9) as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_recent_means_and_the_time_left() {
        let mut progress = TrainingProgress::new(true);
        let begin = Event::Begin {
            stage: "joint".into(),
            steps: 12,
            done: 0,
            parameters: 10,
            trained: 10,
            seed: 0,
        };
        progress.notice(&begin).expect("noted");
        for (number, loss) in [(1, 3.0), (2, 1.0)] {
            let step = Event::Step {
                step: number,
                epoch: 1,
                loss,
                domains: [("music".to_string(), loss)].into(),
                channels: vec![loss],
                terms: BTreeMap::new(),
                gradient_norm: 1.0,
                learning_rate: 1e-3,
                tokens: 100,
                seconds: 0.5,
                waited: 0.0,
            };
            progress.notice(&step).expect("noted");
        }
        // (3 + 1) / 2 = 2; 200 tokens in 1 s; 10 steps of 0.5 s
        assert_eq!(
            progress.line(2),
            "joint 2/12: music 2.000; 200 tokens/s, 5 s left"
        );
    }

    #[test]
    fn times_have_two_units() {
        assert_eq!(time(59.9), "59 s");
        assert_eq!(time(61.0), "1 min 1 s");
        assert_eq!(time(7_260.0), "2 h 1 min");
        assert_eq!(time(f64::INFINITY), time(1e9));
    }
}
