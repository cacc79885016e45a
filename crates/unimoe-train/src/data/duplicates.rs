//! Clips that are there already: the same sound, or nearly the same.
//!
//! The thresholds lie between what was measured on spoken digits (Free Spoken Digit Dataset) and four longer voices: copies
//! at another volume or rate, cut, filtered or encoded at 24 to 64 kbit/s (MP3, Opus, AAC, Vorbis) differ in 0.7 to 14 % of
//! the bits, 18 % at most; 300 recordings among themselves in 47 %, the two most alike (one speaker, one word) in 23 %.
//! With the thresholds below one of all 3,000 recordings is taken for another's copy, by 16 % and its equal text.
//!
//! Some 6 kB are held for each clip that is kept.

use std::collections::{HashMap, hash_map::Entry};

use serde::{Deserialize, Serialize};

use super::{
    error::DataError,
    fingerprint::{Fingerprint, Probe},
    hash::ContentHash,
};

/// Frames of a clip that it can be found by.
const KEPT_VALUES: usize = 64;
/// Clips that a value leads to; more share silence or a tone, which says nothing.
const MAX_SHARED: usize = 256;
/// Frames that must agree before clips are compared.
const MIN_VOTES: u32 = 2;
/// Clips that one is compared with.
const MAX_COMPARED: usize = 16;
/// Offsets tried on each side of the one that frames agree on, in frames.
const NEARBY: isize = 2;

/// Which clips count as being there already.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DuplicateRules {
    /// Drop clips whose file, or whose decoded samples at 16 bits, are another's. Default: `true`
    pub exact: bool,
    /// Drop clips whose [fingerprint](Fingerprint) is nearly another's. Default: `true`
    pub near: bool,
    /// Share of differing bits up to which clips are nearly the same. Default: 0.15
    pub bit_errors: f64,
    /// The same for clips whose texts are equal but for case, signs and spaces. Default: 0.2
    pub bit_errors_same_text: f64,
    /// Share of the longer clip that must be common. Default: 0.8
    pub overlap: f64,
    /// Compare clips of different domains too; music with and without its video is one sound in two. Default: `false`
    pub across_domains: bool,
}

impl Default for DuplicateRules {
    fn default() -> Self {
        Self {
            exact: true,
            near: true,
            bit_errors: 0.15,
            bit_errors_same_text: 0.2,
            overlap: 0.8,
            across_domains: false,
        }
    }
}

impl DuplicateRules {
    /// Checks the numbers.
    ///
    /// # Errors
    ///
    /// [`DataError::Setting`] names one that is out of range.
    pub fn validate(&self) -> Result<(), DataError> {
        for (setting, value, limit) in [
            ("the share of differing bits", self.bit_errors, 0.4),
            (
                "the share of differing bits for equal texts",
                self.bit_errors_same_text,
                0.4,
            ),
            ("the common share of duplicates", self.overlap, 1.0),
        ] {
            if !(0.0..=limit).contains(&value) {
                return Err(DataError::setting(setting, format!("0 to {limit}"), value));
            }
        }
        Ok(())
    }
}

/// What is compared of a clip.
pub(super) struct Candidate {
    pub(super) domain: String,
    pub(super) content: ContentHash,
    pub(super) samples: ContentHash,
    pub(super) text: String,
    pub(super) fingerprint: Fingerprint,
    pub(super) probes: Vec<Probe>,
}

/// Which clip one is a duplicate of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Duplicate {
    /// The same sound as the clip added under this number.
    Exact(usize),
    /// Nearly the same, with the share of differing bits.
    Near(usize, f64),
}

/// The clips that were kept so far.
pub(super) struct Kept {
    rules: DuplicateRules,
    exact: HashMap<(String, ContentHash), usize>,
    clips: Vec<KeptClip>,
    /// Places of frames, by domain and bits.
    values: HashMap<(u32, u32), Vec<(u32, u16)>>,
    domains: HashMap<String, u32>,
}

struct KeptClip {
    number: usize,
    text: String,
    fingerprint: Fingerprint,
}

impl Kept {
    pub(super) fn new(rules: DuplicateRules) -> Self {
        Self {
            rules,
            exact: HashMap::new(),
            clips: Vec::new(),
            values: HashMap::new(),
            domains: HashMap::new(),
        }
    }

    /// Adds a clip under a number, unless it is a duplicate.
    pub(super) fn add(&mut self, number: usize, mut clip: Candidate) -> Option<Duplicate> {
        if self.rules.across_domains {
            clip.domain = String::new();
        }
        let hashes = [clip.content, clip.samples].map(|hash| (clip.domain.clone(), hash));
        if self.rules.exact
            && let Some(&other) = hashes.iter().find_map(|hash| self.exact.get(hash))
        {
            return Some(Duplicate::Exact(other));
        }
        if self.rules.near {
            let new = self.domains.len() as u32;
            let domain = *self.domains.entry(clip.domain.clone()).or_insert(new);
            if let Some((place, errors)) = self.nearest(domain, &clip) {
                return Some(Duplicate::Near(self.clips[place].number, errors));
            }
            self.remember(domain, number, clip);
        }
        for hash in hashes {
            if let Entry::Vacant(free) = self.exact.entry(hash) {
                free.insert(number);
            }
        }
        None
    }

    /// The first clip that is nearly the same, and the share of differing bits.
    fn nearest(&self, domain: u32, clip: &Candidate) -> Option<(usize, f64)> {
        let mut votes: HashMap<(u32, isize), u32> = HashMap::new();
        for probe in &clip.probes {
            for value in probe.values {
                for &(other, place) in self.values.get(&(domain, value)).into_iter().flatten() {
                    let offset = probe.place as isize - place as isize;
                    *votes.entry((other, offset)).or_default() += 1;
                }
            }
        }
        let mut likely: Vec<((u32, isize), u32)> = votes
            .into_iter()
            .filter(|(_, votes)| *votes >= MIN_VOTES.min(clip.fingerprint.len() as u32))
            .collect();
        // The map's order is random; votes, then age decide.
        likely.sort_by_key(|&((other, offset), votes)| (std::cmp::Reverse(votes), other, offset));
        likely.truncate(MAX_COMPARED);
        let mut found: Vec<(usize, f64)> = likely
            .into_iter()
            .filter_map(|((other, offset), _)| {
                let kept = &self.clips[other as usize];
                let errors = self.errors(clip, kept, offset)?;
                Some((other as usize, errors))
            })
            .collect();
        found.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        found.first().copied()
    }

    /// Share of differing bits, where it is low enough.
    fn errors(&self, clip: &Candidate, kept: &KeptClip, offset: isize) -> Option<f64> {
        let same_text = !clip.text.is_empty() && clip.text == kept.text;
        let limit = match same_text {
            true => self.rules.bit_errors_same_text.max(self.rules.bit_errors),
            false => self.rules.bit_errors,
        };
        let offsets = offset - NEARBY..=offset + NEARBY;
        let errors = offsets.filter_map(|offset| {
            let comparison = clip.fingerprint.compare(&kept.fingerprint, offset)?;
            let enough = comparison.overlap >= self.rules.overlap;
            (enough && comparison.bit_errors <= limit).then_some(comparison.bit_errors)
        });
        errors.min_by(f64::total_cmp)
    }

    fn remember(&mut self, domain: u32, number: usize, clip: Candidate) {
        // The smallest by a scrambled order are the same for any sound that shares them.
        let mut frames: Vec<(u32, usize)> = clip
            .fingerprint
            .frames()
            .map(|(place, bits)| (bits, place))
            .collect();
        frames.sort_by_key(|&(bits, place)| (bits.wrapping_mul(0x9E37_79B1), place));
        frames.truncate(KEPT_VALUES);
        let place_of_clip = self.clips.len() as u32;
        for (bits, place) in frames {
            let places = self.values.entry((domain, bits)).or_default();
            if places.len() < MAX_SHARED {
                places.push((place_of_clip, place as u16));
            }
        }
        self.clips.push(KeptClip {
            number,
            text: clip.text,
            fingerprint: clip.fingerprint,
        });
    }
}
