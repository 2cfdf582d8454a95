//! How texts are compared with patterns.
//!
//! Pure.

/// Whether a text is like a pattern, in which `*` stands for any characters and `?` for one.
pub(super) fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last star was, and what it stood for up to now ended.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match &mut star {
                Some((at, end)) => {
                    *end += 1;
                    (p, t) = (*at + 1, *end);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// The six parts of an ARN, or of a pattern of one; the last may hold colons.
pub(super) fn arn_parts(text: &str) -> Option<[&str; 6]> {
    text.splitn(6, ':').collect::<Vec<_>>().try_into().ok()
}

/// Whether an ARN is like a pattern: each of the six parts is compared by itself, so that a star does not stand for a colon. `ArnEquals`
/// does the same as `ArnLike` (IAM user guide, "ARN condition operators").
pub(super) fn is_like_arn(pattern: &str, arn: &str) -> bool {
    match (arn_parts(pattern), arn_parts(arn)) {
        (Some(pattern), Some(arn)) => pattern.iter().zip(arn).all(|(pattern, part)| is_like(pattern, part)),
        _ => false,
    }
}
