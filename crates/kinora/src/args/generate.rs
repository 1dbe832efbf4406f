//! Flags of `kinora generate`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use kinora_media::Fps;
use kinora_pipeline::{CacheChoice, LoraChoice, PrecisionChoice, Size};
use kinora_sampling::Sampler;

use super::{DEFAULT_MODEL, Mode, OutputFiles, Tasks};
use crate::values;

pub(super) const GENERATE_EXAMPLES: &str = "\
Examples:
  kinora generate \"a rocket flies over a city at sunset\" -o rocket.mp4
  kinora generate \"a red car in the rain\" --size 288x512 --fps 24 --format webm
  kinora generate \"a lion runs\" --image lion.png --seconds 2
  kinora generate \"a fox runs\" --precision int8 --max-memory 2GB --profile trace.json
  echo \"an owl at night\" | kinora generate - --json --quiet > report.json

Exit codes: 0 done, 1 defect in Kinora, 2 bad argument or prompt, 3 bad input file, 4 model files,
5 cannot write, 6 out of memory, 130 stopped. Ctrl-C stops at the next step; twice leaves at once.";

/// Flags of `kinora generate`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("given").args(["video", "video_latents", "blend_from", "close_loop"])))]
pub struct Generate {
    /// What to show, in English; - reads it from standard input
    ///
    /// Example: "a rocket flies over a city at sunset"
    #[arg(required_unless_present_any = ["video_latents", "blend_from", "close_loop", "shot"])]
    pub prompt: Option<OsString>,

    /// Where to write; a name made from the prompt if absent
    ///
    /// The ending names the format. An existing folder is given a file with a name made from the prompt. With several
    /// variants their number is put before the ending.
    ///
    /// Example: -o rocket.mp4
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,

    /// What is written, and what beside it.
    #[command(flatten)]
    pub files: OutputFiles,

    /// Width and height in pixels, even, each from 64 to 3840
    ///
    /// A size that the model does not make itself is made from the nearest one that it does; the report says how.
    ///
    /// Example: --size 512x288
    #[arg(long, value_name = "WxH", value_parser = values::size, allow_hyphen_values = true, help_heading = "Picture")]
    pub size: Option<Size>,

    /// Playing time, up to 60; with --extend, how much to add
    ///
    /// Example: --seconds 2.5
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds, allow_negative_numbers = true,
          conflicts_with = "frames", help_heading = "Picture")]
    pub seconds: Option<f64>,

    /// Length in frames at the model's own rate; 1 makes an image
    ///
    /// Example: --frames 33
    #[arg(long, value_name = "N", value_parser = values::frames, allow_negative_numbers = true, help_heading = "Picture")]
    pub frames: Option<u32>,

    /// Frames a second in the file, 1 to 120
    ///
    /// A rate other than the model's own is reached by interpolation, so that the playing time stays.
    ///
    /// Example: --fps 24
    #[arg(long, value_name = "RATE", value_parser = values::fps, allow_negative_numbers = true, help_heading = "Picture")]
    pub fps: Option<Fps>,

    /// Start from this picture (PNG, JPEG or WebP)
    ///
    /// Example: --image lion.png
    #[arg(long, value_name = "FILE", help_heading = "Picture")]
    pub image: Option<PathBuf>,

    /// End with this picture; needs --image and a model that can (Wan image to video, VACE)
    ///
    /// Example: --image lion.png --last-image cub.png
    #[arg(long, value_name = "FILE", requires = "image", help_heading = "Picture")]
    pub last_image: Option<PathBuf>,

    /// Continue this clip
    ///
    /// Example: --extend car.mp4
    #[arg(long, value_name = "FILE", conflicts_with_all = ["image", "video", "control"], help_heading = "Picture")]
    pub extend: Option<PathBuf>,

    /// Make this clip anew in the prompt's words, as much as --strength says
    ///
    /// Example: --video car.mp4 --strength 0.6
    #[arg(long, value_name = "FILE", conflicts_with_all = ["image", "control"], help_heading = "Picture")]
    pub video: Option<PathBuf>,

    /// What a clip is made of, beside words.
    #[command(flatten)]
    pub tasks: Tasks,

    /// How much of a given clip is made anew: above 0, up to 1 (all of it)
    ///
    /// Example: --strength 0.6
    #[arg(long, value_name = "PART", value_parser = values::strength, allow_negative_numbers = true, requires = "given",
          help_heading = "Task")]
    pub strength: Option<f32>,

    /// Follow the poses, edges or depths of this clip; needs a Wan VACE model
    ///
    /// Example: --control poses.mp4
    #[arg(long, value_name = "FILE", conflicts_with = "image", help_heading = "Control")]
    pub control: Option<PathBuf>,

    /// Keep --control as it is where this clip or picture is black, make it anew where it is white
    ///
    /// Example: --control street.mp4 --mask car.png
    #[arg(long, value_name = "FILE", requires = "control", help_heading = "Control")]
    pub mask: Option<PathBuf>,

    /// Show what is in this picture; several may be given; needs a Wan VACE model
    ///
    /// Example: --reference dog.png --reference hat.png
    #[arg(long, value_name = "FILE", help_heading = "Control")]
    pub reference: Vec<PathBuf>,

    /// How closely to follow the control branch, 0 to 4
    ///
    /// Example: --control-scale 0.8
    #[arg(long, value_name = "SCALE", value_parser = values::control_scale, allow_negative_numbers = true,
          default_value = "1", help_heading = "Control")]
    pub control_scale: f32,

    /// What to keep away from
    ///
    /// Example: --negative "people, text"
    #[arg(long, value_name = "TEXT", help_heading = "Prompt")]
    pub negative: Option<String>,

    /// How to hand the prompt to the model.
    #[command(flatten)]
    pub mode: Mode,

    /// Model to use: a name from `kinora models`, a folder, or the file of a transformer
    ///
    /// The other parts of a transformer are found beside it, where ComfyUI keeps them, or among those of models that were
    /// added.
    ///
    /// Example: --model wan2.1_t2v_1.3B_bf16.safetensors
    #[arg(long, value_name = "NAME|PATH", default_value = DEFAULT_MODEL, help_heading = "Model")]
    pub model: OsString,

    /// Denoising steps, 1 to 200; more is slower and finer
    ///
    /// Example: --steps 24
    #[arg(long, value_name = "N", value_parser = values::steps, allow_negative_numbers = true, help_heading = "Model")]
    pub steps: Option<u32>,

    /// How closely to follow the prompt, 0 to 30; 1 turns guidance off
    ///
    /// Example: --guidance 5
    #[arg(long, value_name = "SCALE", value_parser = values::guidance, allow_negative_numbers = true, help_heading = "Model")]
    pub guidance: Option<f32>,

    /// Guidance of the expert for the last, less noisy steps (Wan 2.2 A14B)
    ///
    /// Example: --guidance 4 --guidance-low 3
    #[arg(long, value_name = "SCALE", value_parser = values::guidance, allow_negative_numbers = true, help_heading = "Model")]
    pub guidance_low: Option<f32>,

    /// Guide the first steps only; the others take half of the time
    ///
    /// Example: --guided-steps 20
    #[arg(long, value_name = "N", value_parser = values::guided_steps, allow_negative_numbers = true, help_heading = "Model")]
    pub guided_steps: Option<u32>,

    /// Where the steps go: above 1 more of them to the rough shapes, below 1 more to details
    ///
    /// Example: --shift 5
    #[arg(long, value_name = "SHIFT", value_parser = values::shift, allow_negative_numbers = true, help_heading = "Model")]
    pub shift: Option<f64>,

    /// Add a LoRA to the model; several may be given
    ///
    /// The strength is 1 if absent; @high or @low names one of two experts, where the name of the file does not.
    ///
    /// Example: --lora style.safetensors:0.8
    #[arg(long, value_name = "FILE[:STRENGTH][@EXPERT]", value_parser = values::lora, help_heading = "Model")]
    pub lora: Vec<LoraChoice>,

    /// Update rule: euler, heun, unipc, dpmpp-2m or renoise
    ///
    /// Example: --sampler unipc
    #[arg(long, value_name = "NAME", value_parser = values::sampler, help_heading = "Model")]
    pub sampler: Option<Sampler>,

    /// Number that the starting noise is made from; random if absent, and shown
    ///
    /// The same seed, machine and version make the same bytes.
    ///
    /// Example: --seed 42
    #[arg(long, value_name = "N", value_parser = values::seed, allow_negative_numbers = true, help_heading = "Model")]
    pub seed: Option<u64>,

    /// How many clips to make, 1 to 64, each with the next seed
    ///
    /// Example: --variants 4
    #[arg(long, value_name = "N", value_parser = values::variants, allow_negative_numbers = true, default_value = "1",
          help_heading = "Model")]
    pub variants: u32,

    /// What the model computes with: auto, f32, bf16 or int8
    ///
    /// auto is int8 where the processor has instructions for it, else f32. f32 gives the numbers of the reference, bf16
    /// and int8 are faster and smaller; the clip looks the same.
    ///
    /// Example: --precision f32
    #[arg(long, value_name = "NAME", value_parser = values::precision, default_value = "auto", help_heading = "Speed")]
    pub precision: PrecisionChoice,

    /// Most memory to use; what is free if absent
    ///
    /// In MB, GB, MiB or GiB. Where the fastest way does not fit, a slower one is taken; where none fits, the run is
    /// refused before it starts, and what would fit is said.
    ///
    /// Example: --max-memory 2GB
    #[arg(long, value_name = "SIZE", value_parser = values::memory, allow_hyphen_values = true, help_heading = "Speed")]
    pub max_memory: Option<u64>,

    /// Skip predictions that would change little: off, easy or mag, with a threshold if wanted
    ///
    /// easy works with every model, mag with those that have been measured for it. The report says how much was skipped
    /// and what it may have cost.
    ///
    /// Example: --cache easy:0.05
    #[arg(long, value_name = "KIND[:THRESHOLD]", value_parser = values::cache, default_value = "off", help_heading = "Speed")]
    pub cache: CacheChoice,

    /// Decode with this tiny autoencoder (taew2_1, taew2_2) instead of the model's own
    ///
    /// Much faster and in less memory, with softer detail; the preview in the terminal is then a picture too.
    ///
    /// Example: --decoder taew2_1.safetensors
    #[arg(long, value_name = "FILE", help_heading = "Speed")]
    pub decoder: Option<PathBuf>,

    /// Threads that compute; as many as the machine has cores if absent
    ///
    /// Example: --threads 2
    #[arg(long, value_name = "N", value_parser = values::threads, allow_negative_numbers = true, help_heading = "Speed")]
    pub threads: Option<u32>,

    /// Show the plan, with the memory that each stage takes, and stop
    ///
    /// Example: --dry-run
    #[arg(long, help_heading = "Speed")]
    pub dry_run: bool,

    /// Keep the latents beside the clip, as .latents.safetensors, for `kinora decode`
    ///
    /// They are written before the frames are made, and removed when the clip is finished. If it cannot be finished they
    /// stay, whether this is given or not.
    ///
    /// Example: --keep-latents
    #[arg(long, help_heading = "Output")]
    pub keep_latents: bool,

    /// Write where the time went, for chrome://tracing or ui.perfetto.dev, and show it as a table
    ///
    /// Example: --profile trace.json
    #[arg(long, value_name = "FILE", help_heading = "Speed")]
    pub profile: Option<PathBuf>,

    /// Print the run report to standard output as JSON
    ///
    /// Example: --json > report.json
    #[arg(long, help_heading = "Talk")]
    pub json: bool,

    /// Say nothing but errors
    ///
    /// Example: --quiet
    #[arg(short, long, help_heading = "Talk")]
    pub quiet: bool,

    /// Do not show the clip on the terminal while it is made
    ///
    /// Example: --no-preview
    #[arg(long, help_heading = "Talk")]
    pub no_preview: bool,
}
