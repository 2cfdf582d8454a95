//! The world of a schedule: what there is, and who can be named.

use std::fmt;

use amishare::simulator::{
    EncryptionScenario, ImagePublicAccess, ImageScenario, PublicAccessScenario, Scenario, SnapshotPublicAccess,
    SnapshotScenario,
};

use crate::testing::{CLOSED, OWNER, account, organization, unit};

/// The Regions.
pub const REGIONS: [&str; 2] = ["us-east-1", "eu-west-1"];

/// The images: the Region by its position, and the snapshots by theirs.
pub const IMAGES: [(usize, &[usize]); 4] = [(0, &[0, 1]), (0, &[1, 2]), (1, &[3]), (1, &[4])];

/// The snapshots: the Region by its position. The second is a part of two images, the last two are encrypted.
pub const SNAPSHOTS: [usize; 5] = [0, 0, 0, 1, 1];

/// The images that are encrypted, with one key.
pub const ENCRYPTED: [usize; 2] = [2, 3];

/// Where they are.
pub const ENCRYPTED_IN: usize = 1;

/// Their key.
pub const KEY: &str = "arn:aws:kms:eu-west-1:999988887777:key/22222222-3333-4444-8555-666666666666";

/// The objects: namespace, name, and the Region by its position.
pub const OBJECTS: [(&str, &str, usize); 6] = [
    ("images", "a", 0),
    ("images", "b", 0),
    ("teams", "a", 0),
    ("images", "c", 1),
    ("teams", "b", 1),
    ("teams", "c", 1),
];

/// The images of a Region.
pub fn images_in(region: usize) -> impl Iterator<Item = usize> {
    (0..IMAGES.len()).filter(move |image| IMAGES[*image].0 == region)
}

pub fn image_id(image: usize) -> String {
    format!("ami-{:08x}", image + 1)
}

pub fn snapshot_id(snapshot: usize) -> String {
    format!("snap-{:08x}", snapshot + 1)
}

/// What a permission is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Image(usize),
    Snapshot(usize),
}

impl Target {
    /// Every target in a Region.
    pub fn all_in(region: usize) -> impl Iterator<Item = Self> {
        let snapshots = (0..SNAPSHOTS.len()).filter(move |snapshot| SNAPSHOTS[*snapshot] == region);
        images_in(region).map(Self::Image).chain(snapshots.map(Self::Snapshot))
    }

    pub fn region(self) -> usize {
        match self {
            Self::Image(image) => IMAGES[image].0,
            Self::Snapshot(snapshot) => SNAPSHOTS[snapshot],
        }
    }

    /// The images that it is a part of.
    pub fn images(self) -> Vec<usize> {
        match self {
            Self::Image(image) => vec![image],
            Self::Snapshot(snapshot) => {
                (0..IMAGES.len()).filter(|image| IMAGES[*image].1.contains(&snapshot)).collect()
            }
        }
    }

    pub fn by_id(id: &str) -> Self {
        let images = (0..IMAGES.len()).map(Self::Image);
        let all = images.chain((0..SNAPSHOTS.len()).map(Self::Snapshot));
        all.into_iter().find(|target| target.to_string() == id).unwrap_or_else(|| panic!("{id} is not of this world"))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(image) => f.write_str(&image_id(*image)),
            Self::Snapshot(snapshot) => f.write_str(&snapshot_id(*snapshot)),
        }
    }
}

/// A set of those who can be given permissions.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who(pub u64);

/// How many accounts a long list has besides the others.
const MANY: u64 = 40;

impl Who {
    pub const NOBODY: Self = Self(0);
    /// Accounts that exist.
    pub const ACCOUNTS: Self = Self(0b11_1111);
    /// Accounts that do not.
    pub const CLOSED: Self = Self(0b11 << 6);
    pub const OWNER: Self = Self(1 << 8);
    pub const ORGANIZATIONS: Self = Self(0b11 << 9);
    pub const EVERYONE: Self = Self(1 << 11);
    /// Many more accounts.
    pub const MANY: Self = Self(((1 << MANY) - 1) << 12);
    /// Everybody who can be listed for snapshots.
    pub const FOR_VOLUMES: Self = Self(Self::ACCOUNTS.0 | Self::CLOSED.0 | Self::OWNER.0 | Self::MANY.0);

    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn but(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub fn is_nobody(self) -> bool {
        self.0 == 0
    }

    /// One by one.
    pub fn each(self) -> impl Iterator<Item = Self> {
        (0..64).map(|bit| Self(1 << bit)).filter(move |one| !self.and(*one).is_nobody())
    }

    /// Everybody by the name that AWS knows.
    pub fn names(self) -> Vec<String> {
        self.each().map(|one| name(one.0.trailing_zeros().into())).collect()
    }

    pub fn by_name(text: &str) -> Self {
        (0..12 + MANY).find(|bit| name(*bit) == text).map_or_else(|| panic!("{text} is nobody"), |bit| Self(1 << bit))
    }

    pub fn by_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        names.into_iter().map(Self::by_name).fold(Self::NOBODY, Self::or)
    }
}

fn name(bit: u64) -> String {
    match bit {
        0..6 => account(bit + 1).to_string(),
        6 | 7 => account(CLOSED[usize::from(bit == 7)]).to_string(),
        8 => OWNER.to_owned(),
        9 => organization().to_string(),
        10 => unit().to_string(),
        11 => "all".to_owned(),
        many => account(1000 + many).to_string(),
    }
}

impl fmt::Debug for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |bit: u32| match bit {
            0..6 => format!("account {}", bit + 1),
            6 | 7 => format!("closed account {}", CLOSED[usize::from(bit == 7)]),
            8 => "the owner".into(),
            9 => "the organization".into(),
            10 => "the unit".into(),
            _ => "everyone".into(),
        };
        let mut words: Vec<String> = self.but(Self::MANY).each().map(|who| one(who.0.trailing_zeros())).collect();
        match self.and(Self::MANY).0.count_ones() {
            0 => {}
            count => words.push(format!("{count} more accounts")),
        }
        if words.is_empty() { f.write_str("nobody") } else { f.write_str(&words.join(", ")) }
    }
}

/// The AWS that a schedule begins with.
pub fn scenario(seed: u64) -> Scenario {
    let image = |number: usize| {
        let (region, snapshots) = IMAGES[number];
        ImageScenario {
            id: image_id(number),
            region: REGIONS[region].into(),
            owner: OWNER.into(),
            snapshots: snapshots.iter().copied().map(snapshot_id).collect(),
            ..ImageScenario::default()
        }
    };
    let encrypted = ENCRYPTED.into_iter().flat_map(|image| IMAGES[image].1).map(|snapshot| SnapshotScenario {
        id: snapshot_id(*snapshot),
        region: REGIONS[SNAPSHOTS[*snapshot]].into(),
        owner: OWNER.into(),
        encryption: EncryptionScenario::CustomerKey,
        ..SnapshotScenario::default()
    });
    let open = REGIONS.map(|region| PublicAccessScenario {
        account: OWNER.into(),
        region: region.into(),
        images: ImagePublicAccess::Unblocked,
        snapshots: SnapshotPublicAccess::default(),
    });
    // KMS makes grants known at once, within seconds, or within minutes.
    let late = [0, 0, 700, 5000, 45_000, 200_000];
    Scenario {
        seed: Some(seed),
        grant_delay_milliseconds: late[usize::try_from(seed % 6).unwrap()],
        closed_accounts: Who::CLOSED.names().into_iter().collect(),
        images: (0..IMAGES.len()).map(image).collect(),
        snapshots: encrypted.collect(),
        block_public_access: open.into_iter().collect(),
        ..Scenario::default()
    }
}
