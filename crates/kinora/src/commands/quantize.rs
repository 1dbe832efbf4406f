//! `kinora quantize`: the matrices of a model in 8 bits, and what that costs.

use kinora_weights::{ClassError, Quantized};
use serde_json::json;

use super::{convert, table};
use crate::args::Quantize;
use crate::stdout;
use crate::trouble::say_plain;

/// Writes the file, says how large it became, and prints the errors.
pub fn run(args: &Quantize) -> anyhow::Result<()> {
    convert::check_output(&args.output, args.overwrite)?;
    let quantized = convert::with_progress(&args.output, args.quiet, |progress| {
        kinora_weights::quantize(&args.input, &args.output, args.kind, progress)
    })?;
    if !args.quiet {
        say_plain(&format!(
            "{}  {} matrices rounded, {} tensors kept  {}\n",
            args.output.display(),
            quantized.rounded,
            quantized.kept,
            convert::sizes(quantized.bytes)
        ));
    }
    match args.json {
        true => stdout::write_json(&as_json(args, &quantized)),
        false => stdout::write(errors(&quantized.classes).as_bytes()),
    }
}

/// The error of each kind of matrix, the largest first.
fn errors(classes: &[ClassError]) -> String {
    let mut classes: Vec<_> = classes.iter().collect();
    classes.sort_by(|a, b| b.nmse.total_cmp(&a.nmse));
    let heading = ["MATRICES", "COUNT", "ERROR", "COSINE", "WORST ERROR"].map(str::to_owned);
    let row = |class: &ClassError| {
        [
            table::printable(&class.class),
            class.matrices.to_string(),
            format!("{:.2e}", class.nmse),
            format!("{:.6}", class.cosine),
            format!("{:.2e}", class.worst.1),
        ]
    };
    let rows: Vec<_> = std::iter::once(heading).chain(classes.into_iter().map(row)).collect();
    table::numbers(&rows)
}

fn as_json(args: &Quantize, quantized: &Quantized) -> serde_json::Value {
    let classes: Vec<_> = quantized
        .classes
        .iter()
        .map(|class| {
            json!({
                "class": class.class,
                "matrices": class.matrices,
                "nmse": class.nmse,
                "cosine": class.cosine,
                "worst": { "tensor": class.worst.0, "nmse": class.worst.1 },
            })
        })
        .collect();
    json!({
        "output": args.output,
        "rounded": quantized.rounded,
        "kept": quantized.kept,
        "input_bytes": quantized.bytes[0],
        "output_bytes": quantized.bytes[1],
        "classes": classes,
    })
}
