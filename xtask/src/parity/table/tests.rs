//! Rendering and checking on made-up lines.

use serde_json::json;

use super::*;

fn line(golden: &str, tap: &str, max_abs: f64, tolerance: f64) -> String {
    let psnr = (max_abs > 0.0).then(|| -20.0 * max_abs.log10());
    json!({
        "crate": "kinora-models", "binary": "wan", "golden": golden, "script": "tools/reference/wan_tiny.py",
        "sources": { "diffusers": "0.42.1", "torch": "2.15.0+cu132" }, "tap": tap, "values": 10, "max_abs": max_abs,
        "nmse": 0.0, "cosine": 1.0 - max_abs * max_abs, "psnr": psnr, "tolerance": tolerance, "golden_tolerance": 1e-3,
    })
    .to_string()
}

fn fixtures() -> Vec<(String, String)> {
    [("wan_tiny.safetensors"), ("names.json")]
        .map(|file| ("kinora-models".to_owned(), file.to_owned()))
        .to_vec()
}

fn measured(lines: &[String]) -> Measured {
    Measured::read(&lines.join("\n"), &fixtures()).unwrap()
}

fn page() -> Measured {
    measured(&[
        line("wan_tiny", "a", 1e-5, 1e-3),
        line("wan_tiny", "b", 2e-4, 1e-3),
        line("wan_tiny", "int8", 0.04, 0.1),
        line("equal", "a", 0.0, 1e-3),
        json!({ "note": "kernels", "value": "avx512" }).to_string(),
    ])
}

#[test]
fn a_row_holds_the_worst_of_its_comparisons() {
    let text = page().to_string();
    let want = "| kinora-models/wan_tiny | 2 | 20 | 2.0e-4 | 1 - 4.0e-8 | 74.0 dB | 1e-3 | `wan_tiny.py`, diffusers 0.42.1, torch 2.15.0 |";
    assert!(text.contains(want), "{text}");
    let loose = "| kinora-models/wan_tiny (other precisions) | 1 | 10 | 4.0e-2 | 0.9984 | 28.0 dB | 1e-1 |";
    assert!(text.contains(loose), "{text}");
    assert!(
        text.contains("| kinora-models/equal | 1 | 10 | 0 | 1 | exact | 1e-3 |"),
        "{text}"
    );
    assert!(text.contains("Kernels: `avx512`"), "{text}");
    assert!(
        text.ends_with(
            "
- kinora-models: `names.json`
"
        ),
        "{text}"
    );
    assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
}

#[test]
fn a_page_that_still_holds_has_no_problems() {
    let table = Table::parse(&page().to_string()).unwrap();
    assert_eq!(table.rows.len(), 3);
    assert_eq!(table.check(&page(), "p"), []);
    // Other numbers within the tolerance, and more comparisons, are no problem either.
    let mut lines = vec![line("wan_tiny", "c", 9e-4, 1e-3), line("equal", "a", 1e-7, 1e-3)];
    lines.extend(["a", "b"].map(|tap| line("wan_tiny", tap, 0.0, 1e-3)));
    lines.push(line("wan_tiny", "int8", 0.09, 0.1));
    assert_eq!(table.check(&measured(&lines), "p"), []);
}

#[test]
fn what_no_longer_holds_is_named() {
    let table = Table::parse(&page().to_string()).unwrap();
    let complaints = |lines: &[String]| -> Vec<String> {
        let problems = table.check(&measured(lines), "p");
        problems.into_iter().map(|problem| problem.text).collect()
    };
    let good = [
        line("wan_tiny", "a", 0.0, 1e-3),
        line("wan_tiny", "b", 0.0, 1e-3),
        line("wan_tiny", "int8", 0.0, 0.1),
        line("equal", "a", 0.0, 1e-3),
    ];
    assert_eq!(complaints(&good), Vec::<String>::new());
    assert_eq!(
        complaints(&good[..3]),
        ["kinora-models/equal is compared by no test any more"]
    );
    let fewer = complaints(&good[1..]);
    assert_eq!(fewer, ["kinora-models/wan_tiny had 2 comparisons and has 1 now"]);
    let mut more = good.to_vec();
    more.push(line("new", "a", 0.0, 1e-3));
    assert_eq!(
        complaints(&more),
        ["kinora-models/new has no row; run `cargo xtask parity`"]
    );
    // A tolerance that was raised together with its manifest, and an error that needs it.
    let raised = line("wan_tiny", "a", 0.05, 0.1).replace("\"golden_tolerance\":0.001", "\"golden_tolerance\":0.1");
    let mut worse = good.to_vec();
    worse[0] = raised;
    let texts = complaints(&worse);
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(
        texts[0].contains("allows 1e-1 now") && texts[1].contains("off by 5.0e-2"),
        "{texts:?}"
    );
}

#[test]
fn values_that_are_no_numbers_are_the_worst() {
    let nan = line("wan_tiny", "a", 0.5, 1e-3).replace("\"max_abs\":0.5", "\"max_abs\":null");
    let measured = measured(&[nan]);
    assert_eq!(measured.rows[0].max_abs, f64::INFINITY);
    let table = Table::parse(&page().to_string()).unwrap();
    assert!(
        table
            .check(&measured, "p")
            .iter()
            .any(|problem| problem.text.contains("off by inf"))
    );
}

#[test]
fn pages_and_lines_that_are_none_are_refused() {
    assert!(Table::parse("# Parity\n").is_err());
    assert!(Table::parse(&format!("{HEAD}\n|---|\n| a | b |\n")).is_err());
    assert!(Table::parse(&page().to_string().replace("| 2 |", "| two |")).is_err());
    assert!(Measured::read("", &[]).is_err());
    assert!(Measured::read("no json", &[]).is_err());
    assert!(Measured::read("{\"crate\":\"a\"}", &[]).is_err());
}
