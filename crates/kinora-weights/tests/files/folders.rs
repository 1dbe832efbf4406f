//! Models whose parts lie in the places where people have them: found, named, or missed with a message that says where.

use std::path::{Path, PathBuf};

use kinora_weights::{Error, ModelFolder, TokenizerSource, registry};
use serde_json::{Map, Value, json};

/// Name, shape and type of each tensor.
type Tensors = Vec<(String, Vec<usize>, &'static str)>;

/// Writes a safetensors file whose numbers are all zero, and the folders above it.
fn write(path: &Path, tensors: &Tensors) -> PathBuf {
    let (mut header, mut end) = (Map::new(), 0);
    for (name, shape, dtype) in tensors {
        let width = if *dtype == "BF16" { 2 } else { 1 };
        let size = width * shape.iter().product::<usize>();
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]});
        header.insert(name.clone(), entry);
        end += size;
    }
    let text = Value::Object(header).to_string();
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes.resize(bytes.len() + end, 0);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
    path.to_owned()
}

fn named(tensors: &[(&str, &[usize])]) -> Tensors {
    tensors
        .iter()
        .map(|(name, shape)| ((*name).to_owned(), shape.to_vec(), "BF16"))
        .collect()
}

/// One block of one head, in the original names.
fn transformer(channels: [usize; 2]) -> Tensors {
    named(&[
        ("patch_embedding.weight", &[128, channels[0], 1, 2, 2]),
        ("text_embedding.0.weight", &[128, 32]),
        ("time_embedding.0.weight", &[128, 16]),
        ("time_projection.1.weight", &[768, 128]),
        ("head.head.weight", &[4 * channels[1], 128]),
        ("head.modulation", &[1, 2, 128]),
        ("blocks.0.modulation", &[1, 6, 128]),
        ("blocks.0.ffn.0.weight", &[64, 128]),
    ])
}

fn with_clip() -> Tensors {
    let mut tensors = transformer([36, 16]);
    tensors.extend(named(&[
        ("img_emb.proj.0.weight", &[1280]),
        ("img_emb.proj.1.weight", &[8, 8]),
        ("blocks.0.cross_attn.k_img.weight", &[128, 128]),
    ]));
    tensors
}

fn vae(channels: usize) -> Tensors {
    named(&[
        ("encoder.conv1.weight", &[2, 3, 3, 3, 3]),
        ("decoder.conv1.weight", &[8, channels, 3, 3, 3]),
        ("decoder.middle.0.residual.0.gamma", &[8, 1, 1, 1]),
        ("decoder.head.2.weight", &[3, 2, 3, 3, 3]),
        ("conv2.weight", &[channels, channels, 1, 1, 1]),
    ])
}

fn umt5(dtype: &'static str) -> Tensors {
    let mut tensors = named(&[
        ("shared.weight", &[9, 32]),
        ("encoder.final_layer_norm.weight", &[32]),
        ("encoder.block.0.layer.0.SelfAttention.q.weight", &[16, 32]),
        (
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            &[32, 2],
        ),
        ("encoder.block.0.layer.1.DenseReluDense.wi_0.weight", &[40, 32]),
    ]);
    tensors[2].2 = dtype;
    tensors.push(("spiece_model".into(), vec![5], "U8"));
    tensors
}

fn clip() -> Tensors {
    named(&[
        ("vision_model.embeddings.class_embedding", &[1280]),
        ("vision_model.embeddings.position_embedding.weight", &[5, 1280]),
        ("vision_model.embeddings.patch_embedding.weight", &[2, 3, 14, 14]),
        ("vision_model.encoder.layers.0.mlp.fc1.weight", &[3, 2]),
    ])
}

/// A folder of ComfyUI with parts for models of both kinds.
fn comfy() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join("models").join(name);
    write(&at("vae/wan_2.1_vae.safetensors"), &vae(16));
    write(&at("vae/wan2.2_vae.safetensors"), &vae(48));
    write(&at("text_encoders/umt5_a_fp8.safetensors"), &umt5("F8_E4M3"));
    write(&at("text_encoders/umt5_bf16.safetensors"), &umt5("BF16"));
    write(&at("clip_vision/clip_vision_h.safetensors"), &clip());
    dir
}

fn open(path: &Path) -> Result<ModelFolder, Error> {
    ModelFolder::open_among(path, &[])
}

/// Part and file name of all parts.
fn parts(folder: &ModelFolder) -> Vec<(String, String)> {
    let name = |path: Option<PathBuf>| path.unwrap().file_name().unwrap().to_string_lossy().into_owned();
    folder
        .parts()
        .into_iter()
        .map(|(part, path)| (part, name(path)))
        .collect()
}

fn part(folder: &ModelFolder, wanted: &str) -> String {
    let all = parts(folder);
    all.iter()
        .find(|(part, _)| part == wanted)
        .map(|(_, name)| name.clone())
        .unwrap_or_default()
}

#[test]
fn a_transformer_finds_its_parts_in_the_folders_of_comfyui() {
    let dir = comfy();
    for (place, channels, vae, class) in [
        (
            "diffusion_models/wan_t2v.safetensors",
            [16, 16],
            "wan_2.1_vae.safetensors",
            "WanPipeline",
        ),
        (
            "diffusion_models/wan/14B/wan_i2v.safetensors",
            [36, 16],
            "wan_2.1_vae.safetensors",
            "WanImageToVideoPipeline",
        ),
        (
            "unet/wan_5b.safetensors",
            [48, 48],
            "wan2.2_vae.safetensors",
            "WanPipeline",
        ),
    ] {
        let file = write(&dir.path().join("models").join(place), &transformer(channels));
        let folder = open(&file).unwrap();
        folder.require_all().unwrap();
        assert_eq!(part(&folder, "vae"), vae, "by its channels");
        assert_eq!(
            part(&folder, "text_encoder"),
            "umt5_bf16.safetensors",
            "the least rounded"
        );
        assert_eq!(folder.name(), file.file_stem().unwrap().to_string_lossy());
        assert!(!folder.has_part("image_encoder") && !folder.has_part("transformer_2"));
        let index: Value = folder.index().unwrap().parse().unwrap();
        assert_eq!(index["_class_name"], class);
        assert_eq!(index["vae"], json!(["diffusers", "AutoencoderKLWan"]));
        assert_eq!(index["expand_timesteps"], channels[0] == 48);
        assert!(index["boundary_ratio"].is_null() && index.get("transformer_2").is_none());
        // All of them speak diffusers' names.
        let config: Value = folder.config("transformer").unwrap().parse().unwrap();
        assert_eq!(
            (&config["num_attention_heads"], &config["in_channels"]),
            (&json!(1), &json!(channels[0]))
        );
        assert!(folder.checkpoint("transformer").unwrap().has("scale_shift_table"));
        assert!(folder.checkpoint("vae").unwrap().has("post_quant_conv.weight"));
        assert!(!folder.checkpoint("text_encoder").unwrap().has("spiece_model"));
        let config: Value = folder.config("text_encoder").unwrap().parse().unwrap();
        assert_eq!((&config["d_model"], &config["num_heads"]), (&json!(32), &json!(2)));
        assert!(matches!(folder.tokenizer_source(), Ok(TokenizerSource::SentencePiece(bytes)) if bytes == [0; 5]));
        assert!(folder.tokenizer().is_err(), "it is not JSON");
        assert!(folder.concepts().unwrap().is_none());
    }
    let file = write(
        &dir.path().join("models/diffusion_models/clip.safetensors"),
        &with_clip(),
    );
    let folder = open(&file).unwrap();
    folder.require_all().unwrap();
    assert_eq!(part(&folder, "image_encoder"), "clip_vision_h.safetensors");
    let config: Value = folder.config("image_encoder").unwrap().parse().unwrap();
    assert_eq!(config["image_size"], 28);
}

#[test]
fn parts_beside_the_file_come_first_and_a_config_beside_it_wins() {
    let dir = comfy();
    let file = write(&dir.path().join("models/unet/w.safetensors"), &transformer([16, 16]));
    write(&dir.path().join("models/unet/my.safetensors"), &vae(16));
    let beside = json!({"num_attention_heads": 2, "attention_head_dim": 64});
    std::fs::write(file.with_file_name("config.json"), beside.to_string()).unwrap();
    let folder = open(&file).unwrap();
    assert_eq!(part(&folder, "vae"), "my.safetensors");
    assert_eq!(folder.config("transformer").unwrap().parse::<Value>().unwrap(), beside);
    let config: Value = folder.config("vae").unwrap().parse().unwrap();
    assert_eq!(
        config["z_dim"], 16,
        "the config of the transformer is not that of the autoencoder"
    );
}

#[test]
fn what_is_missing_is_named_with_its_usual_file_and_where_it_was_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(&dir.path().join("m/unet/w.safetensors"), &with_clip());
    std::fs::create_dir_all(dir.path().join("m/vae")).unwrap();
    std::fs::write(dir.path().join("m/vae/Wan2.1_VAE.pth"), b"PK\x03\x04").unwrap();
    let folder = open(&file).unwrap();
    let vae = dir.path().join("m/vae").display().to_string();
    for (part, words) in [
        (
            "vae",
            &[
                "an autoencoder",
                "wan_2.1_vae.safetensors",
                vae.as_str(),
                "Wan2.1_VAE.pth, a pickle",
                "kinora convert",
            ][..],
        ),
        (
            "text_encoder",
            &["umT5", "umt5-xxl-encoder-Q8_0.gguf", "looked in", "model.json"],
        ),
        ("image_encoder", &["CLIP", "clip_vision_h.safetensors"]),
    ] {
        let error = folder.checkpoint(part).map(drop).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::MissingPart { .. }));
        assert!(
            words.iter().all(|word| text.contains(word)),
            "wanted {words:?} in: {text}"
        );
        assert!(folder.config(part).is_err());
    }
    assert!(folder.tokenizer().unwrap_err().to_string().contains("spiece.model"));
    assert!(matches!(folder.require_all(), Err(Error::MissingPart { .. })));
    write(&dir.path().join("m/vae/other.safetensors"), &vae_of_another_model());
    assert!(
        open(&file).unwrap().checkpoint("vae").is_err(),
        "48 channels do not fit 16"
    );
}

fn vae_of_another_model() -> Tensors {
    vae(48)
}

#[test]
fn experts_are_found_by_the_names_of_their_files() {
    let dir = comfy();
    let at = |name: &str| dir.path().join("models/diffusion_models").join(name);
    let high = write(&at("wan2.2_t2v_High_Noise_14B.safetensors"), &transformer([16, 16]));
    let low = at("wan2.2_t2v_low_noise_14B.safetensors");
    let text = open(&high).unwrap().require_all().unwrap_err().to_string();
    assert!(
        text.contains("the other of its two experts") && text.contains("`low` in place of `high`"),
        "{text}"
    );
    write(&low, &transformer([16, 16]));
    for file in [&high, &low] {
        let folder = open(file).unwrap();
        folder.require_all().unwrap();
        assert_eq!(part(&folder, "transformer"), "wan2.2_t2v_High_Noise_14B.safetensors");
        assert_eq!(part(&folder, "transformer_2"), "wan2.2_t2v_low_noise_14B.safetensors");
        let index: Value = folder.index().unwrap().parse().unwrap();
        assert_eq!(
            (&index["boundary_ratio"], &index["transformer_2"][1]),
            (&json!(0.875), &json!("WanTransformer3DModel"))
        );
    }
    // As Wan-Video publishes it.
    let wan = |name: &str| dir.path().join("Wan2.2-I2V-A14B").join(name);
    for noise in ["high_noise_model", "low_noise_model"] {
        write(
            &wan(noise).join("diffusion_pytorch_model.safetensors"),
            &transformer([36, 16]),
        );
    }
    write(&wan("Wan2.1_VAE.safetensors"), &vae(16));
    write(&wan("models_t5.safetensors"), &umt5("BF16"));
    std::fs::create_dir_all(wan("google/umt5-xxl")).unwrap();
    std::fs::write(wan("google/umt5-xxl/spiece.model"), b"piece").unwrap();
    let folder = open(&wan("")).unwrap();
    assert_eq!(parts(&folder).len(), 5);
    for (name, noise) in [
        ("transformer", "high_noise_model"),
        ("transformer_2", "low_noise_model"),
    ] {
        let all = folder.parts();
        let path = all.iter().find(|(part, _)| part == name).unwrap().1.as_ref().unwrap();
        assert!(path.parent().unwrap().ends_with(noise), "{path:?}");
    }
    assert!(matches!(folder.tokenizer_source(), Ok(TokenizerSource::SentencePiece(bytes)) if bytes == b"piece"));
    let index: Value = folder.index().unwrap().parse().unwrap();
    assert_eq!(index["boundary_ratio"], 0.9);
}

#[test]
fn a_model_json_names_its_parts() {
    let dir = comfy();
    write(&dir.path().join("models/unet/w.safetensors"), &transformer([16, 16]));
    let home = dir.path().join("mine");
    std::fs::create_dir(&home).unwrap();
    let save = |value: Value| {
        std::fs::write(home.join("model.json"), value.to_string()).unwrap();
        open(&home)
    };
    let good = json!({"name": "mine", "licence": "Apache-2.0", "preset": "wan-2.1-t2v", "parts": {
        "transformer": "../models/unet/w.safetensors",
        "vae": dir.path().join("models/vae/wan_2.1_vae.safetensors"),
        "text_encoder": "../models/text_encoders/umt5_a_fp8.safetensors",
    }});
    let folder = save(good.clone()).unwrap();
    folder.require_all().unwrap();
    assert_eq!((folder.name().as_str(), folder.licence()), ("mine", Some("Apache-2.0")));
    assert_eq!(
        part(&folder, "tokenizer"),
        "umt5_a_fp8.safetensors",
        "the text encoder brings it"
    );
    let index: Value = folder.index().unwrap().parse().unwrap();
    assert_eq!(index["preset"], "wan-2.1-t2v");
    let (hash, size) = (folder.weights_hash().unwrap(), folder.size_bytes().unwrap());
    assert_eq!((hash.len(), folder.verify_hashes().unwrap()), (16, None));
    assert_eq!(hash, open(&dir.path().join("mine")).unwrap().weights_hash().unwrap());

    let with = |part: &str, path: &str| {
        let mut value = good.clone();
        value["parts"][part] = path.into();
        save(value)
    };
    let other = with("vae", "../models/vae/wan2.2_vae.safetensors").unwrap();
    assert_ne!(other.weights_hash().unwrap(), hash);
    assert_ne!(other.size_bytes().unwrap(), size);
    for (expected, result) in [
        ("there is no part `unet`", with("unet", "x").map(drop)),
        ("where there is nothing", with("vae", "nothing.safetensors").map(drop)),
        (
            "neither a `folder` nor a `transformer`",
            save(json!({"name": "x"})).map(drop),
        ),
        ("cannot be understood", save(json!([])).map(drop)),
        (
            "has no model_index.json",
            save(json!({"name": "x", "folder": "../models"})).map(drop),
        ),
        (
            "is a Wan transformer, not a Wan autoencoder",
            with("vae", "../models/unet/w.safetensors")
                .unwrap()
                .checkpoint("vae")
                .map(drop),
        ),
    ] {
        let text = result.expect_err(expected).to_string();
        assert!(text.contains(expected), "wanted `{expected}` in: {text}");
    }
}

#[test]
fn a_diffusers_folder_may_hold_files_of_any_kind_and_no_config() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("model_index.json"), "{}").unwrap();
    write(&at("transformer/w.safetensors"), &transformer([16, 16]));
    write(&at("transformer_2/w.safetensors"), &transformer([16, 16]));
    write(&at("vae/vae.safetensors"), &vae(16));
    write(&at("text_encoder/t.safetensors"), &umt5("F8_E4M3"));
    write(&at("other/model.safetensors"), &named(&[("x", &[1])]));
    let folder = open(dir.path()).unwrap();
    folder.require_all().unwrap();
    assert_eq!(
        parts(&folder).iter().map(|(part, _)| part.as_str()).collect::<Vec<_>>(),
        ["transformer", "transformer_2", "text_encoder", "vae"]
    );
    assert!(folder.checkpoint("transformer_2").unwrap().has("proj_out.weight"));
    assert!(
        folder.checkpoint("other").unwrap().has("x"),
        "kinds that are not known are left as they are"
    );
    let config: Value = folder.config("vae").unwrap().parse().unwrap();
    assert_eq!(config["z_dim"], 16);
    std::fs::write(at("vae/config.json"), r#"{"z_dim": 3}"#).unwrap();
    assert_eq!(folder.config("vae").unwrap(), r#"{"z_dim": 3}"#);
    assert!(matches!(
        folder.tokenizer_source(),
        Ok(TokenizerSource::SentencePiece(_))
    ));
    std::fs::create_dir(at("tokenizer")).unwrap();
    std::fs::write(at("tokenizer/tokenizer.json"), "{}").unwrap();
    assert_eq!(&*folder.tokenizer().unwrap(), b"{}");
}

#[test]
fn files_and_folders_that_are_no_models_say_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let lora = write(
        &at("lora.safetensors"),
        &named(&[("blocks.0.ffn.0.lora_A.weight", &[2, 2])]),
    );
    let vae = write(&at("v/vae.safetensors"), &vae(16));
    let other = write(&at("o/flux.safetensors"), &named(&[("double_blocks.0.x", &[1])]));
    for name in ["a", "b"] {
        write(&at(&format!("two/{name}.safetensors")), &transformer([16, 16]));
    }
    std::fs::create_dir(at("pickled")).unwrap();
    std::fs::write(at("pickled/model.pth"), b"PK\x03\x04").unwrap();
    for (path, words) in [
        (lora, &["is a LoRA, not a Wan transformer", "--lora"][..]),
        (vae, &["is a Wan autoencoder, not a Wan transformer"]),
        (other, &["Flux", "hint:"]),
        (at("two"), &["2 transformers and no telling"]),
        (at("pickled"), &["kinora convert"]),
        (at("pickled/model.pth"), &["PyTorch archive", "kinora convert"]),
        (at("nothing"), &["nothing of that name"]),
    ] {
        let text = open(&path).map(drop).unwrap_err().to_string();
        assert!(
            words.iter().all(|word| text.contains(word)),
            "wanted {words:?} in: {text}"
        );
    }
}

#[test]
fn models_of_all_three_kinds_are_listed_and_opened_by_name() {
    let dir = comfy();
    let home = dir.path().join("installed");
    let file = write(
        &dir.path().join("models/unet/wan-one.safetensors"),
        &transformer([16, 16]),
    );
    let entry = registry::add_in(&home, &file).unwrap();
    assert_eq!((entry.name.as_str(), &entry.problem), ("wan-one", &None));
    let text = std::fs::read_to_string(home.join("wan-one/model.json")).unwrap();
    let json: Value = text.parse().unwrap();
    let paths = json["parts"].as_object().unwrap();
    assert_eq!(
        paths.keys().collect::<Vec<_>>(),
        ["text_encoder", "tokenizer", "transformer", "vae"]
    );
    assert!(
        paths
            .values()
            .all(|path| Path::new(path.as_str().unwrap()).is_absolute())
    );
    let folder = entry.open().unwrap();
    assert!(folder.checkpoint("vae").is_ok());

    // A folder of diffusers is linked, not taken apart.
    let diffusers = dir.path().join("wan-two");
    write(&diffusers.join("transformer/w.safetensors"), &transformer([16, 16]));
    std::fs::write(diffusers.join("model_index.json"), r#"{"_class_name":"WanPipeline"}"#).unwrap();
    let entry = registry::add_in(&home, &diffusers).unwrap();
    assert_eq!(entry.name, "wan-two");
    assert!(entry.open().unwrap().index().unwrap().contains("WanPipeline"));

    // A file that lies there by itself is a model too, and takes parts that were added earlier.
    for noise in ["high", "low"] {
        write(
            &home.join(format!("three_{noise}_noise.safetensors")),
            &transformer([16, 16]),
        );
    }
    let models = registry::installed(std::slice::from_ref(&home));
    let found = |name: &str| {
        models
            .iter()
            .find(|m| m.name == name)
            .unwrap_or_else(|| panic!("{name} is not listed"))
    };
    for name in ["toybox", "wan-one", "wan-two", "three_high_noise"] {
        assert_eq!(found(name).problem, None, "{name}");
    }
    assert!(
        models.iter().all(|m| m.name != "three_low_noise"),
        "it is half of the model before"
    );
    let three = registry::find("three_high_noise", std::slice::from_ref(&home)).unwrap();
    let folder =
        ModelFolder::open_among(&home.join("three_high_noise.safetensors"), std::slice::from_ref(&home)).unwrap();
    assert_eq!(part(&folder, "vae"), "wan_2.1_vae.safetensors");
    assert!(three.size_bytes > 0);
    assert!(
        registry::find(&file.display().to_string(), std::slice::from_ref(&home)).is_ok(),
        "a path needs no entry"
    );

    let nonsense = dir.path().join("n.safetensors");
    std::fs::write(&nonsense, "nonsense").unwrap();
    let alone = write(&dir.path().join("alone/w.safetensors"), &transformer([52, 52]));
    let twin = write(
        &dir.path().join("models/diffusion_models/wan-one.safetensors"),
        &transformer([16, 16]),
    );
    let toybox = write(
        &dir.path().join("models/unet/toybox.safetensors"),
        &transformer([16, 16]),
    );
    for (path, expected) in [
        (&file, "installed already, as `wan-one`"),
        (&diffusers, "installed already, as `wan-two`"),
        (&twin, "of the name `wan-one` is installed already"),
        (&toybox, "inside the program"),
        (&nonsense, "n.safetensors"),
        (&alone, "needs an autoencoder"),
        (&dir.path().join("absent"), "nothing of that name"),
    ] {
        let text = registry::add_in(&home, path).map(drop).unwrap_err().to_string();
        assert!(text.contains(expected), "wanted `{expected}` in: {text}");
    }
    let mut left: Vec<_> = std::fs::read_dir(&home)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left.len(), 4, "nothing is left of what was refused: {left:?}");
}
