//! The settings of the image, from the last stage of the `Dockerfile`.
//!
//! It knows the few instructions that the file has, and refuses every other: what it does not understand, it must not leave out.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

/// What the image says of itself and of how it is run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The program that runs.
    pub entrypoint: Vec<String>,
    /// User and group, as numbers: Kubernetes can see that they are not root's.
    pub user: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
}

/// The only thing that the last stage may copy: all files that the stage before has laid out, to where they belong.
const COPY: &str = "--from=build /rootfs/ /";

/// Reads the last stage. `arguments` are what `docker build --build-arg` would give.
pub fn settings(dockerfile: &str, arguments: &[(&str, &str)]) -> Result<Settings> {
    let instructions = instructions(dockerfile);
    let last = instructions.iter().rposition(|(word, _)| *word == "FROM").context("there is no FROM")?;
    ensure!(
        instructions[last].1 == "scratch",
        "the last stage must begin from scratch, not from {}",
        instructions[last].1
    );
    let mut settings = Settings::default();
    let (mut copied, mut known) = (false, BTreeMap::new());
    for (word, rest) in &instructions[last + 1..] {
        match *word {
            "COPY" if rest == COPY && !copied => copied = true,
            "ARG" => {
                let given = arguments.iter().find(|(name, _)| name == rest).map(|(_, value)| *value);
                known.insert(rest.clone(), given.with_context(|| format!("nobody gives {rest} a value"))?);
            }
            "USER" => settings.user.clone_from(rest),
            "ENTRYPOINT" => {
                settings.entrypoint = serde_json::from_str(rest).context("ENTRYPOINT must be a list in JSON")?;
            }
            "LABEL" => {
                let (name, value) = rest.split_once('=').context("LABEL must be name=\"value\"")?;
                let value: String = serde_json::from_str(value).with_context(|| format!("{name} is not in quotes"))?;
                settings.labels.insert(name.to_owned(), expanded(&value, &known)?);
            }
            _ => bail!("the last stage has an instruction that is not known here: {word} {rest}"),
        }
    }
    ensure!(copied, "the last stage does not COPY {COPY}");
    ensure!(!settings.entrypoint.is_empty(), "the last stage has no ENTRYPOINT");
    let numbers = settings.user.split(':').all(|part| part.parse::<u32>().is_ok_and(|number| number > 0));
    ensure!(numbers, "USER must be numbers, and not root's: {:?}", settings.user);
    Ok(settings)
}

/// The instructions, without comments, each in one line.
fn instructions(dockerfile: &str) -> Vec<(&str, String)> {
    let mut instructions: Vec<(&str, String)> = Vec::new();
    let mut continues = false;
    for line in dockerfile.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (text, more) = line.strip_suffix('\\').map_or((line, false), |text| (text.trim_end(), true));
        match instructions.last_mut() {
            Some((_, rest)) if continues => {
                rest.push(' ');
                rest.push_str(text);
            }
            _ => {
                let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
                instructions.push((word, rest.trim().to_owned()));
            }
        }
        continues = more;
    }
    instructions
}

/// A text with the values of `$NAME` in it.
fn expanded(text: &str, known: &BTreeMap<String, &str>) -> Result<String> {
    let mut parts = text.split('$');
    let mut expanded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        expanded.push_str(known.get(name).with_context(|| format!("${name} is not an ARG of the last stage"))?);
        expanded.push_str(rest);
    }
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "FROM rust AS build\nRUN make rootfs\n# The image.\nFROM scratch\nARG VERSION\nLABEL a.version=\"v$VERSION\"\n\
                        COPY --from=build \\\n  /rootfs/ /\nUSER 65532:65532\nENTRYPOINT [\"/amishare\", \"x\"]\n";

    #[test]
    fn the_last_stage_says_how_the_image_is_run() {
        let settings = settings(GOOD, &[("VERSION", "1.2")]).unwrap();
        assert_eq!(settings.entrypoint, ["/amishare", "x"]);
        assert_eq!(settings.user, "65532:65532");
        assert_eq!(settings.labels.into_iter().collect::<Vec<_>>(), [("a.version".to_owned(), "v1.2".to_owned())]);
    }

    #[test]
    fn what_is_not_understood_is_refused_and_not_left_out() {
        let refused = |from: &str, to: &str| {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD);
            settings(&text, &[("VERSION", "1.2")]).unwrap_err().to_string()
        };
        assert!(refused("USER 65532:65532", "USER 65532:65532\nEXPOSE 80").contains("EXPOSE 80"));
        assert!(refused("COPY", "COPY --from=build /extra /extra\nCOPY").contains("/extra"));
        assert!(refused("FROM scratch", "FROM debian").contains("from scratch"));
        assert!(refused("65532:65532", "nonroot").contains("must be numbers"));
        assert!(refused("65532:65532", "0").contains("not root's"));
        assert!(refused("[\"/amishare\", \"x\"]", "/amishare").contains("in JSON"));
        assert!(refused("$VERSION", "$OTHER").contains("$OTHER"));
        assert!(settings(GOOD, &[]).unwrap_err().to_string().contains("VERSION"));
    }
}
