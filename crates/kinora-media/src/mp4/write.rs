//! The muxer: `ftyp moov mdat`, so that playing starts before the file has arrived ("faststart").
//!
//! One video track, one chunk, timescale = the rate's numerator and sample duration = its denominator, so times are exact.
//! Fields widen to 64 bits only when they must: `co64` and a long `mdat` beyond 4 GiB, version-1 headers for long durations.
//! No clock is read: the same frames give the same bytes.

use super::boxes::{be32, boxed, full};
use super::tags;
use crate::h264::{AccessUnit, H264Encoder};
use crate::temp::{Spool, TempFile};
use crate::writer::{ClipEncoder, WriteOptions};
use crate::{Frame, Result};

/// H.264 in MP4.
pub(crate) struct Mp4Encoder {
    encoder: H264Encoder,
    options: WriteOptions,
    keys: Vec<u32>,
}

impl Mp4Encoder {
    pub(crate) fn new(options: &WriteOptions) -> Result<Self> {
        let encoder = H264Encoder::new(options.width_px, options.height_px, options.fps, options.quality)?;
        Ok(Self {
            encoder,
            options: options.clone(),
            keys: Vec::new(),
        })
    }

    fn keep(&mut self, units: Vec<AccessUnit>, spool: &mut Spool) -> Result<()> {
        for unit in units {
            spool.push(&unit.data)?;
            if unit.key {
                self.keys.push(spool.sizes.len() as u32);
            }
        }
        Ok(())
    }
}

impl ClipEncoder for Mp4Encoder {
    fn codec(&self) -> &'static str {
        "h264"
    }

    fn push(&mut self, frame: &Frame, spool: &mut Spool) -> Result<()> {
        let units = self.encoder.push(frame)?;
        self.keep(units, spool)
    }

    fn finish(&mut self, spool: &mut Spool, out: &mut TempFile) -> Result<()> {
        let units = self.encoder.flush()?;
        self.keep(units, spool)?;
        let (sps, pps) = self.encoder.headers();
        let head = Head {
            options: &self.options,
            sps,
            pps,
            sizes: &spool.sizes,
            keys: &self.keys,
        };
        out.write(&head.build(spool.total()))?;
        spool.replay(|_, sample| out.write(sample))
    }
}

/// Everything in front of the samples.
struct Head<'a> {
    options: &'a WriteOptions,
    sps: &'a [u8],
    pps: &'a [u8],
    sizes: &'a [u32],
    keys: &'a [u32],
}

/// The unit matrix of `mvhd` and `tkhd`, 16.16 and 2.30 fixed point.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

impl Head<'_> {
    /// `ftyp`, `moov` and the header of `mdat` for samples of `total` bytes.
    fn build(&self, total: u64) -> Vec<u8> {
        let mut out = boxed(b"ftyp", &[b"isom", &be32([0x200]), b"isomiso2avc1mp41"]);
        // The offset's width decides the size of moov, which decides the offset: 32 bits first, 64 if that overflows.
        let long_mdat = total + 8 > u64::from(u32::MAX);
        let mdat_head = if long_mdat { 16 } else { 8 };
        let start = |moov: &[u8]| (out.len() + moov.len() + mdat_head) as u64;
        let narrow = start(&self.moov(total, 0, false));
        let moov = if narrow <= u64::from(u32::MAX) && !long_mdat {
            self.moov(total, narrow, false)
        } else {
            let wide = start(&self.moov(total, 0, true));
            self.moov(total, wide, true)
        };
        out.extend_from_slice(&moov);
        if long_mdat {
            out.extend_from_slice(b"\0\0\0\x01mdat");
            out.extend_from_slice(&(total + 16).to_be_bytes());
        } else {
            out.extend_from_slice(&(total as u32 + 8).to_be_bytes());
            out.extend_from_slice(b"mdat");
        }
        out
    }

    fn moov(&self, total: u64, offset: u64, wide: bool) -> Vec<u8> {
        let times = self.times();
        let mvhd = full(
            b"mvhd",
            times.version,
            0,
            &[
                &times.scaled(&[]),
                &be32([0x1_0000]),
                &[1, 0],
                &[0; 10],
                &be32(MATRIX),
                &[0; 24],
                &be32([2]),
            ],
        );
        let (w, h) = (self.options.width_px << 16, self.options.height_px << 16);
        // Flags 3: enabled, part of the presentation.
        let tkhd = full(
            b"tkhd",
            times.version,
            3,
            &[&times.track(), &[0; 16], &be32(MATRIX), &be32([w, h])],
        );
        // 0x55c4: language "und".
        let mdhd = full(b"mdhd", times.version, 0, &[&times.scaled(&[]), &[0x55, 0xc4, 0, 0]]);
        let hdlr = full(b"hdlr", 0, 0, &[&[0; 4], b"vide", &[0; 12], b"VideoHandler\0"]);
        let dinf = boxed(
            b"dinf",
            &[&full(b"dref", 0, 0, &[&be32([1]), &full(b"url ", 0, 1, &[])])],
        );
        let vmhd = full(b"vmhd", 0, 1, &[&[0; 8]]);
        let minf = boxed(b"minf", &[&vmhd, &dinf, &self.sample_table(total, offset, wide)]);
        let trak = boxed(b"trak", &[&tkhd, &boxed(b"mdia", &[&mdhd, &hdlr, &minf])]);
        boxed(b"moov", &[&mvhd, &trak, &tags::write(&self.options.metadata)])
    }

    fn times(&self) -> Times {
        let duration = self.sizes.len() as u64 * u64::from(self.options.fps.den);
        Times {
            version: u8::from(duration >= u64::from(u32::MAX)),
            timescale: self.options.fps.num,
            duration,
        }
    }

    fn sample_table(&self, total: u64, offset: u64, wide: bool) -> Vec<u8> {
        let n = self.sizes.len() as u32;
        let stsd = full(b"stsd", 0, 0, &[&be32([1]), &self.avc1(total)]);
        let stts = full(b"stts", 0, 0, &[&be32([1, n, self.options.fps.den])]);
        let stss = full(
            b"stss",
            0,
            0,
            &[&be32([self.keys.len() as u32]), &be32(self.keys.iter().copied())],
        );
        let stsc = full(b"stsc", 0, 0, &[&be32([1, 1, n, 1])]);
        let stsz = full(b"stsz", 0, 0, &[&be32([0, n]), &be32(self.sizes.iter().copied())]);
        let chunk = if wide {
            full(b"co64", 0, 0, &[&be32([1]), &offset.to_be_bytes()])
        } else {
            full(b"stco", 0, 0, &[&be32([1, offset as u32])])
        };
        boxed(b"stbl", &[&stsd, &stts, &stss, &stsc, &stsz, &chunk])
    }

    fn avc1(&self, total: u64) -> Vec<u8> {
        let (sps, pps) = (self.sps, self.pps);
        let high = sps.get(1).is_some_and(|&p| p >= 100);
        let profile = sps.get(1..4).unwrap_or(&[0; 3]);
        let avcc = boxed(
            b"avcC",
            &[
                &[1],
                profile,
                &[0xff, 0xe1], // lengths of 4 bytes, one sequence header
                &(sps.len() as u16).to_be_bytes(),
                sps,
                &[1],
                &(pps.len() as u16).to_be_bytes(),
                pps,
                if high { &[0xfd, 0xf8, 0xf8, 0] } else { &[] }, // 4:2:0, 8 bits twice
            ],
        );
        let size = [self.options.width_px as u16, self.options.height_px as u16]
            .map(u16::to_be_bytes)
            .concat();
        let dpi = be32([0x48_0000, 0x48_0000, 0]);
        let colr = boxed(b"colr", &[b"nclx", &[0, 1, 0, 1, 0, 1, 0]]);
        let pasp = boxed(b"pasp", &[&be32([1, 1])]);
        let entry: [&[u8]; 11] = [
            &[0; 6],
            &[0, 1],
            &[0; 16],
            &size,
            &dpi,
            &[0, 1],
            &[0; 32],
            &[0, 24, 0xff, 0xff],
            &avcc,
            &colr,
            &pasp,
        ];
        boxed(b"avc1", &[&entry.concat(), &boxed(b"btrt", &[&self.bit_rates(total)])])
    }

    /// Largest sample, most bits within one second, average bits a second.
    fn bit_rates(&self, total: u64) -> Vec<u8> {
        let fps = self.options.fps;
        let window = (u64::from(fps.num).div_ceil(u64::from(fps.den)) as usize).clamp(1, self.sizes.len().max(1));
        let most = self
            .sizes
            .windows(window)
            .map(|w| w.iter().map(|&s| u64::from(s)).sum::<u64>())
            .max()
            .unwrap_or(0);
        let duration = (self.sizes.len() as u128 * u128::from(fps.den)).max(1);
        let average = u128::from(total) * 8 * u128::from(fps.num) / duration;
        let cap = |x: u128| u32::try_from(x).unwrap_or(u32::MAX);
        let average = cap(average);
        be32([
            self.sizes.iter().copied().max().unwrap_or(0),
            cap(u128::from(most) * 8).max(average),
            average,
        ])
    }
}

/// Durations, in the version of the header that holds them. Creation times stay 0: the file must not depend on the clock.
struct Times {
    version: u8,
    timescale: u32,
    duration: u64,
}

impl Times {
    fn duration(&self) -> Vec<u8> {
        if self.version == 1 {
            self.duration.to_be_bytes().to_vec()
        } else {
            be32([self.duration as u32])
        }
    }

    fn dates(&self) -> Vec<u8> {
        vec![0; if self.version == 1 { 16 } else { 8 }]
    }

    fn scaled(&self, tail: &[u8]) -> Vec<u8> {
        [&self.dates()[..], &be32([self.timescale]), &self.duration(), tail].concat()
    }

    /// Track number 1, reserved, duration.
    fn track(&self) -> Vec<u8> {
        [&self.dates()[..], &be32([1, 0]), &self.duration()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::super::boxes::{Boxes, find, u32_at, u64_at};
    use super::*;
    use crate::{Fps, Quality};

    fn head(sizes: &[u32], fps: Fps) -> Vec<u8> {
        let options = WriteOptions {
            quality: Quality::default(),
            ..WriteOptions::new(64, 32, fps)
        };
        let total = sizes.iter().map(|&s| u64::from(s)).sum();
        Head {
            options: &options,
            sps: &[0x67, 100, 0, 30],
            pps: &[0x68],
            sizes,
            keys: &[1],
        }
        .build(total)
    }

    #[test]
    fn small_files_use_narrow_fields_and_point_at_the_samples() {
        let bytes = head(&[10, 20, 30], Fps::new(24, 1).unwrap());
        let stbl = find(&bytes, &[b"moov", b"trak", b"mdia", b"minf", b"stbl"]).unwrap();
        let stco = find(stbl, &[b"stco"]).unwrap();
        assert_eq!(u32_at(stco, 8).unwrap() as usize, bytes.len());
        assert_eq!(&bytes[bytes.len() - 8..], b"\0\0\0\x44mdat");
        assert_eq!(Boxes(&bytes).map(|b| b.0).collect::<Vec<_>>(), [*b"ftyp", *b"moov"]);
    }

    #[test]
    fn files_beyond_4_gib_use_wide_fields() {
        let bytes = head(&[u32::MAX, u32::MAX], Fps::new(24, 1).unwrap());
        let stbl = find(&bytes, &[b"moov", b"trak", b"mdia", b"minf", b"stbl"]).unwrap();
        assert_eq!(
            u64_at(find(stbl, &[b"co64"]).unwrap(), 8).unwrap() as usize,
            bytes.len()
        );
        assert!(find(stbl, &[b"stco"]).is_none());
        let tail = &bytes[bytes.len() - 16..];
        assert_eq!(
            (&tail[..8], u64_at(tail, 8).unwrap()),
            (&b"\0\0\0\x01mdat"[..], 2 * u64::from(u32::MAX) + 16)
        );
    }

    #[test]
    fn long_durations_use_version_1_headers() {
        let fps = Fps::new(999_999_999, 10_000_001).unwrap();
        let bytes = head(&vec![1; 500], fps);
        let mvhd = find(&bytes, &[b"moov", b"mvhd"]).unwrap();
        assert_eq!((mvhd[0], u64_at(mvhd, 24).unwrap()), (1, 500 * 10_000_001));
    }
}
