//! The models that judge sound: they stay outside, behind traits.

use std::error::Error;

use super::{EvalClip, Features, MetricError, NamedFeatures};

/// Why a model from outside gave no answer.
pub type ModelFailure = Box<dyn Error + Send + Sync>;

/// Turns a clip into an embedding: of its speaker for speaker similarity, of its sound for the Frechet distance.
///
/// ```
/// use unimoe_train::{Embedder, EvalClip, ModelFailure, embed_clips};
///
/// /// Peak and length: enough to tell a model's place.
/// struct Loudness;
///
/// impl Embedder for Loudness {
///     fn embed(&mut self, clip: &EvalClip) -> Result<Vec<f64>, ModelFailure> {
///         let sound = dac_codec::AudioClip::read(&clip.path, 60.0)?;
///         let peak = sound.samples.iter().fold(0.0f32, |peak, v| peak.max(v.abs()));
///         Ok(vec![peak.into(), sound.seconds()])
///     }
/// }
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("a.wav");
/// # dac_codec::AudioClip { samples: vec![0.5; 8000], sample_rate: 16_000 }.write_wav(&path)?;
/// let clips = EvalClip::in_folder(folder.path())?;
/// let embeddings = embed_clips(&mut Loudness, &clips)?;
/// assert_eq!(embeddings.features().width(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Embedder {
    /// The embedding of a clip, of the same width for all clips.
    ///
    /// # Errors
    ///
    /// What keeps the model from an answer.
    fn embed(&mut self, clip: &EvalClip) -> Result<Vec<f64>, ModelFailure>;
}

/// Turns a clip into class logits, for the KL divergence and the inception score.
pub trait Classifier {
    /// The logits of a clip, as many for all clips.
    ///
    /// # Errors
    ///
    /// What keeps the model from an answer.
    fn classify(&mut self, clip: &EvalClip) -> Result<Vec<f64>, ModelFailure>;
}

/// Turns a clip into what is said in it, for word and character error rate.
pub trait Transcriber {
    /// The words of a clip.
    ///
    /// # Errors
    ///
    /// What keeps the model from an answer.
    fn transcribe(&mut self, clip: &EvalClip) -> Result<String, ModelFailure>;
}

/// The embeddings of all clips.
///
/// # Errors
///
/// [`MetricError::Model`] with the model's failure, else as [`Features::new`].
pub fn embed_clips(
    model: &mut dyn Embedder,
    clips: &[EvalClip],
) -> Result<NamedFeatures, MetricError> {
    rows(clips, |clip| model.embed(clip))
}

/// The class logits of all clips.
///
/// # Errors
///
/// As [`embed_clips`].
pub fn classify_clips(
    model: &mut dyn Classifier,
    clips: &[EvalClip],
) -> Result<NamedFeatures, MetricError> {
    rows(clips, |clip| model.classify(clip))
}

/// What is said in each clip, in their order.
///
/// # Errors
///
/// [`MetricError::Model`] with the model's failure.
pub fn transcribe_clips(
    model: &mut dyn Transcriber,
    clips: &[EvalClip],
) -> Result<Vec<String>, MetricError> {
    let texts = clips
        .iter()
        .map(|clip| model.transcribe(clip).map_err(failed(clip)));
    texts.collect()
}

fn rows(
    clips: &[EvalClip],
    answer: impl FnMut(&EvalClip) -> Result<Vec<f64>, ModelFailure>,
) -> Result<NamedFeatures, MetricError> {
    let mut answer = answer;
    let rows: Vec<Vec<f64>> = clips
        .iter()
        .map(|clip| answer(clip).map_err(failed(clip)))
        .collect::<Result<_, _>>()?;
    let features = Features::from_rows(rows.iter().map(Vec::as_slice))?;
    NamedFeatures::new(clips.iter().map(|clip| clip.id.clone()).collect(), features)
}

fn failed(clip: &EvalClip) -> impl FnOnce(ModelFailure) -> MetricError {
    let id = clip.id.clone();
    move |source| MetricError::Model { id, source }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Answers with the length of a clip's name, `fail` excepted.
    struct Names;

    impl Classifier for Names {
        fn classify(&mut self, clip: &EvalClip) -> Result<Vec<f64>, ModelFailure> {
            match clip.id.as_str() {
                "fail" => Err("out of memory".into()),
                id => Ok(vec![id.len() as f64, 1.0]),
            }
        }
    }

    impl Transcriber for Names {
        fn transcribe(&mut self, clip: &EvalClip) -> Result<String, ModelFailure> {
            Ok(clip.id.to_uppercase())
        }
    }

    #[test]
    fn answers_keep_the_order_of_the_clips_and_failures_name_theirs() {
        let clips = ["bb", "a"].map(|name| EvalClip::file(Path::new(name)));
        let found = classify_clips(&mut Names, &clips).expect("rows");
        assert_eq!(found.features().values(), [2.0, 1.0, 1.0, 1.0]);
        assert_eq!(found.row("a"), Some(&[1.0, 1.0][..]));
        assert_eq!(
            transcribe_clips(&mut Names, &clips).expect("texts"),
            ["BB", "A"]
        );

        let clips = [EvalClip::file(Path::new("fail.wav"))];
        let error = classify_clips(&mut Names, &clips).expect_err("failure");
        assert_eq!(error.to_string(), "the model failed on the clip `fail`");
    }
}
