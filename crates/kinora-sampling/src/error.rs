//! The one error type of this crate.

/// What can go wrong while latents are sampled.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The number of steps is outside the supported range.
    #[error("{steps} steps are not possible\nhint: between 1 and {max} steps; 20 to 30 suit most models")]
    Steps {
        /// Steps asked for.
        steps: usize,
        /// The largest possible number.
        max: usize,
    },
    /// A kind of schedule that exists for a few numbers of steps only.
    #[error("the schedule {kind} has no list of {steps} steps\nhint: {possible} steps are possible")]
    StepsOfKind {
        /// Name of the kind.
        kind: &'static str,
        /// Steps asked for.
        steps: usize,
        /// What is possible.
        possible: String,
    },
    /// A list of timesteps that is not a way from noise to a clean result.
    #[error("entry {index} of the list is {entry}\nhint: whole numbers from 1000 down to 1, each below the one before")]
    ListEntry {
        /// Position in the list.
        index: usize,
        /// The value there.
        entry: u32,
    },
    /// The ratio of noise to signal at which an rCM schedule is to start is not above that of its second level.
    #[error(
        "a largest sigma of {sigma_max} is not possible\nhint: 80 suits TurboWan 2.1, 200 TurboWan 2.2; above 14.2"
    )]
    SigmaMax {
        /// The ratio asked for.
        sigma_max: f64,
    },
    /// The shift is not a finite number above zero.
    #[error("a shift of {shift} is not possible\nhint: a number above 0; 1 shifts nothing, 3 to 12 suit video models")]
    Shift {
        /// The shift asked for.
        shift: f64,
    },
    /// A list of sigmas that is not a way from noise to a clean result.
    #[error(
        "sigma {index} of the list is {sigma}\nhint: sigmas fall from at most 1, each below the one before, and end in 0"
    )]
    Sigmas {
        /// Position in the list.
        index: usize,
        /// The value there.
        sigma: f64,
    },
    /// As many timesteps as sigmas before the last 0 are needed.
    #[error("{sigmas} sigmas need {} timesteps, got {timesteps}", sigmas.saturating_sub(1))]
    Timesteps {
        /// Number of sigmas, with the final 0.
        sigmas: usize,
        /// Number of timesteps.
        timesteps: usize,
    },
    /// The guidance scale is not a finite number.
    #[error("a guidance scale of {guidance_scale} is not possible\nhint: a finite number; 1 turns guidance off")]
    GuidanceScale {
        /// The scale asked for.
        guidance_scale: f64,
    },
    /// Guidance applies at this step, but the unconditional prediction is not there.
    #[error("step {step_index} is guided and needs the unconditional prediction too")]
    UncondMissing {
        /// The step.
        step_index: usize,
    },
    /// The sampler draws fresh noise, and nobody said which.
    #[error("step {step_index} adds fresh noise, and the run has none\nhint: give it a seed with `with_fresh_noise`")]
    NoiseMissing {
        /// The step.
        step_index: usize,
    },
    /// A prediction of noise says nothing about the clean latents while the latents are nothing but noise.
    #[error("a model that predicts noise cannot start at sigma {sigma}\nhint: use a schedule that starts below 1")]
    EpsilonAtPureNoise {
        /// The noise level.
        sigma: f64,
    },
    /// The model returned something that is not a number; going on would only spread it.
    #[error("the model's prediction at step {step_index} holds {value} at element {element}")]
    NotFinite {
        /// The step.
        step_index: usize,
        /// The first such element.
        element: usize,
        /// Its value.
        value: f32,
    },
    /// A prediction arrived although no evaluation is due.
    #[error("all {steps} steps are done; no prediction is needed")]
    Finished {
        /// Steps of the schedule.
        steps: usize,
    },
    /// Clean latents that do not fit the latents of the run.
    #[error("clean latents of shape {clean:?} do not fit into latents of shape {latents:?}: {expected}")]
    CleanShape {
        /// Shape of the clean latents.
        clean: Vec<usize>,
        /// Shape of the latents of the run.
        latents: Vec<usize>,
        /// What would fit.
        expected: &'static str,
    },
    /// A parameter of a step cache outside its range.
    #[error("a {what} of {value} is not possible for a step cache\nhint: {possible}")]
    CacheNumber {
        /// Which parameter.
        what: &'static str,
        /// The value asked for.
        value: f64,
        /// What is possible.
        possible: &'static str,
    },
    /// A list of ratios that is no curve of MagCache.
    #[error("these ratios are no curve of MagCache: {reason}\nhint: measure them again in a run without a cache")]
    Curve {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A name that no sampler or schedule has.
    #[error("there is no {what} named {name:?}\nhint: one of {known}")]
    UnknownName {
        /// `sampler` or `schedule`.
        what: &'static str,
        /// The name asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// A checkpoint that this version cannot read.
    #[error("the sampler's checkpoint is unusable: {reason}\nhint: start the clip again")]
    Checkpoint {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A shape or memory error from the tensor.
    #[error(transparent)]
    Tensor(#[from] kinora_tensor::Error),
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;
