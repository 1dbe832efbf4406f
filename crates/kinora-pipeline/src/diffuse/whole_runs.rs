//! Whole runs of the Wan family against diffusers' pipelines, with small random weights: text, experts, pictures.

use kinora_kernels::Precision;
use kinora_media::Frame;
use kinora_models::clip_vision::ClipVision;
use kinora_models::umt5::Umt5;
use kinora_models::wan::Transformer;
use kinora_sampling::ScheduleKind;
use kinora_testkit::{Golden, Json, assert_close};
use kinora_weights::Checkpoint;

use super::*;
use crate::description::StartsFrom;
use crate::map::{Given, known, whole_frame};
use crate::model::{Slot, Vae, VaeConfig, padded};
use crate::progress::Silent;
use crate::request::Size;

const STEPS: usize = 4;
const TEXT_TOKENS: usize = 512;

struct Run {
    golden: Golden,
    configs: Json,
}

impl Run {
    fn open(name: &str) -> Self {
        let golden = Golden::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../kinora-models"), name);
        let configs = serde_json::from_str(golden.meta("configs")).unwrap();
        Self { golden, configs }
    }

    fn part(&self, name: &str) -> (Checkpoint, String) {
        let bytes = self.golden.checkpoint_bytes(&format!("{name}."));
        (
            Checkpoint::from_bytes(name, bytes).unwrap(),
            self.configs[name].to_string(),
        )
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.configs[name].as_f64()
    }

    fn transformer(&self, name: &str) -> Slot<Transformer, LoadOptions> {
        let (checkpoint, config) = self.part(name);
        Slot::new(move |options| Ok(Transformer::load(&checkpoint, &config, options)?))
    }

    fn experts(&self) -> Experts {
        let second = self.number("guidance_2").map(|_| self.transformer("transformer_2"));
        Experts::new(self.transformer("transformer"), second)
    }

    fn vae(&self) -> (Vae, VaeConfig) {
        let (checkpoint, json) = self.part("vae");
        let config = VaeConfig::Wan(kinora_models::wan_vae::Config::from_json(&json).unwrap());
        (
            Vae::load(&checkpoint, &config, &json, Precision::F32, crate::model::VaeHalf::Both).unwrap(),
            config,
        )
    }

    /// The prompt's and the negative prompt's tokens, filled up with zeros.
    fn texts(&self) -> [Tensor; 2] {
        ["prompt_embeds", "negative_prompt_embeds"].map(|name| {
            let rows = self.golden.tensor(name);
            let [_, tokens, width] = rows.dims_of("test", "[1, S, T]").unwrap();
            padded(&rows.reshape([tokens, width]).unwrap(), TEXT_TOKENS).unwrap()
        })
    }

    fn picture(&self, name: &str) -> Frame {
        let shape = self.golden.shape(name);
        Frame::new(shape[1] as u32, shape[0] as u32, self.golden.bytes(name)).unwrap()
    }

    fn compare(&self, name: &str, got: &Tensor) {
        let want = self.golden.tensor(name);
        assert_eq!(got.dims(), want.dims(), "{name}");
        assert_close(name, got.as_slice(), want.as_slice(), self.golden.tolerance());
    }

    /// Denoises the fixture's noise in all ways that must give the same, and compares the latents after each step from
    /// frame `first` on; returns the last ones.
    fn denoise(&self, prefix: &str, conditioning: &Conditioning<'_>, first_frame: usize) -> Tensor {
        let ways = [
            (GuidanceMode::Batched, Precision::F32.into()),
            (GuidanceMode::Sequential, Precision::F32.into()),
            (GuidanceMode::Batched, LoadOptions::streamed(Precision::F32)),
        ];
        let [mut last, ..] = ways.map(|(mode, load)| self.denoise_in(prefix, conditioning, first_frame, mode, load));
        conditioning.known.finish(&mut last);
        last
    }

    fn denoise_in(
        &self,
        prefix: &str,
        conditioning: &Conditioning<'_>,
        first_frame: usize,
        guidance_mode: GuidanceMode,
        load: LoadOptions,
    ) -> Tensor {
        let noise = self.golden.tensor(&format!("{prefix}noise"));
        let [_, _, frames, height, width] = noise.dims_of("test", "[1, C, F, h, w]").unwrap();
        let guidance = self.number("guidance").unwrap();
        let settings = Settings {
            grid: [frames, height, width],
            seed: 0,
            stream: Stream::default(),
            schedule: Schedule::new(ScheduleKind::DiffusersUniPc, STEPS, self.number("shift").unwrap()).unwrap(),
            sampler: Sampler::UniPc,
            guidance: Guidance::per_expert(guidance, self.number("guidance_2").unwrap_or(guidance)).unwrap(),
            guidance_mode,
            switch: self.number("boundary_ratio").map(ExpertSwitch::ratio),
            load,
            cache: None,
            keep_experts: false,
        };
        let timesteps = self.golden.tensor(&format!("{prefix}timesteps"));
        let ours: Vec<f32> = settings
            .schedule
            .timesteps()
            .iter()
            .map(|timestep| timestep.0)
            .collect();
        assert_eq!(ours, timesteps.as_slice());
        let mut seen = 0;
        let mut compare = |between: &Between<'_>, _: &mut dyn Observer| {
            let run = between.run;
            seen += 1;
            let name = format!("{prefix}latents.{seen}");
            let want = self.golden.tensor(&name);
            let [got, want] = [run.latents(), &want].map(|latents| from_frame(latents, first_frame));
            assert_close(&name, &got, &want, self.golden.tolerance());
            Ok(())
        };
        let cancel = CancelToken::new();
        let denoised = denoise(
            &self.experts(),
            Previewer::Colours(None),
            conditioning,
            &settings,
            noise,
            None,
            None,
            &mut Silent,
            &cancel,
            &mut compare,
        );
        assert_eq!(seen, STEPS);
        denoised.unwrap().latents
    }

    /// Decodes `latents` and compares the frames with `video`.
    fn check_video(&self, vae: &Vae, latents: &Tensor) {
        let want = self.golden.tensor("video");
        let [frames, channels, height, width] = want.dims_of("test", "[F, C, H, W]").unwrap();
        let mut decoder = vae.decoder(None).unwrap();
        let mut decoded = Vec::new();
        for index in 0..latents.dims()[2] {
            decoded.extend(decoder.push(latents, index).unwrap());
        }
        assert_eq!(decoded.len(), frames);
        let planes = want.as_slice().chunks_exact(channels * height * width);
        for (index, (got, want)) in decoded.iter().zip(planes).enumerate() {
            let area = height * width;
            let want: Vec<f32> = (0..area * channels)
                .map(|i| want[i % channels * area + i / channels])
                .collect();
            assert_close(
                &format!("frame {index}"),
                got.as_slice(),
                &want,
                self.golden.tolerance(),
            );
        }
    }
}

/// The values of `latents [1, C, F, h, w]` from a latent frame on.
fn from_frame(latents: &Tensor, first_frame: usize) -> Vec<f32> {
    let [.., frames, height, width] = latents.dims_of::<5>("test", "[1, C, F, h, w]").unwrap();
    let area = height * width;
    let channels = latents.as_slice().chunks_exact(frames * area);
    channels
        .flat_map(|channel| channel[first_frame * area..].to_vec())
        .collect()
}

fn conditioning(texts: &[Tensor; 2], known: Known) -> Conditioning<'_> {
    Conditioning {
        cond: &texts[0],
        uncond: Some(&texts[1]),
        image: None,
        known,
        control: None,
        start: None,
        held: None,
    }
}

fn size_of(frame: &Frame) -> Size {
    Size {
        width_px: frame.width_px,
        height_px: frame.height_px,
    }
}

#[test]
fn text_to_video_equals_the_pipeline_from_token_ids_to_frames() {
    let run = Run::open("wan_pipeline_t2v_tiny");
    let (checkpoint, config) = run.part("text_encoder");
    let encoder = Umt5::open(&checkpoint, &config, Precision::F32).unwrap();
    let ids = ["ids", "negative_ids"].map(|name| run.golden.ints(name).iter().map(|&id| id as u32).collect());
    let embedded = encoder.embed(&ids).unwrap();
    for (name, rows) in ["prompt_embeds", "negative_prompt_embeds"].iter().zip(&embedded) {
        assert_close(
            name,
            rows.as_slice(),
            run.golden.tensor(name).as_slice(),
            run.golden.tolerance(),
        );
    }
    let texts = [0, 1].map(|i| padded(&embedded[i], TEXT_TOKENS).unwrap());
    let latents = run.denoise("", &conditioning(&texts, Known::Nothing), 0);
    run.check_video(&run.vae().0, &latents);
}

#[test]
fn two_experts_share_a_run() {
    let run = Run::open("wan_pipeline_a14b_tiny");
    let texts = run.texts();
    let latents = run.denoise("", &conditioning(&texts, Known::Nothing), 0);
    run.compare("latents.end", &latents);
}

#[test]
fn a_picture_becomes_channels_and_clip_tokens() {
    let run = Run::open("wan_pipeline_i2v21_tiny");
    let (picture, (vae, _), arena) = (run.picture("image"), run.vae(), Arena::new());
    let given = Given {
        first: std::slice::from_ref(&picture),
        last: &[],
    };
    let known = known(StartsFrom::Channels, &vae, &arena, given, 2, size_of(&picture)).unwrap();
    let Known::Channels(channels) = &known else {
        panic!("channels are what such a model is given")
    };
    run.compare("condition", channels);
    let texts = run.texts();
    let mut conditioning = conditioning(&texts, known);
    let (checkpoint, config) = run.part("image_encoder");
    let encoder = ClipVision::load(&checkpoint, &config, Precision::F32).unwrap();
    let seen = encoder.embed(&whole_frame(&picture).unwrap()).unwrap();
    run.compare("clip.embeds", &seen);
    conditioning.image = Some(seen);
    let latents = run.denoise("", &conditioning, 0);
    run.check_video(&vae, &latents);
}

#[test]
fn first_and_last_pictures_become_channels() {
    let run = Run::open("wan_pipeline_i2v22_tiny");
    let (first, last) = (run.picture("image"), run.picture("last_image"));
    let ((vae, _), arena, texts) = (run.vae(), Arena::new(), run.texts());
    for (prefix, last) in [("first.", None), ("first_last.", Some(&last))] {
        let given = Given {
            first: std::slice::from_ref(&first),
            last: last.map_or(&[], std::slice::from_ref),
        };
        let known = known(StartsFrom::Channels, &vae, &arena, given, 2, size_of(&first)).unwrap();
        let Known::Channels(channels) = &known else {
            panic!("channels are what such a model is given")
        };
        run.compare(&format!("{prefix}condition"), channels);
        let latents = run.denoise(prefix, &conditioning(&texts, known), 0);
        run.compare(&format!("{prefix}latents.end"), &latents);
    }
}

#[test]
fn one_model_for_text_and_pictures_knows_the_first_frame() {
    let run = Run::open("wan_pipeline_ti2v_tiny");
    let (picture, (vae, _), arena, texts) = (run.picture("image"), run.vae(), Arena::new(), run.texts());
    let latents = run.denoise("text.", &conditioning(&texts, Known::Nothing), 0);
    run.compare("text.latents.end", &latents);
    let given = Given {
        first: std::slice::from_ref(&picture),
        last: &[],
    };
    let known = known(StartsFrom::CleanFrames, &vae, &arena, given, 2, size_of(&picture)).unwrap();
    let Known::Prefix(prefix) = &known else {
        panic!("a clean frame is what such a model is given")
    };
    run.compare("image.condition", prefix);
    // Between two steps the reference leaves its first frame noisy, and shows the model the picture instead.
    let latents = run.denoise("image.", &conditioning(&texts, known), 1);
    run.compare("image.latents.end", &latents);
}

/// The blocks of a causal run of the text-to-video model, one after the other.
fn blocks(run: &Run, texts: &[Tensor; 2], known: Known, frames: usize, block_frames: usize) -> Vec<Tensor> {
    blocks_from(run, texts, known, frames, block_frames, None)
}

/// The same, when an earlier attempt has `made` the first ones.
fn blocks_from(
    run: &Run,
    texts: &[Tensor; 2],
    known: Known,
    frames: usize,
    block_frames: usize,
    made: Option<&Tensor>,
) -> Vec<Tensor> {
    let mut settings = renoise_settings(frames);
    settings.load = Precision::F32.into();
    let mut emitted = Vec::new();
    let emit: &mut Emit<'_> = &mut |latents, _, _| {
        emitted.push(latents.try_clone()?);
        Ok(())
    };
    diffuse_blocks(
        &run.experts(),
        &Arena::new(),
        &conditioning(texts, known),
        &settings,
        block_frames,
        4,
        made,
        &mut Silent,
        &CancelToken::new(),
        emit,
    )
    .unwrap();
    emitted
}

fn renoise_settings(frames: usize) -> Settings {
    Settings {
        grid: [frames, 4, 6],
        seed: 5,
        stream: Stream::default(),
        schedule: Schedule::dmd(&kinora_sampling::DMD_LIST, 5.0).unwrap(),
        sampler: Sampler::Renoise,
        guidance: Guidance::new(1.0).unwrap(),
        guidance_mode: GuidanceMode::Off,
        switch: None,
        load: Precision::F32.into(),
        cache: None,
        keep_experts: true,
    }
}

#[test]
fn one_block_is_the_whole_clip_and_later_blocks_follow_the_earlier() {
    let run = Run::open("wan_pipeline_t2v_tiny");
    let pad = |name: &str| {
        let rows = run.golden.tensor(name);
        let [_, tokens, width] = rows.dims_of("test", "[1, S, T]").unwrap();
        padded(&rows.reshape([tokens, width]).unwrap(), TEXT_TOKENS).unwrap()
    };
    let texts = [pad("prompt_embeds"), pad("negative_prompt_embeds")];

    // A block as long as the clip sees what the whole clip sees.
    let whole = {
        let mut conditioning = conditioning(&texts, Known::Nothing);
        conditioning.uncond = None;
        let (settings, arena) = (renoise_settings(3), Arena::new());
        let experts = run.experts();
        let made = diffuse(
            &experts,
            Previewer::Colours(None),
            4,
            &arena,
            &conditioning,
            &settings,
            None,
            &mut Silent,
            &CancelToken::new(),
            &mut |_, _| Ok(()),
        );
        made.unwrap().latents
    };
    let [block] = blocks(&run, &texts, Known::Nothing, 3, 3).try_into().unwrap();
    assert_close("one block", block.as_slice(), whole.as_slice(), 1e-5);

    let parts = blocks(&run, &texts, Known::Nothing, 7, 3);
    let lengths: Vec<usize> = parts.iter().map(|part| part.dims()[2]).collect();
    assert_eq!(lengths, [3, 3, 1]);
    assert_eq!(
        parts[0].as_slice(),
        block.as_slice(),
        "a block does not know how long the clip becomes"
    );

    // What an earlier attempt made is handed out as it is, and seen by what follows.
    let mut made = parts[0].try_clone().unwrap();
    for count in 1..=parts.len() {
        let again = blocks_from(&run, &texts, Known::Nothing, 7, 3, Some(&made));
        let values = |blocks: &[Tensor]| -> Vec<Vec<f32>> { blocks.iter().map(|b| b.as_slice().to_vec()).collect() };
        assert!(values(&again) == values(&parts), "{count} blocks were there");
        if let Some(next) = parts.get(count) {
            made = crate::latents::join_frames(&made, next).unwrap();
        }
    }

    // Given frames come first, as they are, and change what follows.
    let given = |value: f32| Known::Noised(Tensor::from_slice(&[value; 4 * 24], [1, 4, 1, 4, 6]).unwrap());
    let [light, dark] = [0.5, -0.5].map(|value| blocks(&run, &texts, given(value), 4, 3));
    assert_eq!(light.len(), 2);
    // Blocks of an attempt that started from other frames are not used.
    let of_light = crate::latents::join_frames(&light[0], &light[1]).unwrap();
    let again = blocks_from(&run, &texts, given(-0.5), 4, 3, Some(&of_light));
    assert_eq!(again[1].as_slice(), dark[1].as_slice());
    assert!(light[0].as_slice().iter().all(|&value| value == 0.5));
    assert!(light[1].as_slice() != dark[1].as_slice());
}
