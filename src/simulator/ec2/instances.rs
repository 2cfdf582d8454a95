//! `DescribeInstances`: which instances of the caller's use which images.

use super::Action;
use super::call::Call;
use super::filters::Filters;
use super::paging::Page;
use crate::simulator::errors::ApiError;
use crate::simulator::world::Instance;
use crate::simulator::xml::Xml;

pub(super) const ACTIONS: &[Action] = &[Action {
    name: "DescribeInstances",
    parameters: &["Filter.N.Name", "Filter.N.Value.N", "MaxResults", "NextToken"],
    lacking: &["IncludeManagedResources", "InstanceId"],
    run: describe_instances,
}];

const FILTERS: &[&str] = &["image-id", "instance-id", "instance-state-code", "instance-state-name", "owner-id"];

fn describe_instances(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let filters = Filters::read(call.params, FILTERS)?;
    let page = Page::read(call.params, None)?;
    let mine = call.here().instances.values().filter(|instance| instance.account == call.account());
    let found = mine.filter(|instance| filters.pass(Default::default, |name| filter_values(instance, name))).collect();
    let mut answer = Xml::new();
    let found = page.cut(&mut answer, found, |instance: &&Instance| instance.id.clone());
    // Each was started by a call of its own.
    answer.list("reservationSet", found, |reservation, instance| {
        reservation.text("reservationId", instance.id.replace("i-", "r-"));
        reservation.text("ownerId", &instance.account);
        reservation.list("instancesSet", [instance], |item, instance| {
            item.text("instanceId", &instance.id);
            item.text("imageId", &instance.image);
            item.element("instanceState", |state| {
                state.text("code", instance.state.code());
                state.text("name", instance.state.as_str());
            });
        });
    });
    Ok(answer)
}

fn filter_values(instance: &Instance, name: &str) -> Vec<String> {
    vec![match name {
        "image-id" => instance.image.clone(),
        "instance-id" => instance.id.clone(),
        "instance-state-code" => instance.state.code().to_string(),
        "instance-state-name" => instance.state.as_str().to_owned(),
        _ => instance.account.clone(),
    }]
}
