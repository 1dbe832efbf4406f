//! The numbers of the original (bf16) Toybox weights against the reference tensors that came with them.
//!
//! The originals are not in the tree (the shipped weights are int8), so this runs where someone has them:
//! `KINORA_REFERENCE_WEIGHTS=/path/to/toybox cargo test -p kinora-pipeline --test whole parity -- --ignored --nocapture`.
//! The shipped weights have goldens of their own in `toybox.rs`, which always run.

use std::path::PathBuf;

use kinora_kernels::Precision;
use kinora_models::minilm::{MiniLm, Tokenizer};
use kinora_models::taehv::Taehv;
use kinora_models::wan::{Timesteps, Transformer};
use kinora_sampling::{Sampler, SamplerRun, Schedule, guide};
use kinora_tensor::{Arena, Tensor};
use kinora_testkit::{Differences, assert_close, psnr};
use kinora_weights::{Checkpoint, ModelFolder};

/// The folder that the variable names; the test that asks for it was asked for, so a missing one fails.
fn reference_folder() -> PathBuf {
    let path = std::env::var_os("KINORA_REFERENCE_WEIGHTS").map(PathBuf::from);
    path.expect("KINORA_REFERENCE_WEIGHTS must name a folder with the original weights and their fixtures/")
}

struct Fixture(Checkpoint);

impl Fixture {
    fn tensor(&self, name: &str) -> Tensor {
        let shape = self.0.require(name).unwrap().shape.to_vec();
        self.0.reader().tensor(name, &shape).unwrap()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        self.0.require(name).unwrap().bytes.to_vec()
    }
}

fn max_abs(got: &Tensor, want: &Tensor) -> f64 {
    Differences::between(got.as_slice(), want.as_slice(), 0.0).max_abs
}

#[test]
#[ignore = "needs the original weights: set KINORA_REFERENCE_WEIGHTS"]
fn the_original_weights_give_the_reference_numbers() {
    let path = reference_folder();
    let folder = ModelFolder::open(&path).unwrap();
    let arena = Arena::new();
    let tokenizer = Tokenizer::from_json(&folder.tokenizer().unwrap()).unwrap();
    let text = MiniLm::load(
        &folder.checkpoint("text_encoder").unwrap(),
        &folder.config("text_encoder").unwrap(),
    )
    .unwrap();
    let transformer = Transformer::load(
        &folder.checkpoint("transformer").unwrap(),
        &folder.config("transformer").unwrap(),
        Precision::F32,
    )
    .unwrap();
    let vae = Taehv::load(
        &folder.checkpoint("vae").unwrap(),
        &folder.config("vae").unwrap(),
        Precision::F32,
    )
    .unwrap();

    for name in ["prompt1", "prompt0"] {
        let checkpoint = Checkpoint::open(&path.join(format!("fixtures/{name}.safetensors"))).unwrap();
        let prompt = checkpoint.metadata()["prompt"].clone();
        let fixture = Fixture(checkpoint);

        // Text
        let mut contexts = Vec::new();
        for (words, expected) in [(prompt.as_str(), "text_embeds"), ("", "null_text_embeds")] {
            let tokens = tokenizer.encode(&[words], Some(64)).unwrap();
            let states = text.forward(&tokens, &arena).unwrap();
            let want = fixture.tensor(expected);
            println!("{name} {expected}: max abs {:.2e}", max_abs(&states, &want));
            assert_close(expected, states.as_slice(), want.as_slice(), 1e-4);
            contexts.push(transformer.embed_context(&states, None).unwrap());
        }

        // Four Euler steps under guidance
        let noise = fixture.tensor("noise");
        let token_count = transformer.token_grid(&noise).unwrap().iter().product();
        let schedule = Schedule::rectified_flow(4, 3.0).unwrap();
        let mut run = SamplerRun::new(Sampler::Euler, &schedule, noise).unwrap();
        while let Some(eval) = run.next_eval() {
            let timesteps = Timesteps::uniform(eval.timestep.0, token_count);
            let cond = transformer.forward(eval.latents, &timesteps, &contexts[0]).unwrap();
            if eval.step_index == 0 {
                let want = fixture.tensor("v_cond_step0");
                println!("{name} v_cond_step0: max abs {:.2e}", max_abs(&cond, &want));
                assert_close("v_cond_step0", cond.as_slice(), want.as_slice(), 1e-3);
            }
            let uncond = transformer.forward(eval.latents, &timesteps, &contexts[1]).unwrap();
            run.provide(guide(&cond, &uncond, 5.0).unwrap()).unwrap();
            let step = run.steps_done();
            let want = fixture.tensor(&format!("latents_step{step}"));
            println!(
                "{name} latents_step{step}: max abs {:.2e}",
                max_abs(run.latents(), &want)
            );
            assert_close("latents", run.latents().as_slice(), want.as_slice(), 1e-3);
        }

        // Frames
        let latents = run.into_latents();
        let latent_frames = latents.dims()[2];
        let mut decoder = vae.decoder();
        let mut frames = Vec::new();
        for index in 0..latent_frames {
            decoder
                .push(&latents, index, &mut |frame| {
                    frames.push(frame);
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(frames.len(), vae.frames_of(latent_frames));
        for (frame, expected) in [(&frames[0], "frame0"), (&frames[frames.len() - 1], "frame_last")] {
            let [height, width, _] = frame.dims_of("test", "[H, W, 3]").unwrap();
            let planes = fixture.bytes(expected); // [3, H, W]
            let want: Vec<f32> = (0..frame.elements())
                .map(|i| f32::from(planes[(i % 3) * height * width + i / 3]))
                .collect();
            let got: Vec<f32> = frame.as_slice().iter().map(|v| (v * 255.0).round()).collect();
            let db = psnr(&got, &want, 255.0);
            println!("{name} {expected}: {db:.1} dB");
            assert!(db >= 50.0, "{name} {expected}: {db:.1} dB");
        }
    }
}
