//! A schedule as it runs: the API server, the AWS, the operator, and time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use amishare::{
    api::{ABANDON, GrantOperation, ON_DELETE, REQUESTED_AT},
    runtime::clock::Clock,
    simulator::{self, Call, Fault, FaultKind, ImageState, KeyState, Simulator},
};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{
    claims::{Claims, SCRIBBLED},
    keys,
    operator::Operator,
    outcome::{TO_CHANGE, TO_DRIFT, is_seen},
    places::{ENCRYPTED, ENCRYPTED_IN, KEY, OBJECTS, REGIONS, Target, Who, image_id, scenario},
    step::{Bad, Edit, Grants, Schedule, Scribble, Spec, Step},
};
use crate::{
    memory::{End, Memory, Weather, trace::Served},
    testing::OWNER,
};

/// How long it takes at most until everything is as it should be after whatever stood in the way: a watch that is silent is found
/// dead, a backoff ends, a reconcile is made.
pub const SETTLE: Duration = Duration::from_mins(15);

/// How long a watch or a request that is silent is believed.
const SILENCE: Duration = Duration::from_mins(6);

/// How long what AWS has refused is not tried again.
const REFUSED: Duration = Duration::from_mins(65);

/// How long an image is pending.
const PENDING: Duration = Duration::from_mins(5);

/// What happens by itself at some time.
enum Event {
    AwsTroubleEnds(u64),
    WatchesAreInTime,
    OperatorStarts,
    ImageIsAvailable(usize),
    KeyIsEnabled,
}

/// Who gave a permission that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Giver {
    Operator,
    Somebody,
}

/// What disturbs a Region.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disturbed {
    /// Until when something stands in the way, or has to be reacted to.
    pub until: Duration,
    /// When a permission was last changed by somebody else, which is only seen at the next check.
    pub drifted: Duration,
    /// When an image was last changed, which may only be seen at the check after that.
    pub changed: Duration,
    /// Whether the operator that died had yet to see the one and the other.
    unseen: [bool; 2],
}

/// Everything that a schedule runs on.
pub struct Arena {
    pub memory: Memory,
    pub aws: Simulator,
    pub operator: Option<Operator>,
    pub claims: Claims,
    pub allow_public: bool,
    pub disturbed: [Disturbed; 2],
    /// Who gave what, as far as it is held.
    pub givers: BTreeMap<(Target, Who), Giver>,
    /// The requests and calls that have not been looked at.
    pub trace: Option<Vec<String>>,
    clock: Clock,
    start: (Instant, Timestamp),
    seed: u64,
    started: u64,
    /// When the last operator died.
    died: Option<Duration>,
    agenda: BTreeMap<(Instant, u64), Event>,
    events: u64,
    troubles: BTreeMap<u64, Fault>,
}

impl Arena {
    pub fn new(schedule: &Schedule) -> Self {
        let start = (Instant::now(), Timestamp::from_second(1_800_000_000).unwrap());
        let clock = Clock::set_to(start.1);
        let memory = Memory::new(clock, schedule.seed);
        memory.set_latency(Duration::from_millis(20));
        // Whoever says that an old list will do gets one: nothing that we decide on may.
        memory.set_staleness(Duration::from_secs(30));
        let aws = Simulator::new(scenario(schedule.seed));
        aws.with_world(|world| world.clock = simulator::Clock::Following { from: start.1, since: start.0 });
        let mut arena = Self {
            memory,
            aws,
            operator: None,
            claims: Claims::new(start.0, start.1),
            allow_public: schedule.allow_public,
            disturbed: [Disturbed::default(); 2],
            givers: BTreeMap::new(),
            trace: None,
            clock,
            start,
            seed: schedule.seed,
            started: 0,
            died: None,
            agenda: BTreeMap::new(),
            events: 0,
            troubles: BTreeMap::new(),
        };
        arena.start_operator();
        arena
    }

    /// How long it is since the beginning.
    pub fn now(&self) -> Duration {
        self.start.0.elapsed()
    }

    /// When a call was made, since the beginning.
    pub fn time_of(&self, call: &Call) -> Duration {
        Duration::try_from(call.time.duration_since(self.start.1)).unwrap_or_default()
    }

    /// The requests and calls since the last time, in the order in which each of the two saw them.
    pub fn take(&mut self) -> (Vec<Served>, Vec<Call>) {
        let (served, calls) = (self.memory.take_served(), self.aws.calls());
        self.aws.clear_calls();
        if let Some(trace) = &mut self.trace {
            trace.extend(served.iter().map(ToString::to_string));
            trace.extend(calls.iter().map(|call| {
                let Call { time, region, action, params, status, fault, .. } = call;
                format!("{time} {region} {action} {params:?} [{fault:?}] -> {status}")
            }));
        }
        (served, calls)
    }

    fn later(&mut self, after: Duration, event: Event) {
        self.events += 1;
        self.agenda.insert((Instant::now() + after, self.events), event);
    }

    /// Lets time pass, and what is due happen.
    pub async fn pass(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while let Some((at, _)) = self.agenda.keys().next().copied().filter(|(at, _)| *at <= until) {
            sleep_until(at).await;
            let (_, event) = self.agenda.pop_first().unwrap();
            self.happen(&event);
        }
        sleep_until(until).await;
    }

    /// Ends everything that stands in the way.
    pub fn heal(&mut self) {
        let agenda = std::mem::take(&mut self.agenda);
        for event in agenda.values() {
            self.happen(event);
        }
        self.memory.clear_weather();
        if self.operator.is_none() {
            self.start_operator();
        }
        self.disturb(None, SILENCE);
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::AwsTroubleEnds(number) => {
                // Whom AWS denies something waits for the next check: that takes a person, and may take long.
                if let Some(fault) = self.troubles.remove(&number).filter(|fault| fault.kind == FaultKind::AccessDenied)
                {
                    let denied = |name: &str| fault.region.as_deref().is_none_or(|region| region == name);
                    (0..REGIONS.len()).filter(|region| denied(REGIONS[*region])).for_each(|region| self.drift(region));
                }
                self.aws.clear_faults();
                self.troubles.values().for_each(|fault| self.aws.add_fault(fault.clone()));
            }
            Event::WatchesAreInTime => self.memory.delay_watches(Duration::ZERO),
            Event::OperatorStarts if self.operator.is_none() => self.start_operator(),
            Event::OperatorStarts => {}
            Event::KeyIsEnabled => {
                self.set_key_state(KeyState::Enabled);
                self.disturbed[ENCRYPTED_IN].changed = self.now();
            }
            Event::ImageIsAvailable(image) => self.set_image_state(image, ImageState::Pending, ImageState::Available),
        }
    }

    fn start_operator(&mut self) {
        self.started += 1;
        // The moment at which somebody else's change would have been seen may have passed meanwhile.
        for region in 0..REGIONS.len() {
            let Disturbed { drifted, changed, unseen, .. } = self.disturbed[region];
            // Nobody has seen what has happened since the one before has died.
            let is_news = |at: Duration| !at.is_zero() && self.died.is_some_and(|died| at >= died);
            if unseen[0] || is_news(drifted) {
                self.disturbed[region].drifted = self.now();
            }
            if unseen[1] || is_news(changed) {
                self.disturbed[region].changed = self.now();
            }
            self.disturbed[region].unseen = [false; 2];
        }
        self.died = None;
        let (seed, number) = (self.seed, self.started);
        self.operator = Some(Operator::start(&self.memory, &self.aws, self.clock, seed, number, self.allow_public));
    }

    fn kill_operator(&mut self) {
        if let Some(operator) = self.operator.take() {
            operator.kill();
            self.nobody_looks();
        }
    }

    /// From now on nobody sees anything until an operator starts.
    fn nobody_looks(&mut self) {
        self.died = Some(self.now());
        for region in 0..REGIONS.len() {
            let Disturbed { drifted, changed, .. } = self.disturbed[region];
            self.disturbed[region].unseen = [(drifted, TO_DRIFT), (changed, TO_CHANGE)]
                .map(|(at, intervals)| !is_seen(self, region, at, intervals));
        }
    }

    /// Something stands in the way of a Region, or of all, for so long.
    fn disturb(&mut self, region: Option<usize>, lasts: Duration) {
        let until = self.now() + lasts + SETTLE;
        for (_, disturbed) in
            self.disturbed.iter_mut().enumerate().filter(|(r, _)| region.is_none_or(|region| region == *r))
        {
            disturbed.until = disturbed.until.max(until);
        }
    }

    fn drift(&mut self, region: usize) {
        self.disturbed[region].drifted = self.now();
    }

    /// Does a step.
    pub async fn take_step(&mut self, step: &Step) {
        match step {
            Step::Create { object, spec } => self.create(*object, spec),
            Step::Edit { object, edit } => self.patch(*object, &json!({"spec": self.edited(edit)})),
            Step::Delete { object } => {
                let (namespace, name, region) = OBJECTS[*object];
                self.memory.delete(namespace, name);
                self.disturb(Some(region), Duration::ZERO);
            }
            Step::Abandon { object } => {
                self.patch(*object, &json!({"metadata": {"annotations": {ON_DELETE: ABANDON}}}));
            }
            Step::Request { object, token } => {
                self.patch(*object, &json!({"metadata": {"annotations": {REQUESTED_AT: token.to_string()}}}));
            }
            Step::ForceFinalizer { object } => {
                self.excuse(*object);
                self.patch(*object, &json!({"metadata": {"finalizers": null}}));
            }
            Step::Scribble { object, what } => self.scribble(*object, *what),
            Step::RogueGives { target, who } => self.rogue(*target, *who, true),
            Step::RogueTakes { target, who } => self.rogue(*target, *who, false),
            Step::RogueRevokes { who } => self.rogue_revokes(*who),
            Step::KeyDisabled { lasts } => {
                self.set_key_state(KeyState::Disabled);
                self.later(*lasts, Event::KeyIsEnabled);
                self.disturb(Some(ENCRYPTED_IN), *lasts);
            }
            Step::ImageState { image, state } => self.image_state(*image, state),
            Step::BlockPublic { region, block } => {
                let access = ("ImageBlockPublicAccessState", "block-new-sharing");
                let result = if *block {
                    self.aws.call(OWNER, REGIONS[*region], "EnableImageBlockPublicAccess", &[access])
                } else {
                    self.aws.call(OWNER, REGIONS[*region], "DisableImageBlockPublicAccess", &[])
                };
                result.unwrap();
                self.drift(*region);
                self.disturb(Some(*region), REFUSED);
            }
            Step::AwsTrouble { region, action, bad, chance, lasts } => {
                self.events += 1;
                let number = self.events;
                let mut fault = Fault::new(kind(*bad)).on(*action).with_probability(*chance);
                if let Some(region) = region {
                    fault = fault.in_region(REGIONS[*region]);
                }
                self.aws.add_fault(fault.clone());
                self.troubles.insert(number, fault);
                self.later(*lasts, Event::AwsTroubleEnds(number));
                self.disturb(*region, *lasts);
            }
            Step::KubeTrouble { trouble, verbs, chance, lasts } => {
                let until = Instant::now() + *lasts;
                self.memory.add_weather(Weather { trouble: *trouble, verbs, chance: *chance, until });
                self.disturb(None, *lasts + SILENCE);
            }
            Step::WatchesEnd(how) => {
                self.memory.end_watches(*how);
                self.disturb(None, if *how == End::Silent { SILENCE } else { Duration::ZERO });
            }
            Step::WatchesLate { by, lasts } => {
                self.memory.delay_watches(*by);
                self.later(*lasts, Event::WatchesAreInTime);
                self.disturb(None, *lasts);
            }
            Step::Compact => {
                self.memory.compact();
                self.disturb(None, Duration::ZERO);
            }
            Step::Restart => {
                if let Some(operator) = self.operator.take() {
                    operator.stop().await;
                    self.nobody_looks();
                }
                self.start_operator();
                self.disturb(None, Duration::ZERO);
            }
            Step::Kill { down } => {
                self.kill_operator();
                if down.is_zero() {
                    self.start_operator();
                } else {
                    self.later(*down, Event::OperatorStarts);
                }
                self.disturb(None, *down);
            }
            Step::KillTwice => {
                self.kill_operator();
                self.start_operator();
                self.pass(Duration::from_millis(120)).await;
                self.kill_operator();
                self.start_operator();
                self.disturb(None, Duration::ZERO);
            }
            Step::Nothing => {}
        }
    }

    fn create(&mut self, object: usize, spec: &Spec) {
        let (namespace, name, region) = OBJECTS[object];
        let Spec { image, lists, volumes, grants, mode, retain, ends, interval, suspend } = spec;
        let mut share = json!({
            "metadata": {"name": name},
            "spec": {
                "region": REGIONS[region], "image": {"id": image_id(*image)}, "shareWith": share_with(*lists), "mode": mode,
                "createVolumePermission": volumes_word(*volumes), "deletionPolicy": policy_word(*retain),
                "interval": interval, "suspend": suspend, "kms": kms(*grants),
            },
        });
        if let Some(ends) = ends {
            share["spec"]["expiresAt"] = self.time_after(*ends);
        }
        self.memory.create(namespace, share);
        self.disturb(Some(region), Duration::ZERO);
    }

    fn time_after(&self, time: Duration) -> Value {
        let at = self.clock.now().checked_add(SignedDuration::try_from(time).unwrap()).unwrap();
        Timestamp::from_second(at.as_second()).unwrap().to_string().into()
    }

    fn edited(&self, edit: &Edit) -> Value {
        match edit {
            Edit::Lists(who) => json!({"shareWith": share_with(*who)}),
            Edit::Volumes(volumes) => json!({"createVolumePermission": volumes_word(*volumes)}),
            Edit::Grants(grants) => json!({"kms": kms(*grants)}),
            Edit::Mode(mode) => json!({"mode": mode}),
            Edit::Retain(retain) => json!({"deletionPolicy": policy_word(*retain)}),
            Edit::Ends(ends) => json!({"expiresAt": ends.map(|ends| self.time_after(ends))}),
            Edit::Interval(interval) => json!({"interval": interval}),
            Edit::Suspend(suspend) => json!({"suspend": suspend}),
            Edit::Image(image) => json!({"image": {"id": image_id(*image)}}),
        }
    }

    fn patch(&mut self, object: usize, patch: &Value) {
        let (namespace, name, region) = OBJECTS[object];
        self.memory.patch(namespace, name, patch);
        self.disturb(Some(region), Duration::ZERO);
    }

    fn excuse(&mut self, object: usize) {
        self.claims.read(&self.memory);
        if let Some(uid) = self.claims.of(object).map(|claim| claim.uid.clone()) {
            self.claims.excuse(&uid);
        }
    }

    fn scribble(&mut self, object: usize, what: Scribble) {
        self.excuse(object);
        let patch = match what {
            Scribble::Wiped => json!({"status": null}),
            Scribble::RecordWiped => json!({"status": {"granted": null}}),
            Scribble::ConditionsWiped => json!({"status": {"conditions": null}}),
            Scribble::Overwritten => json!({"status": {
                "lastHandledReconcileAt": "scribbled", "sharedWith": null,
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": SCRIBBLED, "message": "scribbled",
                    "lastTransitionTime": "2020-01-01T00:00:00Z",
                }],
            }}),
        };
        let (namespace, name, region) = OBJECTS[object];
        self.memory.patch_status(namespace, name, &patch);
        self.drift(region);
        self.disturb(Some(region), Duration::ZERO);
    }

    /// Whom AWS shows to hold a permission.
    pub fn held(&self, target: Target) -> Who {
        let (region, id) = (REGIONS[target.region()], target.to_string());
        let names = match target {
            Target::Image(_) => self.aws.launch_permissions(region, &id),
            Target::Snapshot(_) => self.aws.create_volume_permissions(region, &id),
        };
        Who::by_names(names.iter().map(String::as_str))
    }

    fn rogue(&mut self, target: Target, who: Who, gives: bool) {
        let region = target.region();
        let id = target.to_string();
        // One by one, because AWS takes all of a call or nothing of it.
        for one in who.each() {
            let name = &one.names()[0];
            let group = one == Who::EVERYONE;
            let held = !self.held(target).and(one).is_nobody();
            let result = match target {
                Target::Image(_) => {
                    let key = match name {
                        _ if group => "Group",
                        name if name.contains(":organization/") => "OrganizationArn",
                        name if name.contains(":ou/") => "OrganizationalUnitArn",
                        _ => "UserId",
                    };
                    let verb = if gives { "Add" } else { "Remove" };
                    let permission = format!("LaunchPermission.{verb}.1.{key}");
                    self.aws.call(
                        OWNER,
                        REGIONS[region],
                        "ModifyImageAttribute",
                        &[("ImageId", &id), (&permission, name)],
                    )
                }
                Target::Snapshot(_) => {
                    let verb = ("OperationType", if gives { "add" } else { "remove" });
                    let whom = (if group { "UserGroup.1" } else { "UserId.1" }, name.as_str());
                    let what = ("Attribute", "createVolumePermission");
                    self.aws.call(
                        OWNER,
                        REGIONS[region],
                        "ModifySnapshotAttribute",
                        &[("SnapshotId", &id), what, verb, whom],
                    )
                }
            };
            match result {
                Ok(_) if gives && !held => drop(self.givers.insert((target, one), Giver::Somebody)),
                Ok(_) if !gives => drop(self.givers.remove(&(target, one))),
                _ => {}
            }
        }
        self.drift(region);
    }

    /// Somebody revokes grants of ours, and answers from then on for who cannot launch the images.
    fn rogue_revokes(&mut self, who: Who) {
        let robbed: Vec<Who> = who.each().filter(|one| keys::revoke(&self.aws, *one)).collect();
        for (one, image) in robbed.into_iter().flat_map(|one| ENCRYPTED.map(|image| (one, image))) {
            if let Some(giver) = self.givers.get_mut(&(Target::Image(image), one)) {
                *giver = Giver::Somebody;
            }
        }
        // A listing of grants is as old as a description of an image may be.
        self.disturbed[ENCRYPTED_IN].changed = self.now();
        self.disturb(Some(ENCRYPTED_IN), Duration::ZERO);
    }

    fn set_key_state(&self, state: KeyState) {
        self.aws.with_world(|world| {
            if let Some(key) = world.key_mut(KEY) {
                key.state = state;
            }
        });
    }

    fn image_state(&mut self, image: usize, state: &str) {
        let target = Target::Image(image);
        let (region, id) = (REGIONS[target.region()], target.to_string());
        let call = |action: &str| drop(self.aws.call(OWNER, region, action, &[("ImageId", &id)]));
        match state {
            "disabled" => call("DisableImage"),
            "deregistered" => call("DeregisterImage"),
            "pending" => self.set_image_state(image, ImageState::Available, ImageState::Pending),
            "failed" => self.set_image_state(image, ImageState::Available, ImageState::Failed),
            _ => {
                call("EnableImage");
                for from in [ImageState::Failed, ImageState::Pending] {
                    self.set_image_state(image, from, ImageState::Available);
                }
            }
        }
        if state == "pending" {
            self.later(PENDING, Event::ImageIsAvailable(image));
        }
        let held = self.held(target);
        self.givers.retain(|(on, one), _| *on != target || !held.and(*one).is_nobody());
        self.disturbed[target.region()].changed = self.now();
        self.disturb(Some(target.region()), if state == "pending" { PENDING } else { Duration::ZERO });
    }

    fn set_image_state(&self, image: usize, from: ImageState, to: ImageState) {
        let target = Target::Image(image);
        self.aws.with_world(|world| {
            if let Some(image) =
                world.image_mut(REGIONS[target.region()], &target.to_string()).filter(|i| i.state == from)
            {
                image.state = to;
            }
        });
    }

    /// The state of an image.
    pub fn state_of(&self, image: usize) -> ImageState {
        let target = Target::Image(image);
        self.aws.with_world(|world| world.image(REGIONS[target.region()], &target.to_string()).unwrap().state)
    }

    /// Whether public images are blocked in a Region.
    pub fn blocks_public(&self, region: usize) -> bool {
        use amishare::simulator::ImagePublicAccess;
        let access = self.aws.with_world(|world| world.regions[REGIONS[region]].public_access_of(OWNER));
        access.images == ImagePublicAccess::BlockNewSharing
    }
}

fn kind(bad: Bad) -> FaultKind {
    match bad {
        Bad::Throttled => FaultKind::Throttle,
        Bad::ServerError => FaultKind::ServerError { status: 503, html: false },
        Bad::ResetBefore => FaultKind::ResetBefore,
        Bad::ResetAfter => FaultKind::ResetAfter,
        Bad::Slow => FaultKind::Delay { milliseconds: 4000 },
        Bad::Stalled => FaultKind::Stall,
        Bad::Denied => FaultKind::AccessDenied,
    }
}

fn share_with(who: Who) -> Value {
    let names = |some: Who| who.and(some).names();
    let (organizations, units): (Vec<String>, Vec<String>) =
        names(Who::ORGANIZATIONS).into_iter().partition(|name| name.contains(":organization/"));
    json!({
        "accountIds": names(Who::FOR_VOLUMES), "organizationArns": organizations, "organizationalUnitArns": units,
        "public": !who.and(Who::EVERYONE).is_nobody(),
    })
}

fn volumes_word(volumes: bool) -> &'static str {
    if volumes { "Accounts" } else { "None" }
}

fn kms(grants: Grants) -> Value {
    let mut operations = BTreeSet::from(GrantOperation::LAUNCH_AND_COPY);
    if grants == Grants::More {
        operations.insert(GrantOperation::Encrypt);
    }
    json!({"grants": if grants == Grants::None { "None" } else { "Accounts" }, "operations": operations})
}

fn policy_word(retain: bool) -> &'static str {
    if retain { "Retain" } else { "Revoke" }
}
