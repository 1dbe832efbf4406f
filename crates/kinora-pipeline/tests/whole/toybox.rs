//! The shipped weights, end to end, against the reference implementations run on the same (dequantised) weights: text,
//! four Euler steps under guidance, decoding; and the same with a given first frame.
//!
//! `tools/reference/install_toybox.py` makes the fixture again when weights are replaced.

use kinora_kernels::Precision;
use kinora_media::{Frame, psnr as frame_psnr};
use kinora_models::minilm::{MiniLm, Tokenizer};
use kinora_models::taehv::Taehv;
use kinora_models::wan::{Timesteps, Transformer};
use kinora_sampling::{Clean, Sampler, SamplerRun, Schedule, guide};
use kinora_tensor::{Arena, Tensor};
use kinora_testkit::{Golden, Json, assert_close};
use kinora_weights::ModelFolder;

/// Text tokens that Toybox sees.
const TEXT_TOKENS: usize = 64;
/// Decoded frames differ from the reference by rounding to bytes at most.
const MIN_FRAME_DB: f64 = 50.0;

struct Toybox {
    tokenizer: Tokenizer,
    text: MiniLm,
    transformer: Transformer,
    vae: Taehv,
    arena: Arena,
}

impl Toybox {
    fn load() -> Self {
        let folder = ModelFolder::embedded_toybox().unwrap();
        let part = |name| (folder.checkpoint(name).unwrap(), folder.config(name).unwrap());
        let ((text, text_config), (wan, wan_config), (vae, vae_config)) =
            (part("text_encoder"), part("transformer"), part("vae"));
        Self {
            tokenizer: Tokenizer::from_json(&folder.tokenizer().unwrap()).unwrap(),
            text: MiniLm::load(&text, &text_config).unwrap(),
            transformer: Transformer::load(&wan, &wan_config, Precision::F32).unwrap(),
            vae: Taehv::load(&vae, &vae_config, Precision::F32).unwrap(),
            arena: Arena::new(),
        }
    }

    fn context(&self, words: &str) -> Tensor {
        let tokens = self.tokenizer.encode(&[words], Some(TEXT_TOKENS)).unwrap();
        self.text.forward(&tokens, &self.arena).unwrap()
    }

    /// Runs the fixture's steps and compares the latents after each with `{run}.latents.N`.
    fn denoise(&self, golden: &Golden, run: &str, clean: Option<Tensor>) -> Tensor {
        let settings: Json = serde_json::from_str(golden.meta("run")).unwrap();
        let number = |key: &str| settings[key].as_f64().unwrap();
        let text = |key: &str| settings[key].as_str().unwrap();
        let cond = self
            .transformer
            .embed_context(&self.context(text("prompt")), None)
            .unwrap();
        let uncond = self
            .transformer
            .embed_context(&self.context(text("negative")), None)
            .unwrap();
        let noise = golden.tensor("noise");
        let [frames, rows, columns] = self.transformer.token_grid(&noise).unwrap();
        let clean_frames = clean.as_ref().map_or(0, |clean| clean.dims()[2]);
        let is_clean: Vec<bool> = (0..frames * rows * columns)
            .map(|token| token < clean_frames * rows * columns)
            .collect();

        let schedule = Schedule::rectified_flow(number("steps") as usize, number("shift")).unwrap();
        let mut sampler = SamplerRun::new(Sampler::Euler, &schedule, noise).unwrap();
        if let Some(clean) = clean {
            sampler = sampler.with_clean(Clean::Prefix(clean)).unwrap();
        }
        while let Some(eval) = sampler.next_eval() {
            let timesteps = Timesteps::with_clean(eval.timestep.0, &is_clean);
            let cond = self.transformer.forward(eval.latents, &timesteps, &cond).unwrap();
            let uncond = self.transformer.forward(eval.latents, &timesteps, &uncond).unwrap();
            sampler
                .provide(guide(&cond, &uncond, number("guidance") as f32).unwrap())
                .unwrap();
            let name = format!("{run}.latents.{}", sampler.steps_done());
            assert_close(
                &name,
                sampler.latents().as_slice(),
                golden.tensor(&name).as_slice(),
                golden.tolerance(),
            );
        }
        sampler.into_latents()
    }

    fn check_frames(&self, golden: &Golden, run: &str, latents: &Tensor) {
        let mut frames = Vec::new();
        let mut decoder = self.vae.decoder();
        for index in 0..latents.dims()[2] {
            decoder
                .push(latents, index, &mut |frame| {
                    frames.push(frame);
                    Ok(())
                })
                .unwrap();
        }
        for (frame, name) in [(&frames[0], "first_frame"), (&frames[frames.len() - 1], "last_frame")] {
            let name = format!("{run}.{name}");
            let got = to_frame(frame);
            let want = planar_frame(golden, &name);
            let db = frame_psnr(&got, &want).unwrap();
            assert!(db >= MIN_FRAME_DB, "{name}: {db:.1} dB");
        }
    }
}

fn to_frame(tensor: &Tensor) -> Frame {
    let [height, width, _] = tensor.dims_of("test", "[H, W, 3]").unwrap();
    let rgb = tensor.as_slice().iter().map(|v| (v * 255.0).round() as u8).collect();
    Frame::new(width as u32, height as u32, rgb).unwrap()
}

/// `[3, H, W]` bytes of the fixture as a frame.
fn planar_frame(golden: &Golden, name: &str) -> Frame {
    let (shape, planes) = (golden.shape(name), golden.bytes(name));
    let area = shape[1] * shape[2];
    let rgb = (0..3 * area).map(|i| planes[i % 3 * area + i / 3]).collect();
    Frame::new(shape[2] as u32, shape[1] as u32, rgb).unwrap()
}

fn golden() -> Golden {
    Golden::open(env!("CARGO_MANIFEST_DIR"), "toybox_small")
}

#[test]
fn text_embeddings_equal_the_reference() {
    let (golden, toybox) = (golden(), Toybox::load());
    let settings: Json = serde_json::from_str(golden.meta("run")).unwrap();
    for (words, name) in [(settings["prompt"].as_str().unwrap(), "context"), ("", "null_context")] {
        let (got, want) = (toybox.context(words), golden.tensor(name));
        let real = want.elements();
        assert_close(name, &got.as_slice()[..real], want.as_slice(), 1e-4);
        assert!(
            got.as_slice()[real..].iter().all(|&v| v == 0.0),
            "{name}: padding must be zero"
        );
    }
}

#[test]
fn words_become_the_reference_clip() {
    let (golden, toybox) = (golden(), Toybox::load());
    let latents = toybox.denoise(&golden, "text", None);
    toybox.check_frames(&golden, "text", &latents);
}

#[test]
fn a_given_first_frame_becomes_the_reference_clip() {
    let (golden, toybox) = (golden(), Toybox::load());
    let image = planar_frame(&golden, "image");
    let values: Vec<f32> = image.rgb.iter().map(|&byte| f32::from(byte) / 255.0).collect();
    let frame = Tensor::from_slice(&values, [image.height_px as usize, image.width_px as usize, 3]).unwrap();
    let want = golden.tensor("image.clean");
    let mut clean = None;
    toybox
        .vae
        .encoder()
        .push(&frame, &mut |latent| {
            clean = Some(latent.reshape(want.dims())?);
            Ok(())
        })
        .unwrap();
    let clean = clean.expect("the first frame gives a latent at once");
    assert_close("image.clean", clean.as_slice(), want.as_slice(), golden.tolerance());
    let latents = toybox.denoise(&golden, "image", Some(clean));
    toybox.check_frames(&golden, "image", &latents);
}
