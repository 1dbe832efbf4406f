//! Every encoding against the reference decoders, and what lies beside a weight.

use kinora_kernels::{Activation, Precision, conv3d_causal, linear};
use kinora_testkit::{Golden, assert_close};
use kinora_weights::{Checkpoint, Encoding, Error, Reader};
use safetensors::tensor::{Dtype, TensorView};

/// The names of the blocks in the golden.
const BLOCKS: [&str; 12] = [
    "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
];

#[test]
fn blocks_decode_as_the_reference_does() {
    let golden = Golden::open(env!("CARGO_MANIFEST_DIR"), "gguf_blocks");
    for name in BLOCKS {
        let encoding = Encoding::of_file(name).expect(name);
        let (bytes, want) = (
            golden.bytes(&format!("{name}.blocks")),
            golden.tensor(&format!("{name}.values")),
        );
        assert_eq!(encoding.size_bytes(want.elements()), Some(bytes.len()), "{name}");
        let mut got = vec![0.0; want.elements()];
        encoding.to_f32(&bytes, &mut got);
        assert_close(name, &got, want.as_slice(), golden.tolerance());
    }
    let names = golden.names();
    assert_eq!(names.len(), 2 * BLOCKS.len(), "all of {names:?} were compared");
}

#[test]
fn names_lead_back_to_their_encoding_and_sizes_count_whole_blocks() {
    for encoding in Encoding::ALL {
        let name = if encoding == Encoding::I8 {
            "I8"
        } else {
            encoding.name()
        };
        assert_eq!(Encoding::of_file(name), Some(encoding));
        let (count, bytes) = encoding.block();
        assert_eq!(encoding.size_bytes(3 * count), Some(3 * bytes));
        if count > 1 {
            assert_eq!(encoding.size_bytes(count - 1), None);
        }
    }
    assert_eq!(Encoding::of_file("IQ4_NL"), None);
    assert_eq!(Encoding::F32.size_bytes(usize::MAX), None);
}

/// Name, type, extents and bytes of tensors.
type Parts<'a> = Vec<(&'a str, Dtype, Vec<usize>, Vec<u8>)>;

fn reader(parts: &Parts) -> Reader {
    let views: Vec<_> = parts
        .iter()
        .map(|(name, dtype, dims, data)| (*name, TensorView::new(*dtype, dims.clone(), data).unwrap()))
        .collect();
    Checkpoint::from_bytes("m", safetensors::serialize(views, None).unwrap())
        .unwrap()
        .reader()
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// 1, -2, 0.5 and 0.25 as 8-bit floats.
const F8: [u8; 4] = [0x38, 0xc0, 0x30, 0x28];

#[test]
fn scales_of_eight_bit_floats_are_found_under_all_their_names() {
    let one = |name: &'static str, dims: &[usize], values: &[f32]| {
        let parts = vec![
            ("a.weight", Dtype::F8_E4M3, vec![2, 2], F8.to_vec()),
            ("a.scale_input", Dtype::F32, vec![], f32s(&[1.0])),
            ("scaled_fp8", Dtype::F8_E4M3, vec![2], vec![0; 2]),
            (name, Dtype::F32, dims.to_vec(), f32s(values)),
        ];
        let reader = reader(&parts);
        let values = reader.tensor("a.weight", &[2, 2])?.as_slice().to_vec();
        reader.finish(&[])?;
        Ok::<_, Error>(values)
    };
    assert_eq!(one("a.scale_weight", &[], &[2.0]).unwrap(), [2.0, -4.0, 1.0, 0.5]);
    assert_eq!(one("a.weight_scale", &[1], &[2.0]).unwrap(), [2.0, -4.0, 1.0, 0.5]);
    assert_eq!(
        one("a.weight_scale", &[2, 1], &[2.0, 4.0]).unwrap(),
        [2.0, -4.0, 2.0, 1.0]
    );
    assert_eq!(one("a.weight.scale", &[2], &[2.0, 4.0]).unwrap(), [2.0, -4.0, 2.0, 1.0]);
    let text = one("a.weight_scale", &[1, 2], &[1.0; 2]).unwrap_err().to_string();
    assert!(
        text.contains("`a.weight`") && text.contains("[1, 2]") && text.contains("hint:"),
        "{text}"
    );
    let text = one("a.weight_scale_inv", &[1, 1], &[1.0]).unwrap_err().to_string();
    assert!(text.contains("`weight_scale_inv`") && text.contains("GGUF"), "{text}");
    assert!(matches!(
        one("a.weight_scale", &[], &[f32::NAN]),
        Err(Error::NotFinite { tensor, .. }) if tensor == "a.weight_scale"
    ));
    assert!(matches!(
        one("b.weight_scale", &[], &[1.0]),
        Err(Error::UnusedTensors { .. })
    ));
}

#[test]
fn eight_bit_floats_without_a_scale_stand_for_themselves() {
    let reader = reader(&vec![
        ("a.weight", Dtype::F8_E4M3, vec![2, 2], F8.to_vec()),
        ("b", Dtype::F8_E5M2, vec![1], vec![0xbd]),
        ("c.weight", Dtype::BF16, vec![1], vec![0x80, 0x3f]),
    ]);
    assert_eq!(reader.rows("a.weight", &[1]).unwrap().as_slice(), [0.5, 0.25]);
    assert_eq!(reader.vector("b", 1).unwrap(), [-1.25]);
    assert!(reader.is_quantised("a.weight") && !reader.is_quantised("c.weight") && !reader.is_quantised("none"));
}

#[test]
fn formats_that_are_not_read_are_refused_by_name() {
    let noted = |dtype, data: Vec<u8>, dims: Vec<usize>, note: &str| {
        let parts = vec![
            ("a.weight", dtype, dims, data),
            ("a.weight_scale", Dtype::F32, vec![1], f32s(&[1.0])),
            ("a.comfy_quant", Dtype::U8, vec![note.len()], note.as_bytes().to_vec()),
        ];
        reader(&parts).linear("a", 2, 2).map(drop).unwrap_err().to_string()
    };
    for (expected, text) in [
        (
            "`nvfp4` stored as U8",
            noted(Dtype::U8, vec![0; 4], vec![2, 2], r#"{"format":"nvfp4"}"#),
        ),
        (
            "`mxfp8` stored as F8_E4M3",
            noted(Dtype::F8_E4M3, F8.to_vec(), vec![2, 2], r#"{"format":"mxfp8"}"#),
        ),
        (
            "`convrot` in groups of 256 with rows of 2",
            noted(
                Dtype::I8,
                vec![0; 4],
                vec![2, 2],
                r#"{"format":"int8_tensorwise","convrot":true}"#,
            ),
        ),
        ("cannot be understood", noted(Dtype::I8, vec![0; 4], vec![2, 2], "{")),
    ] {
        assert!(
            text.contains(expected) && text.contains("`a."),
            "wanted `{expected}` in: {text}"
        );
    }
}

#[test]
fn numbers_that_are_none_are_refused_wherever_they_are_read() {
    let bad = |value: f32| {
        reader(&vec![
            ("a.weight", Dtype::F32, vec![2, 2], f32s(&[1.0, 2.0, 3.0, value])),
            ("a.bias", Dtype::F32, vec![2], f32s(&[1.0, 2.0])),
            ("c.weight", Dtype::F32, vec![1, 1, 1, 1, 1], f32s(&[value])),
        ])
    };
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let reader = bad(value);
        for (name, result) in [
            ("a.weight", reader.linear("a", 2, 2).map(drop)),
            ("a.weight", reader.tensor("a.weight", &[2, 2]).map(drop)),
            ("a.weight", reader.rows("a.weight", &[0, 1]).map(drop)),
            ("c.weight", reader.conv3d("c", 1, 1, [1, 1], [1, 1], false).map(drop)),
        ] {
            assert!(
                matches!(&result, Err(Error::NotFinite { tensor, .. }) if tensor == name),
                "{name} with {value}: {result:?}"
            );
        }
        assert!(reader.rows("a.weight", &[0]).is_ok(), "a row without them can be read");
    }
    assert!(bad(f32::MAX).linear("a", 2, 2).is_ok());
}

#[test]
fn rows_of_bytes_keep_their_bytes_where_the_kernel_can_use_them() {
    let reader = reader(&vec![
        ("a.weight", Dtype::I8, vec![2, 2], vec![2, 0xfc, 1, 8]),
        ("a.weight_scale", Dtype::F32, vec![2, 1], f32s(&[0.5, 2.0])),
        (
            "a.comfy_quant",
            Dtype::U8,
            vec![28],
            br#"{"format":"int8_tensorwise"}"#.to_vec(),
        ),
        ("b.weight", Dtype::I8, vec![2, 2], vec![2, 0xfc, 1, 8]),
        ("b.weight_scale", Dtype::F32, vec![], f32s(&[0.5])),
    ]);
    let x = kinora_tensor::Tensor::from_slice(&[127.0, 127.0], [1, 2]).unwrap();
    for (name, values, sums) in [
        ("a", [1.0, -2.0, 2.0, 16.0], [-127.0, 2286.0]),
        ("b", [1.0, -2.0, 0.5, 4.0], [-127.0, 571.5]),
    ] {
        assert_eq!(
            reader.tensor(&format!("{name}.weight"), &[2, 2]).unwrap().as_slice(),
            values
        );
        // An input of whole steps and weights that stay as they are: nothing is rounded.
        let layer = reader.with_precision(Precision::Int8).linear(name, 2, 2).unwrap();
        let y = linear(&x, &layer, Activation::None).unwrap();
        assert_close(name, y.as_slice(), &sums, 1e-3);
    }
    reader.finish(&[]).unwrap();
}

#[test]
fn what_is_expected_counts_as_taken_and_is_not_read() {
    let reader = reader(&vec![
        ("a.weight", Dtype::F32, vec![1, 2], f32s(&[1.0, f32::NAN])),
        ("q.weight", Dtype::I8, vec![1, 2], vec![1, 2]),
        ("q.weight.scale", Dtype::F32, vec![1], f32s(&[1.0])),
    ]);
    reader.expect("a.weight", &[1, 2]).unwrap();
    assert!(matches!(
        reader.expect("q.weight", &[2, 1]),
        Err(Error::WrongShape { .. })
    ));
    assert!(matches!(reader.finish(&[]), Err(Error::UnusedTensors { count: 2, .. })));
    reader.expect("q.weight", &[1, 2]).unwrap();
    reader.finish(&[]).unwrap();
}

#[test]
fn a_convolution_over_space_and_time_is_read_from_any_encoding() {
    let reader = reader(&vec![
        ("c.weight", Dtype::F8_E4M3, vec![1, 1, 3, 1, 1], vec![0x38, 0xc0, 0x30]),
        ("c.bias", Dtype::F32, vec![1], f32s(&[0.25])),
    ]);
    let conv = reader.conv3d("c", 1, 1, [3, 1], [1, 1], true).unwrap();
    reader.finish(&[]).unwrap();
    let clip = kinora_tensor::Tensor::from_slice(&[1.0, 2.0, 4.0], [3, 1, 1, 1]).unwrap();
    let y = conv3d_causal(&clip, None, &conv, Activation::None).unwrap();
    assert_eq!(y.as_slice(), &[0.75, -0.75, -0.75]);
    let text = reader
        .conv3d("c", 1, 1, [3, 3], [1, 1], true)
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(text.contains("[1, 1, 3, 3, 3]"), "{text}");
}
