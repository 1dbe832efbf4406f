//! Flags of `kinora generate` for clips that are made of other clips, and for storyboards.

use std::path::PathBuf;

use clap::Args;

use crate::values;

/// What a clip is made of, beside words.
#[derive(Debug, Args)]
pub struct Tasks {
    /// Make the clip of these kept latents anew, as much as --strength says
    ///
    /// As --video, without the loss of a file: latents are what --keep-latents leaves. Size and length are those of the clip;
    /// without a prompt, so are the words.
    ///
    /// Example: --video-latents car.latents.safetensors --strength 0.6
    #[arg(long, value_name = "FILE", conflicts_with_all = ["image", "extend", "video", "control"], help_heading = "Task")]
    pub video_latents: Option<PathBuf>,

    /// Begin as this clip, kept latents or not; needs --blend-to
    ///
    /// Without a prompt, the words of both clips are taken.
    ///
    /// Example: --blend-from car.mp4 --blend-to rocket.mp4
    #[arg(long, value_name = "FILE", requires = "blend_to",
          conflicts_with_all = ["image", "extend", "video", "control", "video_latents"], help_heading = "Task")]
    pub blend_from: Option<PathBuf>,

    /// End as this clip, kept latents or not; needs --blend-from
    ///
    /// Example: --blend-from car.mp4 --blend-to rocket.mp4
    #[arg(long, value_name = "FILE", requires = "blend_from", help_heading = "Task")]
    pub blend_to: Option<PathBuf>,

    /// The share of --blend-to over time, from 0 to 1; a line from 0 to 1 if absent
    ///
    /// Where it is 0 or 1 the clip is one of the two, as it is; between them both are mixed and made anew.
    ///
    /// Example: --curve 0,0,0.5,1,1
    #[arg(long, value_name = "SHARES", value_parser = values::share, value_delimiter = ',', requires = "blend_from",
          help_heading = "Task")]
    pub curve: Option<Vec<f32>>,

    /// Give this clip, kept latents or not, a new part from its end to its beginning, so that it plays without an end
    ///
    /// Example: --loop car.mp4
    #[arg(long = "loop", value_name = "FILE", help_heading = "Task",
          conflicts_with_all = ["image", "extend", "video", "control", "video_latents", "blend_from", "frames", "seconds"])]
    pub close_loop: Option<PathBuf>,

    /// Frames of the new part of --loop at the model's own rate; 12 if absent
    ///
    /// Example: --seam-frames 16
    #[arg(long, value_name = "N", value_parser = values::frames, allow_negative_numbers = true, requires = "close_loop",
          help_heading = "Task")]
    pub seam_frames: Option<u32>,

    /// Show this in a shot of its own; several make a storyboard, which needs no prompt
    ///
    /// Example: --shot "a red car drives" --shot "a rocket flies"
    #[arg(long, value_name = "PROMPT", help_heading = "Task",
          conflicts_with_all = ["prompt", "image", "extend", "video", "control", "video_latents", "blend_from",
                                "close_loop", "frames", "seconds"])]
    pub shot: Vec<String>,

    /// Frames of the shots at the model's own rate: one number for all, or one for each
    ///
    /// Example: --shot-frames 17,33
    #[arg(long, value_name = "N", value_parser = values::frames, allow_negative_numbers = true, value_delimiter = ',',
          requires = "shot", help_heading = "Task")]
    pub shot_frames: Vec<u32>,

    /// Seconds of the shots: one number for all, or one for each
    ///
    /// Example: --shot-seconds 2,3.5
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds, allow_negative_numbers = true,
          value_delimiter = ',', requires = "shot", conflicts_with = "shot_frames", help_heading = "Task")]
    pub shot_seconds: Vec<f64>,

    /// Let each shot go on from the end of the one before, instead of a cut
    ///
    /// Example: --continue-shots
    #[arg(long, requires = "shot", help_heading = "Task")]
    pub continue_shots: bool,
}
