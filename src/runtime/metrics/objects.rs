//! What the objects' conditions are: dozens of series for each object, which are made when somebody asks for them.
//!
//! Kept as series they would be the largest thing in memory when there are thousands of objects.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, metrics::MetricType};
use strum::VariantArray;

use crate::api::ConditionType;

const STATUSES: [&str; 3] = ["True", "False", "Unknown"];

/// Kind, namespace and name.
type Key = (&'static str, Box<str>, Box<str>);

/// What is known of one object.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// For each condition in the order of the vocabulary: 1 more than the place of its status; 0 if the object has none.
    conditions: [u8; ConditionType::VARIANTS.len()],
    suspended: bool,
}

/// The conditions of all objects.
#[derive(Debug, Clone, Default)]
pub(super) struct Objects(Arc<Mutex<BTreeMap<Key, State>>>);

impl Objects {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Key, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of an object's conditions.
    pub(super) fn set<'a>(
        &self,
        kind: &'static str,
        (namespace, name): (&str, &str),
        conditions: impl Iterator<Item = (&'a str, &'a str)>,
        suspended: bool,
    ) {
        let mut state = State { suspended, ..State::default() };
        for (r#type, status) in conditions {
            let place = ConditionType::VARIANTS.iter().position(|known| known.as_str() == r#type);
            let status = (1..).zip(STATUSES).find(|(_, known)| *known == status);
            if let (Some(place), Some((number, _))) = (place, status) {
                state.conditions[place] = number;
            }
        }
        self.all().insert((kind, namespace.into(), name.into()), state);
    }

    /// Forgets an object.
    pub(super) fn forget(&self, kind: &'static str, (namespace, name): (&str, &str)) {
        self.all().remove(&(kind, namespace.into(), name.into()));
    }
}

fn labels((kind, namespace, name): &Key) -> [(&str, &str); 3] {
    [("kind", kind), ("namespace", namespace), ("name", name)]
}

impl Collector for Objects {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.all();
        let help = "Conditions: 1 for the status that each one has";
        let mut series = encoder.encode_descriptor("status_condition", help, None, MetricType::Gauge)?;
        for (key, state) in all.iter() {
            let present = ConditionType::VARIANTS.iter().zip(state.conditions).filter(|(_, number)| *number > 0);
            for (r#type, current) in present {
                for (number, status) in (1..).zip(STATUSES) {
                    let [kind, namespace, name] = labels(key);
                    let labels = [kind, namespace, name, ("type", r#type.as_str()), ("status", status)];
                    series.encode_family(&labels)?.encode_gauge(&i64::from(number == current))?;
                }
            }
        }
        let help = "1 for an object that is suspended";
        let mut series = encoder.encode_descriptor("suspended", help, None, MetricType::Gauge)?;
        for (key, state) in all.iter() {
            series.encode_family(&labels(key))?.encode_gauge(&i64::from(state.suspended))?;
        }
        Ok(())
    }
}
