//! Sentences from templates whose slots are filled with entries of lists.
//!
//! A template is words with a space between; `{name}` stands for any entry of the slot `name`. An entry may be several words and
//! hold slots itself.

use rand::{Rng, RngExt};

use super::spelling::Spelling;

/// The sentences of one language.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grammar {
    /// Named lists of entries.
    pub(crate) slots: &'static [(&'static str, &'static [&'static str])],
    /// Whole sentences with slots.
    pub(crate) templates: &'static [&'static str],
    /// How the words become the written sentence.
    pub(crate) spelling: Spelling,
}

impl Grammar {
    /// Draws a sentence.
    pub(crate) fn sentence(&self, rng: &mut impl Rng) -> String {
        let template = self.templates[rng.random_range(0..self.templates.len())];
        self.spelling.write(&self.expand(template, rng))
    }

    fn expand(&self, template: &str, rng: &mut impl Rng) -> String {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            out.push_str(before);
            if let Some(entries) = self.slot(name) {
                let entry = entries[rng.random_range(0..entries.len())];
                out.push_str(&self.expand(entry, rng));
            }
            rest = after;
        }
        out + rest
    }

    fn slot(&self, name: &str) -> Option<&'static [&'static str]> {
        let (_, entries) = self.slots.iter().find(|(slot, _)| *slot == name)?;
        Some(entries)
    }

    /// Every template and every entry.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &'static str> {
        let entries = self.slots.iter().flat_map(|(_, entries)| entries.iter());
        entries.chain(self.templates).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crate::{random, text::Language};

    #[test]
    fn every_slot_is_there_and_used() {
        for language in Language::ALL {
            let grammar = language.grammar();
            let names = grammar.sources().flat_map(|source| {
                let parts = source.split('{').skip(1);
                parts.map(|part| part.split_once('}').expect("closed").0)
            });
            let used: HashSet<&str> = names.collect();
            let known: HashSet<&str> = grammar.slots.iter().map(|(name, _)| *name).collect();
            assert_eq!(used, known);
            assert!(grammar.slots.iter().all(|(_, entries)| !entries.is_empty()));
        }
    }

    #[test]
    fn sentences_are_whole() {
        for language in Language::ALL {
            let mut rng = random::stream(7, "test", 0);
            for _ in 0..2000 {
                let text = language.grammar().sentence(&mut rng);
                assert!(!text.contains(['{', '}']) && !text.contains("  "), "{text}");
                assert!(text.ends_with(['.', '?', '。', '？']), "{text}");
                assert!((3..80).contains(&text.chars().count()), "{text}");
            }
        }
    }
}
