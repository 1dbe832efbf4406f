//! LoRAs on small layers: every kind of change, both ways of taking part, and what is refused.

use kinora_kernels::{Activation, Linear, Precision, linear};
use kinora_tensor::Tensor;
use kinora_weights::{Checkpoint, Error, Lora, LoraError, LoraUse};
use safetensors::tensor::{Dtype, TensorView};

/// Tensors of a file under construction: name, extents, values.
type Parts = Vec<(String, Vec<usize>, Vec<f32>)>;

fn part(name: &str, dims: &[usize], seed: usize) -> (String, Vec<usize>, Vec<f32>) {
    let values = (0..dims.iter().product()).map(|i: usize| ((i * 7919 + seed * 104_729) % 97) as f32 / 48.0 - 1.0);
    (name.into(), dims.to_vec(), values.collect())
}

fn number(name: &str, value: f32) -> (String, Vec<usize>, Vec<f32>) {
    (name.into(), vec![], vec![value])
}

fn file(name: &str, parts: &Parts) -> Checkpoint {
    let bytes: Vec<Vec<u8>> = parts
        .iter()
        .map(|(.., values)| values.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let views = parts
        .iter()
        .zip(&bytes)
        .map(|((name, dims, _), data)| (name.as_str(), TensorView::new(Dtype::F32, dims.clone(), data).unwrap()));
    Checkpoint::from_bytes(name, safetensors::serialize(views, None).unwrap()).unwrap()
}

const OUT: usize = 6;
const IN: usize = 10;
const Q: &str = "blocks.0.attn1.to_q";

/// A model with one layer of a block, a norm and a table.
fn model() -> Parts {
    vec![
        part(&format!("{Q}.weight"), &[OUT, IN], 1),
        part(&format!("{Q}.bias"), &[OUT], 2),
        part("blocks.0.norm2.weight", &[IN], 3),
        part("blocks.0.scale_shift_table", &[1, 6, IN], 4),
        part("patch_embedding.weight", &[OUT, 5, 1, 1, 2], 5),
    ]
}

/// The same with int8 rows for the layer.
fn int8_model() -> Checkpoint {
    let weight: Vec<u8> = (0..OUT * IN).map(|i| ((i * 37) % 255) as u8).collect();
    let scales: Vec<u8> = (0..OUT)
        .flat_map(|i| (0.01_f32 * (i + 1) as f32).to_le_bytes())
        .collect();
    let bias: Vec<u8> = vec![0; OUT * 4];
    let views = [
        (
            format!("{Q}.weight"),
            TensorView::new(Dtype::I8, vec![OUT, IN], &weight).unwrap(),
        ),
        (
            format!("{Q}.weight.scale"),
            TensorView::new(Dtype::F32, vec![OUT], &scales).unwrap(),
        ),
        (
            format!("{Q}.bias"),
            TensorView::new(Dtype::F32, vec![OUT], &bias).unwrap(),
        ),
    ];
    Checkpoint::from_bytes("int8", safetensors::serialize(views, None).unwrap()).unwrap()
}

fn pair(layer: &str, rank: usize, alpha: Option<f32>) -> Parts {
    let mut parts = vec![
        part(&format!("{layer}.lora_down.weight"), &[rank, IN], 11),
        part(&format!("{layer}.lora_up.weight"), &[OUT, rank], 12),
    ];
    parts.extend(alpha.map(|alpha| number(&format!("{layer}.alpha"), alpha)));
    parts
}

fn lora(name: &str, parts: &Parts) -> Result<Lora, Error> {
    Lora::from_checkpoint(file(name, parts))
}

/// What `read` gives with the LoRA less what it gives without.
fn difference(parts: &Parts, strength: f32, read: impl Fn(&Checkpoint) -> Vec<f32>) -> Vec<f32> {
    let base = file("model", &model());
    let changed = base.with_loras(&[(lora("l", parts).unwrap(), strength)]).unwrap();
    read(&changed).iter().zip(read(&base)).map(|(a, b)| a - b).collect()
}

fn assert_near(got: &[f32], want: impl IntoIterator<Item = f32>) {
    let want: Vec<f32> = want.into_iter().collect();
    assert_eq!(got.len(), want.len());
    for (i, (a, b)) in got.iter().zip(want).enumerate() {
        assert!((a - b).abs() < 1e-5, "at {i}: {a} instead of {b}");
    }
}

fn read(name: &'static str, dims: &'static [usize]) -> impl Fn(&Checkpoint) -> Vec<f32> {
    move |checkpoint| checkpoint.reader().tensor(name, dims).unwrap().as_slice().to_vec()
}

fn product(up: &[f32], down: &[f32], rank: usize, factor: f32) -> Vec<f32> {
    (0..OUT * IN)
        .map(|i| {
            factor
                * (0..rank)
                    .map(|r| up[i / IN * rank + r] * down[r * IN + i % IN])
                    .sum::<f32>()
        })
        .collect()
}

#[test]
fn a_pair_adds_strength_times_alpha_by_rank_times_its_product() {
    let weight = || read("blocks.0.attn1.to_q.weight", &[OUT, IN]);
    for (layer, alpha, factor) in [
        ("lora_unet_blocks_0_self_attn_q", Some(1.5), 0.5),
        ("lora_unet_blocks_0_attn1_to_q", None, 1.0),
        ("diffusion_model.blocks.0.self_attn.q", Some(6.0), 2.0),
        ("base_model.model.blocks.0.attn1.to_q", None, 1.0),
        ("transformer.blocks.0.attn1.to_q", None, 1.0),
        ("blocks.0.self_attn.q", None, 1.0),
    ] {
        let parts = pair(layer, 3, alpha);
        let expected = product(&parts[1].2, &parts[0].2, 3, -0.75 * factor);
        assert_near(&difference(&parts, -0.75, weight()), expected);
    }
    // Convolutions over patches have more axes.
    let parts = vec![
        part("patch_embedding.lora_down.weight", &[3, 5, 1, 1, 2], 1),
        part("patch_embedding.lora_up.weight", &[OUT, 3, 1, 1, 1], 2),
    ];
    let expected = product(&parts[1].2, &parts[0].2, 3, 0.5);
    let patches = read("patch_embedding.weight", &[OUT, 5, 1, 1, 2]);
    assert_near(&difference(&parts, 0.5, patches), expected);
}

#[test]
fn whole_differences_reach_biases_norms_and_tables() {
    for (name, dims, target, shape) in [
        (
            "diffusion_model.blocks.0.self_attn.q.diff_b",
            &[OUT][..],
            "blocks.0.attn1.to_q.bias",
            &[OUT][..],
        ),
        (
            "diffusion_model.blocks.0.norm3.diff",
            &[IN],
            "blocks.0.norm2.weight",
            &[IN],
        ),
        ("blocks.0.norm2.diff", &[IN], "blocks.0.norm2.weight", &[IN]),
        (
            "diffusion_model.blocks.0.diff_m",
            &[1, 6, IN],
            "blocks.0.scale_shift_table",
            &[1, 6, IN],
        ),
        (
            "diffusion_model.blocks.0.modulation.diff",
            &[6, IN],
            "blocks.0.scale_shift_table",
            &[1, 6, IN],
        ),
        (
            "blocks.0.attn1.to_q.diff",
            &[OUT, IN],
            "blocks.0.attn1.to_q.weight",
            &[OUT, IN],
        ),
    ] {
        let parts = vec![part(name, dims, 8)];
        let got = difference(&parts, 0.5, read(target, shape));
        assert_near(&got, parts[0].2.iter().map(|v| 0.5 * v));
    }
    // The bias of a pair has the factor of the pair.
    let mut parts = pair("transformer.blocks.0.attn1.to_q", 4, Some(2.0));
    parts.push(part("transformer.blocks.0.attn1.to_q.lora_B.bias", &[OUT], 8));
    let got = difference(&parts, 3.0, read("blocks.0.attn1.to_q.bias", &[OUT]));
    assert_near(&got, parts[3].2.iter().map(|v| 1.5 * v));
}

fn run(layer: &Linear) -> Vec<f32> {
    let x: Vec<f32> = (0..4 * IN).map(|i| ((i * 31) % 17) as f32 / 8.0 - 1.0).collect();
    let x = Tensor::from_slice(&x, [4, IN]).unwrap();
    linear(&x, layer, Activation::None).unwrap().as_slice().to_vec()
}

/// Largest difference over largest value.
fn error(got: &[f32], want: &[f32]) -> f32 {
    let size = want.iter().fold(0.0_f32, |max, v| max.max(v.abs()));
    got.iter().zip(want).fold(0.0_f32, |max, (a, b)| max.max((a - b).abs())) / size
}

#[test]
fn bytes_that_stay_as_they_are_get_a_branch_and_all_others_a_sum() {
    let parts = pair("transformer.blocks.0.attn1.to_q", 3, None);
    let base = int8_model();
    let loras = [(lora("a", &parts).unwrap(), 4.0), (lora("b", &parts).unwrap(), -1.0)];
    let layer = |how, precision| {
        let reader = base
            .with_loras_as(&loras, how)
            .unwrap()
            .reader()
            .with_precision(precision);
        reader.linear(Q, OUT, IN).unwrap()
    };
    let want = run(&layer(LoraUse::Merged, Precision::F32));
    let plain = base.reader().linear(Q, OUT, IN).unwrap();
    assert!(error(&run(&plain), &want) > 0.1, "the LoRAs change something");
    let kept = layer(LoraUse::Merged, Precision::Int8);
    let without = base
        .reader()
        .with_precision(Precision::Int8)
        .linear(Q, OUT, IN)
        .unwrap();
    assert!(kept.bytes() > without.bytes(), "a branch stands beside the bytes");
    for (how, precision, limit) in [
        (LoraUse::Branch, Precision::F32, 1e-6),
        (LoraUse::Merged, Precision::Bf16, 0.02),
        (LoraUse::Branch, Precision::Bf16, 0.02),
        (LoraUse::Merged, Precision::Int8, 0.02),
        (LoraUse::Branch, Precision::Int8, 0.02),
    ] {
        let error = error(&run(&layer(how, precision)), &want);
        assert!(error < limit, "{how:?} {precision:?}: {error}");
    }
    // A whole difference of a matrix is no branch: its rows are changed and rounded again.
    let whole = vec![part("blocks.0.attn1.to_q.diff", &[OUT, IN], 8)];
    let changed = base.with_loras(&[(lora("w", &whole).unwrap(), 3.0)]).unwrap();
    let [exact, rounded] = [Precision::F32, Precision::Int8].map(|precision| {
        let layer = changed.reader().with_precision(precision).linear(Q, OUT, IN).unwrap();
        assert_eq!(layer.precision(), precision);
        run(&layer)
    });
    assert!(error(&rounded, &exact) < 0.02);
    assert!(error(&exact, &run(&plain)) > 0.1);
}

#[test]
fn rows_of_tables_are_changed_too() {
    let parts = vec![part("blocks.0.attn1.to_q.diff", &[OUT, IN], 8)];
    let got = difference(&parts, 1.0, |checkpoint| {
        let rows = checkpoint.reader().rows("blocks.0.attn1.to_q.weight", &[4, 1]).unwrap();
        rows.as_slice().to_vec()
    });
    let of = |n: usize| parts[0].2[n * IN..(n + 1) * IN].to_vec();
    assert_near(&got, [of(4), of(1)].concat());
}

#[test]
fn layers_for_pictures_are_left_out_and_reported_where_the_model_has_none() {
    let mut parts = pair("diffusion_model.blocks.0.self_attn.q", 2, None);
    parts.extend(pair("diffusion_model.blocks.0.cross_attn.k_img", 2, None));
    parts.extend(pair("diffusion_model.blocks.0.cross_attn.v_img", 2, None));
    let lora = lora("for_pictures", &parts).unwrap();
    let changed = file("text", &model()).with_loras(&[(lora.clone(), 1.0)]).unwrap();
    let [note] = changed.lora_notes() else {
        panic!("{:?}", changed.lora_notes())
    };
    assert!(note.contains("for_pictures") && note.contains("2 layers"), "{note}");
    // With such layers they count.
    let mut pictures = model();
    pictures.push(part("blocks.0.attn2.add_k_proj.weight", &[OUT, IN], 1));
    let error = file("pictures", &pictures).with_loras(&[(lora, 1.0)]).unwrap_err();
    assert!(error.to_string().contains("v_img"), "{error}");
}

fn refused(parts: &Parts) -> LoraError {
    let result = lora("l.safetensors", parts).and_then(|lora| file("m", &model()).with_loras(&[(lora, 1.0)]));
    match result.unwrap_err() {
        Error::Lora(error) => *error,
        other => panic!("{other}"),
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let error = refused(&pair("diffusion_model.blocks.0.self_attn.qq", 2, None));
    let LoraError::NoSuchLayer { key, similar, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(key, "diffusion_model.blocks.0.self_attn.qq.lora_down.weight");
    assert_eq!(similar.as_deref(), Some("blocks.0.self_attn.q"));
    let error = refused(&pair("lora_unet_blocks_0_self_attn_w", 2, None));
    assert!(
        error.to_string().contains("did you mean `blocks_0_self_attn_q`"),
        "{error}"
    );

    let mut wide = pair("transformer.blocks.0.attn1.to_q", 2, None);
    wide[0] = part("transformer.blocks.0.attn1.to_q.lora_down.weight", &[2, IN + 1], 1);
    let mut long = pair("transformer.blocks.0.attn1.to_q", 2, None);
    long[1] = part("transformer.blocks.0.attn1.to_q.lora_up.weight", &[OUT - 1, 2], 1);
    for (parts, wrong, got) in [(wide, 0, vec![2, IN + 1]), (long, 1, vec![OUT - 1, 2])] {
        let error = refused(&parts);
        let LoraError::Misfit {
            key,
            got: shape,
            tensor,
            expected,
            ..
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!((key, shape), (&parts[wrong].0, &got));
        assert_eq!(
            (tensor.as_str(), expected.as_slice()),
            ("blocks.0.attn1.to_q.weight", &[OUT, IN][..])
        );
    }
    let error = refused(&vec![part("blocks.0.norm2.diff", &[IN - 1], 1)]);
    assert!(matches!(error, LoraError::Misfit { .. }), "{error}");
}

#[test]
fn damaged_files_are_refused_by_name() {
    let layer = "transformer.blocks.0.attn1.to_q";
    let whole = pair(layer, 2, Some(1.0));
    for missing in [0, 1] {
        let mut parts = whole.clone();
        parts.remove(missing);
        assert!(matches!(refused(&parts), LoraError::Unpaired { .. }));
    }
    assert!(matches!(
        refused(&vec![number("transformer.x.alpha", 1.0)]),
        LoraError::Unpaired { .. }
    ));
    let mut twice = whole.clone();
    twice.push(part(&format!("{layer}.lora_A.weight"), &[2, IN], 1));
    assert!(refused(&twice).to_string().contains("lora_down.weight"));
    let mut ranks = whole.clone();
    ranks[1] = part(&format!("{layer}.lora_up.weight"), &[OUT, 3], 1);
    assert!(matches!(refused(&ranks), LoraError::Unpaired { .. }));
    for value in [f32::NAN, f32::INFINITY] {
        let mut parts = whole.clone();
        parts[1].2[3] = value;
        let error = refused(&parts);
        assert!(
            matches!(&error, LoraError::NotFinite { key, .. } if key.ends_with("lora_up.weight")),
            "{error}"
        );
    }
    assert!(matches!(refused(&model()), LoraError::NotALora { .. }));
    let mut strange = whole.clone();
    strange.push(part(&format!("{layer}.lora_dawn.weight"), &[2, IN], 1));
    let text = refused(&strange).to_string();
    assert!(
        text.contains("lora_dawn") && text.contains("did you mean `.lora_down.weight`"),
        "{text}"
    );
    let error = refused(&vec![part("lycoris_blocks_0_ffn_0.lokr_w1", &[2, 2], 1)]);
    assert!(matches!(error, LoraError::OtherAdapter { kind: "LoKr", .. }), "{error}");
    let lora = lora("l", &whole).unwrap();
    let error = file("m", &model()).with_loras(&[(lora, f32::NAN)]).unwrap_err();
    assert!(error.to_string().contains("strength"), "{error}");
}
