//! The Python tools of the tests: boto3, the AWS CLI and moto.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tokio::sync::OnceCell;

/// A file of tests/python.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(name)
}

/// The folder of the virtual environment's programs. The first test run on a machine makes it, which takes a minute.
pub async fn programs() -> &'static Path {
    static PROGRAMS: OnceCell<PathBuf> = OnceCell::const_new();
    let make = || async {
        let made = tokio::task::spawn_blocking(|| {
            Command::new("bash").arg(script("venv.sh")).stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap()
        });
        let made = made.await.unwrap();
        assert!(made.status.success(), "tests/python/venv.sh failed: see above");
        Path::new(String::from_utf8(made.stdout).unwrap().trim()).join("bin")
    };
    PROGRAMS.get_or_init(make).await
}

/// The virtual environment's Python, with nothing of this process's environment but the search path, which begins with the
/// virtual environment's programs.
pub async fn python() -> Command {
    let programs = programs().await;
    let mut path = programs.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new(programs.join("python"));
    command.env_clear().env("PATH", path).env("HOME", "/nonexistent").env("PYTHONUNBUFFERED", "1");
    command
}
