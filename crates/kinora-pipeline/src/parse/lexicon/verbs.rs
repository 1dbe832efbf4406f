//! Verbs by the motion that a viewer would see, irregular forms, and nouns that look like verbs.

use serde::{Deserialize, Serialize};

/// What the movement of a subject looks like on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MotionKind {
    /// No displacement: sits, sleeps, stands.
    Stay,
    /// Displacement in the picture or the world: runs, drives, swims.
    Travel,
    /// Upwards: rises, takes off, climbs.
    Rise,
    /// Downwards: falls, sinks, lands.
    Fall,
    /// Single leaps.
    Jump,
    /// Repeated up and down.
    Bounce,
    /// Rotation about its own axis.
    Spin,
    /// Side to side about a rest position.
    Swing,
    /// Around a centre.
    Circle,
    /// Towards the viewer.
    Approach,
    /// Away from the viewer.
    Recede,
    /// Slow drift without a goal.
    Float,
    /// Sharp alternation of direction.
    Zigzag,
    /// Quick small oscillation.
    Shake,
    /// After another subject.
    Chase,
    /// Visible activity without a displacement of its own: eats, plays, paints.
    Act,
    /// A verb that the lexicon does not hold.
    Unknown,
}

/// The grammatical form of a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// run
    Base,
    /// runs
    Third,
    /// running
    Ing,
    /// ran (a past tense that is not a participle)
    Past,
    /// painted, driven (participle; regular past tenses look the same)
    Participle,
}

/// Verb base forms by motion.
pub(crate) const VERBS: &[(MotionKind, &str)] = &[
    (
        MotionKind::Stay,
        "sit stand sleep rest lie stay wait pose perch lean kneel crouch nap doze freeze pause idle relax lounge sunbathe meditate \
        snooze remain hide linger loom tower park dock nestle huddle curl sprawl stretch recline",
    ),
    (MotionKind::Chase, "chase pursue hunt follow stalk"),
    (
        MotionKind::Travel,
        "step run walk move drive fly swim sail go come travel roll slide gallop trot sprint jog march stroll wander roam crawl creep slither \
        sneak race speed rush dash cross pass ride cycle pedal skate ski surf glide soar slip paddle row cruise hike wade waddle stumble stagger limp \
        migrate explore prowl pace tiptoe scurry scamper hurry flee escape enter leave exit emerge head cut charge bolt zoom whizz zip flow stream \
        stride tread strut amble saunter traverse patrol chug steam trundle rumble barrel hurtle streak arrive return depart visit navigate \
        tumble leapfrog shuffle trek ramble parade canter swarm flock weave pour snowboard skateboard taxi steer",
    ),
    (
        MotionKind::Rise,
        "rise climb ascend lift launch grow bloom blossom sprout take_off stand_up erupt levitate scale",
    ),
    (
        MotionKind::Fall,
        "fall drop sink descend land dive plunge plummet collapse drip crash topple cascade splash dip melt",
    ),
    (
        MotionKind::Jump,
        "jump leap hop skip vault pounce somersault lunge cartwheel",
    ),
    (MotionKind::Bounce, "bounce bob dribble bound"),
    (
        MotionKind::Spin,
        "spin rotate twirl turn whirl revolve swirl pirouette flip",
    ),
    (
        MotionKind::Swing,
        "swing sway rock dangle flap wave nod wag flutter ripple dance billow",
    ),
    (MotionKind::Circle, "circle orbit loop"),
    (MotionKind::Approach, "approach near advance"),
    (MotionKind::Recede, "recede retreat vanish disappear fade shrink"),
    (MotionKind::Float, "float hover drift hang waft"),
    (MotionKind::Zigzag, "zigzag swerve dodge meander wind slalom"),
    (
        MotionKind::Shake,
        "shake tremble shiver quiver vibrate wobble shudder wiggle jitter rattle twitch",
    ),
    (
        MotionKind::Act,
        "wake raise overtake pulse knock lean tow share block surface say plough plow harvest rain step_on crumble mirror eat drink play paint draw write read cook bake sing talk speak smile laugh cry bark meow howl roar growl look stare gaze watch see \
        peer glance point hold carry wear push pull throw toss catch kick hit punch fight build make cut chop stir pour serve open close light burn glow \
        shine sparkle twinkle shimmer flicker blink wink kiss hug pet stroke feed graze nibble chew bite lick sniff dig plant water pick gather collect \
        clean wash brush sweep mop fix repair hammer type work study teach perform juggle balance celebrate cheer clap applaud blow breathe yawn sneeze \
        cough sip gulp taste smell hear listen call text film photograph record explode burst break smash shatter crack transform morph change become \
        turn_into reflect cover fill surround decorate illuminate overlook cast reach touch grab grasp tie dress fold wrap unfold reveal show display \
        feature contain include drag tug haul load unload deliver sell buy give offer hand receive knit sew weave carve sculpt shoot fire aim attack \
        defend protect guard guide lead herd groom shear milk saddle mount straddle pilot conduct strum drum pluck compose practice train exercise lift_weights \
        stargaze put get take steal lay hurt camp picnic skip_rope glide_by argue whisper shout scream yell greet meet shake_hands comfort cuddle snuggle admire enjoy discover \
        find search try start begin continue keep stop finish want love like need try_to prepare help let attempt learn pretend manage inspect examine \
         gleam glisten glitter blaze smoke steam boil simmer sizzle bubble froth spill leak spray sprinkle scatter spread hatch swallow devour gobble \
        munch crunch peck hoot chirp tweet buzz hum purr whistle neigh moo bleat quack wash_over line dot adorn fuse merge split divide stack pile arrange \
        operate use press type_on scroll swipe tap ring crush squeeze stitch iron polish scrub wipe rinse brew grind knead slice peel grate blend \
        whisk mix season toast grill roast fry flash strike beat bathe lit set host attend",
    ),
];

/// Irregular verbs: base, past, participle.
const IRREGULAR: &str = "run:ran:run swim:swam:swum fly:flew:flown drive:drove:driven go:went:gone come:came:come sit:sat:sat stand:stood:stood \
    lie:lay:lain sleep:slept:slept rise:rose:risen fall:fell:fallen sink:sank:sunk spring:sprang:sprung leap:leapt:leapt spin:spun:spun \
    swing:swung:swung hang:hung:hung wind:wound:wound shake:shook:shaken eat:ate:eaten drink:drank:drunk write:wrote:written read:read:read \
    sing:sang:sung speak:spoke:spoken hold:held:held wear:wore:worn throw:threw:thrown catch:caught:caught fight:fought:fought build:built:built \
    make:made:made cut:cut:cut light:lit:lit shine:shone:shone feed:fed:fed bite:bit:bitten dig:dug:dug sweep:swept:swept teach:taught:taught \
    blow:blew:blown hear:heard:heard burst:burst:burst break:broke:broken become:became:become shoot:shot:shot lead:led:led find:found:found \
    begin:began:begun keep:kept:kept creep:crept:crept speed:sped:sped flee:fled:fled leave:left:left ride:rode:ridden grow:grew:grown \
    take:took:taken give:gave:given see:saw:seen draw:drew:drawn hit:hit:hit hide:hid:hidden kneel:knelt:knelt slide:slid:slid set:set:set \
    tread:trod:trodden weave:wove:woven sell:sold:sold buy:bought:bought meet:met:met spread:spread:spread split:split:split beat:beat:beaten \
    wake:woke:woken say:said:said get:got:got strike:struck:struck ring:rang:rung hurt:hurt:hurt put:put:put stride:strode:stridden steal:stole:stolen lay:laid:laid";

/// Inflected irregular forms with base and form. Forms equal to the base are left out.
pub(crate) fn irregular() -> impl Iterator<Item = (&'static str, (&'static str, Form))> {
    IRREGULAR.split_whitespace().flat_map(|row| {
        let mut parts = row.split(':');
        let base = parts.next().unwrap_or_default();
        let past = parts.next().unwrap_or_default();
        let participle = parts.next().unwrap_or_default();
        [(past, (base, Form::Past)), (participle, (base, Form::Participle))]
            .into_iter()
            .filter(move |(w, _)| *w != base)
    })
}

/// Noun-verb pairs that are nouns unless a person or an animal plainly does them.
pub(crate) const RARELY_VERBS: &str = "leave block surface share mirror rain step light rock wave star park fire water fish plant ring watch row stream set head hammer train book ship drum \
    steam smoke line dot pile stack cut pet hand iron season skate ski record film fan flash spring wind cover cast cast wash herd flock swarm \
    milk paint race brush text stroke toast crack look spray taxi pilot wing pass taste ride roll type dress blossom sprout bloom drop \
    surf camp picnic need guard guide sail land turn dock saddle swallow smell fold cycle work study love smile play show scale loop pause \
    display feature parade hunt box march dance walk call rest plunge splash circle dive lift flow rumble bark bite hum buzz flip kiss hug laugh orbit";
