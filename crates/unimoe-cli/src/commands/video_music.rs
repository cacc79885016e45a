//! `unimoe video-music`.

use std::{path::Path, time::Instant};

use unimoe_model::{InputError, Prompt, Request, VideoMusicRequest};
use vision_encoder::{Preprocessor, VideoOptions};

use super::{
    chosen::Chosen,
    generation::{Job, companions},
};
use crate::{
    args::{Clip, VideoMusicArgs},
    error::CliError,
    frames::{Film, FrameFolder},
    interrupt::Interrupt,
    mux::Muxing,
    report::VideoReport,
    video::{Look, Seen, read},
};

/// Makes a piece of music for each video from its caption.
///
/// # Errors
///
/// [`CliError`]; no file is left half-written.
pub fn run(args: &VideoMusicArgs, interrupt: &Interrupt) -> Result<(), CliError> {
    let clips = args.clips()?;
    let captions: Vec<String> = clips.iter().map(|clip| clip.caption.clone()).collect();
    for (number, caption) in (1..).zip(&captions) {
        Prompt::music(caption).map_err(CliError::input(format!("caption {number}")))?;
    }
    let options = args.frames.options()?;
    let companions = companions(&args.generation)?;
    let words = &companions.words.music;
    let job = Job {
        task: "video-music",
        texts: &captions,
        args: &args.generation,
        defaults: companions.defaults.video_music,
        voices: Vec::new(),
        unknown: captions.iter().map(|text| words.unknown(text)).collect(),
        vision: true,
    };
    let mut work = job.start(interrupt)?;
    let muxing = (args.mux.as_deref())
        .map(|path| Muxing::reserve(path, &clips, &options, interrupt))
        .transpose()?;
    let folder = (args.save_frames.as_deref())
        .map(|path| FrameFolder::reserve(path, interrupt))
        .transpose()?;
    let look = look(args.generation.model.as_deref(), options)?;
    let (options, preprocessor) = (&look.options, &look.preprocessor);

    work.progress.spin("reading the video");
    let mut videos = Vec::new();
    let mut reports = Vec::new();
    for clip in &clips {
        let start = Instant::now();
        let seen = read(&clip.video, &look, interrupt)?;
        let seconds = start.elapsed().as_secs_f64();
        if seen.frames == options.max_frames && args.frames.max_frames.is_none() {
            work.progress.note(&limited(clip, options));
        }
        reports.push(report(clip, &seen, preprocessor, seconds));
        videos.push(seen);
    }
    if let Some(folder) = &folder {
        work.progress.spin("drawing the frames");
        let films = (videos.iter())
            .map(|seen| film(seen, preprocessor))
            .collect::<Result<Vec<_>, _>>()?;
        folder.write(&films, interrupt)?;
        for (report, place) in reports.iter_mut().zip(folder.places(clips.len())) {
            report.saved_frames = Some(place);
        }
    }

    let mut outcome = work.finish(interrupt, |_, options| {
        let requests = captions.iter().zip(videos).zip(options);
        let requests = requests.map(|((caption, seen), options)| {
            Request::VideoMusic(VideoMusicRequest {
                caption: companions.defaults.written(caption).into_owned(),
                vision: vec![seen.input],
                options,
            })
        });
        Ok(requests.collect())
    })?;
    let muxed = muxing.map(|muxing| {
        let sounds = outcome.results.iter().map(|result| result.path.as_path());
        muxing.write(&clips, sounds, options, interrupt)
    });
    if let Some(Ok(written)) = &muxed {
        for (report, path) in reports.iter_mut().zip(written) {
            report.muxed = Some(path.clone());
        }
    }
    for (result, report) in outcome.results.iter_mut().zip(reports) {
        result.video = Some(report);
    }
    match muxed {
        // The sounds are there all the same; with JSON the failure is the one object.
        Some(Err(error)) => {
            if !args.generation.json {
                job.print(&outcome)?;
            }
            Err(error)
        }
        _ => job.print(&outcome),
    }
}

/// Says that the default limit of frames was reached.
fn limited(clip: &Clip, options: &VideoOptions) -> String {
    let (video, frames) = (clip.video.display(), options.max_frames);
    if clip.video.is_dir() && options.folder_fps.is_none() {
        return format!(
            "of {video} the model sees the first {frames} pictures at most; see --max-frames"
        );
    }
    let seconds = frames as f64 / options.fps;
    format!(
        "of {video} the model sees the first {seconds} s at most; a lower --fps spreads its frames"
    )
}

/// How the model looks at a video, from its small files alone.
fn look(model: Option<&Path>, options: VideoOptions) -> Result<Look, CliError> {
    let chosen = Chosen::new(model);
    let config = chosen.config()?;
    let Some(vision) = config.vision else {
        return Err(CliError::input(&chosen.name)(InputError::NoVisionEncoder));
    };
    let found = Preprocessor::find(&chosen.folder).map_err(CliError::input(&chosen.name))?;
    Ok(Look {
        options,
        preprocessor: found.unwrap_or_else(|| Preprocessor::for_encoder(&vision.encoder)),
        max_tokens: config.text.max_positions,
    })
}

fn report(clip: &Clip, seen: &Seen, preprocessor: &Preprocessor, read_seconds: f64) -> VideoReport {
    let (grid, side) = (seen.input.grid, preprocessor.patch_size);
    VideoReport {
        path: clip.video.clone(),
        frames: seen.frames,
        width: grid.w * side,
        height: grid.h * side,
        grid: [grid.t, grid.h, grid.w],
        tokens: grid.tokens(preprocessor.merge_size).unwrap_or(usize::MAX),
        seconds_per_step: seen.input.seconds_per_step,
        read_seconds,
        saved_frames: None,
        muxed: None,
    }
}

fn film(seen: &Seen, preprocessor: &Preprocessor) -> Result<Film, CliError> {
    let depth = preprocessor.temporal_patch_size;
    let frames = preprocessor.pictures(&seen.input);
    let seconds = seen.input.seconds_per_step.unwrap_or(0.0) / depth as f64;
    let time = |frame: usize| format!("{:.2} s", frame as f64 * seconds);
    Ok(Film {
        frames: frames.map_err(CliError::work("draw the frames"))?,
        cell: (preprocessor.patch_size * preprocessor.merge_size) as u32,
        depth,
        times: (0..seen.frames).map(time).collect(),
    })
}
