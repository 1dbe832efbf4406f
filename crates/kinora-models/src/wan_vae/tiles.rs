//! Decoding a frame in tiles: exactly, with a halo around each, or as the reference does it, with a blend.
//!
//! A tile keeps its own memory from frame to frame, so a clip is streamed whatever the tiling. That is also why tiles save
//! less than they cost here: most of what decoding holds is what layers remember, and halos and overlaps are remembered
//! twice. [`super::memory::decode_bytes`] tells; a whole frame is the smallest at all published sizes.

use kinora_tensor::Tensor;

use super::cache::Cache;
use super::config::Config;
use super::decoder::{Network, Sink};
use super::model::Tap;
use crate::{Error, Result};

/// How a frame is cut up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Tiling {
    /// Not at all.
    #[default]
    Whole,
    /// The last two stages, in squares of this many pixels, each with as much around it as its pixels depend on: equal to
    /// the whole frame. The other stages are small, and attention in the middle sees the whole frame.
    Halo {
        /// Side of a tile, without its halo.
        tile_px: usize,
    },
    /// Everything, in overlapping squares that are blended, as the reference's `tiled_decode`. Not equal to the whole frame:
    /// each tile has its own border of zeros and its own attention.
    Blend {
        /// Side of a tile.
        tile_px: usize,
        /// From one tile to the next.
        stride_px: usize,
    },
}

impl Tiling {
    /// The reference's own sizes.
    pub const BLEND: Self = Self::Blend {
        tile_px: 256,
        stride_px: 192,
    };
}

/// Stages at the end of the decoder that are made in tiles.
const TILED_STAGES: usize = 2;

/// The number of the first stage that is made in tiles.
pub(super) fn first_tiled_stage(config: &Config) -> usize {
    config.dim_mult.len().saturating_sub(TILED_STAGES)
}

/// How far from a pixel of stage `from`'s input lie those that the same place in the result depends on.
pub(super) fn halo(config: &Config, from: usize) -> usize {
    // The last convolution; then, backwards, what enlarges and two convolutions in each residual block.
    config.decoder_stages()[from..].iter().rev().fold(1, |reach, stage| {
        let before = if stage.resizes { (reach + 1).div_ceil(2) } else { reach };
        before + 2 * (config.num_res_blocks + 1)
    })
}

/// A rectangle of rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) rows: [usize; 2],
    pub(super) columns: [usize; 2],
}

impl Area {
    pub(super) const fn size(&self) -> [usize; 2] {
        [self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]]
    }

    fn times(self, factor: usize) -> Self {
        Self {
            rows: self.rows.map(|v| v * factor),
            columns: self.columns.map(|v| v * factor),
        }
    }

    /// Larger by `margin` on all sides, as far as the frame goes.
    fn grown(self, margin: usize, [height, width]: [usize; 2]) -> Self {
        let grow = |[from, to]: [usize; 2], end: usize| [from.saturating_sub(margin), end.min(to + margin)];
        Self {
            rows: grow(self.rows, height),
            columns: grow(self.columns, width),
        }
    }
}

/// Squares of `tile` every `stride`, row by row.
pub(super) fn squares([height, width]: [usize; 2], tile: usize, stride: usize) -> Vec<Area> {
    let along = |end: usize| (0..end).step_by(stride).map(move |at| [at, end.min(at + tile)]);
    along(height)
        .flat_map(|rows| along(width).map(move |columns| Area { rows, columns }))
        .collect()
}

/// Each tile of a frame of stage `from`'s input with its halo, and the tile alone.
pub(super) fn tiles_with_halo(config: &Config, tile_px: usize, size: [usize; 2]) -> Vec<(Area, Area)> {
    let from = first_tiled_stage(config);
    let (tile, margin) = (tile_px / scale_from(config, from), halo(config, from));
    let squares = squares(size, tile.max(1), tile.max(1)).into_iter();
    squares.map(|core| (core.grown(margin, size), core)).collect()
}

/// Pixels of a frame along one side of a pixel of stage `from`'s input.
fn scale_from(config: &Config, from: usize) -> usize {
    config.decoder_stages()[from..]
        .iter()
        .map(|s| s.side())
        .product::<usize>()
        * config.patch()
}

/// One clip being decoded.
pub(super) enum Run {
    Whole(Cache),
    Halo {
        config: Box<Config>,
        tile_px: usize,
        front: Cache,
        tiles: Vec<Cache>,
    },
    Blend {
        /// In latents.
        tile: usize,
        stride: usize,
        /// In pixels, or patches of them, for each latent.
        factor: usize,
        tiles: Vec<Cache>,
    },
}

impl Run {
    pub(super) fn whole() -> Self {
        Self::Whole(Cache::default())
    }

    pub(super) fn new(config: &Config, tiling: Tiling) -> Result<Self> {
        let factor = config.spatial_factor();
        let refuse = |reason: String| {
            Err(Error::Config {
                model: "wan_vae",
                reason,
            })
        };
        match tiling {
            Tiling::Whole => Ok(Self::whole()),
            Tiling::Halo { tile_px } if tile_px < factor => {
                refuse(format!("tiles of {tile_px} pixels, below {factor}"))
            }
            Tiling::Halo { tile_px } => Ok(Self::Halo {
                config: Box::new(config.clone()),
                tile_px,
                front: Cache::default(),
                tiles: Vec::new(),
            }),
            Tiling::Blend { tile_px, stride_px } if stride_px < factor || tile_px < stride_px => refuse(format!(
                "tiles of {tile_px} pixels every {stride_px}, for latents of {factor}"
            )),
            Tiling::Blend { tile_px, stride_px } => Ok(Self::Blend {
                tile: tile_px / factor,
                stride: stride_px / factor,
                factor: factor / config.patch(),
                tiles: Vec::new(),
            }),
        }
    }

    /// **Shapes**: `latent [1, h, w, C]` → pixels `[1, H, W, O]`, one frame or several.
    pub(super) fn push(
        &mut self,
        network: &Network,
        latent: Tensor,
        tap: Tap,
        emit: &mut dyn FnMut(Tensor) -> Result<()>,
    ) -> Result<()> {
        let [_, height, width, _] = latent.dims_of("wan_vae decode", "[1, h, w, C]")?;
        match self {
            Self::Whole(cache) => network.push(cache, latent, tap, emit),
            Self::Halo {
                config,
                tile_px,
                front,
                tiles,
            } => {
                let x = network.front(front, latent, tap)?;
                let mut in_tiles = |_: &mut Cache, x| push_halo(network, config, *tile_px, tiles, x, emit);
                let mut sink = Sink {
                    tap,
                    emit: &mut in_tiles,
                };
                network.stages_from(0, first_tiled_stage(config), front, x, &mut sink)
            }
            Self::Blend {
                tile,
                stride,
                factor,
                tiles,
            } => {
                let one = height <= *tile && width <= *tile;
                let step = if one { height.max(width) } else { *stride };
                let areas = squares([height, width], if one { step } else { *tile }, step);
                tiles.resize_with(areas.len(), Cache::default);
                let mut frames: Vec<Vec<Tensor>> = Vec::new();
                for (area, cache) in areas.iter().zip(tiles) {
                    let mut of_tile = Vec::new();
                    network.push(cache, crop(&latent, *area)?, &mut |_, _| (), &mut |frame| {
                        of_tile.push(frame);
                        Ok(())
                    })?;
                    frames.resize_with(of_tile.len(), Vec::new);
                    frames
                        .iter_mut()
                        .zip(of_tile)
                        .for_each(|(frame, tile)| frame.push(tile));
                }
                let overlap = (*tile - *stride) * *factor;
                for tiles in frames {
                    emit(blend(tiles, &areas, overlap, *stride, *factor, [height, width])?)?;
                }
                Ok(())
            }
        }
    }
}

/// The tiled stages of one frame `x [1, H, W, C]`.
fn push_halo(
    network: &Network,
    config: &Config,
    tile_px: usize,
    caches: &mut Vec<Cache>,
    x: Tensor,
    emit: &mut dyn FnMut(Tensor) -> Result<()>,
) -> Result<()> {
    let [_, height, width, _] = x.dims_of("wan_vae decode", "[1, H, W, C]")?;
    let from = first_tiled_stage(config);
    let scale = scale_from(config, from) / config.patch();
    let tiles = tiles_with_halo(config, tile_px, [height, width]);
    caches.resize_with(tiles.len(), Cache::default);
    let mut frames: Vec<Tensor> = Vec::new();
    for ((area, core), cache) in tiles.into_iter().zip(caches) {
        let mut count = 0;
        let mut place = |cache: &mut Cache, tile| {
            let pixels = network.head(cache, tile)?;
            if frames.len() == count {
                frames.push(pixels.uninit_like([1, height * scale, width * scale, config.out_channels])?);
            }
            copy_core(&pixels, area.times(scale), core.times(scale), &mut frames[count])?;
            count += 1;
            Ok(())
        };
        let mut sink = Sink {
            tap: &mut |_, _| (),
            emit: &mut place,
        };
        network.stages_from(from, network.stages(), cache, crop(&x, area)?, &mut sink)?;
    }
    drop(x);
    frames.into_iter().try_for_each(emit)
}

/// **Shapes**: `x [1, H, W, C]` → the rows and columns of `area`.
fn crop(x: &Tensor, area: Area) -> Result<Tensor> {
    let [_, _, width, channels] = x.dims_of("wan_vae tiles", "[1, H, W, C]")?;
    let [rows, columns] = area.size();
    let mut out = x.uninit_like([1, rows, columns, channels])?;
    for (i, row) in out
        .as_mut_slice()
        .chunks_exact_mut((columns * channels).max(1))
        .enumerate()
    {
        let at = ((area.rows[0] + i) * width + area.columns[0]) * channels;
        row.copy_from_slice(&x.as_slice()[at..][..columns * channels]);
    }
    Ok(out)
}

/// Copies what of `pixels`, which are those of `area`, lies in `core`.
fn copy_core(pixels: &Tensor, area: Area, core: Area, out: &mut Tensor) -> Result<()> {
    let [_, _, width, channels] = pixels.dims_of("wan_vae tiles", "[1, H, W, C]")?;
    let [_, _, out_width, _] = out.dims_of("wan_vae tiles", "[1, H, W, C]")?;
    let len = core.size()[1] * channels;
    for y in core.rows[0]..core.rows[1] {
        let from = ((y - area.rows[0]) * width + core.columns[0] - area.columns[0]) * channels;
        let to = (y * out_width + core.columns[0]) * channels;
        out.as_mut_slice()[to..][..len].copy_from_slice(&pixels.as_slice()[from..][..len]);
    }
    Ok(())
}

/// Puts the tiles of one frame together: the first `overlap` rows and columns of each are a linear blend with the end of the
/// tile above, then of the one to the left, which are blended themselves already.
fn blend(
    mut tiles: Vec<Tensor>,
    areas: &[Area],
    overlap: usize,
    stride: usize,
    factor: usize,
    [height, width]: [usize; 2],
) -> Result<Tensor> {
    const OP: &str = "wan_vae blend";
    let across = areas.iter().take_while(|a| a.rows == areas[0].rows).count();
    let [_, _, _, channels] = tiles[0].dims_of(OP, "[1, H, W, C]")?;
    let [rows, columns] = [height * factor, width * factor];
    let mut out = tiles[0].uninit_like([1, rows, columns, channels])?;
    for i in 0..tiles.len() {
        let (before, from) = tiles.split_at_mut(i);
        let tile = &mut from[0];
        let [_, tile_rows, tile_columns, _] = tile.dims_of(OP, "[1, H, W, C]")?;
        if let Some(above) = i.checked_sub(across).map(|i| &before[i]) {
            let [_, above_rows, above_columns, _] = above.dims_of(OP, "[1, H, W, C]")?;
            let extent = overlap.min(above_rows).min(tile_rows);
            for y in 0..extent {
                let end = &above.as_slice()[(above_rows - extent + y) * above_columns * channels..];
                let row = &mut tile.as_mut_slice()[y * tile_columns * channels..][..tile_columns * channels];
                mix(row, end, y as f32 / extent as f32);
            }
        }
        if i % across > 0 {
            let left = &before[i - 1];
            let [_, _, left_columns, _] = left.dims_of(OP, "[1, H, W, C]")?;
            let extent = overlap.min(left_columns).min(tile_columns);
            for (y, x) in (0..tile_rows).flat_map(|y| (0..extent).map(move |x| (y, x))) {
                let end = &left.as_slice()[(y * left_columns + left_columns - extent + x) * channels..];
                let pixel = &mut tile.as_mut_slice()[(y * tile_columns + x) * channels..][..channels];
                mix(pixel, end, x as f32 / extent as f32);
            }
        }
        // What the next tiles do not cover.
        let area = areas[i].times(factor);
        let end = |from: usize, len: usize, limit: usize| limit.min(from + len.min(stride * factor));
        let (y0, x0) = (area.rows[0], area.columns[0]);
        let len = (end(x0, tile_columns, columns) - x0) * channels;
        for y in y0..end(y0, tile_rows, rows) {
            let from = (y - y0) * tile_columns * channels;
            let to = (y * columns + x0) * channels;
            out.as_mut_slice()[to..][..len].copy_from_slice(&tile.as_slice()[from..][..len]);
        }
    }
    Ok(out)
}

/// `into` = `other` (1 - share) + `into` share.
fn mix(into: &mut [f32], other: &[f32], share: f32) {
    for (value, other) in into.iter_mut().zip(other) {
        *value = other * (1.0 - share) + *value * share;
    }
}
