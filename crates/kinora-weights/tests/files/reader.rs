//! Taking tensors: conversions, shapes, and the record of what was taken.

use kinora_kernels::{Activation, Precision, linear};
use kinora_tensor::Tensor;
use kinora_weights::{Checkpoint, Error};
use safetensors::tensor::{Dtype, TensorView};

/// Tensors of a file under construction: name, type, extents, bytes.
type Parts = Vec<(&'static str, Dtype, Vec<usize>, Vec<u8>)>;

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn checkpoint(parts: &Parts) -> Checkpoint {
    let views = parts
        .iter()
        .map(|(name, dtype, dims, data)| (*name, TensorView::new(*dtype, dims.clone(), data).unwrap()));
    let bytes = safetensors::serialize(views.collect::<Vec<_>>(), None).unwrap();
    Checkpoint::from_bytes("m", bytes).unwrap()
}

/// The same layer `[2,3]` as f32, f16, bf16 and int8 with scales, and what else a model has.
fn sample() -> Checkpoint {
    let values = [1.0_f32, -2.0, 0.5, 4.0, 0.0, -1.5];
    let f16 = values
        .iter()
        .flat_map(|&v| half::f16::from_f32(v).to_le_bytes())
        .collect();
    let bf16 = values
        .iter()
        .flat_map(|&v| half::bf16::from_f32(v).to_le_bytes())
        .collect();
    let int8 = [2_i8, -4, 1, 8, 0, -3].iter().map(|&v| v as u8).collect();
    checkpoint(&vec![
        ("f.weight", Dtype::F32, vec![2, 3], f32s(&values)),
        ("f.bias", Dtype::F32, vec![2], f32s(&[0.25, -1.0])),
        ("h.weight", Dtype::F16, vec![2, 3], f16),
        ("b.weight", Dtype::BF16, vec![2, 3, 1, 1], bf16),
        ("q.weight", Dtype::I8, vec![2, 3], int8),
        ("q.weight.scale", Dtype::F32, vec![2], f32s(&[0.5, 0.5])),
        ("blocks.0.conv.weight", Dtype::F32, vec![1, 1, 3, 3], f32s(&[1.0; 9])),
        ("blocks.0.conv.bias", Dtype::F32, vec![1], f32s(&[1.0])),
        ("position_ids", Dtype::I64, vec![1], vec![0; 8]),
    ])
}

#[test]
fn a_layer_is_the_same_from_every_type() {
    let reader = sample().reader();
    let x = Tensor::from_slice(&[1.0, 2.0, -4.0], [1, 3]).unwrap();
    for (name, want) in [
        ("f", [-4.75, 9.0]),
        ("h", [-5.0, 10.0]),
        ("b", [-5.0, 10.0]),
        ("q", [-5.0, 10.0]),
    ] {
        let layer = reader.linear(name, 2, 3).unwrap();
        let y = linear(&x, &layer, Activation::None).unwrap();
        for (got, want) in y.as_slice().iter().zip(want) {
            assert!((got - want).abs() < 0.2, "{name}: {got} instead of {want}");
        }
    }
    let plain = linear(&x, &reader.linear_no_bias("f", 2, 3).unwrap(), Activation::None).unwrap();
    assert_eq!(plain.as_slice(), &[-5.0, 10.0]);
    for name in ["f.weight", "h.weight", "q.weight"] {
        let values = reader.tensor(name, &[2, 3]).unwrap();
        assert_eq!(values.as_slice(), &[1.0, -2.0, 0.5, 4.0, 0.0, -1.5], "{name}");
    }
}

/// Pages of files that this process holds, in bytes.
#[cfg(target_os = "linux")]
fn mapped_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
    let kilobytes: u64 = line.trim().strip_suffix("kB").unwrap().trim().parse().unwrap();
    kilobytes * 1024
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_is_not_kept_in_memory_beside_its_layers() {
    let (edge, names) = (1024, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    let values: Vec<f32> = (0..edge * edge).map(|i| (i % 251) as f32).collect();
    let file_bytes = (names.len() * size_of_val(values.as_slice())) as u64;
    let views = names.map(|name| {
        let view = TensorView::new(Dtype::F32, vec![edge, edge], bytemuck::cast_slice(&values)).unwrap();
        (format!("{name}.weight"), view)
    });
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    safetensors::serialize_to_file(views, None, &path).unwrap();

    let reader = Checkpoint::open(&path).unwrap().reader();
    let before = mapped_bytes();
    let layers = names.map(|name| reader.linear(name, edge, edge).unwrap());
    let more = mapped_bytes().saturating_sub(before);
    assert!(more < file_bytes / 4, "{more} of {file_bytes} bytes are still there");
    assert_eq!(layers[0].in_features(), edge);
    // What was given back is read again.
    for name in names {
        let again = reader.tensor(&format!("{name}.weight"), &[edge, edge]).unwrap();
        assert_eq!(again.as_slice(), values);
    }
}

#[test]
fn layers_are_packed_in_the_precision_of_their_reader() {
    let reader = sample().reader();
    let int8 = reader.with_precision(Precision::Int8);
    let x = Tensor::from_slice(&[1.0, 2.0, -4.0], [1, 3]).unwrap();
    for (name, want) in [("f", [-4.75, 9.0]), ("b", [-5.0, 10.0]), ("q", [-5.0, 10.0])] {
        let layer = int8.linear(name, 2, 3).unwrap();
        assert_eq!(layer.precision(), Precision::Int8, "{name}");
        let y = linear(&x, &layer, Activation::None).unwrap();
        for (got, want) in y.as_slice().iter().zip(want) {
            assert!((got - want).abs() < 0.2, "{name}: {got} instead of {want}");
        }
        assert_eq!(reader.linear(name, 2, 3).unwrap().precision(), Precision::F32, "{name}");
    }
    assert_eq!(
        int8.at("blocks").at(0).precision(),
        Precision::Int8,
        "scopes inherit it"
    );
    assert!(
        reader.finish(&["blocks.*", "h.*", "position_ids"]).is_ok(),
        "views of any precision share one record"
    );
}

#[test]
fn rows_are_gathered_and_scaled_one_by_one() {
    let reader = sample().reader();
    for name in ["f.weight", "h.weight", "q.weight"] {
        let rows = reader.rows(name, &[1, 0, 1]).unwrap();
        assert_eq!(rows.dims(), &[3, 3]);
        assert_eq!(
            rows.as_slice(),
            &[4.0, 0.0, -1.5, 1.0, -2.0, 0.5, 4.0, 0.0, -1.5],
            "{name}"
        );
    }
    let table = reader.table("q.weight", 2, 3).unwrap();
    assert_eq!((table.rows(), table.width()), (2, 3));
    assert!(matches!(
        table.gather(&[0, 2]),
        Err(Error::RowOutOfRange { row: 2, rows: 2, .. })
    ));
    assert!(table.gather(&[]).unwrap().as_slice().is_empty());
    assert!(matches!(reader.rows("f.bias", &[0]), Err(Error::WrongShape { .. })));
}

#[test]
fn what_nobody_took_is_reported_unless_it_is_ignored() {
    let reader = sample().reader();
    let left = |ignored: &[&str]| match reader.finish(ignored) {
        Ok(()) => Vec::new(),
        Err(Error::UnusedTensors { names, count, .. }) => {
            assert!(count >= names.len());
            names
        }
        Err(other) => panic!("{other}"),
    };
    reader.linear("f", 2, 3).unwrap();
    reader.linear("q", 2, 3).unwrap();
    assert_eq!(
        left(&[]),
        ["b.weight", "blocks.0.conv.bias", "blocks.0.conv.weight", "h.weight"]
    );
    let block = reader.at("blocks.0");
    assert!(block.has("conv.bias") && !block.has("f.bias"));
    assert!(block.finish(&["conv.*"]).is_ok(), "patterns are relative to the scope");
    block.conv2d("conv", 1, 1, 3, 1, true).unwrap();
    assert!(block.finish(&[]).is_ok(), "a scope is finished by itself");
    assert_eq!(
        left(&["h.weight", "position_ids"]),
        ["b.weight"],
        "views share one record"
    );
    assert!(left(&["h.weight", "b*", "position_ids"]).is_empty());
}

#[test]
fn what_is_expected_is_checked_and_counts_as_taken() {
    let reader = sample().reader();
    for (name, dims) in [
        ("f.weight", &[2, 3][..]),
        ("f.bias", &[2]),
        ("h.weight", &[2, 3]),
        ("b.weight", &[2, 3, 1, 1]),
        // With its scale.
        ("q.weight", &[2, 3]),
    ] {
        reader.expect(name, dims).unwrap();
    }
    reader.finish(&["blocks.*", "position_ids"]).unwrap();
    assert!(matches!(
        reader.expect("f.weight", &[3, 2]),
        Err(Error::WrongShape { .. })
    ));
    assert!(matches!(
        reader.expect("g.weight", &[2, 3]),
        Err(Error::MissingTensor { .. })
    ));
    assert!(matches!(
        reader.expect("position_ids", &[1]),
        Err(Error::WrongDtype { .. })
    ));
}

#[test]
fn a_bias_that_a_model_does_not_expect_is_left_over() {
    let reader = sample().reader();
    reader.linear_no_bias("f", 2, 3).unwrap();
    let text = reader
        .finish(&["b.*", "blocks.*", "h.*", "q.*", "position_ids"])
        .unwrap_err()
        .to_string();
    assert!(text.contains("`f.bias`"), "{text}");
}

#[test]
fn requests_that_do_not_fit_name_the_tensor_and_both_sides() {
    let reader = sample().reader();
    let block = reader.at("blocks").at(0);
    let cases: Vec<(&[&str], Result<(), Error>)> = vec![
        (
            &["`blocks.0.conv.weigth`", "did you mean `blocks.0.conv.weight`"],
            block.tensor("conv.weigth", &[1]).map(drop),
        ),
        (
            &["`f.weight`", "shape [2, 3]", "expected [3, 2]"],
            reader.linear("f", 3, 2).map(drop),
        ),
        (
            &["`f.bias`", "shape [2]", "expected [3]"],
            reader.vector("f.bias", 3).map(drop),
        ),
        (
            &["`b.weight`", "[2, 3, 1, 1]"],
            reader.tensor("b.weight", &[2, 3]).map(drop),
        ),
        (
            &["`position_ids`", "I64", "f32 or f16 or bf16"],
            reader.vector("position_ids", 1).map(drop),
        ),
        (
            &["`blocks.0.conv.weight`", "[1, 2, 3, 3]"],
            block.conv2d("conv", 1, 2, 3, 1, true).map(drop),
        ),
        (
            &["layer `blocks.0.conv`", "stride"],
            block.conv2d("conv", 1, 1, 3, 5, true).map(drop),
        ),
        (
            &["no tensor `nothing.weight`"],
            reader.linear("nothing", 1, 1).map(drop),
        ),
    ];
    for (parts, result) in cases {
        let text = result.expect_err(parts[0]).to_string();
        assert!(parts.iter().all(|p| text.contains(p)), "wanted {parts:?} in: {text}");
    }
}

#[test]
fn int8_without_its_scale_is_an_error() {
    let reader = checkpoint(&vec![("q.weight", Dtype::I8, vec![1, 2], vec![1, 2])]).reader();
    for result in [
        reader.linear("q", 1, 2).map(drop),
        reader.rows("q.weight", &[0]).map(drop),
    ] {
        assert!(matches!(result, Err(Error::MissingTensor { tensor, .. }) if tensor == "q.weight.scale"));
    }
}

#[test]
fn readers_work_from_several_threads() {
    let reader = sample().reader();
    std::thread::scope(|scope| {
        for name in ["f", "h", "b", "q"] {
            let reader = reader.clone();
            scope.spawn(move || reader.linear(name, 2, 3).map(drop).unwrap());
        }
    });
    assert!(reader.finish(&["blocks.*", "position_ids"]).is_ok());
}
