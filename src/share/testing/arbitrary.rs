//! Random worlds: a few shares in any standing, and two images in any state.

use std::collections::{BTreeMap, BTreeSet};

use amishare::{
    api::{Principal, ami_share::ShareMode, stored::Stored},
    config::{Allowed, Guardrail, NamespacePattern, Namespaces, Principals as AnyOr},
    share::granted::Granted,
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::{select, subsequence},
    test_runner::{Config, FileFailurePersistence},
};

use super::{
    CLOSED, account,
    aws::{Aws, Encryption, State},
    grants_on, image, organization, owner,
    share::{Build, share},
    snapshot, unit,
    world::World,
};

type Principals = BTreeSet<Principal>;

/// How properties are run: with this many cases, unless `PROPTEST_CASES` says otherwise. What fails once is kept in
/// `proptest-regressions/share.txt`, to be committed, and tried first from then on; `PROPTEST_RNG_SEED` repeats a whole run.
pub fn config(cases: u32) -> Config {
    let default = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    let kept = FileFailurePersistence::Direct("proptest-regressions/share.txt");
    Config { cases, failure_persistence: Some(Box::new(kept)), max_shrink_iters: 4096, ..default }
}

/// A share to be.
#[derive(Debug, Clone)]
pub struct ShareCase {
    pub mode: ShareMode,
    pub volumes: bool,
    pub retain: bool,
    pub lists: Principals,
    pub fate: Fate,
    /// What it has on record for image 1 and the snapshots 1, 2 and 4, whether it is held or not.
    pub launch: Principals,
    pub given: BTreeMap<u64, Principals>,
    /// Whether it asks for grants, and whether only for those that a launch takes.
    pub grants: Option<bool>,
    /// What it has on record for grants on the owner's key, of either kind.
    pub granted: BTreeMap<bool, Principals>,
}

/// What has become of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Alive,
    Suspended,
    Expired,
    Deleting,
    Abandoned,
    Moved,
    /// Its image has to be found, and was.
    Found,
    /// Another image was found for it.
    FoundAnother,
    /// No image was found for it, though there was one.
    Lost,
    Unreadable,
}

/// An image to be.
#[derive(Debug, Clone)]
pub struct ImageCase {
    pub state: State,
    pub encryption: Encryption,
    pub product_code: bool,
    pub launch: Principals,
}

/// A world to be.
#[derive(Debug, Clone)]
pub struct Case {
    pub shares: Vec<ShareCase>,
    pub images: [ImageCase; 2],
    /// Who holds createVolumePermission on the snapshots 1 to 4; nobody can on one that is gone.
    pub snapshots: Vec<Option<Principals>>,
    /// Who holds grants on the owner's key: those for a launch and a copy, and those for a launch only.
    pub grants: [Principals; 2],
    pub blocks_public: bool,
    pub allow_public: bool,
    pub quota: usize,
}

/// Everybody whom a share can list.
pub fn everybody() -> Vec<Principal> {
    let numbers = (1..=5).chain(CLOSED);
    numbers.map(account).chain([owner(), organization(), unit(), Principal::Everyone]).collect()
}

fn principals() -> impl Strategy<Value = Principals> {
    let everybody = everybody();
    subsequence(everybody.clone(), 0..=everybody.len()).prop_map(|some| some.into_iter().collect())
}

/// Accounts that can be recorded as holders of a snapshot: the owner's never is.
fn volume_accounts() -> impl Strategy<Value = Principals> {
    let accounts: Vec<Principal> = (1..=5).chain(CLOSED).map(account).collect();
    subsequence(accounts.clone(), 0..=accounts.len()).prop_map(|some| some.into_iter().collect())
}

/// A share in any standing.
pub fn any_share() -> impl Strategy<Value = ShareCase> {
    let fate = prop_oneof![
        8 => Just(Fate::Alive), 1 => Just(Fate::Suspended), 1 => Just(Fate::Expired), 2 => Just(Fate::Deleting),
        1 => Just(Fate::Abandoned), 1 => Just(Fate::Moved), 1 => Just(Fate::Unreadable), 1 => Just(Fate::Found),
        1 => Just(Fate::FoundAnother), 1 => Just(Fate::Lost),
    ];
    let given = vec(prop_oneof![2 => Just(Principals::new()), 1 => volume_accounts()], 3);
    let launch = prop_oneof![1 => Just(Principals::new()), 1 => principals()];
    let granted = vec(prop_oneof![2 => Just(Principals::new()), 1 => volume_accounts()], 2);
    (live_share(), fate, launch, given, granted).prop_map(|(share, fate, launch, given, granted)| {
        let given = [1, 2, 4].into_iter().zip(given).filter(|(_, accounts)| !accounts.is_empty()).collect();
        let granted = [false, true].into_iter().zip(granted).filter(|(_, accounts)| !accounts.is_empty()).collect();
        ShareCase { fate, launch, given, granted, ..share }
    })
}

/// A share that has given nothing yet and is acted on.
pub fn live_share() -> impl Strategy<Value = ShareCase> {
    let mode =
        prop_oneof![3 => Just(ShareMode::Authoritative), 3 => Just(ShareMode::Additive), 1 => Just(ShareMode::Observe)];
    let grants = prop::option::of(prop::bool::weighted(0.3));
    let parts = (any::<bool>(), grants);
    (mode, parts, prop::bool::weighted(0.2), principals()).prop_map(|(mode, (volumes, grants), retain, lists)| {
        let (launch, given, granted) = (Principals::new(), BTreeMap::new(), BTreeMap::new());
        ShareCase { mode, volumes, retain, lists, fate: Fate::Alive, launch, given, grants, granted }
    })
}

/// Guard rails of any kind, for any of the two namespaces.
pub fn any_guardrails() -> impl Strategy<Value = Vec<Guardrail>> {
    let allowed = (principals(), prop::bool::weighted(0.2)).prop_map(|(some, any_account)| {
        let mut allowed = Allowed { public: some.contains(&Principal::Everyone), ..Allowed::default() };
        let (mut accounts, mut organizations, mut units) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for principal in some {
            match principal {
                Principal::Account(id) => drop(accounts.insert(id)),
                Principal::Organization(arn) => drop(organizations.insert(arn)),
                Principal::OrganizationalUnit(arn) => drop(units.insert(arn)),
                Principal::Everyone | Principal::Grantee(_) => {}
            }
        }
        allowed.account_ids = if any_account { AnyOr::Any } else { AnyOr::These(accounts) };
        allowed.organization_arns = AnyOr::These(organizations);
        allowed.organizational_unit_arns = AnyOr::These(units);
        allowed
    });
    let region = prop_oneof![8 => Just(None), 2 => Just(Some("us-east-1")), 1 => Just(Some("eu-west-1"))];
    let these = select(vec!["*", "images", "partners", "im*", "other"]);
    let but = prop_oneof![3 => Just(None), 1 => Just(Some("partners"))];
    let rule =
        (these, but, region, prop::option::weighted(0.8, allowed)).prop_map(|(these, but, region, share_with)| {
            let pattern = |text: &str| text.parse::<NamespacePattern>().unwrap();
            Guardrail {
                name: "ours".parse().unwrap(),
                namespaces: Namespaces { these: [pattern(these)].into(), but: but.map(pattern).into_iter().collect() },
                regions: region.map(|region| [region.parse().unwrap()].into()),
                share_with,
            }
        });
    vec(rule, 0..=3)
}

fn any_image(states: &'static [State]) -> impl Strategy<Value = ImageCase> {
    let encryption = prop_oneof![
        6 => Just(Encryption::None), 2 => Just(Encryption::CustomerKey), 1 => Just(Encryption::DefaultKey)
    ];
    let state = prop_oneof![8 => Just(State::Available), 2 => select(states)];
    (state, encryption, prop::bool::weighted(0.1), principals()).prop_map(|(state, encryption, product_code, held)| {
        let launch = if matches!(state, State::Disabled | State::Missing) { Principals::new() } else { held };
        ImageCase { state, encryption, product_code, launch }
    })
}

/// Every state of an image that a simulator can be put in, too.
pub const STATES: &[State] = &[
    State::Available,
    State::Pending,
    State::Failed,
    State::Disabled,
    State::Deregistered,
    State::Missing,
    State::Foreign,
];

/// Any world: one to four shares, in any standing, of images in any of the states.
pub fn any_case() -> impl Strategy<Value = Case> {
    let shares = vec(any_share(), 1..=4);
    let snapshot = prop_oneof![1 => Just(None), 8 => volume_holders().prop_map(Some)];
    let quota = prop_oneof![6 => Just(1000_usize), 1 => 3_usize..9];
    let images = [any_image(STATES), any_image(STATES)];
    let grants = [volume_accounts(), volume_accounts()];
    (shares, images, vec(snapshot, 4), grants, any::<bool>(), any::<bool>(), quota).prop_map(
        |(shares, images, snapshots, grants, blocks_public, allow_public, quota)| Case {
            shares,
            images,
            snapshots,
            grants,
            blocks_public,
            allow_public,
            quota,
        },
    )
}

fn volume_holders() -> impl Strategy<Value = Principals> {
    (volume_accounts(), prop::bool::weighted(0.1)).prop_map(|(mut accounts, public)| {
        accounts.extend(public.then_some(Principal::Everyone));
        accounts
    })
}

/// A world in which everything that is listed can be given, and nobody holds anything yet.
pub fn easy_case(shares: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Case> {
    vec(live_share(), shares).prop_map(|mut shares| {
        for share in &mut shares {
            share.retain = false;
            share.lists.retain(|p| !super::accounts(CLOSED).contains(p) && *p != owner());
        }
        let (none, none_held) = (Principals::new(), Principals::new());
        let image = ImageCase {
            state: State::Available,
            encryption: Encryption::None,
            product_code: false,
            launch: none.clone(),
        };
        let snapshots = vec![Some(none); 4];
        Case {
            shares,
            images: [image.clone(), image],
            snapshots,
            grants: [none_held.clone(), none_held],
            blocks_public: false,
            allow_public: true,
            quota: 1000,
        }
    })
}

impl ShareCase {
    /// The share by this name.
    pub fn build(&self, name: &str) -> Build {
        let volumes = self.given.iter().map(|(number, accounts)| (snapshot(*number), accounts.clone())).collect();
        let grants = self.granted.iter().map(|(lean, accounts)| (grants_on(*lean), accounts.clone())).collect();
        let granted = Granted { launch: self.launch.clone(), volumes, grants };
        let mut build = share(name).mode(self.mode).lists(&self.lists).granted_on(&image(1), &granted);
        if self.volumes {
            build = build.volumes();
        }
        if let Some(lean) = self.grants {
            build = build.grants(&grants_on(lean).operations.into_iter().collect::<Vec<_>>());
        }
        if self.retain {
            build = build.retain();
        }
        match self.fate {
            Fate::Alive => build,
            Fate::Suspended => build.suspended(),
            Fate::Expired => build.expired(),
            Fate::Deleting => build.deleting(),
            Fate::Abandoned => build.deleting().abandoned(),
            Fate::Moved => build.of(&image(2)),
            Fate::Found => build.finds("golden*", Some(&image(1))),
            Fate::FoundAnother => build.finds("golden*", Some(&image(2))),
            // One that has given nothing is on no image.
            Fate::Lost => build.finds("golden*", granted.is_empty().then(|| image(1)).as_ref()),
            Fate::Unreadable => build.unreadable(),
        }
    }
}

impl Case {
    /// The objects, named `a` to `d`.
    pub fn objects(&self) -> Vec<Stored> {
        ["a", "b", "c", "d"].into_iter().zip(&self.shares).map(|(name, share)| share.build(name).build()).collect()
    }

    /// The world with all its objects.
    pub fn world(&self) -> World {
        let mut world = self.empty_world();
        self.objects().into_iter().for_each(|object| world.create(object));
        world
    }

    /// The world before there is any object.
    pub fn empty_world(&self) -> World {
        let mut aws = Aws { blocks_public: self.blocks_public, quota: self.quota, ..Aws::default() };
        for (number, case) in [1, 2].into_iter().zip(&self.images) {
            let image = aws.image(number);
            image.clone_from(&super::aws::AwsImage {
                state: case.state,
                encryption: case.encryption,
                product_code: case.product_code,
                launch: case.launch.clone(),
                snapshots: image.snapshots.clone(),
            });
        }
        let snapshots = (1..).map(snapshot).zip(&self.snapshots);
        aws.snapshots = snapshots.filter_map(|(id, held)| Some((id, held.clone()?))).collect();
        for image in aws.images.values_mut().filter(|i| i.snapshots.iter().all(|id| !aws.snapshots.contains_key(id))) {
            image.encryption = Encryption::None; // Nothing is left that could be encrypted.
        }
        aws.grants = [false, true].map(grants_on).into_iter().zip(self.grants.iter().cloned()).collect();
        let mut world = World::of([]);
        world.cluster.parts = aws.parts();
        world.aws = aws;
        world.cluster.policy.allow_public = self.allow_public;
        world.cluster.policy.launch_permission_quota = self.quota;
        world
    }
}
