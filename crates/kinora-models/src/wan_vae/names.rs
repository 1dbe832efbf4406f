//! What a checkpoint of a config holds: names and shapes as diffusers writes them.

use super::config::{Config, Stage};

/// Name and shape of every tensor of the autoencoder, encoder first.
pub fn tensors(config: &Config) -> Vec<(String, Vec<usize>)> {
    let mut list = List(Vec::new());
    let z = config.z_dim;
    list.encoder(config);
    list.conv("quant_conv", 2 * z, 2 * z, &[1, 1, 1]);
    list.conv("post_quant_conv", z, z, &[1, 1, 1]);
    list.decoder(config);
    list.0
}

struct List(Vec<(String, Vec<usize>)>);

impl List {
    fn conv(&mut self, name: &str, outputs: usize, inputs: usize, kernel: &[usize]) {
        let shape = [&[outputs, inputs], kernel].concat();
        self.0.push((format!("{name}.weight"), shape));
        self.0.push((format!("{name}.bias"), vec![outputs]));
    }

    fn gamma(&mut self, name: &str, channels: usize, axes: usize) {
        let shape = [&[channels][..], &vec![1; axes]].concat();
        self.0.push((format!("{name}.gamma"), shape));
    }

    fn res_block(&mut self, name: &str, inputs: usize, outputs: usize) {
        self.gamma(&format!("{name}.norm1"), inputs, 3);
        self.conv(&format!("{name}.conv1"), outputs, inputs, &[3; 3]);
        self.gamma(&format!("{name}.norm2"), outputs, 3);
        self.conv(&format!("{name}.conv2"), outputs, outputs, &[3; 3]);
        if inputs != outputs {
            self.conv(&format!("{name}.conv_shortcut"), outputs, inputs, &[1; 3]);
        }
    }

    fn res_blocks(&mut self, name: &str, count: usize, stage: &Stage) {
        for i in 0..count {
            let inputs = if i == 0 { stage.inputs } else { stage.width };
            self.res_block(&format!("{name}.resnets.{i}"), inputs, stage.width);
        }
    }

    fn mid_block(&mut self, name: &str, width: usize) {
        self.res_block(&format!("{name}.resnets.0"), width, width);
        self.gamma(&format!("{name}.attentions.0.norm"), width, 2);
        self.conv(&format!("{name}.attentions.0.to_qkv"), 3 * width, width, &[1; 2]);
        self.conv(&format!("{name}.attentions.0.proj"), width, width, &[1; 2]);
        self.res_block(&format!("{name}.resnets.1"), width, width);
    }

    /// `grows` is by how much the convolution over time multiplies the channels.
    fn resample(&mut self, name: &str, stage: &Stage, outputs: usize, grows: usize) {
        self.conv(&format!("{name}.resample.1"), outputs, stage.width, &[3; 2]);
        if stage.in_time {
            self.conv(
                &format!("{name}.time_conv"),
                grows * stage.width,
                stage.width,
                &[3, 1, 1],
            );
        }
    }

    fn encoder(&mut self, config: &Config) {
        let middle = config.encoder_middle();
        self.conv("encoder.conv_in", config.base_dim, config.in_channels, &[3; 3]);
        let mut place = 0;
        for stage in &config.encoder_stages() {
            let name = |place: usize| format!("encoder.down_blocks.{place}");
            if config.is_residual {
                self.res_blocks(&name(place), config.num_res_blocks, stage);
                if stage.resizes {
                    self.resample(&format!("{}.downsampler", name(place)), stage, stage.width, 1);
                }
                place += 1;
                continue;
            }
            for i in 0..config.num_res_blocks {
                self.res_block(
                    &name(place),
                    if i == 0 { stage.inputs } else { stage.width },
                    stage.width,
                );
                place += 1;
            }
            if stage.resizes {
                self.resample(&name(place), stage, stage.width, 1);
                place += 1;
            }
        }
        self.mid_block("encoder.mid_block", middle);
        self.gamma("encoder.norm_out", middle, 3);
        self.conv("encoder.conv_out", 2 * config.z_dim, middle, &[3; 3]);
    }

    fn decoder(&mut self, config: &Config) {
        let middle = config.decoder_middle();
        self.conv("decoder.conv_in", middle, config.z_dim, &[3; 3]);
        self.mid_block("decoder.mid_block", middle);
        let mut last = middle;
        for (i, stage) in config.decoder_stages().iter().enumerate() {
            let name = format!("decoder.up_blocks.{i}");
            self.res_blocks(&name, config.num_res_blocks + 1, stage);
            if stage.resizes {
                let up = if config.is_residual {
                    "upsampler"
                } else {
                    "upsamplers.0"
                };
                self.resample(&format!("{name}.{up}"), stage, stage.outputs, 2);
            }
            last = stage.outputs;
        }
        self.gamma("decoder.norm_out", last, 3);
        self.conv("decoder.conv_out", config.out_channels, last, &[3; 3]);
    }
}
