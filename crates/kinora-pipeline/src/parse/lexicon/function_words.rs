//! Closed classes: determiners, prepositions, conjunctions, pronouns, auxiliaries, numbers and common adverbs.

/// Articles, demonstratives and quantifying determiners.
pub(crate) const DETERMINERS: &str =
    "a an the this that these those some any each every another both either neither all";
/// Possessive determiners.
pub(crate) const POSSESSIVES: &str = "my your his her its our their one's";
/// Number words with values.
pub(crate) const NUMBERS: &[(&str, u32)] = &[
    ("one", 1),
    ("two", 2),
    ("three", 3),
    ("four", 4),
    ("five", 5),
    ("six", 6),
    ("seven", 7),
    ("eight", 8),
    ("nine", 9),
    ("ten", 10),
    ("eleven", 11),
    ("twelve", 12),
    ("thirteen", 13),
    ("fourteen", 14),
    ("fifteen", 15),
    ("sixteen", 16),
    ("twenty", 20),
    ("thirty", 30),
    ("forty", 40),
    ("fifty", 50),
    ("hundred", 100),
    ("thousand", 1000),
    ("dozen", 12),
    ("single", 1),
    ("twin", 2),
];
/// Quantifiers without a number.
pub(crate) const FEW: &str = "several few";
/// Quantifiers for many.
pub(crate) const MANY: &str =
    "many countless numerous multiple various hundreds thousands dozens lots plenty innumerable endless";
/// Collective nouns: "a herd of cows" counts cows.
pub(crate) const COLLECTIVES: &str = "group herd flock pack swarm school crowd bunch cluster row line pile stack number lot colony pod pride band troop \
    army fleet convoy team gang handful collection array trail string series variety litter procession bouquet shoal cloud sea horde host family";
/// Containers that pair up: "a pair of".
pub(crate) const PAIRS: &str = "pair couple duo";

/// Prepositions of one word.
pub(crate) const PREPOSITIONS: &str = "in on at by near under underneath beneath below above over behind beside besides before after between among amongst \
    amid amidst against inside outside into onto within through throughout across along around round past towards toward to from of off with without \
    during until till beyond up down upon like as for about via aboard atop alongside despite except per than";
/// Prepositions of several words, longest first.
pub(crate) const LONG_PREPOSITIONS: &[&str] = &[
    "full of",
    "in the middle of",
    "in the midst of",
    "in the centre of",
    "in the center of",
    "at the bottom of",
    "at the top of",
    "on the edge of",
    "at the edge of",
    "on top of",
    "to the left of",
    "to the right of",
    "on the left of",
    "on the right of",
    "in front of",
    "next to",
    "close to",
    "out of",
    "away from",
    "side by side with",
    "at the foot of",
    "on the surface of",
    "in the background of",
    "in the direction of",
    "far from",
    "on board",
    "along with",
    "together with",
    "such as",
    "because of",
    "on the side of",
    "by the side of",
    "on the shore of",
    "on the shores of",
    "on the bank of",
    "on the banks of",
    "in between",
    "up to",
    "down to",
    "instead of",
    "made of",
    "made out of",
    "made from",
];
/// Words that are particles after a verb.
pub(crate) const PARTICLES: &str = "up down around about away off out back forward forwards backward backwards in over by past through along upwards \
    upward downwards downward left right rightwards rightward leftwards leftward sideways apart together aside ahead across closer onward onwards round straight home";

/// Coordinators.
pub(crate) const CONJUNCTIONS: &str = "and or but & nor plus";
/// Subordinators that open a new clause.
pub(crate) const SUBORDINATORS: &str =
    "while as when whilst because so although though if where once since whereas until";
/// Relative pronouns.
pub(crate) const RELATIVES: &str = "who which that whose whom";
/// Personal pronouns and placeholders.
pub(crate) const PRONOUNS: &str = "he she it they him them i we you me us itself himself herself themselves each_other another one's everyone \
    everybody everything something anyone there theirs one";
/// Auxiliaries and copulas.
pub(crate) const AUXILIARIES: &str = "is are was were be been being am do does did has have had can could will would shall should may might must 's 're get gets getting got 've 'll 'd going seems seem looks appears appear";
/// Negators.
pub(crate) const NEGATORS: &str = "no not n't never without nobody none nothing nor no-one avoid exclude";

/// Adverbs of manner, place, time and degree that do not end in -ly.
pub(crate) const ADVERBS: &str = "fast slow hard very too so quite rather really just only also even still again once twice soon now always often \
    never together alone there here away everywhere outside outdoors indoors inside upstairs downstairs downtown overhead nearby abroad afar ahead aloft high low \
    early late barefoot almost nearly mid-air midair side-to-side non-stop onstage offshore ashore underwater uphill downhill upstream downstream somewhere aside extremely super well wildly forever overnight";
/// Degree adverbs that belong to the next adjective.
pub(crate) const DEGREE: &str = "very really quite rather extremely super incredibly so too slightly dimly brightly softly half beautifully freshly partially fully newly richly heavily densely light dark bright pale deep";

/// Adverbs of several words.
pub(crate) const LONG_ADVERBS: &[&str] = &[
    "side by side",
    "back and forth",
    "up and down",
    "hand in hand",
    "round and round",
    "from side to side",
    "at full speed",
    "one after another",
    "one by one",
    "over and over",
    "on the spot",
    "in place",
    "in unison",
    "at once",
    "all around",
];
