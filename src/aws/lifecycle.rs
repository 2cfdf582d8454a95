//! What becomes of images in one Region, in the operator's words: their deprecation, their protection, and who uses them.
//!
//! Knows the shapes of `aws-sdk-ec2`, as [`Ec2`](super::Ec2) does, with which it shares client and request lanes. Every call passes
//! through [`Calls`].

use std::{collections::BTreeSet, sync::Arc};

use aws_sdk_ec2::{
    Client,
    primitives::DateTime,
    types::{ImageUsageReport, ImageUsageResourceTypeRequest},
};
use k8s_openapi::jiff::Timestamp;

use super::{
    action::Action,
    calls::{Calls, Holds},
    copies::filter,
    ec2::next_page,
    failure::Failure,
    words::Report,
};
use crate::{
    api::{AccountId, ImageId},
    runtime::agenda::Urgency,
};

/// What other accounts can use an image for (aws.md section 1.8).
const USES: [&str; 2] = ["ec2:Instance", "ec2:LaunchTemplate"];

/// The states of instances that are there, or may be started again.
const THERE: [&str; 4] = ["pending", "running", "stopping", "stopped"];

/// EC2 in one Region with one set of credentials, as far as it is about what becomes of images.
#[derive(Debug)]
pub struct Lifecycle {
    client: Client,
    calls: Arc<Calls>,
}

impl Lifecycle {
    pub(super) fn new(client: Client, calls: Arc<Calls>) -> Self {
        Self { client, calls }
    }

    /// Has an image deprecated at a time. EC2 rounds it to the minute, and takes none that is past (aws.md section 1.6).
    ///
    /// # Errors
    /// When the call fails.
    pub async fn deprecate(&self, id: &ImageId, at: Timestamp, holds: &Holds<'_>) -> Result<(), Failure> {
        let call = self.client.enable_image_deprecation().image_id(id.as_str());
        let call = call.deprecate_at(DateTime::from_secs(at.as_second()));
        self.calls
            .make_if(Action::EnableImageDeprecation, Urgency::Check, holds, || call.clone().send())
            .await
            .map(drop)
    }

    /// Has an image not be deprecated.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn do_not_deprecate(&self, id: &ImageId, holds: &Holds<'_>) -> Result<(), Failure> {
        let call = self.client.disable_image_deprecation().image_id(id.as_str());
        self.calls
            .make_if(Action::DisableImageDeprecation, Urgency::Check, holds, || call.clone().send())
            .await
            .map(drop)
    }

    /// Protects an image from being deregistered, with a day in which it stays protected after that is disabled, or without.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn protect(&self, id: &ImageId, with_cooldown: bool, holds: &Holds<'_>) -> Result<(), Failure> {
        let call = self.client.enable_image_deregistration_protection().image_id(id.as_str());
        let call = call.with_cooldown(with_cooldown);
        self.calls
            .make_if(Action::EnableImageDeregistrationProtection, Urgency::Check, holds, || call.clone().send())
            .await
            .map(drop)
    }

    /// Disables the protection of an image.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn do_not_protect(&self, id: &ImageId, holds: &Holds<'_>) -> Result<(), Failure> {
        let call = self.client.disable_image_deregistration_protection().image_id(id.as_str());
        self.calls
            .make_if(Action::DisableImageDeregistrationProtection, Urgency::Take, holds, || call.clone().send())
            .await
            .map(drop)
    }

    /// Whether this account has an instance that was started from an image, running or stopped.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn has_instances(&self, id: &ImageId, urgency: Urgency) -> Result<bool, Failure> {
        let filters =
            [filter("image-id", [id.to_string()]), filter("instance-state-name", THERE.map(ToOwned::to_owned))];
        let mut page: Option<String> = None;
        loop {
            let call = self.client.describe_instances().set_filters(Some(filters.to_vec()));
            let call = call.set_next_token(page.take());
            let answer = self.calls.make(Action::DescribeInstances, urgency, || call.clone().send()).await?;
            if answer.reservations().iter().any(|reservation| !reservation.instances().is_empty()) {
                return Ok(true);
            }
            // A page can be empty, and others follow.
            page = next_page(answer.next_token());
            if page.is_none() {
                return Ok(false);
            }
        }
    }

    /// The newest report on who uses an image.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn report(&self, id: &ImageId, urgency: Urgency) -> Result<Option<Report>, Failure> {
        let (mut reports, mut page): (Vec<Report>, Option<String>) = (Vec::new(), None);
        loop {
            let call = self.client.describe_image_usage_reports().image_ids(id.as_str()).set_next_token(page.take());
            let answer = self.calls.make(Action::DescribeImageUsageReports, urgency, || call.clone().send()).await?;
            reports.extend(answer.image_usage_reports().iter().filter_map(report));
            page = next_page(answer.next_token());
            if page.is_none() {
                // One about some accounts alone says nothing of the others.
                return Ok(reports.into_iter().filter(|report| report.is_whole).max_by_key(|report| report.created));
            }
        }
    }

    /// The accounts that use an image, by a report that is available.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn reported(&self, report: &str, urgency: Urgency) -> Result<BTreeSet<AccountId>, Failure> {
        let (mut accounts, mut page): (BTreeSet<AccountId>, Option<String>) = (BTreeSet::new(), None);
        loop {
            let call = self.client.describe_image_usage_report_entries().report_ids(report);
            let call = call.set_next_token(page.take());
            let action = Action::DescribeImageUsageReportEntries;
            let answer = self.calls.make(action, urgency, || call.clone().send()).await?;
            let used = answer.image_usage_report_entries().iter().filter(|entry| entry.usage_count() != Some(0));
            accounts.extend(used.filter_map(|entry| entry.account_id()?.parse::<AccountId>().ok()));
            page = next_page(answer.next_token());
            if page.is_none() {
                return Ok(accounts);
            }
        }
    }

    /// Orders a report on which other accounts use an image. With the same token the same report is ordered.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn order_report(&self, id: &ImageId, token: &str, holds: &Holds<'_>) -> Result<(), Failure> {
        let uses = USES.map(|name| ImageUsageResourceTypeRequest::builder().resource_type(name).build());
        let call = self.client.create_image_usage_report().image_id(id.as_str()).client_token(token);
        let call = call.set_resource_types(Some(uses.to_vec()));
        self.calls
            .make_if(Action::CreateImageUsageReport, Urgency::Check, holds, || call.clone().send())
            .await
            .map(drop)
    }
}

fn report(report: &ImageUsageReport) -> Option<Report> {
    Some(Report {
        id: report.report_id()?.to_owned(),
        created: Timestamp::from_second(report.creation_time()?.secs()).ok()?,
        state: report.state().unwrap_or_default().to_owned(),
        is_whole: report.account_ids().is_empty()
            && USES.iter().all(|name| report.resource_types().iter().any(|kind| kind.resource_type() == Some(name))),
    })
}
