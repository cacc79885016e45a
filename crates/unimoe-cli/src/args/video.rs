//! What a user may say about a video.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::Args;
use vision_encoder::VideoOptions;

use super::{GenerationArgs, number, positive};
use crate::error::CliError;

/// `unimoe video-music`.
#[derive(Debug, Args)]
pub struct VideoMusicArgs {
    /// Video file (read by the program ffmpeg), GIF, WebP or APNG animation, picture, or folder of numbered pictures
    #[arg(value_name = "VIDEO")]
    pub video: PathBuf,
    /// Caption of its music
    #[arg(value_name = "CAPTION")]
    pub caption: String,
    /// One more video and its caption for the same batch; may be repeated
    #[arg(long, num_args = 2, value_names = ["VIDEO", "CAPTION"])]
    pub and: Vec<OsString>,
    /// What the model sees.
    #[command(flatten)]
    pub frames: FrameArgs,
    /// Also write what the model sees, with the borders of its tokens, to a folder that is new or empty
    #[arg(long, value_name = "FOLDER")]
    pub save_frames: Option<PathBuf>,
    /// Also write the video with the new sound: a file for one video, else a folder (needs ffmpeg)
    #[arg(long, value_name = "PATH")]
    pub mux: Option<PathBuf>,
    /// Model, sampling and output.
    #[command(flatten)]
    pub generation: GenerationArgs,
}

/// One video and its caption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    /// Where its frames are.
    pub video: PathBuf,
    /// What its music is like.
    pub caption: String,
}

/// What the model sees of a video. The defaults are the published ones.
#[derive(Debug, Clone, Args)]
pub struct FrameArgs {
    /// Frames seen per second of video [default: 1]
    #[arg(long, value_name = "NUMBER", value_parser = rate)]
    pub fps: Option<f64>,
    /// Most frames seen, from the beginning [default: 64]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_frames: Option<u32>,
    /// Fewest pixels of a frame after resizing; 784, a square of 28, are a token [default: 12544]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub min_pixels: Option<u32>,
    /// Most pixels of a frame after resizing [default: 50176]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_pixels: Option<u32>,
    /// Most pixels of a video after resizing, where --min-pixels leaves the choice; frames that share a token
    /// count once [default: 401408]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub total_pixels: Option<u32>,
    /// Pictures per second of a folder; without it each picture is a frame
    #[arg(long, value_name = "NUMBER", value_parser = rate)]
    pub folder_fps: Option<f64>,
    /// The program that reads and writes video files
    #[arg(long, value_name = "PROGRAM", default_value = "ffmpeg")]
    pub ffmpeg: PathBuf,
    /// Longest time to spend on reading or writing a video [default: 300]
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    pub time_limit: Option<f64>,
}

impl VideoMusicArgs {
    /// The batch, in the order given.
    ///
    /// # Errors
    ///
    /// [`CliError::Argument`] for a caption that is no Unicode text.
    pub fn clips(&self) -> Result<Vec<Clip>, CliError> {
        let first = Clip {
            video: self.video.clone(),
            caption: self.caption.clone(),
        };
        let mut clips = vec![first];
        // The parser takes them in pairs only.
        for pair in self.and.chunks_exact(2) {
            let caption = pair[1].to_str().ok_or_else(|| CliError::Argument {
                what: "--and",
                expected: "a caption in Unicode".into(),
                found: pair[1].display().to_string(),
            })?;
            clips.push(Clip {
                video: PathBuf::from(&pair[0]),
                caption: caption.to_owned(),
            });
        }
        Ok(clips)
    }
}

impl FrameArgs {
    /// The settings; what is left open is published.
    ///
    /// # Errors
    ///
    /// [`CliError::Argument`] where the least exceeds the most.
    pub fn options(&self) -> Result<VideoOptions, CliError> {
        let mut options = VideoOptions {
            folder_fps: self.folder_fps,
            ffmpeg: self.ffmpeg.clone(),
            ..VideoOptions::default()
        };
        options.fps = self.fps.unwrap_or(options.fps);
        let count = |given: Option<u32>, default| given.map_or(default, |count| count as usize);
        options.max_frames = count(self.max_frames, options.max_frames);
        options.max_pixels = count(self.max_pixels, options.max_pixels);
        options.total_pixels = count(self.total_pixels, options.total_pixels);
        // A most below the default least says enough, and the other way round.
        options.min_pixels = count(self.min_pixels, options.min_pixels.min(options.max_pixels));
        if self.max_pixels.is_none() {
            options.max_pixels = options.max_pixels.max(options.min_pixels);
        }
        if options.min_pixels > options.max_pixels {
            return Err(CliError::Argument {
                what: "--max-pixels",
                expected: format!("at least --min-pixels, {}", options.min_pixels),
                found: options.max_pixels.to_string(),
            });
        }
        if let Some(seconds) = self.time_limit {
            // As good as none where it overflows.
            options.limits.time = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        }
        Ok(options)
    }
}

fn rate(text: &str) -> Result<f64, String> {
    number(
        text,
        |rate| (1e-5..=1e3).contains(&rate),
        "0.00001 to 1000 per second",
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn parse(line: &[&str]) -> Result<VideoMusicArgs, clap::Error> {
        let cli = Cli::try_parse_from([&["unimoe", "video-music"], line].concat())?;
        let Command::VideoMusic(args) = cli.command else {
            panic!("not video-music");
        };
        Ok(*args)
    }

    fn options(line: &[&str]) -> Result<VideoOptions, CliError> {
        let line = [&["a.mp4", "calm"], line].concat();
        parse(&line).expect("parses").frames.options()
    }

    #[test]
    fn videos_and_captions_come_in_pairs() {
        let line = [
            "a 'b'.mp4",
            "calm",
            "--and",
            "c.gif",
            "loud",
            "--and",
            "d",
            "e",
        ];
        let clip = |video: &str, caption: &str| Clip {
            video: video.into(),
            caption: caption.into(),
        };
        let expected = [
            clip("a 'b'.mp4", "calm"),
            clip("c.gif", "loud"),
            clip("d", "e"),
        ];
        let args = parse(&line).expect("parses");
        assert_eq!(args.clips().expect("texts"), expected);
        for count in [1, 3, 4, 7] {
            parse(&line[..count]).expect_err("a video without a caption");
        }
    }

    #[test]
    fn a_leading_dash_is_a_path_behind_two_dashes() {
        let args = parse(&["--fps", "2", "--", "-clip.mp4", "calm"]).expect("parses");
        assert_eq!(args.video, PathBuf::from("-clip.mp4"));
        assert_eq!(args.frames.fps, Some(2.0));
        parse(&["-clip.mp4", "calm"]).expect_err("an option");
    }

    #[test]
    fn what_is_left_open_is_published() {
        assert_eq!(options(&[]).expect("valid"), VideoOptions::default());
    }

    #[test]
    fn every_option_reaches_its_setting() {
        let line = [
            "--fps=0.5",
            "--max-frames=9",
            "--min-pixels=784",
            "--max-pixels=3136",
            "--total-pixels=7840",
            "--folder-fps=24",
            "--time-limit=1.5",
            "--ffmpeg=/opt/ffmpeg",
        ];
        let found = options(&line).expect("valid");
        let mut expected = VideoOptions {
            fps: 0.5,
            max_frames: 9,
            min_pixels: 784,
            max_pixels: 3136,
            total_pixels: 7840,
            folder_fps: Some(24.0),
            ffmpeg: "/opt/ffmpeg".into(),
            ..VideoOptions::default()
        };
        expected.limits.time = Duration::from_millis(1500);
        assert_eq!(found, expected);
    }

    #[test]
    fn one_bound_moves_the_default_of_the_other_but_not_a_given_one() {
        let small = options(&["--max-pixels=784"]).expect("valid");
        assert_eq!((small.min_pixels, small.max_pixels), (784, 784));
        let large = options(&["--min-pixels=99999"]).expect("valid");
        assert_eq!((large.min_pixels, large.max_pixels), (99_999, 99_999));
        let error = options(&["--min-pixels=785", "--max-pixels=784"]).expect_err("crossed");
        assert_eq!(error.code(), 2);
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_name() {
        for (option, value) in [
            ("--fps", "0"),
            ("--fps", "1001"),
            ("--folder-fps", "nan"),
            ("--max-frames", "0"),
            ("--max-frames", "65537"),
            ("--min-pixels", "0"),
            ("--max-pixels", "-1"),
            ("--total-pixels", "1e9"),
            ("--time-limit", "0"),
        ] {
            let line = ["a.mp4", "calm", &format!("{option}={value}")];
            let error = parse(&line).expect_err("out of range").to_string();
            assert!(error.contains(option), "{error}");
        }
    }
}
