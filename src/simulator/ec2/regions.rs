//! `DescribeRegions`.

use std::collections::BTreeMap;

use super::Action;
use super::call::Call;
use super::filters::Filters;
use crate::simulator::errors::{self, ApiError};
use crate::simulator::xml::Xml;

pub(super) const ACTIONS: &[Action] = &[Action {
    name: "DescribeRegions",
    parameters: &["RegionName.N", "AllRegions", "Filter.N.Name", "Filter.N.Value.N"],
    lacking: &[],
    run: describe_regions,
}];

fn describe_regions(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let names = call.params.list("RegionName");
    let all = call.params.flag("AllRegions")?.unwrap_or(false);
    let filters = Filters::read(call.params, &["endpoint", "opt-in-status", "region-name"])?;
    let enabled = call.world.regions.keys().map(|name| (name, "opt-in-not-required"));
    let disabled = call.world.disabled_regions.iter().map(|name| (name, "not-opted-in"));
    let known: BTreeMap<&String, &str> = enabled.chain(disabled).collect();
    if let Some(unknown) = names.iter().find(|name| !known.keys().any(|known| known == *name)) {
        return Err(errors::invalid_region(unknown));
    }
    let shown = known.into_iter().filter(|(name, status)| {
        let is_named = names.contains(&name.as_str());
        (is_named || (names.is_empty() && (all || *status != "not-opted-in")))
            && filters.pass(BTreeMap::new, |filter| match filter {
                "endpoint" => vec![endpoint(name)],
                "opt-in-status" => vec![(*status).to_owned()],
                _ => vec![(*name).clone()],
            })
    });
    let mut answer = Xml::new();
    answer.list("regionInfo", shown, |item, (name, status)| {
        item.text("regionName", name);
        item.text("regionEndpoint", endpoint(name));
        item.text("optInStatus", status);
    });
    Ok(answer)
}

fn endpoint(region: &str) -> String {
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("ec2.{region}.{suffix}")
}
