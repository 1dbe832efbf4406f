//! The LoRAs of a run: which expert each belongs to, and what the record says of it.

use kinora_sampling::{Expert, NameHints};
use kinora_weights::{Checkpoint, Lora};

use crate::Result;
use crate::map::file_sha256;
use crate::options::LoraChoice;
use crate::report::LoraRecord;

/// LoRAs that were opened.
pub(super) struct Loras(Vec<(LoraChoice, Lora, LoraRecord)>);

impl Loras {
    /// **Errors**: a file that is none, or that holds something else.
    pub(super) fn open(choices: &[LoraChoice]) -> Result<Self> {
        let open = |choice: &LoraChoice| {
            let lora = Lora::open(&choice.path)?;
            let name = choice.path.file_name().unwrap_or(choice.path.as_os_str());
            let record = LoraRecord {
                name: name.to_string_lossy().into_owned(),
                strength: choice.strength,
                expert: expert(choice).map(|expert| expert_name(expert).to_owned()),
                sha256: file_sha256(&choice.path)?,
            };
            Ok((choice.clone(), lora, record))
        };
        choices.iter().map(open).collect::<Result<_>>().map(Self)
    }

    /// All of them, for a model with one transformer.
    pub(super) fn all(&self) -> Vec<(Lora, f32)> {
        self.chosen(|_| true)
    }

    /// Those of one of two experts: a LoRA that names none goes into both.
    pub(super) fn of(&self, wanted: Expert) -> Vec<(Lora, f32)> {
        self.chosen(|choice| expert(choice).is_none_or(|expert| expert == wanted))
    }

    /// What a run's record says of them.
    pub(super) fn records(&self) -> Vec<LoraRecord> {
        self.0.iter().map(|(.., record)| record.clone()).collect()
    }

    /// What of them was left out on `transformer`.
    pub(super) fn notes(&self, transformer: &Checkpoint) -> Result<Vec<String>> {
        Ok(transformer.with_loras(&self.all())?.lora_notes().to_vec())
    }

    /// The names of their files.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(.., record)| record.name.clone())
    }

    fn chosen(&self, is_wanted: impl Fn(&LoraChoice) -> bool) -> Vec<(Lora, f32)> {
        let wanted = self.0.iter().filter(|(choice, ..)| is_wanted(choice));
        wanted
            .map(|(choice, lora, _)| (lora.clone(), choice.strength))
            .collect()
    }
}

/// Which expert a LoRA is for: what was said, else what its name says.
fn expert(choice: &LoraChoice) -> Option<Expert> {
    let name = choice.path.file_name().unwrap_or_default().to_string_lossy();
    choice.expert.or(NameHints::of(&[&name]).expert)
}

const fn expert_name(expert: Expert) -> &'static str {
    match expert {
        Expert::HighNoise => "high",
        Expert::LowNoise => "low",
    }
}
