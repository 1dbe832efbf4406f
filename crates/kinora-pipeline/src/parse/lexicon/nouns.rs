//! Nouns by what they stand for: the class decides whether a phrase is an actor, a place, a time, a style …

use serde::{Deserialize, Serialize};

/// What a noun stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NounClass {
    /// people and roles
    Person,
    /// land animals and creatures
    Animal,
    /// birds and flying insects
    Bird,
    /// animals of the sea
    SeaAnimal,
    /// plants and flowers
    Plant,
    /// food and drink
    Food,
    /// vehicles on land
    Vehicle,
    /// vehicles on water
    Boat,
    /// vehicles in the air
    Aircraft,
    /// sun, moon, stars, clouds
    Sky,
    /// houses and landmarks
    Building,
    /// things
    Object,
    /// what people wear
    Garment,
    /// parts of a body
    BodyPart,
    /// outdoor scenery and regions
    Place,
    /// rooms and interiors
    Room,
    /// plain studio backdrops
    Backdrop,
    /// times of day
    Time,
    /// seasons and months
    Season,
    /// rain, snow, fog
    Weather,
    /// light and lighting
    Light,
    /// mood, atmosphere
    MoodHead,
    /// style, aesthetic
    StyleHead,
    /// video, clip, footage
    Medium,
    /// left, right, distance, direction words
    Direction,
    /// camera, viewer
    Viewer,
    /// smoke, dust, sparks: stuff that moves
    Substance,
    /// ideas without a shape
    Abstract,
    /// not in the lexicon
    Unknown,
}

/// Singular nouns by class; the first class that lists a word wins.
pub(crate) const NOUNS: &[(NounClass, &str)] = &[
    (
        NounClass::Person,
        "man woman boy girl child kid baby toddler person people lady gentleman guy teenager adult grandmother grandfather grandma grandpa \
        mother father mom dad mum son daughter brother sister friend couple family crowd doctor nurse farmer cook chef baker waiter scientist singer artist \
        painter pilot astronaut spaceman cosmonaut firefighter fireman policeman policewoman police_officer cop detective soldier ninja samurai knight warrior king queen prince \
        princess pirate superhero wizard witch sorcerer fairy vampire mermaid elf dwarf monk nun priest santa santa_claus clown dancer ballerina runner \
        jogger athlete swimmer surfer skier snowboarder skater skateboarder cyclist biker rider jockey cowboy driver sailor captain fisherman fisher worker \
        construction_worker engineer teacher student pupil musician guitarist drummer violinist pianist dj actor actress model photographer writer hiker \
        climber traveller traveler tourist explorer hunter gardener shepherd barista bartender businessman businesswoman bride groom twin stranger \
        passenger passerby pedestrian commuter figure silhouette player basketball_player football_player weight_lifter acrobat juggler magician boxer \
        wrestler archer rower yogi blacksmith carpenter tailor potter mechanic boss neighbour neighbor villager human someone somebody snowman scarecrow viking \
        hero villain robot android cyborg alien ghost zombie angel devil demon genie gnome puppeteer fan spectator cast audience band orchestra conductor",
    ),
    (
        NounClass::Animal,
        "dog puppy doggy hound cat kitten kitty feline canine horse stallion mare pony foal donkey cow bull calf pig piglet sheep lamb goat ram rabbit bunny hare \
        mouse rat hamster squirrel chipmunk beaver hedgehog fox wolf bear polar_bear panda red_panda koala sloth otter skunk kangaroo lion lioness tiger leopard \
        snow_leopard cheetah panther jaguar elephant rhino rhinoceros hippo hippopotamus giraffe zebra deer moose elk reindeer stag antelope gazelle bison \
        buffalo camel llama alpaca monkey ape gorilla orangutan chimpanzee lemur raccoon badger weasel ferret meerkat turtle tortoise snake cobra serpent \
        lizard gecko chameleon iguana crocodile alligator frog toad salamander snail slug caterpillar ant beetle ladybug ladybird spider scorpion worm \
        dragon unicorn dinosaur t-rex tyrannosaurus brontosaurus triceratops monster creature beast animal pet cub labrador golden_retriever retriever husky corgi \
        poodle bulldog german_shepherd dachshund tabby mammoth yeti griffin centaur minotaur werewolf wolfhound hyena boar warthog yak mole bat wildlife livestock terrier collie",
    ),
    (
        NounClass::Bird,
        "bird songbird eagle hawk falcon owl duck duckling swan goose flamingo parrot crow raven sparrow pigeon dove robin seagull gull pelican stork heron \
        crane peacock turkey chicken hen rooster chick penguin puffin hummingbird woodpecker vulture ostrich bluebird butterfly moth bee honeybee bumblebee wasp dragonfly firefly fly \
        mosquito phoenix kingfisher toucan cockatoo canary",
    ),
    (
        NounClass::SeaAnimal,
        "fish tropical_fish goldfish koi shark whale blue_whale orca dolphin seal sea_lion walrus octopus squid jellyfish crab lobster \
        shrimp prawn starfish seahorse sea_turtle stingray manta_ray ray eel blowfish pufferfish clownfish salmon tuna coral narwhal kraken seashell",
    ),
    (
        NounClass::Plant,
        "seed soil tree flower rose tulip sunflower daisy lily lotus orchid cactus pine_tree palm_tree oak oak_tree willow maple cherry_blossom cherry_tree bush shrub fern moss \
        leaf petal bouquet mushroom toadstool bamboo grass reed ivy vine seedling sprout branch root lavender wildflower dandelion bonsai palm pine birch apple_tree poppy maple_leaf",
    ),
    (
        NounClass::Food,
        "apple banana orange lemon lime pear peach cherry strawberry blueberry raspberry grape watermelon pineapple mango coconut tomato potato carrot \
        corn pumpkin avocado onion pepper salad bread croissant baguette pancake waffle cheese egg fried_egg burger hamburger cheeseburger french_fries fries pizza hot_dog \
        sandwich taco burrito noodle spaghetti pasta ramen soup stew sushi dumpling rice ice_cream ice_cream_cone doughnut donut cookie cake birthday_cake \
        cupcake muffin pie chocolate candy lollipop honey milk coffee tea juice beer wine champagne cocktail lemonade bubble_tea steak bacon sausage meal food \
        dish popcorn dessert fruit vegetable berry syrup butter sauce breakfast dinner lunch feast snack espresso cappuccino latte matcha",
    ),
    (
        NounClass::Vehicle,
        "car automobile truck lorry bus van taxi cab train steam_train steam_locomotive locomotive tram streetcar subway metro ambulance fire_truck fire_engine police_car race_car racing_car \
        sports_car convertible suv jeep pickup pickup_truck tractor scooter motorcycle motorbike bicycle bike skateboard sled sleigh carriage wagon cart tank bulldozer excavator crane_truck \
        double-decker_bus school_bus vehicle limousine caravan camper campervan tricycle unicycle rollercoaster roller_coaster snowmobile minivan sedan monorail bullet_train high-speed_train chariot rickshaw toy_car traffic",
    ),
    (
        NounClass::Boat,
        "steamship boat sailboat sailing_boat ship yacht canoe kayak rowboat rowing_boat speedboat ferry cruise_ship cargo_ship pirate_ship submarine raft gondola tugboat vessel galleon hovercraft lifeboat fishing_boat paper_boat longboat dinghy catamaran jet_ski surfboard",
    ),
    (
        NounClass::Aircraft,
        "airplane aeroplane plane jet fighter_jet biplane helicopter rocket spaceship spacecraft space_station satellite ufo flying_saucer hot_air_balloon hot-air_balloon balloon kite \
        parachute drone blimp zeppelin airship glider hang_glider paraglider aircraft starship space_shuttle lunar_module paper_plane paper_airplane seaplane airliner",
    ),
    (
        NounClass::Sky,
        "sun moon full_moon crescent_moon star shooting_star planet comet meteor asteroid galaxy nebula cloud storm_cloud rainbow aurora northern_lights snowflake firework lightning_bolt earth saturn mars jupiter constellation milky_way black_hole eclipse",
    ),
    (
        NounClass::Building,
        "base viaduct house cottage cabin hut castle palace tower skyscraper office_building building church cathedral mosque temple pagoda shrine barn windmill \
        lighthouse bridge fountain statue tent igloo pyramid monument ruin ruins gate arch wall fence well ferris_wheel carousel circus_tent volcano \
        eiffel_tower big_ben statue_of_liberty mansion farmhouse treehouse tree_house shop store bakery restaurant pub bar hotel school hospital library museum \
        train_station bus_stop gas_station petrol_station airport station stadium factory warehouse garage greenhouse observatory prison dam pier dock shed chapel fortress market_stall stall telephone_box phone_box cafe café coffee_shop diner",
    ),
    (
        NounClass::Garment,
        "hat cap coat jacket shirt t-shirt dress skirt trousers jeans suit tie scarf glove mitten boot shoe sneaker sock sunglasses glasses goggles helmet \
        crown cape cloak robe gown kimono uniform apron backpack bag necklace earring ring watch mask wig hoodie sweater jumper raincoat top_hat bow_tie collar armour armor spacesuit space_suit wetsuit swimsuit bikini pyjamas pajamas overalls vest headphone veil tuxedo turban beret beanie leash saddle wool_scarf",
    ),
    (
        NounClass::BodyPart,
        "head face hair eye ear nose mouth lip tooth tongue neck shoulder arm hand finger leg foot knee paw tail wing fur feather beak claw trunk \
        horn antler mane whisker back belly chest skin scale fin hoof beard moustache mustache eyelash freckle smile braid ponytail fang tusk shell stripe heart expression",
    ),
    (
        NounClass::Room,
        "room living_room bedroom kitchen bathroom dining_room classroom office studio attic basement cellar hallway corridor hall ballroom theatre theater \
        stage gym workshop laboratory lab cockpit spaceship_interior interior tavern cave_interior throne_room waiting_room library_hall elevator staircase closet nursery cinema \
        nightclub club disco concert_hall arena supermarket mall shopping_mall subway_station metro_station parking_lot car_park swimming_pool pool aquarium train_carriage fireplace_room lobby floor wooden_floor windowsill window_sill boxing_ring art_gallery",
    ),
    (
        NounClass::Place,
        "meadow field wheat_field corn_field cornfield lavender_field rice_field rice_paddy beach ocean sea lake river stream pond waterfall desert dune sand_dune mountain hill valley canyon cliff cave forest \
        wood woods jungle rainforest swamp marsh savanna savannah prairie plain tundra island coast coastline shore shoreline seaside seashore riverbank lakeside lagoon bay harbour harbor port \
        city town village street city_street alley alleyway road country_road dirt_road highway motorway freeway lane path trail track race_track racetrack racecourse pavement sidewalk crossroads intersection square town_square plaza market marketplace \
        park amusement_park theme_park playground garden backyard yard lawn farm farmland farmyard orchard vineyard ranch pasture countryside landscape seascape cityscape skyline city_skyline horizon_line space outer_space \
        universe cosmos galaxy_far_away moon_surface lunar_surface surface_of_the_moon sky night_sky air atmosphere_sky underwater_world ocean_floor sea_floor seafloor seabed sea_bed \
        coral_reef reef water deep_sea snowfield glacier iceberg ice ice_rink rink ski_slope slope mountainside hillside hilltop mountaintop peak summit ridge rooftop roof balcony terrace porch \
        courtyard campsite camp graveyard cemetery battlefield zoo circus fairground carnival football_field soccer_field football_pitch basketball_court tennis_court court pitch skate_park skatepark runway \
        train_track railway railroad tracks railway_track times_square tokyo paris london new_york new_york_city venice rome egypt japan iceland hawaii africa antarctica central_park grand_canyon mount_fuji \
        world planet_surface alien_planet wonderland kingdom neighborhood neighbourhood suburb district downtown chinatown metropolis ruins_site shipwreck puddle ground earth_orbit orbit crater clearing grove grassland hedge field_of_flowers savannah_plain fjord waterfront \
        boardwalk canal lily_pad_pond hot_spring oasis steppe bamboo_forest pine_forest wetland moor outback open_sea dreamscape void river_bank quarry crossing driveway snow_field scenery background",
    ),
    (
        NounClass::Backdrop,
        "backdrop green_screen white_background black_background plain_background studio_background",
    ),
    (
        NounClass::Time,
        "first_light sunrise dawn daybreak morning noon midday day daytime daylight afternoon sunset dusk twilight evening night nighttime night-time midnight \
        golden_hour blue_hour sundown nightfall daylight_hours magic_hour moonlight",
    ),
    (
        NounClass::Season,
        "christmas_eve spring summer autumn winter springtime summertime wintertime christmas january february april june july august september october november december",
    ),
    (
        NounClass::Weather,
        "rain snow fog mist storm thunderstorm thunder lightning wind breeze snowstorm blizzard snowfall rainfall drizzle downpour shower hail haze \
        hurricane tornado sandstorm raindrop snowflakes overcast sunshine heat gale frost weather heavy_rain falling_snow smog monsoon rain_shower",
    ),
    (
        NounClass::Light,
        "light sunlight lighting glow lamplight candlelight firelight starlight backlight sunbeam beam spotlight shadow shaft_of_light ray_of_light sun_ray light_ray lens_flare rim_light neon_light god_ray city_light streetlight lamp_glow warm_light",
    ),
    (
        NounClass::MoodHead,
        "mood atmosphere feeling vibe tone ambience ambiance feel energy",
    ),
    (
        NounClass::StyleHead,
        "style aesthetic look palette colour color colours colors grading color_grading colour_grading rendering texture contrast depth_of_field bokeh film_grain grain resolution quality detail",
    ),
    (
        NounClass::Medium,
        "loop video clip film movie footage scene animation image picture gif sequence shot view frame photo photograph cartoon trailer advert commercial ad advertisement vlog documentary",
    ),
    (
        NounClass::Direction,
        "left right distance side front foreground direction horizon top bottom middle centre center screen left_side right_side edge corner zigzag",
    ),
    (NounClass::Viewer, "camera viewer lens audience_view camera_lens"),
    (
        NounClass::Substance,
        "gold silver treasure smoke dust steam sand fire flame wave ocean_wave spark confetti bubble leaf_litter lava ash splash mud water_drop droplet ink paint_splash glitter foam powder ember current stream_of_water tear sea_spray spray explosion",
    ),
    (
        NounClass::Abstract,
        "triumph horseback rush_hour line tango justice democracy happiness love hope freedom truth idea algorithm philosophy economics inflation memory music song sound silence time dream peace \
        spreadsheet software database contract meeting gravity energy_field quantum nostalgia life death soul spirit future past history information knowledge power \
        speed joy sadness fear anger grief wonder beauty chaos order war politics mathematics quantum_foam purpose way joke story name adventure journey game match race pace slow",
    ),
    (
        NounClass::Object,
        "neon_sign ball soccer_ball football basketball baseball tennis_ball bowling_ball beach_ball toy teddy_bear doll puppet lego_brick block book newspaper magazine letter envelope box \
        gift present package suitcase basket bucket bottle cup mug glass plate bowl spoon fork knife pan pot kettle teapot table chair sofa couch bed desk shelf \
        bookshelf lamp lantern candle candlestick light_bulb lightbulb mirror picture_frame clock alarm_clock hourglass television tv computer laptop keyboard phone smartphone mobile_phone \
        telescope microscope microphone guitar piano violin drum trumpet saxophone flute harp accordion cello umbrella key sword shield gun cannon bow arrow hammer \
        wrench saw axe shovel rake ladder rope chain wheel gear anchor bell coin treasure_chest chest diamond gem jewel crystal_ball magic_wand wand trophy medal flag \
        banner sign stop_sign traffic_light street_lamp lamppost street_light bench swing_set swing slide trampoline hammock campfire bonfire fireplace window door curtain carpet rug \
        pillow blanket machine engine statue_head skull skeleton jack-o-lantern rock stone pebble log stick paint brush paintbrush pencil pen canvas easel notebook paper painting photo_album \
        vase pot_plant globe map dice card chess_board chessboard chess_piece puzzle yo-yo frisbee boomerang disco_ball ball_of_yarn yarn pizza_box string_light fairy_light christmas_tree bathtub \
        sink fridge refrigerator oven stove toaster vacuum_cleaner washing_machine spaceship_console screen_wall billboard poster windshield steering_wheel seat bone stick_figure snowball thing object sled_rope fishing_rod \
        nest cage web hive cobweb spider_web wind_turbine solar_panel antenna pipe tap hydrant mailbox post_box trash_can bin barrel crate pallet hoop net goal racket bat_and_ball text logo word watermark subtitle caption portal laser",
    ),
];

/// Irregular plurals.
pub(crate) const IRREGULAR_PLURALS: &str = "men:man women:woman children:child mice:mouse geese:goose feet:foot teeth:tooth oxen:ox wolves:wolf leaves:leaf \
    lives:life knives:knife shelves:shelf halves:half calves:calf loaves:loaf elves:elf dwarves:dwarf scarves:scarf hooves:hoof cacti:cactus fungi:fungus \
    octopi:octopus octopuses:octopus firemen:fireman policemen:policeman policewomen:policewoman snowmen:snowman fishermen:fisherman businessmen:businessman \
    spacemen:spaceman gentlemen:gentleman pianos:piano photos:photo videos:video zoos:zoo kangaroos:kangaroo igloos:igloo ufos:ufo dominoes:domino \
    people:people dice:dice sheep:sheep deer:deer fish:fish bison:bison shrimp:shrimp salmon:salmon aircraft:aircraft spacecraft:spacecraft hovercraft:hovercraft dominos:domino \
    buses:bus lenses:lens glasses:glasses sunglasses:sunglasses trousers:trousers jeans:jeans pyjamas:pyjamas headphones:headphone northern_lights:northern_lights \
    woods:woods ruins:ruins tracks:tracks santas:santa cherries:cherry cookies:cookie movies:movie zombies:zombie genies:genie hippies:hippie ties:tie pies:pie selfies:selfie kitties:kitty \
    puppies:puppy horses:horse houses:house fireflies:firefly dragonflies:dragonfly butterflies:butterfly moose:moose chess:chess grass:grass glass:glass dress:dress bus:bus gas:gas christmas:christmas \
    canvas:canvas compass:compass fries:fries crossroads:crossroads wildlife:wildlife traffic:traffic octopus:octopus cactus:cactus platypus:platypus circus:circus \
    walrus:walrus virus:virus iris:iris paris:paris venus:venus mars:mars dais:dais metropolis:metropolis lens:lens swiss:swiss axis:axis debris:debris venice:venice santa_claus:santa_claus claus:claus taxis:taxi waves:wave caves:cave doves:dove gloves:glove olives:olive";
