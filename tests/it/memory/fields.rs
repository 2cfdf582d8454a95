//! Who manages which field, and what an apply makes of it: the part of Kubernetes' structured merge that the status needs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::schema::{ListKind, field, key_of, list_kind};

/// Where a field is.
pub type Path = Vec<Step>;

/// The fields that somebody manages. A container is a field only where it is empty or atomic, or a member of a list.
pub type Fields = BTreeSet<Path>;

/// The fields of everyone who manages some.
pub type Managers = BTreeMap<String, Fields>;

/// One step on the way to a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Into a field.
    Field(String),
    /// To the member of a list with this key.
    Member(String),
}

/// The fields of a value.
pub fn fields(schema: &Value, value: &Value) -> Fields {
    let mut found = Fields::new();
    collect(schema, value, &mut Path::new(), &mut found);
    found
}

fn collect(schema: &Value, value: &Value, path: &mut Path, found: &mut Fields) {
    match (value, list_kind(schema)) {
        (Value::Object(object), _) if !object.is_empty() => {
            for (name, value) in object {
                path.push(Step::Field(name.clone()));
                collect(field(schema, name), value, path, found);
                path.pop();
            }
        }
        (Value::Array(items), ListKind::Map | ListKind::Set) if !items.is_empty() => {
            for item in items {
                path.push(member(schema, item));
                found.insert(path.clone());
                if list_kind(schema) == ListKind::Map {
                    collect(&schema["items"], item, path, found);
                }
                path.pop();
            }
        }
        _ => {
            found.insert(path.clone());
        }
    }
}

fn member(schema: &Value, item: &Value) -> Step {
    match list_kind(schema) {
        ListKind::Map => Step::Member(key_of(schema, item)),
        ListKind::Set | ListKind::Atomic => Step::Member(item.to_string()),
    }
}

/// What an apply of `applied` by a manager makes of `live`, with force: whose fields it takes, it manages from now on.
pub fn apply(schema: &Value, live: &Value, applied: &Value, manager: &str, managers: &mut Managers) -> Value {
    let wanted = fields(schema, applied);
    let merged = merge(schema, live, applied);
    let changed = changed(schema, live, &merged);
    for (_, theirs) in managers.iter_mut().filter(|(other, _)| *other != manager) {
        theirs.retain(|path| !changed.contains(path));
    }
    let before = managers.remove(manager).unwrap_or_default();
    let others: Fields = managers.values().flatten().cloned().collect();
    managers.insert(manager.to_owned(), wanted.clone());
    managers.retain(|_, fields| !fields.is_empty());
    let given_up: Fields =
        before.into_iter().filter(|path| !is_kept(path, &wanted) && !is_kept(path, &others)).collect();
    without(schema, &merged, &given_up, &mut Path::new()).unwrap_or(Value::Null)
}

/// Whether `fields` hold the path or something below it.
fn is_kept(path: &Path, fields: &Fields) -> bool {
    fields.range(path.clone()..).next().is_some_and(|next| next.starts_with(path))
}

/// Notes that a manager has put `new` in the place of `old` without an apply.
pub fn update(schema: &Value, old: &Value, new: &Value, manager: &str, managers: &mut Managers) {
    let changed = changed(schema, old, new);
    let there = fields(schema, new);
    for fields in managers.values_mut() {
        fields.retain(|path| !changed.contains(path));
    }
    let mine = managers.entry(manager.to_owned()).or_default();
    mine.extend(changed.into_iter().filter(|path| there.contains(path)));
    managers.retain(|_, fields| !fields.is_empty());
}

/// The fields that differ, and those that are in only one of both.
fn changed(schema: &Value, old: &Value, new: &Value) -> Fields {
    let (before, after) = (fields(schema, old), fields(schema, new));
    let differs = |path: &&Path| at(schema, old, path) != at(schema, new, path) && !is_member_of_map(schema, path);
    let both: Fields = before.intersection(&after).filter(differs).cloned().collect();
    before.symmetric_difference(&after).cloned().chain(both).collect()
}

/// A member of a list is a field of its own, whose content are the fields below it.
fn is_member_of_map(schema: &Value, path: &[Step]) -> bool {
    matches!(path.last(), Some(Step::Member(_))) && {
        let list = path[..path.len() - 1].iter().fold(schema, |schema, step| match step {
            Step::Field(name) => field(schema, name),
            Step::Member(_) => &schema["items"],
        });
        list_kind(list) == ListKind::Map
    }
}

fn at<'a>(schema: &Value, value: &'a Value, path: &[Step]) -> Option<&'a Value> {
    let Some((step, rest)) = path.split_first() else { return Some(value) };
    match step {
        Step::Field(name) => at(field(schema, name), value.get(name)?, rest),
        Step::Member(_) => {
            let found = value.as_array()?.iter().find(|item| member(schema, item) == *step)?;
            at(&schema["items"], found, rest)
        }
    }
}

fn without(schema: &Value, value: &Value, given_up: &Fields, path: &mut Path) -> Option<Value> {
    let touched = is_kept(path, given_up);
    if !touched {
        return Some(value.clone());
    }
    let kept = match (value, list_kind(schema)) {
        (Value::Object(object), _) if !object.is_empty() => {
            let mut kept = Map::new();
            for (name, value) in object {
                path.push(Step::Field(name.clone()));
                if let Some(value) = without(field(schema, name), value, given_up, path) {
                    kept.insert(name.clone(), value);
                }
                path.pop();
            }
            Value::Object(kept)
        }
        (Value::Array(items), ListKind::Map | ListKind::Set) if !items.is_empty() => {
            let mut kept = Vec::new();
            for item in items {
                path.push(member(schema, item));
                if !given_up.contains(path) {
                    kept.extend(without(&schema["items"], item, given_up, path));
                }
                path.pop();
            }
            Value::Array(kept)
        }
        _ => return None,
    };
    let is_empty = kept.as_object().is_some_and(Map::is_empty) || kept.as_array().is_some_and(Vec::is_empty);
    (!is_empty).then_some(kept)
}

fn merge(schema: &Value, live: &Value, applied: &Value) -> Value {
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) => {
            let mut merged = live.clone();
            for (name, value) in applied {
                let value = merge(field(schema, name), live.get(name).unwrap_or(&Value::Null), value);
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(live), Value::Array(applied)) if list_kind(schema) != ListKind::Atomic => {
            Value::Array(merge_lists(schema, live, applied))
        }
        _ => applied.clone(),
    }
}

/// Both lists in one, in the order in which `structured-merge-diff` has them: as applied, and what is only live before the next
/// member that both have.
fn merge_lists(schema: &Value, live: &[Value], applied: &[Value]) -> Vec<Value> {
    let name = |item: &Value| member(schema, item);
    let find = |list: &[Value], wanted: &Step| list.iter().find(|item| name(item) == *wanted).cloned();
    let join = |item: &Value| match find(live, &name(item)) {
        Some(old) => merge(&schema["items"], &old, item),
        None => item.clone(),
    };
    let mut shared = applied.iter().map(name).filter(|key| find(live, key).is_some());
    let mut next = shared.next();
    let (mut merged, mut done) = (Vec::new(), BTreeSet::new());
    let (mut l, mut a) = (0, 0);
    while l < live.len() || a < applied.len() {
        if let (Some(old), Some(new)) = (live.get(l), applied.get(a)) {
            let key = name(old);
            if key == name(new) {
                done.insert(key);
                merged.push(join(new));
                (l, a, next) = (l + 1, a + 1, shared.next());
                continue;
            }
            if find(applied, &key).is_some() && next.as_ref().is_some_and(|next| *next != key) {
                l += 1;
                continue;
            }
        }
        if let Some(old) = live.get(l) {
            let key = name(old);
            if find(applied, &key).is_none() {
                merged.push(old.clone());
                l += 1;
                continue;
            }
            if done.contains(&key) {
                l += 1;
            }
        }
        if let Some(new) = applied.get(a) {
            let key = name(new);
            merged.push(join(new));
            a += 1;
            if next.as_ref() == Some(&key) {
                next = shared.next();
            }
            done.insert(key);
        }
    }
    merged
}
