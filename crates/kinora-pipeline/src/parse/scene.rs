//! The Scene: what a prompt asks for, in parts that later steps can use. Plain data, serialisable, no behaviour.

use serde::{Deserialize, Serialize};

pub use super::lexicon::adjectives::AttributeKind;
pub use super::lexicon::nouns::NounClass;
pub use super::lexicon::verbs::MotionKind;
pub use super::token::Span;

/// A parsed prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    /// The prompt as it was given; every [`Span`] indexes its bytes.
    pub raw: String,
    /// What the text seems to be written in.
    pub language: Language,
    /// One or more shots in order; never empty.
    pub shots: Vec<Shot>,
    /// What the text says about the file rather than the picture: length, shape, size, frame rate, looping.
    pub hints: Vec<Hint>,
    /// Text in quotation marks: something to be said or written in the picture.
    pub quoted: Vec<Phrase>,
    /// Remarks on the parse that a user should read.
    pub notes: Vec<Note>,
    /// What a model knows of it, once grounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grounding: Option<super::ground::Grounding>,
}

/// What a prompt seems to be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Language {
    /// The parser's rules apply.
    English,
    /// Words, but not English ones: only the raw text is used.
    Other,
    /// No words at all (emoji, symbols, digits).
    NoWords,
}

/// One continuous shot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Shot {
    /// Where in the prompt the shot is described.
    pub span: Span,
    /// Who or what is in the picture, in order of mention.
    pub subjects: Vec<Subject>,
    /// How subjects relate to each other.
    pub relations: Vec<Relation>,
    /// Where it happens.
    pub setting: Option<Setting>,
    /// When in the day.
    pub time_of_day: Option<TimeOfDay>,
    /// The weather; several kinds may hold at once.
    pub weather: Vec<Weather>,
    /// When in the year.
    pub season: Option<Season>,
    /// What the camera does.
    pub camera: Option<Camera>,
    /// Light ("soft morning light"), in order of mention.
    pub lighting: Vec<Phrase>,
    /// The feeling asked for.
    pub mood: Vec<Phrase>,
    /// The look asked for.
    pub style: Vec<Phrase>,
    /// What must not be in the picture.
    pub negations: Vec<Negation>,
    /// Words that found no place above; kept so that nothing is dropped silently.
    pub rest: Vec<Phrase>,
}

/// Words with their place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phrase {
    /// The words, lower case, single spaces.
    pub text: String,
    /// Where they stand.
    pub span: Span,
}

/// Someone or something in the picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// The head noun in the singular, compounds included ("hot air balloon").
    pub noun: String,
    /// What kind of thing the lexicon takes it for.
    pub class: NounClass,
    /// How many.
    pub count: Count,
    /// Colour, size, material …
    pub attributes: Vec<Attribute>,
    /// The main motion.
    pub motion: Option<Motion>,
    /// Further motions of the same subject, in order of mention.
    pub also: Vec<Motion>,
    /// True where a later shot speaks of a subject of an earlier one ("then it flies away").
    pub carried: bool,
    /// Introduced with "the": a second mention joins the first.
    pub definite: bool,
    /// Where the noun phrase stands.
    pub span: Span,
    /// What a model knows it as, once grounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_as: Option<KnownAs>,
}

/// A model's name for a subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnownAs {
    /// The concept's name.
    pub concept: String,
    /// 1 for the same word, below for a likeness.
    pub score: f32,
}

/// How many of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Count {
    /// a, one, or a singular without a number
    One,
    /// an exact number above one
    Exact(u32),
    /// several, a few
    Few,
    /// many, a herd, hundreds
    Many,
    /// a plural without a number
    Plural,
}

/// One property of a noun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// What it is about.
    pub kind: AttributeKind,
    /// The words.
    pub text: String,
}

/// What a subject does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Motion {
    /// The verb's base form with its particle ("take off").
    pub verb: String,
    /// What it looks like.
    pub kind: MotionKind,
    /// Where to.
    pub direction: Option<Direction>,
    /// How: "slowly", "in circles".
    pub manner: Vec<String>,
    /// An object that is no subject of its own ("wags its *tail*").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Where the verb stands.
    pub span: Span,
}

/// Directions on the screen or in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Direction {
    /// to the left edge
    Left,
    /// to the right edge
    Right,
    /// upwards
    Up,
    /// downwards
    Down,
    /// towards the viewer
    Toward,
    /// away from the viewer
    Away,
    /// ahead
    Forward,
    /// back
    Backward,
    /// round something
    Around,
    /// across something
    Across,
    /// through something
    Through,
    /// along something
    Along,
    /// over something
    Over,
    /// into something
    Into,
    /// out of something
    OutOf,
    /// past something
    Past,
    /// under something
    Under,
    /// towards something else in the picture
    To,
    /// coming from something else in the picture
    From,
}

/// Two subjects and what joins them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    /// Index into [`Shot::subjects`].
    pub from: usize,
    /// The preposition or the verb's base form ("chase", "next to", "ride").
    pub words: String,
    /// Index into [`Shot::subjects`].
    pub to: usize,
}

/// Where a shot happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The place, singular unless the plural is its name ("woods").
    pub noun: String,
    /// Properties of the place.
    pub attributes: Vec<Attribute>,
    /// How the subject stands to it ("next to", "on"); empty for a bare place.
    pub preposition: String,
    /// Further places and details ("in tokyo", "with palm tree").
    pub details: Vec<String>,
    /// The plural was used.
    pub plural: bool,
    /// Where the phrase stands.
    pub span: Span,
}

/// A time of day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeOfDay {
    /// The normalised time.
    pub kind: TimeKind,
    /// As written ("golden hour").
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// Normalised times of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum TimeKind {
    Sunrise,
    Morning,
    Day,
    Afternoon,
    Sunset,
    Evening,
    Night,
}

/// A kind of weather.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weather {
    /// The normalised kind.
    pub kind: WeatherKind,
    /// As written ("thick fog").
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// Normalised kinds of weather.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum WeatherKind {
    Clear,
    Cloudy,
    Rain,
    Snow,
    Fog,
    Storm,
    Wind,
    Hot,
    Cold,
}

/// A season.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Season {
    /// spring, summer, autumn or winter.
    pub name: String,
    /// Where it stands.
    pub span: Span,
}

/// What the camera does in a shot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Camera {
    /// Movements in order.
    pub moves: Vec<CameraMove>,
    /// How much of the subject is seen.
    pub framing: Option<Framing>,
    /// From where it is seen.
    pub angle: Option<Angle>,
    /// Slow motion, time lapse.
    pub pace: Option<Pace>,
    /// How it moves: "slowly", "smoothly".
    pub manner: Vec<String>,
    /// As written, piece by piece.
    pub phrases: Vec<Phrase>,
}

/// Camera movements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum CameraMove {
    Static,
    Pan,
    PanLeft,
    PanRight,
    TiltUp,
    TiltDown,
    ZoomIn,
    ZoomOut,
    DollyIn,
    DollyOut,
    DollyZoom,
    TruckLeft,
    TruckRight,
    CraneUp,
    CraneDown,
    Orbit,
    Follow,
    FlyOver,
    Handheld,
    RackFocus,
    /// A movement without a known name ("glides through")
    Glide,
}

/// How much of the subject is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Framing {
    Macro,
    ExtremeCloseUp,
    CloseUp,
    Medium,
    FullBody,
    Wide,
    ExtremeWide,
}

/// From where the subject is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Angle {
    EyeLevel,
    Low,
    High,
    Overhead,
    Aerial,
    Dutch,
    OverShoulder,
    PointOfView,
}

/// How time runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Pace {
    SlowMotion,
    TimeLapse,
    Fast,
    Reverse,
}

/// Something that must not be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Negation {
    /// What is unwanted, nouns in the singular, or a verb that is not done ("move").
    pub what: String,
    /// True where it follows from a word ("empty street" has no people) and was not said outright.
    pub implied: bool,
    /// Where it stands.
    pub span: Span,
}

/// A wish about the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hint {
    /// What it is about.
    pub kind: HintKind,
    /// The value in one notation: seconds "5", aspect "9:16", size "1920x1080", fps "24".
    pub value: String,
    /// As written.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// What a hint is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum HintKind {
    Seconds,
    Aspect,
    Resolution,
    Fps,
    Loop,
}

/// A remark on the parse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Which remark.
    pub kind: NoteKind,
    /// A sentence for the user.
    pub text: String,
}

/// Kinds of remarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NoteKind {
    /// The text does not look English; the raw text is used.
    NotEnglish,
    /// The text has no words; the raw text is used.
    NoWords,
    /// Words that found no place in the Scene.
    LeftOver,
}
