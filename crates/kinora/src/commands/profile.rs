//! `--profile`: a file for a trace viewer, and a table for the terminal.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use kinora_kernels::trace::{self, Recording};
use kinora_pipeline::profile;

use super::table;
use crate::output_name;

/// A recording that is under way, and the file that it goes to.
pub struct Profile {
    /// Whole when it is given its name, like everything that Kinora writes.
    unfinished: PathBuf,
    file: PathBuf,
}

impl Profile {
    /// Begins to record.
    ///
    /// **Errors**: the file cannot be made.
    pub fn start(file: &Path) -> anyhow::Result<Self> {
        let name = format!(".kinora-{}-profile.part", std::process::id());
        let profile = Self {
            unfinished: output_name::folder(file).join(name),
            file: file.to_owned(),
        };
        // Made now: a folder that is missing shows before the work.
        std::fs::File::create(&profile.unfinished).with_context(|| cannot_write(file))?;
        trace::start();
        Ok(profile)
    }

    /// Writes the file, and gives the table.
    pub fn finish(self) -> anyhow::Result<String> {
        let recording = trace::stop();
        self.write(&recording).with_context(|| cannot_write(&self.file))?;
        Ok(times(&recording, &Peaks::measure()?))
    }

    fn write(&self, recording: &Recording) -> std::io::Result<()> {
        let mut out = BufWriter::new(std::fs::File::create(&self.unfinished)?);
        serde_json::to_writer(&mut out, &profile::chrome_trace(recording))?;
        out.flush()?;
        std::fs::rename(&self.unfinished, &self.file)
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        // Gone already if it was given its name.
        let _ = std::fs::remove_file(&self.unfinished);
    }
}

fn cannot_write(file: &Path) -> String {
    format!(
        "cannot write the profile {}\nhint: another place for --profile",
        file.display()
    )
}

/// What this machine can do at most, in billions of operations a second.
struct Peaks {
    f32: f64,
    /// Absent where no instruction multiplies bytes.
    int8: Option<f64>,
}

impl Peaks {
    /// Measures for a quarter of a second.
    fn measure() -> anyhow::Result<Self> {
        let mut int8 = None;
        for _ in 0..5 {
            let started = Instant::now();
            let rate = kinora_kernels::probe_int8(4_000_000)?.map(|ops| ops / started.elapsed().as_secs_f64() / 1e9);
            int8 = rate.map(|rate| rate.max(int8.unwrap_or(0.0)));
        }
        Ok(Self {
            f32: kinora_kernels::peak_f32()?,
            int8,
        })
    }

    /// The one that a kind of work is measured against: fast attention is made of byte products too, and the instructions
    /// of 16-bit work have no probe.
    fn of(&self, name: &str) -> Option<f64> {
        let has = |word| name.split(' ').any(|part| part == word);
        match (has("int8") || has("fast"), has("bf16")) {
            (true, _) => self.int8,
            (false, true) => None,
            (false, false) => Some(self.f32),
        }
    }
}

/// Where the time went, one line for each kind of work.
fn times(recording: &Recording, peaks: &Peaks) -> String {
    let wall = recording.wall;
    let mut rows = vec![["", "calls", "total ms", "own ms", "share", "G op/s", "of peak"].map(str::to_owned)];
    for row in profile::rows(recording) {
        rows.push([
            row.name.to_owned(),
            row.calls.to_string(),
            format!("{:.1}", row.total.as_secs_f64() * 1e3),
            format!("{:.1}", row.own.as_secs_f64() * 1e3),
            format!("{:.1} %", row.share_of(wall) * 100.0),
            row.rate().map_or_else(String::new, |rate| format!("{rate:.0}")),
            row.rate()
                .zip(peaks.of(row.name))
                .map_or_else(String::new, |(rate, peak)| format!("{:.0} %", rate / peak * 100.0)),
        ]);
    }
    let outside = profile::outside(recording).as_secs_f64();
    rows.push([
        "the rest".to_owned(),
        String::new(),
        String::new(),
        format!("{:.1}", outside * 1e3),
        format!("{:.1} %", outside / wall.as_secs_f64().max(1e-9) * 100.0),
        String::new(),
        String::new(),
    ]);
    let left_out = match recording.left_out {
        0 => String::new(),
        count => format!("{count} more spans were not recorded\n"),
    };
    let int8 = peaks
        .int8
        .map_or_else(String::new, |peak| format!(", {peak:.0} in int8"));
    format!(
        "where {:.1} s went (own: without what has a line of its own; the peak of this machine is {:.0} G op/s in f32{int8})\n\
         {}{left_out}",
        wall.as_secs_f64(),
        peaks.f32,
        table::numbers(&rows)
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kinora_kernels::trace::SpanRecord;

    use super::*;

    #[test]
    fn the_table_has_shares_and_rates() {
        let span = |name, start, duration, ops| SpanRecord {
            name,
            detail: None,
            start: Duration::from_millis(start),
            duration: Duration::from_millis(duration),
            thread: 1,
            ops,
        };
        let recording = Recording {
            spans: vec![span("step", 0, 900, 0.0), span("linear int8", 100, 500, 2.5e11)],
            threads: [(1, "main".to_owned())].into(),
            wall: Duration::from_secs(1),
            left_out: 3,
        };
        let peaks = |int8| Peaks { f32: 250.0, int8 };
        assert_eq!(
            times(&recording, &peaks(Some(1000.0))),
            "where 1.0 s went (own: without what has a line of its own; the peak of this machine is 250 G op/s in f32, 1000 \
             in int8)\n\
             \x20            calls  total ms  own ms   share  G op/s  of peak\n\
             linear int8      1     500.0   500.0  50.0 %     500     50 %\n\
             step             1     900.0   400.0  40.0 %\n\
             the rest                       100.0  10.0 %\n\
             3 more spans were not recorded\n"
        );
        assert_eq!(peaks(None).of("linear int8"), None);
        assert_eq!(peaks(Some(1000.0)).of("attention fast"), Some(1000.0));
        assert_eq!(peaks(None).of("conv2d bf16"), None);
        assert_eq!(peaks(None).of("conv2d"), Some(250.0));
    }
}
