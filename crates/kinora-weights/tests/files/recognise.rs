//! Files of the published sizes, told by their headers alone, and what becomes of names that need more than a new one.

use kinora_weights::{Checkpoint, Component, Dialect, Error, recognise, recognise_as};
use serde_json::{Map, Value, json};

/// The header of a safetensors file with tensors of these shapes.
fn header(tensors: &[(String, Vec<usize>)], metadata: Option<Value>) -> Vec<u8> {
    let (mut entries, mut end) = (Map::new(), 0);
    if let Some(metadata) = metadata {
        entries.insert("__metadata__".into(), metadata);
    }
    for (name, shape) in tensors {
        let size = 2 * shape.iter().product::<usize>();
        let entry = json!({"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]});
        entries.insert(name.clone(), entry);
        end += size;
    }
    let text = Value::Object(entries).to_string();
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn only_header(tensors: &[(String, Vec<usize>)]) -> Checkpoint {
    Checkpoint::from_header_bytes("m.safetensors", header(tensors, None)).unwrap()
}

struct Size {
    width: usize,
    layers: usize,
    ffn: usize,
    channels: [usize; 2],
    clip: Option<usize>,
    positions: Option<usize>,
    vace: usize,
}

const T2V_14B: Size = Size {
    width: 5120,
    layers: 40,
    ffn: 13824,
    channels: [16, 16],
    clip: None,
    positions: None,
    vace: 0,
};

/// The tensors that tell something, in the original names.
fn transformer(size: &Size, prefix: &str) -> Vec<(String, Vec<usize>)> {
    let m = size.width;
    let mut tensors: Vec<(String, Vec<usize>)> = vec![
        ("patch_embedding.weight".into(), vec![m, size.channels[0], 1, 2, 2]),
        ("text_embedding.0.weight".into(), vec![m, 4096]),
        ("time_embedding.0.weight".into(), vec![m, 256]),
        ("time_projection.1.weight".into(), vec![6 * m, m]),
        ("head.head.weight".into(), vec![4 * size.channels[1], m]),
        ("head.modulation".into(), vec![1, 2, m]),
    ];
    for layer in 0..size.layers {
        let block = |name: &str| format!("blocks.{layer}.{name}");
        tensors.extend([
            (block("modulation"), vec![1, 6, m]),
            (block("norm3.weight"), vec![m]),
            (block("ffn.0.weight"), vec![size.ffn, m]),
        ]);
        if size.clip.is_some() {
            tensors.push((block("cross_attn.k_img.weight"), vec![m, m]));
        }
    }
    if let Some(width) = size.clip {
        tensors.push(("img_emb.proj.0.weight".into(), vec![width]));
        tensors.push(("img_emb.proj.1.weight".into(), vec![width, width]));
    }
    if let Some(positions) = size.positions {
        tensors.push(("img_emb.emb_pos".into(), vec![1, positions, 1280]));
    }
    for layer in 0..size.vace {
        tensors.push((format!("vace_blocks.{layer}.after_proj.weight"), vec![m, m]));
    }
    if size.vace > 0 {
        tensors.push(("vace_patch_embedding.weight".into(), vec![m, 96, 1, 2, 2]));
    }
    tensors
        .into_iter()
        .map(|(name, shape)| (format!("{prefix}{name}"), shape))
        .collect()
}

#[test]
fn published_transformers_are_configured_from_their_shapes() {
    let cases: Vec<(&str, Size, Value)> = vec![
        (
            "text to video",
            Size {
                width: 1536,
                layers: 30,
                ffn: 8960,
                ..T2V_14B
            },
            json!({"num_attention_heads": 12, "num_layers": 30, "ffn_dim": 8960, "in_channels": 16, "image_dim": null}),
        ),
        (
            "text to video",
            T2V_14B,
            json!({"num_attention_heads": 40, "attention_head_dim": 128, "num_layers": 40, "text_dim": 4096, "freq_dim": 256,
                   "cross_attn_norm": true, "_class_name": "WanTransformer3DModel", "patch_size": [1, 2, 2]}),
        ),
        (
            "image to video with CLIP (2.1)",
            Size {
                channels: [36, 16],
                clip: Some(1280),
                ..T2V_14B
            },
            json!({"in_channels": 36, "out_channels": 16, "image_dim": 1280, "added_kv_proj_dim": 5120, "pos_embed_seq_len": null}),
        ),
        (
            "first and last frame to video (2.1)",
            Size {
                channels: [36, 16],
                clip: Some(1280),
                positions: Some(514),
                ..T2V_14B
            },
            json!({"image_dim": 1280, "pos_embed_seq_len": 514}),
        ),
        (
            "image to video without CLIP (2.2)",
            Size {
                channels: [36, 16],
                ..T2V_14B
            },
            json!({"in_channels": 36, "image_dim": null, "added_kv_proj_dim": null}),
        ),
        (
            "text or image to video (2.2, 5B)",
            Size {
                width: 3072,
                layers: 30,
                ffn: 14336,
                channels: [48, 48],
                ..T2V_14B
            },
            json!({"num_attention_heads": 24, "in_channels": 48, "out_channels": 48}),
        ),
        (
            "VACE",
            Size {
                width: 1536,
                layers: 30,
                ffn: 8960,
                vace: 15,
                ..T2V_14B
            },
            json!({"_class_name": "WanVACETransformer3DModel", "vace_in_channels": 96,
                   "vace_layers": [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28]}),
        ),
        (
            "VACE",
            Size { vace: 8, ..T2V_14B },
            json!({"vace_layers": [0, 5, 10, 15, 20, 25, 30, 35]}),
        ),
    ];
    for (kind, size, want) in cases {
        for prefix in ["", "model.diffusion_model."] {
            let found = recognise(&only_header(&transformer(&size, prefix))).unwrap();
            assert_eq!(
                (found.component, found.dialect, found.prefix.as_str()),
                (Component::WanTransformer, Dialect::Original, prefix)
            );
            let config: Value = found.config_json.parse().unwrap();
            for (field, value) in want.as_object().unwrap() {
                assert_eq!(&config[field], value, "{kind}: {field}");
            }
            assert!(found.notes[0].starts_with(&format!("{kind}, ")), "{:?}", found.notes);
        }
    }
    let uneven = Size { vace: 7, ..T2V_14B };
    assert!(matches!(
        recognise(&only_header(&transformer(&uneven, ""))),
        Err(Error::NoConfig { reason, .. }) if reason.contains("7 blocks of `vace_blocks`")
    ));
}

#[test]
fn a_configuration_in_the_metadata_wins() {
    let config = json!({"num_attention_heads": 20, "from": "metadata"}).to_string();
    let bytes = header(&transformer(&T2V_14B, ""), Some(json!({ "config": config })));
    let checkpoint = Checkpoint::from_header_bytes("m", bytes).unwrap();
    assert_eq!(recognise(&checkpoint).unwrap().config_json, config);
    assert_eq!(
        recognise_as(&checkpoint, None, Some("mine")).unwrap().config_json,
        "mine"
    );
    // One of something else does not count.
    let bytes = header(&transformer(&T2V_14B, ""), Some(json!({ "config": "{\"z_dim\": 16}" })));
    let checkpoint = Checkpoint::from_header_bytes("m", bytes).unwrap();
    assert!(
        recognise(&checkpoint)
            .unwrap()
            .config_json
            .contains("\"num_attention_heads\":40")
    );
}

#[test]
fn one_file_may_hold_all_parts() {
    let mut tensors = transformer(&T2V_14B, "model.diffusion_model.");
    tensors.extend(vae("first_stage_model.", false));
    tensors.extend(umt5("text_encoders.umt5xxl.transformer."));
    tensors.push(("text_encoders.umt5xxl.transformer.spiece_model".into(), vec![100]));
    let checkpoint = only_header(&tensors);
    for (wanted, prefix, name) in [
        (None, "model.diffusion_model.", "blocks.39.norm2.weight"),
        (Some(Component::WanVae), "first_stage_model.", "decoder.conv_in.weight"),
        (
            Some(Component::Umt5),
            "text_encoders.umt5xxl.transformer.",
            "shared.weight",
        ),
    ] {
        let found = recognise_as(&checkpoint, wanted, None).unwrap();
        assert_eq!(found.prefix, prefix);
        assert!(
            found.notes.iter().any(|note| note.contains("other parts")),
            "{:?}",
            found.notes
        );
        let part = checkpoint.in_diffusers_names(&found).unwrap();
        assert!(part.has(name) && part.names().all(|n| !n.contains("spiece") && !n.contains("model.")));
    }
    assert!(matches!(
        recognise_as(&checkpoint, Some(Component::ClipVision), None),
        Err(Error::NotRecognised { wanted, .. }) if wanted.contains("CLIP")
    ));
}

/// An autoencoder of the published size, as far as it tells something.
fn vae(prefix: &str, second: bool) -> Vec<(String, Vec<usize>)> {
    let (base, wide, channels, pixels) = if second { (160, 1024, 48, 12) } else { (96, 384, 16, 3) };
    let (down, up) = if second {
        ("downsamples.0.downsamples.0", "upsamples.0.upsamples.0")
    } else {
        ("downsamples.0", "upsamples.0")
    };
    [
        ("encoder.conv1.weight".to_owned(), vec![base, pixels, 3, 3, 3]),
        (format!("encoder.{down}.residual.0.gamma"), vec![base, 1, 1, 1]),
        ("decoder.conv1.weight".into(), vec![wide, channels, 3, 3, 3]),
        ("decoder.middle.0.residual.0.gamma".into(), vec![wide, 1, 1, 1]),
        (format!("decoder.{up}.residual.0.gamma"), vec![wide, 1, 1, 1]),
        ("decoder.head.2.weight".into(), vec![pixels, wide / 4, 3, 3, 3]),
        ("conv2.weight".into(), vec![channels, channels, 1, 1, 1]),
    ]
    .into_iter()
    .map(|(name, shape)| (format!("{prefix}{name}"), shape))
    .collect()
}

#[test]
fn published_autoencoders_are_configured_from_their_shapes() {
    for (second, want) in [
        (
            false,
            json!({"base_dim": 96, "z_dim": 16, "is_residual": false, "patch_size": null, "in_channels": 3,
                   "scale_factor_spatial": 8, "decoder_base_dim": null}),
        ),
        (
            true,
            json!({"base_dim": 160, "decoder_base_dim": 256, "z_dim": 48, "is_residual": true, "patch_size": 2, "out_channels": 12,
                   "scale_factor_spatial": 16}),
        ),
    ] {
        let found = recognise(&only_header(&vae("", second))).unwrap();
        assert_eq!((found.component, found.dialect), (Component::WanVae, Dialect::Original));
        let config: Value = found.config_json.parse().unwrap();
        for (field, value) in want.as_object().unwrap() {
            assert_eq!(&config[field], value, "{field}");
        }
        let channels = config["z_dim"].as_u64().unwrap() as usize;
        for list in ["latents_mean", "latents_std"] {
            assert_eq!(config[list].as_array().unwrap().len(), channels, "{list}");
        }
    }
}

fn umt5(prefix: &str) -> Vec<(String, Vec<usize>)> {
    let mut tensors = vec![
        ("shared.weight".to_owned(), vec![256_384, 4096]),
        ("encoder.final_layer_norm.weight".into(), vec![4096]),
    ];
    for layer in 0..24 {
        let block = |name: &str| format!("encoder.block.{layer}.layer.{name}");
        tensors.extend([
            (block("0.SelfAttention.q.weight"), vec![4096, 4096]),
            (block("0.SelfAttention.relative_attention_bias.weight"), vec![32, 64]),
            (block("1.DenseReluDense.wi_0.weight"), vec![10240, 4096]),
        ]);
    }
    tensors
        .into_iter()
        .map(|(name, shape)| (format!("{prefix}{name}"), shape))
        .collect()
}

#[test]
fn the_published_text_encoder_is_configured_and_t5_is_not_taken_for_it() {
    let found = recognise(&only_header(&umt5(""))).unwrap();
    assert_eq!((found.component, found.dialect), (Component::Umt5, Dialect::Diffusers));
    let config: Value = found.config_json.parse().unwrap();
    for (field, value) in [
        ("vocab_size", 256_384),
        ("d_model", 4096),
        ("d_kv", 64),
        ("d_ff", 10240),
        ("num_layers", 24),
        ("num_heads", 64),
    ] {
        assert_eq!(config[field], value, "{field}");
    }
    let t5: Vec<_> = umt5("")
        .into_iter()
        .filter(|(name, _)| !name.contains("relative_attention_bias") || name.contains("block.0."))
        .collect();
    let text = recognise(&only_header(&t5)).unwrap_err().to_string();
    assert!(text.contains("T5 text encoder that is not umT5"), "{text}");
}

#[test]
fn clip_is_read_from_its_three_spellings() {
    let values: Vec<f32> = (0..12 * 4).map(|v| v as f32).collect();
    let data: &[u8] = bytemuck::cast_slice(&values);
    let part = |n: usize| &data[..4 * n];
    use safetensors::tensor::{Dtype, TensorView};
    let file = |tensors: &[(&str, Vec<usize>)]| {
        let views = tensors.iter().map(|(name, shape)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), part(shape.iter().product()));
            (name.to_string(), view.unwrap())
        });
        Checkpoint::from_bytes("clip", safetensors::serialize(views.collect::<Vec<_>>(), None).unwrap()).unwrap()
    };
    let original = file(&[
        ("visual.cls_embedding", vec![1, 1, 4]),
        ("visual.pos_embedding", vec![1, 3, 4]),
        ("visual.transformer.5.attn.to_qkv.weight", vec![12, 4]),
        ("visual.transformer.5.attn.to_qkv.bias", vec![12]),
        ("visual.transformer.5.mlp.0.bias", vec![4]),
        ("visual.pre_norm.weight", vec![4]),
        ("visual.head", vec![4, 4]),
        ("textual.pos_embedding.weight", vec![2, 4]),
        ("log_scale", vec![]),
    ]);
    let open_clip = file(&[
        ("visual.class_embedding", vec![4]),
        ("visual.positional_embedding", vec![3, 4]),
        ("visual.transformer.resblocks.5.attn.in_proj_weight", vec![12, 4]),
        ("visual.transformer.resblocks.5.attn.in_proj_bias", vec![12]),
        ("visual.transformer.resblocks.5.mlp.c_fc.bias", vec![4]),
        ("visual.ln_pre.weight", vec![4]),
        ("visual.proj", vec![4, 4]),
    ]);
    for (checkpoint, dialect) in [(original, Dialect::Original), (open_clip, Dialect::OpenClip)] {
        let found = recognise_as(&checkpoint, None, Some("{}")).unwrap();
        assert_eq!((found.component, found.dialect), (Component::ClipVision, dialect));
        let reader = checkpoint
            .in_diffusers_names(&found)
            .unwrap()
            .reader()
            .at("vision_model");
        assert_eq!(reader.vector("embeddings.class_embedding", 4).unwrap(), values[..4]);
        let positions = reader.tensor("embeddings.position_embedding.weight", &[3, 4]).unwrap();
        assert_eq!(positions.as_slice(), &values[..12]);
        let layer = reader.at("encoder.layers.5");
        for (i, name) in ["q_proj", "k_proj", "v_proj"].into_iter().enumerate() {
            let weight = layer.tensor(&format!("self_attn.{name}.weight"), &[4, 4]).unwrap();
            assert_eq!(weight.as_slice(), &values[16 * i..16 * (i + 1)], "{name}");
            let bias = layer.vector(&format!("self_attn.{name}.bias"), 4).unwrap();
            assert_eq!(bias, values[4 * i..4 * (i + 1)], "{name}");
        }
        layer.vector("mlp.fc1.bias", 4).unwrap();
        reader.vector("pre_layrnorm.weight", 4).unwrap();
        reader.finish(&[]).unwrap();
    }
    let plain = file(&[
        ("vision_model.embeddings.class_embedding", vec![4]),
        ("vision_model.embeddings.position_ids", vec![1, 3]),
        ("visual_projection.weight", vec![4, 4]),
        ("text_model.final_layer_norm.bias", vec![4]),
    ]);
    let found = recognise_as(&plain, None, Some("{}")).unwrap();
    assert_eq!(
        (found.component, found.dialect),
        (Component::ClipVision, Dialect::Diffusers)
    );
    let names: Vec<String> = plain
        .in_diffusers_names(&found)
        .unwrap()
        .names()
        .map(String::from)
        .collect();
    assert_eq!(names, ["vision_model.embeddings.class_embedding"]);
}

#[test]
fn the_published_clip_is_configured_from_its_shapes() {
    let tensors: Vec<(String, Vec<usize>)> = [
        ("visual.cls_embedding", vec![1, 1, 1280]),
        ("visual.pos_embedding", vec![1, 257, 1280]),
        ("visual.patch_embedding.weight", vec![1280, 3, 14, 14]),
        ("visual.transformer.0.mlp.0.weight", vec![5120, 1280]),
        ("visual.transformer.31.mlp.0.weight", vec![5120, 1280]),
    ]
    .map(|(name, shape)| (name.to_owned(), shape))
    .into();
    let config: Value = recognise(&only_header(&tensors)).unwrap().config_json.parse().unwrap();
    for (field, value) in [
        ("hidden_size", 1280),
        ("intermediate_size", 5120),
        ("num_hidden_layers", 32),
        ("num_attention_heads", 16),
        ("image_size", 224),
        ("patch_size", 14),
    ] {
        assert_eq!(config[field], value, "{field}");
    }
    assert_eq!(config["hidden_act"], "gelu");
}

#[test]
fn other_models_are_named_as_far_as_they_are_known() {
    for (name, what) in [
        ("double_blocks.0.img_attn.proj.weight", "Flux"),
        ("model.diffusion_model.input_blocks.0.0.weight", "Stable Diffusion"),
        ("model.layers.0.mlp.up_proj.weight", "language model"),
        ("something.weight", "something else"),
    ] {
        let text = recognise(&only_header(&[(name.into(), vec![4])]))
            .unwrap_err()
            .to_string();
        assert!(
            text.contains(what) && text.contains(name) && text.contains("hint:"),
            "{text}"
        );
    }
    let lora = only_header(&[("diffusion_model.blocks.0.self_attn.q.lora_A.weight".into(), vec![4, 4])]);
    assert_eq!(recognise(&lora).unwrap().component, Component::Lora);
    let empty = Checkpoint::from_header_bytes("m", header(&[], None)).unwrap();
    assert!(matches!(recognise(&empty), Err(Error::NotRecognised { .. })));
}

#[test]
fn a_format_that_is_not_read_is_told_before_anything_is_concluded_from_it() {
    let note = br#"{"format":"nvfp4"}"#;
    let text = json!({
        "blocks.0.ffn.0.weight": {"dtype": "U8", "shape": [2, 2], "data_offsets": [0, 4]},
        "blocks.0.ffn.0.comfy_quant": {"dtype": "U8", "shape": [note.len()], "data_offsets": [4, 4 + note.len()]},
    })
    .to_string();
    let bytes = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &[0; 4], note].concat();
    let checkpoint = Checkpoint::from_bytes("m", bytes).unwrap();
    let text = recognise(&checkpoint).unwrap_err().to_string();
    assert!(
        text.contains("`nvfp4`") && text.contains("`blocks.0.ffn.0.weight`") && text.contains("Q4_K_M"),
        "{text}"
    );
}
