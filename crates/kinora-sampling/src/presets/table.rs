//! The table of presets. Each row names where its numbers were read.
//!
//! "Wan 2.1" and "Wan 2.2" are the repositories Wan-Video/Wan2.1 (`generate.py`, `wan/configs/`, README) and Wan-Video/Wan2.2
//! (`wan/configs/`). Their UniPC is that of diffusers' `UniPCMultistepScheduler` with flow sigmas.

use super::{Levels, Preset};
use crate::{DMD_LIST, ExpertSwitch, FASTWAN_LIST, Sampler, Schedule, ScheduleKind};

macro_rules! negative_prompt {
    () => {
        "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
    };
}

/// What Wan is told to avoid: gaudy colours, stills, blur, text, bad anatomy. `sample_neg_prompt` in `wan/configs/shared_config.py`
/// of both repositories; umT5 reads Chinese.
pub const NEGATIVE_PROMPT: &str = negative_prompt!();
/// The same and cuts between shots, for clips between two pictures. `flf2v_14B` in `wan/configs/__init__.py` of Wan 2.1.
pub const NEGATIVE_PROMPT_ONE_SHOT: &str = concat!("镜头切换，", negative_prompt!());

const SIZES_480P: &[[usize; 2]] = &[[832, 480]];
const SIZES_480P_FIRST: &[[usize; 2]] = &[[832, 480], [1280, 720]];
const SIZES_720P_FIRST: &[[usize; 2]] = &[[1280, 720], [832, 480]];
/// CausVid as lightx2v runs it: noise levels in thousandths, already shifted.
const CAUSVID_LIST: [u32; 9] = [999, 934, 862, 756, 603, 410, 250, 140, 74];

/// Wan 2.1 `generate.py`: UniPC, 50 steps, 81 frames, guidance 5; `shared_config.py`: 16 frames a second. Shift 5 at 720p
/// and 3 at 480p: README, section on diffusers.
const WAN_2_1: Preset = Preset {
    name: "",
    steps: 50,
    sampler: Sampler::UniPc,
    levels: Levels::Kind(ScheduleKind::DiffusersUniPc),
    shift_480p: 3.0,
    shift_720p: 5.0,
    guidance_scale: [5.0, 5.0],
    guidance_distilled: false,
    switch: None,
    block_frames: None,
    fps: 16,
    sizes: SIZES_720P_FIRST,
    frames: 81,
    negative_prompt: NEGATIVE_PROMPT,
    mag_curve: None,
};

/// Distilled with guidance: one evaluation a step.
const DISTILLED: Preset = Preset {
    guidance_scale: [1.0, 1.0],
    guidance_distilled: true,
    sizes: SIZES_480P_FIRST,
    ..WAN_2_1
};

/// All presets.
pub const PRESETS: [Preset; 19] = [
    // Wan 2.1 README: guidance 6, shift 8 to 12, 480p only.
    Preset {
        name: "wan2.1-t2v-1.3b",
        shift_480p: 8.0,
        shift_720p: 8.0,
        guidance_scale: [6.0, 6.0],
        sizes: SIZES_480P,
        mag_curve: Some("wan2.1-t2v-1.3b"),
        ..WAN_2_1
    },
    Preset {
        name: "wan2.1-t2v-14b",
        mag_curve: Some("wan2.1-t2v-14b"),
        ..WAN_2_1
    },
    // Wan 2.1 `generate.py`: 40 steps for "i2v"; shift 3 at 832x480, else 5.
    Preset {
        name: "wan2.1-i2v-14b-480p",
        steps: 40,
        sizes: SIZES_480P_FIRST,
        mag_curve: Some("wan2.1-i2v-14b-480p"),
        ..WAN_2_1
    },
    Preset {
        name: "wan2.1-i2v-14b-720p",
        steps: 40,
        mag_curve: Some("wan2.1-i2v-14b-720p"),
        ..WAN_2_1
    },
    // Wan 2.1 `generate.py`: shift 16 for "flf2v" and "vace"; the steps stay 50.
    Preset {
        name: "wan2.1-flf2v",
        shift_480p: 16.0,
        shift_720p: 16.0,
        negative_prompt: NEGATIVE_PROMPT_ONE_SHOT,
        ..WAN_2_1
    },
    Preset {
        name: "wan2.1-vace-1.3b",
        shift_480p: 16.0,
        shift_720p: 16.0,
        sizes: SIZES_480P,
        ..WAN_2_1
    },
    Preset {
        name: "wan2.1-vace-14b",
        shift_480p: 16.0,
        shift_720p: 16.0,
        ..WAN_2_1
    },
    // Wan 2.2 `wan_t2v_A14B.py`: 40 steps, shift 12, boundary 0.875, guidance 3 (low noise), 4 (high noise).
    Preset {
        name: "wan2.2-t2v-a14b",
        steps: 40,
        shift_480p: 12.0,
        shift_720p: 12.0,
        guidance_scale: [4.0, 3.0],
        switch: Some(ExpertSwitch::Timestep(875.0)),
        ..WAN_2_1
    },
    // Wan 2.2 `wan_i2v_A14B.py`: 40 steps, shift 5, boundary 0.9, guidance 3.5; `image2video.py` recommends 3 at 480p.
    Preset {
        name: "wan2.2-i2v-a14b",
        steps: 40,
        guidance_scale: [3.5, 3.5],
        switch: Some(ExpertSwitch::Timestep(900.0)),
        ..WAN_2_1
    },
    // Wan 2.2 `wan_ti2v_5B.py`: 50 steps, shift 5, guidance 5, 24 frames a second, 121 frames; sizes of `__init__.py`.
    Preset {
        name: "wan2.2-ti2v-5b",
        shift_480p: 5.0,
        fps: 24,
        sizes: &[[1280, 704]],
        frames: 121,
        ..WAN_2_1
    },
    // FastVideo `configs/pipelines/wan.py` (shift 8, the list) and `pipelines/basic/wan/presets.py` (448x832, 61 frames).
    Preset {
        name: "fastwan2.1-1.3b",
        steps: 3,
        sampler: Sampler::Renoise,
        levels: Levels::FastWan(&FASTWAN_LIST),
        shift_480p: 8.0,
        shift_720p: 8.0,
        sizes: &[[832, 448], [832, 480]],
        frames: 61,
        ..DISTILLED
    },
    // FastVideo `configs/pipelines/wan.py`, `FastWan2_1_T2V_480P_Config`, which also runs FastWan2.1-T2V-14B-480P.
    Preset {
        name: "fastwan2.1-14b",
        steps: 3,
        sampler: Sampler::Renoise,
        levels: Levels::FastWan(&FASTWAN_LIST),
        shift_480p: 8.0,
        shift_720p: 8.0,
        sizes: SIZES_480P,
        ..DISTILLED
    },
    // FastVideo: the configuration says shift 5, but `DmdDenoisingStage`, which runs the model, takes the levels of shift 8.
    // The levels nearest to 757 and 522 differ by less than 0.001 between the two.
    Preset {
        name: "fastwan2.2-5b",
        steps: 3,
        sampler: Sampler::Renoise,
        levels: Levels::FastWan(&FASTWAN_LIST),
        shift_480p: 8.0,
        shift_720p: 8.0,
        fps: 24,
        sizes: &[[1280, 704]],
        frames: 121,
        ..DISTILLED
    },
    // LightX2V `configs/distill/wan21/*_4step_cfg.json`: the list, shift 5, no guidance; LoRA at strength 1 or checkpoint.
    Preset {
        name: "lightx2v-4step",
        steps: 4,
        sampler: Sampler::Renoise,
        levels: Levels::Dmd(&DMD_LIST),
        shift_480p: 5.0,
        ..DISTILLED
    },
    // LightX2V `configs/distill/wan22/wan_moe_*.json`: the same list and shift, `boundary_step_index` 2; its scheduler for
    // Wan 2.2 goes on along the velocity.
    Preset {
        name: "lightx2v-4step-a14b",
        steps: 4,
        levels: Levels::Dmd(&DMD_LIST),
        sampler: Sampler::Euler,
        shift_480p: 5.0,
        switch: Some(ExpertSwitch::Step(2)),
        ..DISTILLED
    },
    // Self-Forcing `configs/self_forcing_dmd.yaml`: the list, warped, `timestep_shift` 5; 21 latent frames of 60x104.
    Preset {
        name: "self-forcing-1.3b",
        steps: 4,
        sampler: Sampler::Renoise,
        levels: Levels::Dmd(&DMD_LIST),
        block_frames: Some(3),
        shift_480p: 5.0,
        sizes: SIZES_480P,
        ..DISTILLED
    },
    // LightX2V `configs/causvid/wan_t2v_causvid.json`: nine levels, no guidance, with its UniPC.
    Preset {
        name: "causvid",
        steps: CAUSVID_LIST.len(),
        levels: Levels::Timesteps(&CAUSVID_LIST),
        shift_480p: 8.0,
        shift_720p: 8.0,
        sizes: SIZES_480P,
        ..DISTILLED
    },
    // TurboDiffusion `inference/wan2.1_t2v_infer.py`: 1 to 4 steps, `sigma_max` 80, fresh noise; no shift.
    Preset {
        name: "turbowan",
        steps: 4,
        sampler: Sampler::Renoise,
        levels: Levels::Rcm {
            sigma_max: Schedule::RCM_SIGMA_MAX,
        },
        shift_480p: 1.0,
        shift_720p: 1.0,
        ..DISTILLED
    },
    // TurboDiffusion `inference/wan2.2_i2v_infer.py`: `sigma_max` 200, boundary 0.9; README runs it with `--ode`, so Euler.
    Preset {
        name: "turbowan-i2v-a14b",
        steps: 4,
        sampler: Sampler::Euler,
        levels: Levels::Rcm { sigma_max: 200.0 },
        shift_480p: 1.0,
        shift_720p: 1.0,
        switch: Some(ExpertSwitch::Timestep(900.0)),
        sizes: SIZES_720P_FIRST,
        ..DISTILLED
    },
];
