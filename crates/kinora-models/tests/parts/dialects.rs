//! One tiny Wan transformer in every kind of file that people have: each must give what the reference gives from it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kinora_kernels::Precision;
use kinora_models::wan::{Timesteps, Transformer};
use kinora_tensor::Tensor;
use kinora_testkit::{Golden, assert_close, read_json};
use kinora_weights::{Checkpoint, Component, Dialect, Error, recognise, recognise_as};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn golden() -> Golden {
    Golden::open(HERE, "wan_dialects")
}

fn file(name: &str) -> Checkpoint {
    let path = PathBuf::from(HERE).join("tests/fixtures/dialects").join(name);
    Checkpoint::open(&path).unwrap()
}

/// The file under diffusers' names, with the configuration that its shapes are too small to tell.
fn translated(golden: &Golden, name: &str, dialect: Dialect) -> Checkpoint {
    let checkpoint = file(name);
    let found = recognise_as(&checkpoint, None, Some(golden.meta("config"))).unwrap();
    assert_eq!(
        (found.component, found.dialect),
        (Component::WanTransformer, dialect),
        "{name}"
    );
    assert_eq!(found.config_json, golden.meta("config"));
    checkpoint.in_diffusers_names(&found).unwrap()
}

fn run(golden: &Golden, transformer: &Transformer) -> Tensor {
    let latents = golden.tensor("hidden_states");
    let tokens = transformer.token_grid(&latents).unwrap().iter().product();
    let timesteps = Timesteps::uniform(golden.tensor("timestep").as_slice()[0], tokens);
    let context = transformer.embed_context(&golden.tensor("context"), None).unwrap();
    transformer.forward(&latents, &timesteps, &context).unwrap()
}

#[test]
fn every_kind_of_file_gives_the_reference_output() {
    let golden = golden();
    for (name, dialect, output) in [
        (
            "diffusers/diffusion_pytorch_model.safetensors.index.json",
            Dialect::Diffusers,
            "output",
        ),
        ("wan_original.safetensors", Dialect::Original, "output"),
        ("wan_comfy.safetensors", Dialect::Original, "output"),
        ("wan_f16.gguf", Dialect::Original, "output.f16"),
        ("wan_fp8.safetensors", Dialect::Original, "output.fp8"),
        ("wan_fp8_scaled.safetensors", Dialect::Original, "output.fp8_scaled"),
        ("wan_fp8_comfy.safetensors", Dialect::Original, "output.fp8_scaled"),
        ("wan_int8.safetensors", Dialect::Original, "output.int8"),
        ("wan_q8_0.gguf", Dialect::Original, "output.q8_0"),
        ("wan_q4_k.gguf", Dialect::Original, "output.q4_k"),
        ("wan_q6_k.gguf", Dialect::Original, "output.q6_k"),
    ] {
        let checkpoint = translated(&golden, name, dialect);
        // That nothing is left over is part of loading.
        let transformer = Transformer::load(&checkpoint, golden.meta("config"), Precision::F32).unwrap();
        let (got, want) = (run(&golden, &transformer), golden.tensor(output));
        assert_eq!(got.dims(), want.dims());
        assert_close(name, got.as_slice(), want.as_slice(), golden.tolerance());
    }
}

#[test]
fn the_folders_own_configuration_is_the_one_of_the_golden() {
    let text =
        std::fs::read_to_string(PathBuf::from(HERE).join("tests/fixtures/dialects/diffusers/config.json")).unwrap();
    let (file, golden) = (text.parse::<serde_json::Value>().unwrap(), golden());
    assert_eq!(file, golden.meta("config").parse::<serde_json::Value>().unwrap());
}

#[test]
fn without_a_configuration_a_tiny_file_says_what_is_missing() {
    let text = recognise(&file("wan_original.safetensors")).unwrap_err().to_string();
    assert!(
        text.contains("attention heads") && text.contains("config.json"),
        "{text}"
    );
}

#[test]
fn a_lora_is_told_from_a_model() {
    for name in ["kohya", "diffusers", "original", "lightx2v", "misfit"] {
        let found = recognise(&file(&format!("lora_{name}.safetensors"))).unwrap();
        assert_eq!(found.component, Component::Lora, "{name}");
    }
}

#[test]
fn what_is_wrong_with_a_tensor_is_said_in_both_names() {
    let golden = golden();
    let checkpoint = translated(&golden, "wan_comfy.safetensors", Dialect::Original);
    let config = golden.meta("config").replace("\"ffn_dim\": 256", "\"ffn_dim\": 128");
    let text = Transformer::load(&checkpoint, &config, Precision::F32)
        .err()
        .unwrap()
        .to_string();
    assert!(
        text.contains("`blocks.0.ffn.net.0.proj.weight` alias `model.diffusion_model.blocks.0.ffn.0.weight`"),
        "{text}"
    );
    let config = golden.meta("config").replace("\"num_layers\": 2", "\"num_layers\": 3");
    let text = Transformer::load(&checkpoint, &config, Precision::F32)
        .err()
        .unwrap()
        .to_string();
    assert!(text.contains("alias `model.diffusion_model.blocks.2."), "{text}");
    let config = golden.meta("config").replace("\"num_layers\": 2", "\"num_layers\": 1");
    let text = Transformer::load(&checkpoint, &config, Precision::F32)
        .err()
        .unwrap()
        .to_string();
    assert!(
        text.contains("does not use") && text.contains("alias `model.diffusion_model.blocks.1."),
        "{text}"
    );
}

/// A safetensors file of one number for each name.
fn with_names<'a>(names: impl Iterator<Item = &'a str>) -> Checkpoint {
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for name in names {
        let entry = serde_json::json!({"dtype": "F32", "shape": [1], "data_offsets": [end, end + 4]});
        end += 4;
        assert!(header.insert(name.into(), entry).is_none(), "{name} twice");
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + end, 0);
    Checkpoint::from_bytes("names", bytes).unwrap()
}

#[test]
fn all_names_lead_to_those_of_diffusers_and_back() {
    let all: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_value(read_json(HERE, "wan_names.json")).unwrap();
    assert_eq!(all.len(), 8);
    for (kind, pairs) in &all {
        let (component, dialect) = match kind.as_str() {
            "umt5.gguf" => (Component::Umt5, Dialect::LlamaCpp),
            "umt5.original" => (Component::Umt5, Dialect::Original),
            _ if kind.starts_with("vae.") => (Component::WanVae, Dialect::Original),
            _ => (Component::WanTransformer, Dialect::Original),
        };
        for prefix in ["", "model."] {
            let own: Vec<String> = pairs.values().map(|own| format!("{prefix}{own}")).collect();
            let checkpoint = with_names(own.iter().map(String::as_str));
            let found = recognise_as(&checkpoint, None, Some("{}")).unwrap();
            assert_eq!((found.component, found.dialect), (component, dialect), "{kind}");
            let renamed = checkpoint.in_diffusers_names(&found).unwrap();
            let got: Vec<&str> = renamed.names().collect();
            assert_eq!(got, pairs.keys().collect::<Vec<_>>(), "{kind}");
            for (new, own) in pairs {
                let own = format!("{prefix}{own}");
                assert_eq!(renamed.own_name(new).as_ref(), Some(&own), "{kind}");
                // The name of a tensor that is missing is not in any table of this file.
                let missing = checkpoint_without(&checkpoint, &own);
                let found = recognise_as(&missing, None, Some("{}"));
                if let Ok(found) = found {
                    let renamed = missing.in_diffusers_names(&found).unwrap();
                    assert!(!renamed.has(new));
                    assert_eq!(renamed.own_name(new), Some(own), "{kind}");
                }
            }
            // In diffusers' own names nothing changes.
            let plain = with_names(pairs.keys().map(String::as_str));
            let found = recognise_as(&plain, None, Some("{}")).unwrap();
            assert_eq!(
                (found.component, found.dialect),
                (component, Dialect::Diffusers),
                "{kind}"
            );
            let same = plain.in_diffusers_names(&found).unwrap();
            assert!(same.names().eq(plain.names()));
        }
    }
}

fn checkpoint_without(checkpoint: &Checkpoint, name: &str) -> Checkpoint {
    with_names(checkpoint.names().filter(|n| *n != name))
}

#[test]
fn the_tiny_models_of_other_parts_are_told_and_configured() {
    for (name, component, same) in [
        (
            "umt5_tiny",
            Component::Umt5,
            &["d_kv", "d_ff", "num_layers", "num_heads", "vocab_size"][..],
        ),
        (
            "wan_vae22_tiny",
            Component::WanVae,
            &[
                "base_dim",
                "decoder_base_dim",
                "z_dim",
                "is_residual",
                "in_channels",
                "out_channels",
                "patch_size",
            ],
        ),
    ] {
        let golden = Golden::open(HERE, name);
        let checkpoint = Checkpoint::from_bytes(name, golden.checkpoint_bytes("weights.")).unwrap();
        let found = recognise(&checkpoint).unwrap();
        assert_eq!((found.component, found.dialect), (component, Dialect::Diffusers));
        let [got, want] =
            [found.config_json.as_str(), golden.meta("config")].map(|t| t.parse::<serde_json::Value>().unwrap());
        for field in same {
            assert_eq!(got[field], want[field], "{name}: {field}");
        }
    }
    let golden = Golden::open(HERE, "wan_vae21_tiny");
    let checkpoint = Checkpoint::from_bytes("vae", golden.checkpoint_bytes("weights.")).unwrap();
    assert!(
        matches!(recognise(&checkpoint), Err(Error::NoConfig { reason, .. }) if reason.contains("4 latent channels"))
    );
    let toybox = kinora_weights::ModelFolder::embedded_toybox().unwrap();
    let found = recognise(&toybox.checkpoint("vae").unwrap()).unwrap();
    assert_eq!(found.component, Component::Taehv);
    let [got, want] =
        [found.config_json, toybox.config("vae").unwrap()].map(|t| t.parse::<serde_json::Value>().unwrap());
    for field in [
        "latent_channels",
        "patch_size",
        "encoder_time_downscale",
        "decoder_time_upscale",
        "decoder_widths",
    ] {
        assert_eq!(got[field], want[field], "{field}");
    }
}
