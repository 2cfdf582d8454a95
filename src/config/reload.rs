//! Follows the configuration file, and takes in what it says when that changes. The only part of `config` that touches a file.
//!
//! The file is read again and again: a mounted `ConfigMap` changes by a swap of symlinks beside it, which notifications of the file
//! system do not tell of where only the file is watched, and reading a few kilobytes costs nothing (docs/adr/0016).

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{ConfigError, Configuration, parse};

/// How often the file is read.
const EVERY: Duration = Duration::from_secs(2);

/// The longest file: what fits into a `ConfigMap`.
const LONGEST: u64 = 1 << 20;

/// What the file was when it was read: its text, or why it could not be read.
type Reading = Result<String, String>;

/// Reads the file.
fn read(path: &Path) -> Reading {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > LONGEST {
        return Err(format!("is longer than {LONGEST} bytes"));
    }
    Ok(text)
}

/// What a reading says.
fn understand(path: &Path, reading: &Reading) -> Result<Configuration, ConfigError> {
    let name = path.display().to_string();
    match reading {
        Ok(text) => parse(&name, text),
        Err(why) => Err(ConfigError::of_file(&name, why)),
    }
}

/// The file and what it was, as far as that has been taken in.
#[derive(Debug)]
pub struct Followed {
    path: PathBuf,
    readings: Readings,
}

/// What was read of the file.
#[derive(Debug)]
struct Readings {
    /// What was last taken in, good or bad.
    taken: Reading,
    /// What was read last.
    last: Reading,
}

impl Readings {
    /// Whether a new reading is to be taken in: it is another one, and has been the same twice. A file that somebody has half
    /// written can be valid, and say less than it will.
    fn take(&mut self, new: Reading) -> bool {
        let is_steady = new == self.last;
        self.last = new;
        let is_news = is_steady && self.last != self.taken;
        if is_news {
            self.taken.clone_from(&self.last);
        }
        is_news
    }
}

impl Followed {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// When it cannot be read or used: there is no earlier one to go on with.
    pub fn open(path: &Path) -> Result<(Configuration, Self), ConfigError> {
        let reading = read(path);
        let configuration = understand(path, &reading)?;
        let readings = Readings { taken: reading.clone(), last: reading };
        Ok((configuration, Self { path: path.to_owned(), readings }))
    }

    /// Waits for the next change of the file: what it says now, or why that cannot be used.
    ///
    /// # Errors
    /// When it cannot be read or used. The next call waits for the next change all the same.
    pub async fn changed(&mut self) -> Result<Configuration, ConfigError> {
        loop {
            tokio::time::sleep(EVERY).await;
            let path = self.path.clone();
            let reading = tokio::task::spawn_blocking(move || read(&path)).await;
            // The task neither panics nor is cancelled before the runtime ends.
            let Ok(reading) = reading else { continue };
            if self.readings.take(reading) {
                return understand(&self.path, &self.readings.taken);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "apiVersion: config.amishare.dev/v1alpha1\nkind: OperatorConfiguration\n";

    fn rule(name: &str) -> String {
        format!("{GOOD}guardrails: [{{name: {name}, namespaces: [\"*\"], regions: [us-east-1]}}]\n")
    }

    fn names(configuration: &Configuration) -> Vec<&str> {
        configuration.guardrails.iter().map(|rule| rule.name.as_str()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_swapped_configmap_is_taken_in_and_a_bad_one_is_named_and_followed_by_a_good_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        // As the kubelet mounts it: config.yaml -> ..data/config.yaml, ..data -> ..TIME.
        let mount = |version: &str, text: &str| {
            let data = folder.path().join(version);
            fs::create_dir(&data).unwrap();
            fs::write(data.join("config.yaml"), text).unwrap();
            symlink(version, folder.path().join("..data_tmp")).unwrap();
            fs::rename(folder.path().join("..data_tmp"), folder.path().join("..data")).unwrap();
        };
        mount("..1", &rule("one"));
        symlink("..data/config.yaml", &path).unwrap();
        let (first, mut followed) = Followed::open(&path).unwrap();
        assert_eq!(names(&first), ["one"]);
        mount("..2", &rule("two"));
        assert_eq!(names(&followed.changed().await.unwrap()), ["two"]);
        mount("..3", "nonsense: 1\n");
        let error = followed.changed().await.unwrap_err().to_string();
        assert!(
            error.ends_with(
                "config.yaml:1:1: unknown field `nonsense`, expected one of `apiVersion`, `kind`, `guardrails`"
            ),
            "{error}"
        );
        mount("..4", &rule("two"));
        assert_eq!(names(&followed.changed().await.unwrap()), ["two"], "what was good before is good again");
        fs::remove_file(&path).unwrap();
        let error = followed.changed().await.unwrap_err().to_string();
        assert!(error.contains("config.yaml: cannot be read: "), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_or_too_long_is_an_error_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        assert!(Followed::open(&path).unwrap_err().to_string().contains("cannot be read"));
        fs::write(&path, format!("{GOOD}#{}", "x".repeat(1 << 20))).unwrap();
        assert!(Followed::open(&path).unwrap_err().to_string().ends_with("is longer than 1048576 bytes"));
    }

    proptest! {
        #[test]
        fn only_what_was_read_twice_in_a_row_is_taken_in_and_only_once(texts in prop::collection::vec(0_u8..3, 1..40)) {
            let reading = |number: u8| Ok::<_, String>(number.to_string());
            let mut readings = Readings { taken: reading(0), last: reading(0) };
            let (mut last, mut taken) = (0, 0);
            for number in texts {
                let is_news = readings.take(reading(number));
                prop_assert_eq!(is_news, number == last && number != taken);
                if is_news {
                    taken = number;
                }
                last = number;
            }
        }
    }
}
