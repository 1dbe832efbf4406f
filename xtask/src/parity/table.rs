//! Lines of comparisons become rows, rows become a page, and a page becomes rows again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::Problem;

/// The rows of the page that a check needs: the numbers that must hold.
#[derive(Debug, PartialEq)]
pub(super) struct Table {
    rows: Vec<Bound>,
}

#[derive(Debug, PartialEq)]
struct Bound {
    component: String,
    comparisons: usize,
    tolerance: f32,
}

/// What a run of the tests found.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub rows: Vec<Row>,
    /// Path of the kernels.
    kernels: Option<String>,
    /// Fixtures that no comparison with a tolerance belongs to.
    without: Vec<(String, String)>,
}

/// All comparisons with one golden.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    crate_name: String,
    golden: String,
    /// Whether these are the comparisons that allow more than the golden's manifest: other precisions, quantised weights.
    loose: bool,
    comparisons: usize,
    values: u64,
    max_abs: f64,
    cosine: f64,
    /// The lowest of those that are finite.
    psnr: Option<f64>,
    tolerance: f32,
    reference: String,
}

impl Row {
    fn component(&self) -> String {
        let loose = if self.loose { " (other precisions)" } else { "" };
        format!("{}/{}{loose}", self.crate_name, self.golden)
    }

    fn add(&mut self, line: &Value) -> Result<()> {
        self.comparisons += 1;
        self.values += line["values"].as_u64().context("a comparison without values")?;
        // What JSON cannot hold is no number, and therefore the worst.
        self.max_abs = self.max_abs.max(line["max_abs"].as_f64().unwrap_or(f64::INFINITY));
        self.cosine = self.cosine.min(line["cosine"].as_f64().unwrap_or(-1.0));
        if let Some(psnr) = line["psnr"].as_f64() {
            self.psnr = Some(self.psnr.map_or(psnr, |worst| worst.min(psnr)));
        }
        self.tolerance = self.tolerance.max(tolerance(line, "tolerance")?);
        Ok(())
    }
}

impl Measured {
    /// The lines that the tests left, and the fixtures that there are.
    pub(super) fn read(lines: &str, fixtures: &[(String, String)]) -> Result<Self> {
        let mut rows: BTreeMap<(String, String, bool), Row> = BTreeMap::new();
        let mut kernels = None;
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line).context("a line of the comparisons is not JSON")?;
            if let Some(note) = line["note"].as_str() {
                if note == "kernels" {
                    kernels = line["value"].as_str().map(str::to_owned);
                }
                continue;
            }
            let text = |key: &str| -> Result<String> {
                let text = line[key].as_str();
                Ok(text.with_context(|| format!("a comparison without {key}"))?.to_owned())
            };
            let loose = tolerance(&line, "tolerance")? > tolerance(&line, "golden_tolerance")?;
            let (crate_name, golden) = (text("crate")?, text("golden")?);
            let row = rows.entry((crate_name.clone(), golden.clone(), loose)).or_insert(Row {
                crate_name,
                golden,
                loose,
                comparisons: 0,
                values: 0,
                max_abs: 0.0,
                cosine: 1.0,
                psnr: None,
                tolerance: 0.0,
                reference: reference(&line),
            });
            row.add(&line)?;
        }
        let compared: BTreeSet<(&str, &str)> = rows
            .values()
            .map(|row| (row.crate_name.as_str(), row.golden.as_str()))
            .collect();
        let without = fixtures
            .iter()
            .filter(|(crate_name, file)| {
                let golden = file.rsplit_once('.').map_or(file.as_str(), |(name, _)| name);
                !compared.contains(&(crate_name.as_str(), golden))
            })
            .cloned()
            .collect();
        let rows: Vec<Row> = rows.into_values().collect();
        if rows.is_empty() {
            bail!("the tests compared nothing");
        }
        Ok(Self { rows, kernels, without })
    }
}

/// f32 in the tests; JSON widens it.
fn tolerance(line: &Value, key: &str) -> Result<f32> {
    let tolerance = line[key].as_f64();
    Ok(tolerance.with_context(|| format!("a comparison without {key}"))? as f32)
}

/// `script, package version, ...`, without what a build of torch adds to its version.
fn reference(line: &Value) -> String {
    let sources = line["sources"].as_object().into_iter().flatten();
    let versions = sources.map(|(package, version)| {
        let version = version.as_str().unwrap_or_default();
        format!("{package} {}", version.split('+').next().unwrap_or_default())
    });
    let script = line["script"].as_str().unwrap_or_default();
    let script = script.rsplit('/').next().unwrap_or_default();
    std::iter::once(format!("`{script}`"))
        .chain(versions)
        .collect::<Vec<_>>()
        .join(", ")
}

const HEAD: &str =
    "| Component | Comparisons | Values | Worst max abs | Worst cosine | Worst PSNR | Tolerance | Reference |";

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernels = self.kernels.as_deref().unwrap_or("not known");
        writeln!(
            f,
            "# Parity\n\n\
             How far Kinora is from the implementations that it follows. Each row is one golden: a small file that a script under\n\
             `tools/reference/` made by running the reference, with its inputs, the values after each stage, and its output. The tests of\n\
             the crate compare stage by stage, and the row holds the worst of all its comparisons. The page is written by a command and\n\
             not by hand:\n\n\
             ```sh\n\
             cargo xtask parity           # measures and writes this page\n\
             cargo xtask parity --check   # measures and fails if a row is gone or out of its tolerance\n\
             ```\n\n\
             Kernels: `{kernels}` on {}. Max abs is the largest absolute difference of one value. PSNR takes the range of the reference as\n\
             its peak; `exact` means that no value differs. Tolerance is the largest difference that the tests allow. Rows of other\n\
             precisions are comparisons of quantised or 16-bit runs with the same golden.\n\n\
             {HEAD}\n|---|---|---|---|---|---|---|---|",
            std::env::consts::ARCH
        )?;
        for row in &self.rows {
            let exact = row.max_abs == 0.0;
            let psnr = match row.psnr {
                Some(psnr) => format!("{psnr:.1} dB"),
                None if exact => "exact".to_owned(),
                None => "-".to_owned(),
            };
            let max_abs = if exact {
                "0".to_owned()
            } else {
                format!("{:.1e}", row.max_abs)
            };
            writeln!(
                f,
                "| {} | {} | {} | {max_abs} | {} | {psnr} | {:e} | {} |",
                row.component(),
                row.comparisons,
                row.values,
                cosine(row.cosine),
                row.tolerance,
                row.reference
            )?;
        }
        if self.without.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\nFixtures without a row: no test compares anything with them within a tolerance. They are input, are compared exactly, or\n\
             belong to a component that is still to come.\n"
        )?;
        let mut by_crate: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (crate_name, file) in &self.without {
            by_crate.entry(crate_name).or_default().push(format!("`{file}`"));
        }
        for (crate_name, files) in by_crate {
            writeln!(f, "- {crate_name}: {}", files.join(", "))?;
        }
        Ok(())
    }
}

/// As many nines as there are: 1 - 3.2e-12 says more than 1.000000.
fn cosine(cosine: f64) -> String {
    let missing = 1.0 - cosine;
    if missing <= 0.0 {
        "1".to_owned()
    } else if missing < 1e-3 {
        format!("1 - {missing:.1e}")
    } else {
        format!("{cosine:.4}")
    }
}

impl Table {
    /// The rows of a page.
    pub(super) fn parse(page: &str) -> Result<Self> {
        let lines = page.lines().skip_while(|line| *line != HEAD).skip(2);
        let rows: Vec<Bound> = lines
            .take_while(|line| line.starts_with('|'))
            .map(|line| {
                let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
                let &[component, comparisons, _, _, _, _, tolerance, _] = &cells[..] else {
                    bail!("a row has {} cells: {line}", cells.len());
                };
                Ok(Bound {
                    component: component.to_owned(),
                    comparisons: comparisons
                        .parse()
                        .with_context(|| format!("{component}: comparisons"))?,
                    tolerance: tolerance.parse().with_context(|| format!("{component}: tolerance"))?,
                })
            })
            .collect::<Result<_>>()?;
        if rows.is_empty() {
            bail!("it has no rows");
        }
        Ok(Self { rows })
    }

    /// What no longer holds.
    pub(super) fn check(&self, measured: &Measured, page: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        for bound in &self.rows {
            let component = &bound.component;
            let Some(row) = measured.rows.iter().find(|row| row.component() == *component) else {
                problems.push(Problem::new(
                    page,
                    format!("{component} is compared by no test any more"),
                ));
                continue;
            };
            if row.comparisons < bound.comparisons {
                problems.push(Problem::new(
                    page,
                    format!(
                        "{component} had {} comparisons and has {} now",
                        bound.comparisons, row.comparisons
                    ),
                ));
            }
            if row.tolerance > bound.tolerance {
                problems.push(Problem::new(
                    page,
                    format!(
                        "{component} allows {:e} now; the table says {:e}",
                        row.tolerance, bound.tolerance
                    ),
                ));
            }
            // The tests say so too; this is about a tolerance that was raised.
            if row.max_abs > f64::from(bound.tolerance) {
                problems.push(Problem::new(
                    page,
                    format!(
                        "{component} is off by {:.1e}; the table allows {:e}",
                        row.max_abs, bound.tolerance
                    ),
                ));
            }
        }
        for row in &measured.rows {
            if !self.rows.iter().any(|bound| bound.component == row.component()) {
                problems.push(Problem::new(
                    page,
                    format!("{} has no row; run `cargo xtask parity`", row.component()),
                ));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests;
