//! Matching with `*` and `?`, as EC2's filters do (aws.md section 1.0). Pure.

/// The characters that do not stand for themselves.
pub(super) const SPECIAL: [char; 3] = ['*', '?', '\\'];

/// Whether the whole text matches: `*` stands for any characters, `?` for one, and `\` takes the special meaning of the
/// next. Case counts.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut seen) = (0, 0);
    // Where to go on when what follows the last star does not match: one character of the text later.
    let mut last_star = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some('*') => {
                at += 1;
                last_star = Some((at, seen));
                continue;
            }
            Some('?') => {
                (at, seen) = (at + 1, seen + 1);
                continue;
            }
            Some('\\') if pattern.get(at + 1) == Some(&text[seen]) => {
                (at, seen) = (at + 2, seen + 1);
                continue;
            }
            Some(other) if *other != '\\' && *other == text[seen] => {
                (at, seen) = (at + 1, seen + 1);
                continue;
            }
            _ => {}
        }
        let Some((after_star, from)) = last_star else { return false };
        (at, seen) = (after_star, from + 1);
        last_star = Some((after_star, seen));
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_and_question_marks_match_as_in_a_shell() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("a*c", "abbbc"),
            ("a?c", "abc"),
            ("*.txt", "a.txt.txt"),
            ("a\\*c", "a*c"),
            ("Describe*", "DescribeImages"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a", ""), ("a?c", "ac"), ("a\\*c", "abc"), ("ABC", "abc"), ("a*b", "abc")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
