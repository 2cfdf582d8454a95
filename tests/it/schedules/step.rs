//! The steps of a schedule: drawn from a seed before anything runs, so that some can be left out and the rest stays what it was.

use std::{fmt, time::Duration};

use amishare::planted::Flaw;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::places::{ENCRYPTED_IN, IMAGES, OBJECTS, REGIONS, SNAPSHOTS, Target, Who, image_id, images_in};
use crate::memory::{End, Trouble, Verb};

/// Which grants a share asks for on the keys of its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grants {
    /// None: who can launch it is left to the key's policy, which lets nobody in.
    None,
    /// Those that a launch takes.
    Launch,
    /// Others, with which it can be launched as well.
    More,
}

/// What a share says.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    pub image: usize,
    pub lists: Who,
    pub volumes: bool,
    pub grants: Grants,
    pub mode: &'static str,
    pub retain: bool,
    /// After how long it ends.
    pub ends: Option<Duration>,
    pub interval: &'static str,
    pub suspend: bool,
}

/// One change of a share.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    Lists(Who),
    Volumes(bool),
    Grants(Grants),
    Mode(&'static str),
    Retain(bool),
    Ends(Option<Duration>),
    Interval(&'static str),
    Suspend(bool),
    Image(usize),
}

/// What somebody does to a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scribble {
    /// It is gone.
    Wiped,
    /// What the share has given is not on record any more.
    RecordWiped,
    /// The conditions are gone.
    ConditionsWiped,
    /// It says something else.
    Overwritten,
}

/// What befalls calls to AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    Throttled,
    ServerError,
    ResetBefore,
    ResetAfter,
    Slow,
    Stalled,
    Denied,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Create {
        object: usize,
        spec: Spec,
    },
    Edit {
        object: usize,
        edit: Edit,
    },
    Delete {
        object: usize,
    },
    Abandon {
        object: usize,
    },
    Request {
        object: usize,
        token: u32,
    },
    ForceFinalizer {
        object: usize,
    },
    Scribble {
        object: usize,
        what: Scribble,
    },
    RogueGives {
        target: Target,
        who: Who,
    },
    RogueTakes {
        target: Target,
        who: Who,
    },
    /// Somebody revokes the grants of accounts.
    RogueRevokes {
        who: Who,
    },
    /// The key cannot be used for a while.
    KeyDisabled {
        lasts: Duration,
    },
    ImageState {
        image: usize,
        state: &'static str,
    },
    BlockPublic {
        region: usize,
        block: bool,
    },
    AwsTrouble {
        region: Option<usize>,
        action: &'static str,
        bad: Bad,
        chance: f64,
        lasts: Duration,
    },
    KubeTrouble {
        trouble: Trouble,
        verbs: &'static [Verb],
        chance: f64,
        lasts: Duration,
    },
    WatchesEnd(End),
    WatchesLate {
        by: Duration,
        lasts: Duration,
    },
    Compact,
    Restart,
    Kill {
        down: Duration,
    },
    KillTwice,
    Nothing,
}

/// A step, and how long it is until the next one.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub step: Step,
    pub then: Duration,
}

/// A whole schedule.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub seed: u64,
    /// Whether the operator allows public images.
    pub allow_public: bool,
    /// The fault that is planted in the operator.
    pub flaw: Option<Flaw>,
    pub items: Vec<Item>,
}

const MODES: [&str; 10] = [
    "Authoritative",
    "Authoritative",
    "Authoritative",
    "Authoritative",
    "Authoritative",
    "Additive",
    "Additive",
    "Additive",
    "Additive",
    "Observe",
];
const INTERVALS: [&str; 6] = ["30m", "1h", "1h", "1h", "2h", "2h"];
const READS: &[Verb] = &[Verb::List, Verb::Get, Verb::Watch];
const WRITES: &[Verb] = &[Verb::Patch, Verb::PatchStatus, Verb::CreateEvent];
const STATUS: &[Verb] = &[Verb::PatchStatus];
const FINALIZER: &[Verb] = &[Verb::Patch];
const ALL: &[Verb] = &[Verb::List, Verb::Get, Verb::Watch, Verb::Patch, Verb::PatchStatus, Verb::CreateEvent];

impl Schedule {
    /// The schedule that follows from a seed.
    pub fn of(seed: u64, steps: usize) -> Self {
        let mut draw = Draw { random: StdRng::seed_from_u64(seed), lets_keys_be: false };
        let allow_public = draw.chance(0.7);
        draw.lets_keys_be = draw.chance(0.2);
        Self { seed, allow_public, flaw: None, items: (0..steps).map(|_| draw.item()).collect() }
    }
}

struct Draw {
    random: StdRng,
    /// Whether there are shares of encrypted images without grants. Where there are, less can be said of who can launch them.
    lets_keys_be: bool,
}

impl Draw {
    fn chance(&mut self, chance: f64) -> bool {
        self.random.random_bool(chance)
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of.choose(&mut self.random).unwrap().clone()
    }

    fn seconds(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_secs(self.random.random_range(range))
    }

    fn item(&mut self) -> Item {
        let step = self.step();
        let then = match self.random.random_range(0..100) {
            0..25 => Duration::from_millis(self.random.random_range(0..300)),
            25..78 => self.seconds(1..30),
            78..93 => self.seconds(30..600),
            93..98 => self.seconds(600..3600),
            98 => self.seconds(7200..36_000),
            _ => self.seconds(86_400..259_200),
        };
        Item { step, then }
    }

    fn step(&mut self) -> Step {
        let object = self.random.random_range(0..OBJECTS.len());
        match self.random.random_range(0..100) {
            0..16 => Step::Create { object, spec: self.spec(object) },
            16..36 => Step::Edit { object, edit: self.edit(object) },
            36..42 => Step::Delete { object },
            42..43 => Step::Abandon { object },
            43..46 => Step::Request { object, token: self.random.random_range(0..1000) },
            46..47 => Step::ForceFinalizer { object },
            47..49 => {
                let all = [Scribble::Wiped, Scribble::RecordWiped, Scribble::ConditionsWiped, Scribble::Overwritten];
                Step::Scribble { object, what: self.one(&all) }
            }
            49..56 => {
                let (target, who) = self.rogue();
                Step::RogueGives { target, who }
            }
            56..61 => {
                let (target, who) = self.rogue();
                Step::RogueTakes { target, who }
            }
            61 => Step::RogueRevokes { who: Who(self.random.random::<u64>()).and(Who::ACCOUNTS) },
            62..65 => {
                let states = ["available", "available", "available", "pending", "disabled", "failed", "deregistered"];
                Step::ImageState { image: self.random.random_range(0..IMAGES.len()), state: self.one(&states) }
            }
            65..67 => Step::BlockPublic { region: self.random.random_range(0..REGIONS.len()), block: self.chance(0.5) },
            67..76 => self.aws_trouble(),
            76..84 => self.kube_trouble(),
            84..87 => Step::WatchesEnd(self.one(&[End::Closed, End::Broken, End::Silent, End::Silent])),
            87..90 => Step::WatchesLate { by: self.seconds(1..1200), lasts: self.seconds(60..3600) },
            90 => Step::Compact,
            91..93 => Step::Restart,
            93..96 => {
                let down = if self.chance(0.7) { Duration::ZERO } else { self.seconds(1..3600) };
                Step::Kill { down }
            }
            96..97 => Step::KillTwice,
            97 => Step::KeyDisabled { lasts: self.seconds(1..3600) },
            _ => Step::Nothing,
        }
    }

    /// What is asked for in the Region where images are encrypted.
    fn grants(&mut self, object: usize) -> Grants {
        match self.random.random_range(0..10) {
            _ if OBJECTS[object].2 != ENCRYPTED_IN => Grants::None,
            0..3 if self.lets_keys_be => Grants::None,
            0..8 => Grants::Launch,
            _ => Grants::More,
        }
    }

    fn lists(&mut self) -> Who {
        let mut lists = Who(self.random.random::<u64>()).and(Who::ACCOUNTS).and(Who(self.random.random::<u64>()));
        for (who, chance) in [(Who::CLOSED, 0.1), (Who::OWNER, 0.05), (Who::EVERYONE, 0.12), (Who::MANY, 0.04)] {
            if self.chance(chance) {
                lists = lists.or(who);
            }
        }
        if self.chance(0.2) {
            lists = lists.or(Who(self.random.random::<u64>()).and(Who::ORGANIZATIONS));
        }
        lists
    }

    fn ends(&mut self) -> Option<Duration> {
        self.chance(0.15).then(|| if self.chance(0.5) { self.seconds(1..3600) } else { self.seconds(3600..172_800) })
    }

    fn image(&mut self, object: usize) -> usize {
        let images: Vec<usize> = images_in(OBJECTS[object].2).collect();
        self.one(&images)
    }

    fn spec(&mut self, object: usize) -> Spec {
        Spec {
            image: self.image(object),
            lists: self.lists(),
            volumes: self.chance(0.4),
            grants: self.grants(object),
            mode: self.one(&MODES),
            retain: self.chance(0.08),
            ends: self.ends(),
            interval: self.one(&INTERVALS),
            suspend: self.chance(0.05),
        }
    }

    fn edit(&mut self, object: usize) -> Edit {
        match self.random.random_range(0..20) {
            0..8 => Edit::Lists(self.lists()),
            8..10 => Edit::Volumes(self.chance(0.5)),
            10..12 => Edit::Mode(self.one(&MODES)),
            12 => Edit::Retain(self.chance(0.3)),
            13 => Edit::Ends(self.ends()),
            14 if OBJECTS[object].2 == ENCRYPTED_IN => Edit::Grants(self.grants(object)),
            14 => Edit::Interval(self.one(&INTERVALS)),
            15..17 => Edit::Suspend(self.chance(0.4)),
            _ => Edit::Image(self.image(object)),
        }
    }

    fn rogue(&mut self) -> (Target, Who) {
        let target = if self.chance(0.65) {
            Target::Image(self.random.random_range(0..IMAGES.len()))
        } else {
            Target::Snapshot(self.random.random_range(0..SNAPSHOTS.len()))
        };
        let mut who = Who(self.random.random::<u64>()).and(Who::ACCOUNTS);
        if matches!(target, Target::Image(_)) && self.chance(0.15) {
            who = who.or(Who::ORGANIZATIONS);
        }
        if self.chance(0.05) {
            who = who.or(Who::EVERYONE);
        }
        (target, who)
    }

    fn aws_trouble(&mut self) -> Step {
        let all =
            [Bad::Throttled, Bad::ServerError, Bad::ResetBefore, Bad::ResetAfter, Bad::Slow, Bad::Stalled, Bad::Denied];
        Step::AwsTrouble {
            region: self.chance(0.8).then(|| self.random.random_range(0..REGIONS.len())),
            action: self.one(&[
                "*",
                "*",
                "Modify*",
                "ModifyImageAttribute",
                "ModifySnapshotAttribute",
                "Describe*",
                "*Grant*",
                "CreateGrant",
                "RevokeGrant",
            ]),
            bad: self.one(&all),
            chance: self.one(&[0.2, 0.5, 1.0]),
            lasts: if self.chance(0.8) { self.seconds(1..600) } else { self.seconds(600..5400) },
        }
    }

    fn kube_trouble(&mut self) -> Step {
        let all = [
            Trouble::LostBefore,
            Trouble::LostAfter,
            Trouble::NeverAnswered,
            Trouble::Late(Duration::from_secs(self.random.random_range(1..40))),
            Trouble::Refused(500),
            Trouble::Refused(503),
            Trouble::Refused(429),
            Trouble::Overtaken,
            Trouble::Overtaken,
        ];
        Step::KubeTrouble {
            trouble: self.one(&all),
            verbs: self.one(&[ALL, WRITES, STATUS, FINALIZER, READS]),
            chance: self.one(&[0.2, 0.5, 1.0]),
            lasts: if self.chance(0.9) { self.seconds(1..300) } else { self.seconds(300..3600) },
        }
    }
}

fn name(object: usize) -> String {
    let (namespace, name, region) = OBJECTS[object];
    format!("{namespace}/{name} (in {})", REGIONS[region])
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; then {:?} pass", self.step, self.then)
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { image, lists, volumes, grants, mode, retain, ends, interval, suspend } = self;
        write!(f, "{} shared with {lists:?}, grants {grants:?}, mode {mode}, every {interval}", image_id(*image))?;
        let more = [(*volumes, ", with createVolumePermission"), (*retain, ", Retain"), (*suspend, ", suspended")];
        more.iter().filter(|(is, _)| *is).try_for_each(|(_, words)| f.write_str(words))?;
        ends.map_or(Ok(()), |ends| write!(f, ", ending after {ends:?}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { object, spec } => write!(f, "create {}: {spec}", name(*object)),
            Self::Edit { object, edit: Edit::Image(image) } => {
                write!(f, "move {} to {}", name(*object), image_id(*image))
            }
            Self::Edit { object, edit } => write!(f, "edit {}: {edit:?}", name(*object)),
            Self::Delete { object } => write!(f, "delete {}", name(*object)),
            Self::Abandon { object } => write!(f, "annotate {} with on-delete=abandon", name(*object)),
            Self::Request { object, token } => write!(f, "request a check of {} ({token})", name(*object)),
            Self::ForceFinalizer { object } => write!(f, "take the finalizer from {} by force", name(*object)),
            Self::Scribble { object, what } => write!(f, "somebody writes the status of {}: {what:?}", name(*object)),
            Self::RogueGives { target, who } => write!(f, "somebody gives {target} to {who:?}"),
            Self::RogueTakes { target, who } => write!(f, "somebody takes {target} from {who:?}"),
            Self::RogueRevokes { who } => write!(f, "somebody revokes the grants of {who:?}"),
            Self::KeyDisabled { lasts } => write!(f, "the key is disabled for {lasts:?}"),
            Self::ImageState { image, state } => write!(f, "{} becomes {state}", image_id(*image)),
            Self::BlockPublic { region, block } => {
                write!(f, "block public access in {} is {}", REGIONS[*region], if *block { "on" } else { "off" })
            }
            Self::AwsTrouble { region, action, bad, chance, lasts } => {
                let region = region.map_or("every Region", |region| REGIONS[region]);
                write!(f, "for {lasts:?}, {action} in {region} is {bad:?} with probability {chance}")
            }
            Self::KubeTrouble { trouble, verbs, chance, lasts } => {
                write!(f, "for {lasts:?}, {verbs:?} meet {trouble:?} with probability {chance}")
            }
            Self::WatchesEnd(how) => write!(f, "all watches end: {how:?}"),
            Self::WatchesLate { by, lasts } => write!(f, "for {lasts:?}, watches tell {by:?} late"),
            Self::Compact => f.write_str("the API server forgets old versions"),
            Self::Restart => f.write_str("the operator is restarted"),
            Self::Kill { down } if down.is_zero() => f.write_str("the operator is killed and started"),
            Self::Kill { down } => write!(f, "the operator is killed, and started after {down:?}"),
            Self::KillTwice => f.write_str("the operator is killed twice, one moment after the other"),
            Self::Nothing => f.write_str("nothing happens"),
        }
    }
}
