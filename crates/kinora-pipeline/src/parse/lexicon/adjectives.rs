//! Adjectives (and participles and nouns used as adjectives) by the kind of attribute that they give.

use serde::{Deserialize, Serialize};

/// What an attribute says about its noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AttributeKind {
    /// red, golden, dark blue
    Colour,
    /// small, tall, giant
    Size,
    /// old, baby, ancient
    Age,
    /// wooden, stone, glass
    Material,
    /// striped, checkered
    Pattern,
    /// round, long-necked
    Shape,
    /// fluffy, smooth, shiny
    Texture,
    /// happy, lonely: how the noun feels or makes one feel
    Mood,
    /// wet, broken, flying: a state
    Condition,
    /// snowy, rainy, sunny
    Weather,
    /// night, morning
    Time,
    /// winter, autumn
    Season,
    /// "in a red coat", "wearing a hat"
    Wearing,
    /// "with long hair": something that belongs to the noun
    With,
    /// "of a lion", "made of ice": what it shows or consists of
    Of,
    /// any other adjective
    Other,
}

/// Adjectives by kind. Hyphenated colour pairs are handled by the tagger.
pub(crate) const ADJECTIVES: &[(AttributeKind, &str)] = &[
    (
        AttributeKind::Colour,
        "red orange yellow green teal blue purple pink white gray grey black brown golden silver gold turquoise cyan magenta violet \
        indigo maroon beige ivory crimson scarlet lime navy tan bronze copper colourful colorful multicoloured multicolored rainbow pale dark bright \
        light blonde blond ginger emerald amber rosy azure rainbow-coloured rainbow-colored neon pastel monochrome iridescent vivid",
    ),
    (
        AttributeKind::Size,
        "small little tiny miniature mini big large huge giant gigantic enormous massive tall short long wide narrow broad fat thin \
        thick colossal towering vast tall great mighty chubby plump slim slender petite oversized life-sized microscopic immense monstrous deep shallow high low",
    ),
    (
        AttributeKind::Age,
        "old young baby elderly ancient new newborn modern medieval vintage antique aged middle-aged adult teenage retro prehistoric \
        victorian classic futuristic contemporary old-fashioned historic",
    ),
    (
        AttributeKind::Material,
        "wooden metal metallic plastic paper stone glass leather woollen wool woolen silk cotton brick marble clay ceramic crystal \
        steel iron rubber velvet bamboo concrete chrome origami lego cardboard porcelain straw denim knitted plush straw icy wood felt diamond",
    ),
    (
        AttributeKind::Pattern,
        "striped spotted checkered chequered dotted plaid patterned spotty stripy tartan speckled floral polka-dot",
    ),
    (
        AttributeKind::Shape,
        "round square circular curved flat pointed spiral crooked straight winding steep heart-shaped star-shaped long-necked \
        triangular rectangular oval twisted jagged sharp hollow curly narrow-gauge endless open",
    ),
    (
        AttributeKind::Texture,
        "wooly woolly knitted bioluminescent overgrown shining talking fluffy furry smooth rough shiny soft hard glossy fuzzy hairy bushy shaggy scruffy sleek silky grassy sandy rocky muddy dusty \
        wet dry slippery sticky crispy cracked transparent translucent sparkling glittering shimmering polished rusty fresh lush dense leafy mossy \
        flowery flower-filled tree-lined cobbled cobblestone paved wooded hilly mountainous",
    ),
    (
        AttributeKind::Mood,
        "mesmerizing mesmerising happy sad cheerful joyful angry furious scared frightened afraid lonely calm peaceful serene tranquil gloomy moody melancholic \
        melancholy mysterious eerie spooky creepy scary ominous dreamy romantic nostalgic hopeful tense dramatic epic whimsical playful funny cute lovely \
        adorable friendly curious excited sleepy tired bored proud brave shy gentle fierce majestic magical mystical enchanted enchanting haunting haunted \
        cosy cozy idyllic uplifting energetic exciting relaxing ethereal surreal sombre somber grim bleak quiet silent chaotic festive cheery \
        lazy grumpy confused surprised worried nervous relaxed content wistful contemplative thoughtful inspiring intimate suspenseful hypnotic soothing \
        triumphant heartwarming heart-warming bittersweet zen meditative wild",
    ),
    (
        AttributeKind::Weather,
        "snowy rainy foggy misty cloudy overcast sunny stormy windy hazy snow-covered snow-capped snowcapped rain-soaked rain-slicked \
        rainswept windswept frosty freezing sunlit sun-drenched cloudless thundery blustery drizzly humid hot warm cold chilly scorching snowbound",
    ),
    (
        AttributeKind::Time,
        "moonlit starry starlit sunlit nocturnal star-filled twilit",
    ),
    (AttributeKind::Season, "wintry autumnal summery springlike"),
    (
        AttributeKind::Condition,
        "stuck empty deserted abandoned broken ruined busy crowded hungry thirsty wounded sleeping frozen melted flying running burning \
        falling floating glowing moving swimming dancing smiling laughing parked lit broken-down overgrown still alone asleep awake alive dead naked \
        wild-eyed injured drunk sick fast slow quick dizzy full half-open closed bare lost hidden distant nearby single-engine steaming rolling \
        crashing rushing blooming blossoming spinning dimly-lit dimly brightly-lit candlelit lamplit illuminated sun-bleached weathered messy tidy clean dirty",
    ),
    (
        AttributeKind::Other,
        "late early beautiful pretty handsome ugly stunning gorgeous elegant fancy simple plain rich poor strong weak powerful heavy famous \
        popular special strange weird odd unusual typical traditional japanese chinese english french italian american british german indian african \
        russian spanish mexican korean scottish irish nordic viking roman greek egyptian european asian arctic tropical urban rural suburban remote \
        local international royal military electric automatic mechanical digital robotic cybernetic alien magic secret sacred holy legendary mythical \
        imaginary real fake toy stuffed domestic stray pet wild-haired smart clever wise stupid delicious tasty juicy ripe sweet sour spicy raw cooked \
        baked fried grilled homemade professional amateur male female tame loyal noble lone single solitary perfect amazing incredible impressive breathtaking \
        picturesque scenic panoramic spectacular magnificent grand luxurious cheap expensive crystal-clear clear free main central left right front back \
        upper lower inner outer top bottom middle final last next same other different similar entire whole public private outdoor indoor natural artificial \
        human space-age underground underwater aerial vertical horizontal deep-sea bustling lively quaint charming rustic industrial dystopian \
        utopian post-apocalyptic apocalyptic cyberpunk steampunk volcanic coastal alpine northern southern eastern western snow-white flaming fiery \
        armoured armored bearded winged bald red-haired blue-eyed long-haired barefoot masked hooded cloaked veiled well-dressed half-eaten freshly-baked \
        double-decker single-storey multi-storey two-headed three-legged four-legged one-eyed jumbo racing vast idle graceful clumsy swift rapid \
        sudden constant steady nearby far faraway far-off opposite plaited",
    ),
];
