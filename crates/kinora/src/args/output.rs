//! Flags of all commands that write a clip.

use clap::Args;
use kinora_media::Format;

use crate::values;

/// What is written, and what beside it.
#[derive(Debug, Args)]
pub struct OutputFiles {
    /// What to write: mp4, webm, gif, webp, png-frames or png
    ///
    /// The ending of -o decides if absent; else mp4, or png for one frame. png-frames writes a folder of pictures.
    ///
    /// Example: --format webm
    #[arg(long, value_name = "FORMAT", value_parser = values::format, help_heading = "Output")]
    pub format: Option<Format>,

    /// Replace the file if it is there
    ///
    /// Example: -o rocket.mp4 --overwrite
    #[arg(long, help_heading = "Output")]
    pub overwrite: bool,

    /// Also write the clip's best frame beside it, as .poster.jpg
    ///
    /// Example: -o rocket.mp4 --poster
    #[arg(long, help_heading = "Output")]
    pub poster: bool,

    /// Also write its frames side by side, as .sheet.png
    ///
    /// Example: -o rocket.mp4 --sheet
    #[arg(long, help_heading = "Output")]
    pub sheet: bool,
}
