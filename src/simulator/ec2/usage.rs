//! Reports on which other accounts use an image: made for its owner, and read when they are done.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::call::Call;
use super::filters::Filters;
use super::paging::Page;
use super::{Action, done};
use crate::simulator::clock::{ec2_time, saturating_add};
use crate::simulator::errors::{self, ApiError};
use crate::simulator::params::Params;
use crate::simulator::world::InstanceState;
use crate::simulator::xml::Xml;

pub(super) const ACTIONS: &[Action] = &[
    Action {
        name: "CreateImageUsageReport",
        parameters: &["AccountId.N", "ClientToken", "ImageId", "ResourceType.N.ResourceType"],
        lacking: &["ResourceType.N.ResourceTypeOption", "TagSpecification"],
        run: create_report,
    },
    Action {
        name: "DescribeImageUsageReports",
        parameters: &["Filter.N.Name", "Filter.N.Value.N", "ImageId.N", "MaxResults", "NextToken", "ReportId.N"],
        lacking: &[],
        run: describe_reports,
    },
    Action {
        name: "DescribeImageUsageReportEntries",
        parameters: &["Filter.N.Name", "Filter.N.Value.N", "ImageId.N", "MaxResults", "NextToken", "ReportId.N"],
        lacking: &[],
        run: describe_entries,
    },
    Action { name: "DeleteImageUsageReport", parameters: &["ReportId"], lacking: &[], run: delete_report },
];

/// What can be reported on. There are no launch templates here, so that of those there is nothing to report.
const RESOURCE_TYPES: [&str; 2] = ["ec2:Instance", "ec2:LaunchTemplate"];

/// How many accounts a report can be about \[M, aws.md section 1.8\].
const MOST_ACCOUNTS: usize = 200;

/// How long a report is made. Chosen: AWS does not say.
const MAKING: SignedDuration = SignedDuration::from_secs(10);

/// How long it is kept \[M, aws.md section 1.8\].
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::simulator) struct UsageReport {
    id: String,
    owner: String,
    image: String,
    resource_types: Vec<String>,
    accounts: Vec<String>,
    created: Timestamp,
    /// How many instances each account has.
    instances: BTreeMap<String, u32>,
}

impl UsageReport {
    fn state(&self, now: Timestamp) -> &'static str {
        if now < saturating_add(self.created, MAKING) { "pending" } else { "available" }
    }

    fn expires(&self) -> Timestamp {
        saturating_add(self.created, KEPT)
    }
}

fn create_report(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let params = call.params;
    let id = call.image_id()?;
    let token = params.get("ClientToken").filter(|token| !token.is_empty());
    let token = token.map(|token| (call.account().to_owned(), call.region.to_owned(), token.to_owned()));
    let asked: Params = params.iter().filter(|(name, _)| *name != "DryRun").collect();
    match token.as_ref().and_then(|token| Some((token, call.world.report_tokens.get(token)?))) {
        Some((_, (before, report))) if *before == asked => return Ok(answer(report)),
        Some((token, _)) => return Err(errors::token_mismatch(&token.2)),
        None => {}
    }
    call.owned_image(id)?;
    let resource_types: Vec<String> = params
        .structures("ResourceType")
        .iter()
        .map(|one| one.required("ResourceType").map(str::to_owned))
        .collect::<Result<_, _>>()?;
    if resource_types.is_empty() {
        return Err(errors::missing_parameter("ResourceType"));
    }
    if let Some(odd) = resource_types.iter().find(|one| !RESOURCE_TYPES.contains(&one.as_str())) {
        return Err(errors::invalid_parameter_value(format!("Value ({odd}) for parameter resourceType is invalid.")));
    }
    let accounts: Vec<String> = params.list("AccountId").into_iter().map(str::to_owned).collect();
    if accounts.len() > MOST_ACCOUNTS {
        return Err(errors::invalid_parameter_value(format!("At most {MOST_ACCOUNTS} accounts can be given.")));
    }
    let mut instances = BTreeMap::new();
    let is_used = |state: InstanceState| !matches!(state, InstanceState::ShuttingDown | InstanceState::Terminated);
    for instance in call.here().instances.values().filter(|one| one.image == id && is_used(one.state)) {
        let is_asked = accounts.is_empty() || accounts.contains(&instance.account);
        if instance.account != call.account() && is_asked && resource_types.iter().any(|one| one == "ec2:Instance") {
            *instances.entry(instance.account.clone()).or_default() += 1;
        }
    }
    let report = UsageReport {
        id: call.world.ids.resource("amiur-"),
        owner: call.account().to_owned(),
        image: id.to_owned(),
        resource_types,
        accounts,
        created: call.now(),
        instances,
    };
    let report_id = report.id.clone();
    call.here_mut().usage_reports.insert(report_id.clone(), report);
    if let Some(token) = token {
        call.world.report_tokens.insert(token, (asked, report_id.clone()));
    }
    Ok(answer(&report_id))
}

fn answer(id: &str) -> Xml {
    let mut answer = Xml::new();
    answer.text("reportId", id);
    answer
}

/// The caller's reports that are asked for, with the page that is.
fn reports<'a>(call: &'a Call<'_>, filters: &Filters) -> Vec<&'a UsageReport> {
    let (images, ids) = (call.params.list("ImageId"), call.params.list("ReportId"));
    let now = call.now();
    let values = |report: &UsageReport, name: &str| {
        vec![match name {
            "state" => report.state(now).to_owned(),
            _ => ec2_time(report.created),
        }]
    };
    let mine = call.here().usage_reports.values().filter(|report| report.owner == call.account());
    mine.filter(|report| report.expires() > now)
        .filter(|report| images.is_empty() || images.contains(&report.image.as_str()))
        .filter(|report| ids.is_empty() || ids.contains(&report.id.as_str()))
        .filter(|report| filters.pass(BTreeMap::new, |name| values(report, name)))
        .collect()
}

fn describe_reports(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let filters = Filters::read(call.params, &["creation-time", "state"])?;
    let page = Page::read(call.params, None)?;
    let now = call.now();
    let mut answer = Xml::new();
    let found = page.cut(&mut answer, reports(call, &filters), |report| report.id.clone());
    answer.list("imageUsageReportSet", found, |item, report| {
        item.text("imageId", &report.image);
        item.text("reportId", &report.id);
        item.list("resourceTypeSet", &report.resource_types, |one, name| one.text("resourceType", name));
        if !report.accounts.is_empty() {
            item.element("accountIdSet", |set| report.accounts.iter().for_each(|account| set.text("item", account)));
        }
        item.text("state", report.state(now));
        item.text("creationTime", ec2_time(report.created));
        item.text("expirationTime", ec2_time(report.expires()));
    });
    Ok(answer)
}

fn describe_entries(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let filters = Filters::read(call.params, &["account-id", "creation-time", "resource-type"])?;
    let page = Page::read(call.params, None)?;
    let (now, none) = (call.now(), Filters::read(&Params::default(), &[])?);
    let mut entries = Vec::new();
    for report in reports(call, &none).into_iter().filter(|report| report.state(now) == "available") {
        for (account, count) in &report.instances {
            let values = |name: &str| {
                vec![match name {
                    "account-id" => account.clone(),
                    "resource-type" => "ec2:Instance".to_owned(),
                    _ => ec2_time(report.created),
                }]
            };
            if filters.pass(BTreeMap::new, values) {
                entries.push((report, account, count));
            }
        }
    }
    let mut answer = Xml::new();
    let entries = page.cut(&mut answer, entries, |(report, account, _)| format!("{}/{account}", report.id));
    answer.list("imageUsageReportEntrySet", entries, |item, (report, account, count)| {
        item.text("resourceType", "ec2:Instance");
        item.text("reportId", &report.id);
        item.text("usageCount", count);
        item.text("accountId", account);
        item.text("imageId", &report.image);
        item.text("reportCreationTime", ec2_time(report.created));
    });
    Ok(answer)
}

fn delete_report(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let id = call.params.required("ReportId")?;
    let is_mine = call.here().usage_reports.get(id).is_some_and(|report| report.owner == call.account());
    if !is_mine {
        return Err(errors::usage_report_not_found(id));
    }
    call.here_mut().usage_reports.remove(id);
    Ok(done())
}
