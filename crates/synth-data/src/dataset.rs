//! The data set: its size, its folder, and the way from a seed to files.
//!
//! ```text
//! OUT/train.jsonl, OUT/test.jsonl    manifests as `unimoe train` reads them
//! OUT/speech/  en-train-00000.wav ...    sentences
//!              ref-en-train-dan-00.wav ...    reference recordings, which several sentences share
//! OUT/music/   music-train-00000.wav ...    pieces
//!              video-train-00000.wav ...    pieces for the animations
//! OUT/video/   video-train-00000.gif ...    animations
//! ```

mod clip;
mod music;
mod speech;
mod staging;

use std::{
    collections::BTreeMap,
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use serde::Serialize;

use crate::{
    error::SynthError,
    music::{DEFAULT_SOUNDFONT, MusicSynthesizer},
    speech::{Speak, SpeechSynthesizer},
    text::{Language, Texts},
};
use clip::Clip;
use staging::Staging;

/// The manifest of the clips to train on.
pub const TRAIN_MANIFEST: &str = "train.jsonl";
/// The manifest of the clips to measure on.
pub const TEST_MANIFEST: &str = "test.jsonl";

/// A domain of the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Domain {
    /// Speech in Mandarin.
    SpeechZh,
    /// Speech in English.
    SpeechEn,
    /// Music from captions.
    Music,
    /// Music for animations.
    VideoMusic,
}

impl Domain {
    /// All of them, in the order of the manifests.
    pub const ALL: [Self; 4] = [
        Self::SpeechZh,
        Self::SpeechEn,
        Self::Music,
        Self::VideoMusic,
    ];

    /// Thousands of clips of all domains in the paper.
    pub(crate) const PAPER_THOUSANDS: u32 = 180 + 100 + 128 + 20;

    /// Most clips that a domain can have: as many as the paper has in all.
    pub(crate) const MOST_CLIPS: usize = Self::PAPER_THOUSANDS as usize * 1000;

    /// The name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::SpeechZh => "speech-zh",
            Self::SpeechEn => "speech-en",
            Self::Music => "music",
            Self::VideoMusic => "video_music",
        }
    }

    /// Clips of the paper's training data, in thousands (UniMoE-Audio, arXiv:2510.13344, section 4.1: the imbalance that the
    /// curriculum answers).
    pub fn paper_thousands(self) -> u32 {
        match self {
            Self::SpeechZh => 180,
            Self::SpeechEn => 100,
            Self::Music => 128,
            Self::VideoMusic => 20,
        }
    }

    /// Clips of the test set: as many at every scale, so that figures can be compared.
    pub fn test_clips(self) -> usize {
        match self {
            Self::SpeechZh => 40,
            Self::SpeechEn => 100,
            // Every instrument at every tempo in every mode; for animations in every other mode.
            Self::Music => 72,
            Self::VideoMusic => 36,
        }
    }
}

/// Which part of the data a clip belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Split {
    Test,
    Train,
}

impl Split {
    const ALL: [Self; 2] = [Self::Test, Self::Train];

    fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Train => "train",
        }
    }
}

/// Clips of a domain by [`Split::ALL`]: to measure on, to train on.
type Counts = [usize; 2];

/// What is made, and with what.
#[derive(Debug, Clone, PartialEq)]
pub struct SynthConfig {
    /// Training clips as a share of the paper's 428 thousand, in `(0, 1]`. Default: 0.02
    pub scale: f64,
    /// Training clips of domains that are to have another number than their share. Default: none
    pub clips: BTreeMap<Domain, usize>,
    /// The seed of all draws. Default: 1
    pub seed: u64,
    /// The SoundFont of the music. Default: [`DEFAULT_SOUNDFONT`]
    pub soundfont: PathBuf,
    /// espeak-ng, a path or a name that is looked up in PATH. Default: `espeak-ng`
    pub speech_program: PathBuf,
}

impl Default for SynthConfig {
    fn default() -> Self {
        Self {
            scale: 0.02,
            clips: BTreeMap::new(),
            seed: 1,
            soundfont: DEFAULT_SOUNDFONT.into(),
            speech_program: "espeak-ng".into(),
        }
    }
}

/// What hears of every sound, from several threads, and may stop the work.
pub type Watch<'a> = dyn Fn(Progress) -> ControlFlow<()> + Sync + 'a;

/// How far the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Sounds that are made.
    pub done: usize,
    /// Sounds to make.
    pub total: usize,
}

/// What was made of a domain.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DomainSummary {
    /// Clips to train on.
    pub train: usize,
    /// Clips to measure on.
    pub test: usize,
    /// Hours of sound to train on.
    pub train_hours: f64,
}

/// What was made, by the domains' names.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// The domains.
    pub domains: BTreeMap<&'static str, DomainSummary>,
}

impl SynthConfig {
    /// Training clips of a domain.
    pub fn train_clips(&self, domain: Domain) -> usize {
        if let Some(&clips) = self.clips.get(&domain) {
            return clips;
        }
        let clips = f64::from(domain.paper_thousands()) * 1000.0 * self.scale;
        (clips.round() as usize).max(1)
    }

    /// Makes the data set in the folder `out`, which must be absent or empty: it appears whole or not at all. The same
    /// configuration gives the same bytes with the same espeak-ng, SoundFont and version of this crate.
    ///
    /// # Errors
    ///
    /// [`SynthError`], before any work where the scale, a number of clips, `out`, espeak-ng or the SoundFont is unusable.
    pub fn make(&self, out: &Path, watch: &Watch<'_>) -> Result<Summary, SynthError> {
        self.check()?;
        let staging = Staging::beside(out)?;
        let voice = SpeechSynthesizer::open(&self.speech_program)?;
        let player = MusicSynthesizer::open(&self.soundfont)?;
        self.make_with(self.counts(), staging, &voice, &player, watch)
    }

    fn check(&self) -> Result<(), SynthError> {
        if !(self.scale > 0.0 && self.scale <= 1.0) {
            return Err(SynthError::Scale { found: self.scale });
        }
        let is_count = |clips: &usize| (1..=Domain::MOST_CLIPS).contains(clips);
        match self.clips.iter().find(|(_, clips)| !is_count(clips)) {
            Some((&domain, &found)) => Err(SynthError::Clips { domain, found }),
            None => Ok(()),
        }
    }

    fn counts(&self) -> [Counts; 4] {
        Domain::ALL.map(|domain| [domain.test_clips(), self.train_clips(domain)])
    }

    fn make_with(
        &self,
        counts: [Counts; 4],
        staging: Staging,
        voice: &dyn Speak,
        player: &MusicSynthesizer,
        watch: &Watch<'_>,
    ) -> Result<Summary, SynthError> {
        let [zh, en, music, video] = counts;
        // Draws come before the work, so that a grammar that is too small is known at once.
        let speech =
            [(Language::Mandarin, zh), (Language::English, en)].map(|(language, counts)| {
                let texts = Texts::new(language, self.seed);
                speech::Plan::draw(language, texts, self.seed, counts)
            });
        let total = counts.as_flattened().iter().sum::<usize>() + speech::references();
        let ticker = Ticker::new(total, watch);
        let at = staging.path();
        for folder in ["speech", "music", "video"] {
            let path = at.join(folder);
            fs::create_dir(&path).map_err(SynthError::write(&path))?;
        }
        let mut clips: [Vec<Clip>; 2] = Default::default();
        for plan in speech {
            for (all, made) in clips.iter_mut().zip(plan?.make(at, voice, &ticker)?) {
                all.extend(made);
            }
        }
        for (domain, counts) in [(Domain::Music, music), (Domain::VideoMusic, video)] {
            for ((all, split), count) in clips.iter_mut().zip(Split::ALL).zip(counts) {
                let batch = music::Batch {
                    domain,
                    split,
                    count,
                    seed: self.seed,
                };
                all.extend(batch.make(at, player, &ticker)?);
            }
        }

        let mut summary = Summary::default();
        for (clips, split) in clips.iter().zip(Split::ALL) {
            let (name, lines) = match split {
                Split::Test => (TEST_MANIFEST, clip::lines(clips)),
                Split::Train => (TRAIN_MANIFEST, clip::lines(clips)),
            };
            let path = at.join(name);
            fs::write(&path, lines).map_err(SynthError::write(&path))?;
            for clip in clips {
                let domain = summary.domains.entry(clip.domain).or_default();
                match split {
                    Split::Test => domain.test += 1,
                    Split::Train => {
                        domain.train += 1;
                        domain.train_hours += clip.duration / 3600.0;
                    }
                }
            }
        }
        staging.publish()?;
        Ok(summary)
    }
}

/// Counts sounds across threads, and remembers a wish to stop.
struct Ticker<'a> {
    done: AtomicUsize,
    total: usize,
    stopped: AtomicBool,
    watch: &'a Watch<'a>,
}

impl<'a> Ticker<'a> {
    fn new(total: usize, watch: &'a Watch<'a>) -> Self {
        Self {
            done: AtomicUsize::new(0),
            total,
            stopped: AtomicBool::new(false),
            watch,
        }
    }

    /// One more sound is made.
    fn tick(&self) -> Result<(), SynthError> {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let progress = Progress {
            done,
            total: self.total,
        };
        if self.stopped.load(Ordering::Relaxed) || (self.watch)(progress).is_break() {
            self.stopped.store(true, Ordering::Relaxed);
            return Err(SynthError::Interrupted);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
