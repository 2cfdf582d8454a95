//! What is said of an image that has to be found.
//!
//! Pure.

use k8s_openapi::jiff::Timestamp;

use super::{Parts, Subject, finish, without_record};
use crate::api::{
    AmiShareStatus, Reason,
    ami_share::{SelectedImage, SelectionProblem},
    conditions::{Status, Verdict},
    principal::in_words,
};

/// Why it cannot be told which image is meant any more, if that is so: what was found before is still shared.
pub fn selection(selected: Option<&SelectedImage>) -> Option<Verdict> {
    let SelectedImage { image_id, problem, .. } = selected?;
    let (image, problem) = image_id.as_ref().zip(problem.as_ref())?;
    let message = format!("{}; {image}, which was found before, stays shared until then", problem.message);
    Some(Verdict::no(reason(problem), message))
}

/// The status of an object for which no image has been found. `lost` is whether it has lost its record.
pub fn not_found(subject: Subject<'_>, problem: &SelectionProblem, lost: bool, now: Timestamp) -> AmiShareStatus {
    let mut message = problem.message.clone();
    if !subject.old.granted.is_empty() {
        let images = in_words(subject.old.granted.iter().map(|given| &given.image_id));
        message = format!("{message}; who is listed and was given {images} before keeps that until then");
    }
    let verdict = Verdict::no(reason(problem), message);
    let unknown = Verdict { status: Status::Unknown, ..verdict.clone() };
    let parts = Parts { image: verdict.clone(), ..Parts::all(&unknown) };
    let status = finish(subject.old.clone(), subject, verdict, Some(parts), false, now);
    if lost { without_record(status, subject) } else { status }
}

fn reason(problem: &SelectionProblem) -> Reason {
    problem.reason.parse().unwrap_or(Reason::ImageNotFound)
}
