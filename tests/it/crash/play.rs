//! A scenario as it is played: one world, and one process of the operator after the other.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use amishare::{
    api::{AmiShare, REQUESTED_AT},
    cli::RunArgs,
    simulator::{Scenario as AwsScenario, Simulator},
};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::config::{AsyncSleep, Credentials, SharedAsyncSleep, SharedCredentialsProvider, Sleep};
use clap::Parser;
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    compare::{Holdings, State},
    cut::{Call, Cut, Point},
    place::{Ground, Time},
    process::Process,
    scenario::{Scenario, Step},
    transports::{History, to_aws},
};
use crate::harness::world::{IMAGE, OWNER, REGION, SHARES_ALONE};

/// A world in which a scenario is played. All that can take long gives up in time and says what it has seen.
pub struct Play<'a> {
    scenario: &'a Scenario,
    ground: Ground,
    /// The simulated AWS.
    pub aws: Simulator,
    /// Who held what after each write to AWS.
    pub history: History,
    /// Who held what before the trigger, and after each of its steps in AWS.
    pub before: Vec<Holdings>,
    triggered: bool,
    process: Option<Process>,
    /// The calls of all processes, each with what it was for.
    log: Vec<(&'static str, Cut)>,
}

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    run: RunArgs,
}

impl<'a> Play<'a> {
    /// The world as it is at the beginning.
    pub fn new(scenario: &'a Scenario, ground: Ground) -> Self {
        let aws = Simulator::new(AwsScenario::from_yaml(scenario.world).unwrap());
        let (history, before, log) = (History::default(), Vec::new(), Vec::new());
        Self { scenario, ground, aws, history, before, triggered: false, process: None, log }
    }

    /// Brings about what there is before, with an operator that nothing goes wrong with.
    pub async fn prepare(&mut self) -> Result<(), String> {
        if !self.scenario.before.is_empty() {
            self.start("prepares", None).await;
            for step in self.scenario.before.clone() {
                self.step(step).await?;
            }
            self.rest().await?;
            self.kill().await;
        }
        self.aws.clear_calls();
        self.history.lock().unwrap().clear();
        self.before.push(Holdings::of(&self.aws));
        Ok(())
    }

    /// Lets happen what happens.
    pub async fn trigger(&mut self) -> Result<(), String> {
        for step in self.scenario.trigger.clone() {
            let in_aws = matches!(step, Step::InAws(..));
            self.step(step).await?;
            if in_aws {
                self.before.push(Holdings::of(&self.aws));
            }
        }
        self.triggered = true;
        self.hint().await;
        Ok(())
    }

    /// Starts the operator.
    pub async fn start(&mut self, what_for: &'static str, point: Option<Point>) {
        let cut = Cut::at(point);
        let namespaces = format!("--namespaces={}", self.ground.namespace);
        let flags = ["test", &namespaces, SHARES_ALONE].into_iter().chain(self.scenario.flags.iter().copied());
        let args = Flags::parse_from(flags).run;
        self.log.push((what_for, cut.clone()));
        let sdk = sdk(&self.aws, &cut, &self.history);
        let Ground { client, clock, entropy, .. } = &self.ground;
        self.process = Some(Process::start(args, client, sdk, cut, *clock, entropy.clone()));
        self.hint().await;
    }

    /// Kills the operator.
    pub async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
    }

    /// Waits until the operator knows all objects and has nothing to do.
    pub async fn ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + self.patience();
        loop {
            self.revive().await;
            let missing = self.process.as_ref().map_or_else(Vec::new, |process| process.readiness.missing());
            if self.calm().await.is_some() && missing.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("the operator does not become ready: {}", missing.join(", ")));
            }
        }
    }

    /// Waits until what there is meets a condition while the operator has nothing to do. A process that dies meanwhile is
    /// followed by another.
    pub async fn until(&mut self, what: &str, met: impl Fn(&State) -> Result<(), String>) -> Result<State, String> {
        let (deadline, mut pause) = (Instant::now() + self.patience(), self.poll());
        loop {
            self.revive().await;
            let calm = self.calm().await;
            let seen = if calm.is_some() { Some(self.state().await) } else { None };
            let verdict = seen.as_ref().map_or_else(|| Err("the operator is never at rest".into()), &met);
            match (verdict, seen) {
                (Ok(()), Some(seen)) if calm == self.idle() => return Ok(seen),
                (Err(why), _) if Instant::now() > deadline => {
                    return Err(format!("{what}: not within {:?}:\n{why}", self.patience()));
                }
                _ => {}
            }
            sleep(pause).await;
            // Many runs wait for a second try at once: to look all the time would be what takes the time.
            pause = (pause * 2).min(self.poll() * 8);
        }
    }

    /// What there is.
    pub async fn state(&self) -> State {
        State::of(&self.ground.client, &self.ground.namespace, &self.aws).await
    }

    /// Lets the time pass in which everything is checked again, if that costs nothing.
    pub async fn let_time_pass(&self) {
        if self.ground.time == Time::Simulated {
            sleep(INTERVAL + A_MOMENT).await;
        }
    }

    /// The calls so far of the process that was started for `what`.
    pub fn calls(&self, what: &str) -> Vec<Call> {
        self.log.iter().find(|(what_for, _)| *what_for == what).map(|(_, cut)| cut.calls()).unwrap_or_default()
    }

    /// The calls of all processes but the first, a line each.
    pub fn log(&self) -> String {
        let mut lines = Vec::new();
        for (what_for, cut) in self.log.iter().filter(|(what_for, _)| *what_for != "prepares") {
            lines.push(format!("  the operator {what_for}:"));
            lines.extend(cut.calls().iter().zip(1..).map(|(call, number)| format!("    {number}. {call}")));
        }
        lines.join("\n")
    }

    /// Starts a new process if the one before is dead.
    async fn revive(&mut self) {
        if self.process.as_ref().is_some_and(|process| process.cut.is_dead()) {
            self.kill().await;
            self.start("goes on", None).await;
        }
    }

    /// How many calls the operator has sent, if it has nothing to do: it sends none for a moment, and waits for no answer.
    async fn calm(&self) -> Option<usize> {
        let sent = self.idle()?;
        for _ in 0..self.looks() {
            sleep(self.poll()).await;
            if self.idle()? != sent {
                return None;
            }
        }
        Some(sent)
    }

    /// How many calls the operator has sent, if it waits for no answer.
    fn idle(&self) -> Option<usize> {
        match self.process.as_ref().map_or((0, 0), |process| process.cut.count()) {
            (sent, 0) => Some(sent),
            _ => None,
        }
    }

    /// For how many looks the operator must not send anything. Questions to AWS wait for company, in real time too.
    fn looks(&self) -> usize {
        match self.ground.time {
            Time::Real => 6,
            Time::Simulated => 1,
        }
    }

    /// How often is looked.
    fn poll(&self) -> Duration {
        match self.ground.time {
            Time::Real => Duration::from_millis(25),
            Time::Simulated => Duration::from_millis(500),
        }
    }

    /// How long anything may take. In simulated time that is less than the interval of checks, so that nothing is put right by
    /// chance; unless it is drift, which only a check finds.
    fn patience(&self) -> Duration {
        match (self.ground.time, self.scenario.is_drift) {
            (Time::Real, _) => crate::harness::DEADLINE,
            // Of a grant that was revoked when the answer was lost, it takes five minutes to tell that it is gone.
            (Time::Simulated, false) => INTERVAL.mul_f64(0.9),
            (Time::Simulated, true) => 2 * INTERVAL + A_MOMENT,
        }
    }

    /// Asks for a check of everything where nobody waits until it is due.
    async fn hint(&mut self) {
        if self.triggered && self.scenario.is_drift && self.ground.time == Time::Real {
            for name in self.state().await.objects.keys() {
                self.ask(name).await;
            }
        }
    }

    async fn ask(&self, name: &str) {
        let token = format!("request-{}", self.log.len());
        self.patch(name, json!({"metadata": {"annotations": {REQUESTED_AT: token}}})).await;
    }

    fn shares(&self) -> Api<AmiShare> {
        Api::namespaced(self.ground.client.clone(), &self.ground.namespace)
    }

    async fn patch(&self, name: &str, patch: Value) {
        self.shares().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    async fn rest(&mut self) -> Result<State, String> {
        self.until("everything is at rest", State::at_rest).await
    }

    async fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Create(name, own) => {
                let mut spec = json!({"region": REGION, "image": {"id": IMAGE}});
                spec.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
                let share = json!({
                    "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiShare", "metadata": {"name": name}, "spec": spec,
                });
                let share: AmiShare = serde_json::from_value(share).unwrap();
                self.shares().create(&PostParams::default(), &share).await.unwrap();
            }
            Step::Change(name, spec) => self.patch(name, json!({"spec": spec})).await,
            Step::End(name, seconds) => {
                let end = Timestamp::from_second(self.ground.clock.now().as_second() + seconds).unwrap();
                self.patch(name, json!({"spec": {"expiresAt": end}})).await;
            }
            Step::Delete(name) => drop(self.shares().delete(name, &DeleteParams::default()).await.unwrap()),
            Step::Ask(name) => self.ask(name).await,
            Step::InAws(action, parameters) => drop(self.aws.call(OWNER, REGION, action, &parameters).unwrap()),
            Step::Rest => drop(self.rest().await?),
        }
        Ok(())
    }
}

/// How often an AmiShare is checked that does not say how often.
const INTERVAL: Duration = Duration::from_mins(10);

/// How long everything takes that is under way, and more.
const A_MOMENT: Duration = Duration::from_mins(1);

/// The SDK's configuration of the owner of the images, through a cut.
fn sdk(aws: &Simulator, cut: &Cut, history: &Arc<Mutex<Vec<Holdings>>>) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(REGION))
        .http_client(to_aws(aws, cut, history))
        .sleep_impl(SharedAsyncSleep::new(TokioSleep))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(OWNER, "secret", None, None, "test")))
        .build()
}

#[derive(Debug)]
struct TokioSleep;

impl AsyncSleep for TokioSleep {
    fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(sleep(duration))
    }
}
