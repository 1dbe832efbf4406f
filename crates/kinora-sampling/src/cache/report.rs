//! What a step cache saved and what it may have cost.

/// What a step cache did in a run so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CacheReport {
    /// Evaluations that the model made.
    pub computed: usize,
    /// Evaluations that were replaced.
    pub reused: usize,
    /// Expected relative error of a velocity, as the rule estimates it: the mean over all evaluations, those of the model
    /// counting as 0.
    pub estimated_error: f64,
    /// The largest expected error of one velocity; below the threshold.
    pub largest_error: f64,
    /// The largest error that was really seen: whenever the model is asked again after replaced evaluations, its velocity
    /// is compared with what one more replacement would have been (mean absolute difference by mean size). An upper
    /// bound for the steps before if errors grow. `None` if nothing was replaced yet.
    pub measured_error: Option<f64>,
}

impl CacheReport {
    /// How many times fewer evaluations the model made; 1 if nothing was replaced.
    pub fn speed_up(&self) -> f64 {
        let all = (self.computed + self.reused) as f64;
        if self.computed == 0 {
            1.0
        } else {
            all / self.computed as f64
        }
    }
}

/// The sums behind a report.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Tally {
    pub computed: usize,
    pub reused: usize,
    pub error_sum: f64,
    pub largest_error: f64,
    pub measured_error: Option<f64>,
}

impl Tally {
    pub fn reused(&mut self, error: f64) {
        self.reused += 1;
        self.error_sum += error;
        self.largest_error = self.largest_error.max(error);
    }

    pub fn computed(&mut self, measured: Option<f64>) {
        self.computed += 1;
        if let Some(measured) = measured.filter(|measured| measured.is_finite()) {
            self.measured_error = Some(self.measured_error.unwrap_or(0.0).max(measured));
        }
    }

    pub fn report(&self) -> CacheReport {
        CacheReport {
            computed: self.computed,
            reused: self.reused,
            estimated_error: self.error_sum / (self.computed + self.reused).max(1) as f64,
            largest_error: self.largest_error,
            measured_error: self.measured_error,
        }
    }
}
